//go:build linux

package fs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// pastKind is what a node of the past is.
type pastKind byte

const (
	versionsNode   pastKind = iota // .versions of a directory
	tagNode                        // CACHEDIR.TAG
	incompleteNode                 // .incomplete
	aliasNode                      // a symlink in .versions; name is its target
	frozenDir                      // a directory as of an instant
	frozenFile                     // anything else as of an instant
	followDir                      // a directory of a mount that follows the newest state
)

// pastNode is one inode that the kernel knows. There are as many as a walk over
// a version visited, so files keep nothing that their directory's listing has.
type pastNode struct {
	id      uint64
	ino     uint64
	lookups uint64    // guarded by pastNodes.mu
	parent  *pastNode // where name is; nil for .versions and a root
	name    string
	kind    pastKind
	dir     *pastDir // for directories
}

// pastDir is what only directories have.
type pastDir struct {
	path   string          // versionsNode, followDir: the path in the folder
	tree   chunk.ID        // frozenDir
	entry  *versions.Entry // frozenDir of an instant itself: its attributes
	frozen bool            // its entries never change

	mu      sync.Mutex
	now     versions.Entry // followDir: as of epoch; guarded by mu
	epoch   uint64         // guarded by mu; 0 is never
	lookups int            // names looked up without the listing; guarded by mu
}

// nodeKey tells nodes apart: what has the same key has the same node id for as
// long as the kernel knows it.
type nodeKey struct {
	parent uint64 // node id; 0 for .versions of a live directory
	name   string
}

// followKey is the key of a directory in a mount that follows.
func followKey(path string) nodeKey { return nodeKey{parent: fuse.FUSE_ROOT_ID, name: path} }

// pastNodes are the nodes that the kernel knows.
type pastNodes struct {
	mu    sync.Mutex
	last  uint64
	byID  map[uint64]*pastNode
	byKey map[nodeKey]*pastNode
	keys  map[uint64]nodeKey // of the nodes whose key is not (parent, name)
}

func (t *pastNodes) init() {
	t.byID = map[uint64]*pastNode{}
	t.byKey = map[nodeKey]*pastNode{}
	t.keys = map[uint64]nodeKey{}
}

// find returns the node of key, made by fill if there is none yet, with one
// more lookup to forget.
func (t *pastNodes) find(key nodeKey, fill func(*pastNode)) *pastNode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.findLocked(key, fill)
}

func (t *pastNodes) findLocked(key nodeKey, fill func(*pastNode)) *pastNode {
	if n := t.byKey[key]; n != nil {
		n.lookups++
		return n
	}
	t.last++
	n := &pastNode{id: pastBit | t.last, lookups: 1}
	fill(n)
	t.byID[n.id] = n
	t.byKey[key] = n
	if key != n.plainKey() {
		t.keys[n.id] = key
	}
	return n
}

// plainKey is the key of most nodes, which needs no memory of its own.
func (n *pastNode) plainKey() nodeKey {
	if n.parent == nil {
		return nodeKey{name: n.name}
	}
	return nodeKey{parent: n.parent.id, name: n.name}
}

// root puts the root of a mount of its own, which is never forgotten.
func (t *pastNodes) root(n *pastNode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.id = fuse.FUSE_ROOT_ID
	t.byID[n.id] = n
	if n.kind == followDir {
		t.byKey[followKey("")] = n
	}
}

func (t *pastNodes) get(id uint64) *pastNode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

func (t *pastNodes) known(key nodeKey) (id uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byKey[key]
	if n == nil {
		return 0, false
	}
	return n.id, true
}

func (t *pastNodes) forget(id, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil || id == fuse.FUSE_ROOT_ID {
		return
	}
	if n.lookups -= min(lookups, n.lookups); n.lookups > 0 {
		return
	}
	key, ok := t.keys[id]
	if !ok {
		key = n.plainKey()
	}
	delete(t.keys, id)
	delete(t.byID, id)
	delete(t.byKey, key)
}

func (t *pastNodes) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

// Forget is the kernel letting go of a node.
func (h *History) Forget(id, lookups uint64) { h.nodes.forget(id, lookups) }

// Inode numbers are hashes, so that they are the same after a restart. Bit 62
// is set and bit 63 is not: they are no number that a disk gives.
func newIno(parts ...string) uint64 {
	ino := uint64(14695981039346656037)
	for _, part := range parts {
		ino = mix(ino, part)
	}
	return finish(ino)
}

// childIno is the number of name in the directory with number ino.
func childIno(ino uint64, name string) uint64 { return finish(mix(ino, name)) }

// mix is FNV-1a, with an end for each part.
func mix(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return (h ^ 0x100) * 1099511628211
}

// finish spreads every bit over all (as MurmurHash3 does).
func finish(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h&^pastBit | 1<<62
}

// entryIno is the number of entry e in directory dir. The names of one
// hard-link group have one number, which comes from the instant and the group.
func entryIno(dir *pastNode, e *versions.Entry) uint64 {
	if e.Link == [16]byte{} {
		return childIno(dir.ino, e.Name)
	}
	return childIno(dir.instantIno(), "\x00link\x00"+string(e.Link[:]))
}

// instantIno is the number of the topmost directory above n.
func (n *pastNode) instantIno() uint64 {
	for n.parent != nil && (n.parent.kind == frozenDir || n.parent.kind == followDir) {
		n = n.parent
	}
	return n.ino
}
