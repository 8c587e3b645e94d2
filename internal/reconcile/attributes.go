package reconcile

import (
	"bytes"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/versions"
)

// aclAccess is the attribute whose mask is the group's part of the mode: the
// two are one attribute to a merge.
const aclAccess = "system.posix_acl_access"

// attributes is content (l or r) with the attributes of both sides merged: each
// from the side that changed it since the base, from the remote where both did,
// or where there is no base. What belongs to the bytes - mtime, link group,
// being unstable - comes with them, where the two sides differ in them.
func attributes(b, l, r, content *versions.Entry) versions.Entry {
	out := *content
	if l.Kind != r.Kind {
		return out
	}
	if b == nil || b.Kind != l.Kind {
		b = l // then the remote has changed whatever differs
	}
	if pick(owner(b.UID, b.User), owner(r.UID, r.User)) {
		out.UID, out.User = r.UID, r.User
	} else {
		out.UID, out.User = l.UID, l.User
	}
	if pick(owner(b.GID, b.Group), owner(r.GID, r.Group)) {
		out.GID, out.Group = r.GID, r.Group
	} else {
		out.GID, out.Group = l.GID, l.Group
	}
	if r.Kind == versions.Dir || versions.SameContent(*l, *r) {
		out.MTime = either(b.MTime, l.MTime, r.MTime)
		out.Link = either(b.Link, l.Link, r.Link)
		out.Unstable = either(b.Unstable, l.Unstable, r.Unstable)
	}
	access := l
	if b.Mode != r.Mode || !sameXattr(b, r, aclAccess) {
		access = r
	}
	out.Mode = access.Mode
	out.Xattrs = mergeXattrs(b, l, r, access)
	return out
}

// either is l or r: l where only the local side has changed b.
func either[T comparable](b, l, r T) T {
	if pick(b, r) {
		return r
	}
	return l
}

// pick tells whether the remote has changed b, and so holds.
func pick[T comparable](b, r T) bool { return b != r }

type ownership struct {
	id   uint32
	name string
}

func owner(id uint32, name string) ownership { return ownership{id, name} }

func sameXattr(a, b *versions.Entry, name string) bool {
	x, okX := a.Xattr(name)
	y, okY := b.Xattr(name)
	return okX == okY && bytes.Equal(x, y)
}

// mergeXattrs merges extended attributes name by name; the access ACL is that of
// access.
func mergeXattrs(b, l, r, access *versions.Entry) []versions.Xattr {
	var out []versions.Xattr
	add := func(name string) {
		if slices.ContainsFunc(out, func(x versions.Xattr) bool { return x.Name == name }) {
			return
		}
		from := l
		switch {
		case name == aclAccess:
			from = access
		case !sameXattr(b, r, name):
			from = r
		}
		if value, ok := from.Xattr(name); ok {
			out = append(out, versions.Xattr{Name: name, Value: value})
		}
	}
	for _, x := range l.Xattrs {
		add(x.Name)
	}
	for _, x := range r.Xattrs {
		add(x.Name)
	}
	slices.SortFunc(out, func(a, b versions.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return out
}
