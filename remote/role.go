package remote

import (
	"fmt"
	"strings"
)

// Role says what the holder of a token may do; each role may also do what the
// ones before it may.
type Role string

// The roles.
const (
	RoleRead   Role = "read"   // read objects and heads, watch
	RoleAppend Role = "append" // add snapshots; delete nothing, change no policy
	RoleWrite  Role = "write"  // delete, maintain, set policy
	RoleAdmin  Role = "admin"  // read the operations log
)

// ParseRole reads the name of a role.
func ParseRole(s string) (Role, error) {
	if r := Role(s); r.level() > 0 {
		return r, nil
	}
	return "", fmt.Errorf("there is no role %q: it is read, append, write or admin", s)
}

func (r Role) level() int {
	switch r {
	case RoleRead:
		return 1
	case RoleAppend:
		return 2
	case RoleWrite:
		return 3
	case RoleAdmin:
		return 4
	}
	return 0
}

// atLeast tells whether r may do all that other may.
func (r Role) atLeast(other Role) bool { return r.level() >= other.level() }

// mayPut tells whether r may put an object of that name. Whoever can only
// append must not be able to hide history or to make it be forgotten: policy
// and pins (policy), marks of the prune, log segments, which stand in for the
// records they were folded from, and snapshot records, whose names hold the
// server's clock and which a commit makes, are closed to it.
func (r Role) mayPut(name string) bool {
	if r == RoleAppend {
		top, _, _ := strings.Cut(name, "/")
		switch top {
		case "config", "policy", "marks", "log", "snapshots":
			return false
		}
	}
	return r.atLeast(RoleAppend)
}
