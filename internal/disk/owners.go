package disk

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Owners translates numbers of users and groups to names and back, from the
// machine's own files. It is safe for use by many goroutines, and sees a new
// user within a minute.
type Owners struct {
	users, groups names
}

// NewOwners reads /etc/passwd and /etc/group when they are first needed.
func NewOwners() *Owners {
	return &Owners{
		users:  names{file: "/etc/passwd", now: time.Now},
		groups: names{file: "/etc/group", now: time.Now},
	}
}

// User is the name of uid, "" when there is none.
func (o *Owners) User(uid uint32) string { return o.users.name(uid) }

// Group is the name of gid, "" when there is none.
func (o *Owners) Group(gid uint32) string { return o.groups.name(gid) }

// IDs are the numbers here of the users named; where a name is empty or
// unknown here, the number itself.
func (o *Owners) IDs(user string, uid uint32, group string, gid uint32) (uint32, uint32) {
	if id, ok := o.users.id(user); ok {
		uid = id
	}
	if id, ok := o.groups.id(group); ok {
		gid = id
	}
	return uid, gid
}

// names is one file of lines "name:x:number:...".
type names struct {
	file string
	now  func() time.Time

	mu      sync.RWMutex // guards all below
	byID    map[uint32]string
	byName  map[string]uint32
	checked time.Time // when the file was last looked at
	mtime   time.Time // the file's then
}

func (n *names) name(id uint32) string {
	n.refresh()
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.byID[id]
}

func (n *names) id(name string) (uint32, bool) {
	if name == "" {
		return 0, false
	}
	n.refresh()
	n.mu.RLock()
	defer n.mu.RUnlock()
	id, ok := n.byName[name]
	return id, ok
}

// refresh reads the file again when it has changed, looking once a minute.
func (n *names) refresh() {
	now := n.now()
	n.mu.RLock()
	fresh := n.byID != nil && now.Sub(n.checked) < time.Minute && !now.Before(n.checked)
	n.mu.RUnlock()
	if fresh {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.checked = now
	info, err := os.Stat(n.file)
	if err == nil && n.byID != nil && info.ModTime().Equal(n.mtime) {
		return
	}
	n.byID, n.byName = make(map[uint32]string), make(map[string]uint32)
	f, err := os.Open(n.file)
	if err != nil {
		return // no names on this machine: numbers do
	}
	defer f.Close()
	n.mtime = info.ModTime()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		part := strings.SplitN(lines.Text(), ":", 4)
		if len(part) < 4 || part[0] == "" {
			continue
		}
		id, err := strconv.ParseUint(part[2], 10, 32)
		if err != nil {
			continue
		}
		// The first line wins, as in the C library.
		if _, ok := n.byID[uint32(id)]; !ok {
			n.byID[uint32(id)] = part[0]
		}
		if _, ok := n.byName[part[0]]; !ok {
			n.byName[part[0]] = uint32(id)
		}
	}
}
