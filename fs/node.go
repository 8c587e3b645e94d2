//go:build linux

package fs

import (
	"math"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// pastBit marks node ids of the history tree; the live tree never uses it.
const pastBit = uint64(1) << 63

// rootID is the root's node id, fixed by the protocol.
const rootID = 1

// node is one inode that the kernel knows of. There may be many thousands of
// them, so it has 64 bytes, and what only few have is in maps of the table.
type node struct {
	id      uint64
	ino     uint64
	first   link   // a name that leads here; a zero link when none is known
	dir     *dirFD // directories: a descriptor, while it is cached
	lookups uint32 // how often the kernel was told of it, less what it forgot; stays at its maximum
	birth   uint32 // tells an inode from a later one of the same number
	pins    uint32 // names below it and others that need it in the table
	kind    uint16 // S_IFMT bits
	flags   nodeFlags
}

// lookedUp counts one more lookup by the kernel.
func (n *node) lookedUp() {
	if n.lookups < math.MaxUint32 {
		n.lookups++
	}
}

// forgotten undoes lookups.
func (n *node) forgotten(lookups uint64) {
	if n.lookups < math.MaxUint32 {
		n.lookups -= uint32(min(lookups, uint64(n.lookups)))
	}
}

type nodeFlags uint16

const (
	submount   nodeFlags = 1 << iota // something else is mounted here: shown as an empty directory
	aclAsked                         // aclDefault is known
	aclDefault                       // directory has a default ACL
	detached                         // no longer found by inode number
	orphaned                         // has a descriptor in nodeTable.orphans
	unfolded                         // a directory that is known to be filled
)

// link is one name of a node.
type link struct {
	parent *node
	name   string
}

// identity tells inodes apart.
type identity struct {
	ino   uint64
	birth uint32
}

func identityOf(st *unix.Statx_t) identity {
	id := identity{ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.birth = uint32(st.Btime.Sec)*1000003 ^ st.Btime.Nsec
	}
	return id
}

func (n *node) is(st *unix.Statx_t) bool {
	return identity{n.ino, n.birth} == identityOf(st)
}

func (n *node) isDir() bool { return n.kind == unix.S_IFDIR }

// nodeTable holds all nodes. Paths follow from the links; they are kept right
// by the requests that change them, under Live.tree.
type nodeTable struct {
	mu    sync.Mutex // guards all below, and every field of every node but what opened guards itself
	root  *node
	byID  map[uint64]*node
	byIno map[uint64]*node
	subs  map[link]*node // submounts: their inode numbers are another disk's
	next  uint64

	more map[*node][]link  // further names: hard links
	open map[*node]*opened // while a handle is open
	seen map[*node]content // of files that were read or written by requests

	// orphans are O_PATH descriptors of what a rename replaced, and of removed
	// directories: who looked the name up just before, or has it open, may still
	// open it or ask what it is, as on any disk.
	orphans map[*node]int

	fds    dirFDs
	rootFD int
}

func newNodeTable(rootFD int, st *unix.Statx_t, maxFDs int) *nodeTable {
	root := &node{id: rootID, ino: st.Ino, kind: unix.S_IFDIR, lookups: 1, pins: 1}
	root.birth = identityOf(st).birth
	t := &nodeTable{
		root:  root,
		byID:  map[uint64]*node{rootID: root},
		byIno: map[uint64]*node{st.Ino: root},
		subs:  map[link]*node{},

		more:    map[*node][]link{},
		open:    map[*node]*opened{},
		seen:    map[*node]content{},
		orphans: map[*node]int{},
		next:    rootID,
		rootFD:  rootFD,
	}
	t.fds.max = maxFDs
	root.dir = &dirFD{fd: rootFD, node: root, refs: 1} // never released, so never evicted
	return t
}

// get is the node of an id that the kernel named.
func (t *nodeTable) get(id uint64) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// find is the node of an inode, if the kernel knows it.
func (t *nodeTable) find(st *unix.Statx_t) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byIno[st.Ino]; n != nil && n.is(st) {
		return n
	}
	return nil
}

// learn finds or makes the node of the inode that name in parent leads to, and
// counts one lookup by the kernel.
func (t *nodeTable) learn(parent *node, name string, st *unix.Statx_t) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := link{parent, name}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		n := t.subs[l]
		if n == nil {
			n = t.make(st)
			n.flags |= submount
			t.subs[l] = n
			t.addLink(n, l)
		}
		n.lookedUp()
		return n
	}
	n := t.byIno[st.Ino]
	if n != nil && (!n.is(st) || n.kind != st.Mode&unix.S_IFMT) {
		t.detach(n) // the inode number is in use again
		n = nil
	}
	if n == nil {
		n = t.make(st)
		t.byIno[n.ino] = n
	}
	n.lookedUp()
	t.addLink(n, l)
	return n
}

func (t *nodeTable) make(st *unix.Statx_t) *node {
	t.next++
	id := identityOf(st)
	n := &node{id: t.next, ino: id.ino, birth: id.birth, kind: st.Mode & unix.S_IFMT}
	t.byID[n.id] = n
	return n
}

// addLink notes that l leads to n. A directory has one name.
func (t *nodeTable) addLink(n *node, l link) {
	if l.parent == nil || n.first == l {
		return
	}
	if slices.Contains(t.more[n], l) {
		return
	}
	l.parent.pins++
	switch {
	case n.first.parent == nil:
		n.first = l
	case n.isDir(): // renamed where we did not see it
		old := n.first.parent
		n.first = l
		t.unpin(old)
	default:
		// The newest name first: it is the one most likely to be right.
		t.more[n] = append(t.more[n], n.first)
		n.first = l
	}
}

func (t *nodeTable) dropLink(n *node, l link) {
	more := t.more[n]
	if n.first == l {
		n.first = link{}
		if last := len(more) - 1; last >= 0 {
			n.first, more = more[last], more[:last]
		}
	} else if i := slices.Index(more, l); i >= 0 {
		more = slices.Delete(more, i, i+1)
	} else {
		return
	}
	if len(more) > 0 {
		t.more[n] = more
	} else {
		delete(t.more, n)
	}
	t.unpin(l.parent)
}

// unlinked notes that name in parent no longer leads to n. A node without a
// known name is not found by its number again, which may be reused at once.
func (t *nodeTable) unlinked(n *node, parent *node, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropLink(n, link{parent, name})
	if n.first.parent == nil {
		t.detach(n)
		if n.dir != nil {
			t.fds.drop(n.dir)
		}
	}
}

// replaced is unlinked for a node whose inode fd holds; it takes fd over.
func (t *nodeTable) replaced(n *node, parent *node, name string, fd int) {
	t.unlinked(n, parent, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd >= 0 && n.first.parent == nil && t.byID[n.id] == n && n.flags&orphaned == 0 {
		n.flags |= orphaned
		t.orphans[n] = fd
	} else if fd >= 0 {
		unix.Close(fd)
	}
}

// orphan is a descriptor of its own for a node that was replaced.
func (t *nodeTable) orphan(n *node) (fd int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.flags&orphaned == 0 {
		return -1, false
	}
	fd, err := unix.FcntlInt(uintptr(t.orphans[n]), unix.F_DUPFD_CLOEXEC, 3)
	return fd, err == nil
}

func (t *nodeTable) dropOrphan(n *node) {
	if n.flags&orphaned != 0 {
		unix.Close(t.orphans[n])
		delete(t.orphans, n)
		n.flags &^= orphaned
	}
}

// moved notes that from now leads nowhere and to leads to n.
func (t *nodeTable) moved(n *node, from, to link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.pins++ // dropping its last link must not drop the node
	to.parent.pins++
	t.dropLink(n, from)
	t.addLink(n, to)
	to.parent.pins--
	n.pins--
}

func (t *nodeTable) detach(n *node) {
	n.flags |= detached
	if t.byIno[n.ino] == n {
		delete(t.byIno, n.ino)
	}
}

// forget is the kernel's word that it dropped n lookups of id.
func (t *nodeTable) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil || n == t.root {
		return
	}
	n.forgotten(lookups)
	t.maybeDrop(n)
}

func (t *nodeTable) pin(n *node) {
	t.mu.Lock()
	n.pins++
	t.mu.Unlock()
}

func (t *nodeTable) release(n *node) {
	t.mu.Lock()
	t.unpin(n)
	t.mu.Unlock()
}

func (t *nodeTable) unpin(n *node) {
	n.pins--
	t.maybeDrop(n)
}

func (t *nodeTable) maybeDrop(n *node) {
	if n.lookups > 0 || n.pins > 0 || n == t.root {
		return
	}
	delete(t.byID, n.id)
	t.detach(n)
	t.dropOrphan(n)
	if n.flags&submount != 0 {
		delete(t.subs, n.first)
	}
	if n.dir != nil {
		t.fds.drop(n.dir)
	}
	links := append([]link{n.first}, t.more[n]...)
	n.first = link{}
	delete(t.more, n)
	delete(t.seen, n)
	for _, l := range links {
		if l.parent != nil {
			t.unpin(l.parent)
		}
	}
}

// linkOf is one name of n; the zero link when none is known.
func (t *nodeTable) linkOf(n *node) link {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n.first
}

// isStage tells the staging directory.
func (t *nodeTable) isStage(n *node) bool {
	l := t.linkOf(n)
	return l.parent == t.root && staged(l.name)
}

// links are all known names of n.
func (t *nodeTable) links(n *node) []link {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.first.parent == nil {
		return nil
	}
	return append([]link{n.first}, t.more[n]...)
}

// path of a directory's entry, slash-separated from the root; ok is false when
// a directory on the way has no name any more.
func (t *nodeTable) path(dir *node, name string) (path string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	size := len(name)
	for n := dir; n != t.root; n = n.first.parent {
		if n.first.parent == nil {
			return "", false
		}
		size += len(n.first.name) + 1
	}
	if dir == t.root {
		return name, true
	}
	var b strings.Builder
	b.Grow(size)
	t.writePath(&b, dir)
	if name != "" {
		b.WriteByte('/')
		b.WriteString(name)
	}
	return b.String(), true
}

func (t *nodeTable) writePath(b *strings.Builder, n *node) {
	if n.first.parent != t.root {
		t.writePath(b, n.first.parent)
		b.WriteByte('/')
	}
	b.WriteString(n.first.name)
}

// paths are all known paths of n.
func (t *nodeTable) paths(n *node) []string {
	if n == t.root {
		return []string{""}
	}
	var all []string
	for _, l := range t.links(n) {
		if p, ok := t.path(l.parent, l.name); ok {
			all = append(all, p)
		}
	}
	return all
}
