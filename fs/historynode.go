//go:build linux

package fs

import (
	"fmt"
	"sync"
	"sync/atomic"

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

// Node ids of the past are bit 63, a number, and 24 bits that are 0 for a node
// with a record of its own. A file below an instant has none: its id is that of
// its directory with its place in the listing, from 1. So a walk over a version
// costs memory for its directories alone.
const (
	placeBits = 24
	placeMask = uint64(1)<<placeBits - 1
)

// pastNode is one inode that the kernel knows.
type pastNode struct {
	id      uint64
	base    uint64 // id, but for a root, whose id the protocol fixes
	ino     uint64 // 0 for a file without a record
	lookups uint64 // guarded by pastNodes.mu

	parent *pastNode // where name is; nil for .versions and a root
	name   string
	place  uint64 // of a file without a record, which has no name either
	kind   pastKind
	dir    *pastDir // for directories
}

// pastDir is what only directories have.
type pastDir struct {
	path   string          // versionsNode, followDir: the path in the folder
	tree   chunk.ID        // frozenDir
	entry  *versions.Entry // frozenDir of an instant itself: its attributes
	frozen bool            // its entries never change
	listed atomic.Bool     // somebody listed it

	placed  uint64 // lookups of its files without a record; guarded by pastNodes.mu
	places  uint64 // the last place that one of them had; guarded by pastNodes.mu
	records int    // its files with one, made before it was listed; guarded by pastNodes.mu

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
	files int                // lookups of files without a record
	max   int                // nodes with a record before the kernel is asked to forget some
}

func (t *pastNodes) init(limit int) {
	t.max = limit
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
	n := &pastNode{lookups: 1}
	t.number(n)
	n.id = n.base
	fill(n)
	t.byID[n.id] = n
	t.byKey[key] = n
	if key != n.plainKey() {
		t.keys[n.id] = key
	}
	if n.kind == frozenFile {
		n.parent.dir.records++
	}
	return n
}

func (t *pastNodes) number(n *pastNode) {
	t.last++
	n.base = pastBit | t.last<<placeBits
}

// place is the id of the file at index i of directory n, with one more lookup
// to forget. False when the file must have a record: because some of the
// directory have, or there are too many.
func (t *pastNodes) place(n *pastNode, i int) (id uint64, ok bool) {
	if i < 0 || uint64(i) >= placeMask || !n.dir.frozen || n.dir.records > 0 {
		return 0, false
	}
	n.dir.placed++
	n.dir.places = max(n.dir.places, uint64(i+1))
	t.files++
	return n.base | uint64(i+1), true
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
	t.number(n)
	n.id = fuse.FUSE_ROOT_ID
	t.byID[n.id], t.byID[n.base] = n, n
	if n.kind == followDir {
		t.byKey[followKey("")] = n
	}
}

func (t *pastNodes) get(id uint64) *pastNode {
	t.mu.Lock()
	defer t.mu.Unlock()
	place := id & placeMask
	if id&pastBit == 0 || place == 0 {
		return t.byID[id]
	}
	dir := t.byID[id&^placeMask]
	if dir == nil {
		return nil
	}
	return &pastNode{id: id, parent: dir, kind: frozenFile, place: place}
}

// hasPlaced tells whether the kernel knows files of n without a record.
func (t *pastNodes) hasPlaced(n *pastDir) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n.placed > 0
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
	n := t.byID[id&^placeMask]
	switch {
	case id == fuse.FUSE_ROOT_ID || n == nil:
		return
	case id&placeMask != 0:
		lookups = min(lookups, n.dir.placed)
		n.dir.placed -= lookups
		t.files -= int(lookups)
	default:
		n.lookups -= min(lookups, n.lookups)
	}
	// The files of a directory need it.
	if n.lookups > 0 || n.dir != nil && n.dir.placed > 0 || n.id == fuse.FUSE_ROOT_ID {
		return
	}
	key, ok := t.keys[n.id]
	if !ok {
		key = n.plainKey()
	}
	delete(t.keys, n.id)
	delete(t.byID, n.id)
	delete(t.byKey, key)
	if n.kind == frozenFile {
		n.parent.dir.records--
	}
}

func (t *pastNodes) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID) + t.files
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

// where is the path of n, for messages.
func (n *pastNode) where() string {
	switch {
	case n.place > 0:
		return fmt.Sprintf("%s, entry %d", n.parent.where(), n.place)
	case n.parent == nil && n.dir != nil:
		return join(n.dir.path, n.name)
	case n.parent == nil:
		return n.name
	}
	return join(n.parent.where(), n.name)
}
