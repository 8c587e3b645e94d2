package versions

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"
	"sync"

	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/internal/chunk"
	"lukechampine.com/blake3"
)

// A listing is a tree of pieces, cut at boundaries between entries. On level 0
// lie the entries, in order of their names; on every level above, for each
// piece of the level below, its first name and id; the level that is one piece
// is the top. What a piece holds depends on the listing alone, never on the
// order in which it came about.
//
// A cut comes after an element where the piece has reached minNode bytes and
// the keyed hash of (level, name), as a fraction of all hashes, is below the
// element's own length over spread. So pieces average minNode+spread = 16 KiB
// whatever the length of entries, every piece but the last of a level has
// minNode bytes, and one element that changes moves the cuts near it alone.
const (
	nodeVersion = 1
	minNode     = 4 << 10
	spread      = 12 << 10
	maxNode     = 16 << 20 // a decoder takes no longer one; cuts keep them far below
	maxLevel    = 16
)

// node is one piece of a listing.
type node struct {
	level   int
	entries []Entry // level 0
	items   []item  // levels above
}

// item is a piece as the level above names it.
type item struct {
	first string
	id    chunk.ID
}

func appendItem(b []byte, it item) []byte {
	b = canon.String(b, it.first)
	return append(b, it.id[:]...)
}

// decodeNode reads a piece. raw, if not nil, receives the encoding of each
// element, within data.
func decodeNode(data []byte, raw *[][]byte) (*node, error) {
	if len(data) > maxNode {
		return nil, fmt.Errorf("%w: a piece of a listing of %d bytes", canon.ErrFormat, len(data))
	}
	d := canon.NewDecoder(data)
	if v := d.Byte(); d.Err() == nil && v != nodeVersion {
		return nil, fmt.Errorf("listing of format %d, but this program knows %d only: update it", v, nodeVersion)
	}
	n := &node{level: int(d.Byte())}
	if n.level > maxLevel {
		d.Fail("level %d", n.level)
	}
	if n.level == 0 {
		n.entries = make([]Entry, 0, len(data)/96)
	}
	last := ""
	for first := true; d.More(); first = false {
		start := d.Rest()
		var name string
		if n.level == 0 {
			n.entries = append(n.entries, Entry{})
			e := &n.entries[len(n.entries)-1]
			decodeEntry(&d, e)
			name = e.Name
		} else {
			it := item{first: d.String(MaxName)}
			copy(it.id[:], d.Fixed(len(it.id)))
			n.items = append(n.items, it)
			name = it.first
			if d.Err() == nil && it.id.IsZero() {
				d.Fail("a piece without an id")
			}
		}
		if d.Err() == nil && (name == "" || !first && name <= last) {
			d.Fail("name %q is out of order", name)
		}
		last = name
		if raw != nil {
			*raw = append(*raw, start[:len(start)-len(d.Rest())])
		}
	}
	if d.Err() == nil && last == "" {
		d.Fail("nothing in it")
	}
	if err := d.Done(); err != nil {
		return nil, err
	}
	return n, nil
}

// leaf is the entries of a piece on level 0; none of nil.
func (n *node) leaf() []Entry {
	if n == nil {
		return nil
	}
	return n.entries
}

// first is the first name in the piece.
func (n *node) first() string {
	if n.level == 0 {
		return n.entries[0].Name
	}
	return n.items[0].first
}

// child is the index of the item that leads to name.
func (n *node) child(name string) int {
	i := sort.Search(len(n.items), func(i int) bool { return n.items[i].first > name })
	return max(i-1, 0)
}

// node reads a piece.
func (t *Trees) node(ctx context.Context, id chunk.ID) (*node, error) {
	n, _, err := t.rawNode(ctx, id, false)
	return n, err
}

func (t *Trees) rawNode(ctx context.Context, id chunk.ID, raw bool) (*node, [][]byte, error) {
	data, err := get(ctx, t.chunks, chunk.Tree, id)
	if err != nil {
		return nil, nil, err
	}
	var raws [][]byte
	var into *[][]byte
	if raw {
		into = &raws
	}
	n, err := decodeNode(data, into)
	if err != nil {
		return nil, nil, damaged(chunk.Tree, id, err)
	}
	return n, raws, nil
}

// childNode reads a piece and verifies that it is where its parent says.
func (t *Trees) childNode(ctx context.Context, level int, it item) (*node, error) {
	n, err := t.node(ctx, it.id)
	if err == nil {
		err = checkChild(n, level, it)
	}
	return n, err
}

func checkChild(n *node, level int, it item) error {
	if n.level != level || n.first() != it.first {
		return damaged(chunk.Tree, it.id, fmt.Errorf("%w: it does not belong where it is", canon.ErrFormat))
	}
	return nil
}

// nameHasher computes the keyed hash that decides where listings are cut.
type nameHasher struct {
	pool sync.Pool
}

type pooledHasher struct {
	h   *blake3.Hasher
	buf []byte
}

func newNameHasher(secret [32]byte) *nameHasher {
	return &nameHasher{pool: sync.Pool{New: func() any {
		return &pooledHasher{h: blake3.New(32, secret[:]), buf: make([]byte, 0, 64)}
	}}}
}

// cuts tells whether a piece that is long enough ends after this element.
func (n *nameHasher) cuts(level int, name string, length int) bool {
	if length >= spread {
		return true
	}
	p := n.pool.Get().(*pooledHasher)
	defer n.pool.Put(p)
	p.h.Reset()
	p.buf = append(append(p.buf[:0], byte(level)), name...)
	p.h.Write(p.buf)
	p.buf = p.h.Sum(p.buf[:0])
	return binary.BigEndian.Uint64(p.buf)>>32 < uint64(length)<<32/spread
}

// levelWriter cuts one level of a listing into pieces and stores them.
type levelWriter struct {
	ctx   context.Context
	t     *Trees
	level int
	buf   []byte
	first string
	out   []item
}

// add appends an element; names come in order.
func (w *levelWriter) add(name string, raw []byte) error {
	if len(w.buf) == 0 {
		w.buf = append(w.buf, nodeVersion, byte(w.level))
		w.first = name
	}
	w.buf = append(w.buf, raw...)
	if len(w.buf) >= minNode && w.t.hasher.cuts(w.level, name, len(raw)) {
		return w.flush()
	}
	return nil
}

// flush ends the piece that is open, if one is.
func (w *levelWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	id, err := w.t.chunks.Put(w.ctx, chunk.Tree, w.buf)
	if err != nil {
		return err
	}
	w.out = append(w.out, item{first: w.first, id: id})
	w.buf = w.buf[:0]
	return nil
}

// top writes the levels above items until one piece is left.
func (t *Trees) top(ctx context.Context, level int, items []item) (chunk.ID, error) {
	var raw []byte
	for len(items) > 1 {
		w := &levelWriter{ctx: ctx, t: t, level: level}
		for _, it := range items {
			raw = appendItem(raw[:0], it)
			if err := w.add(it.first, raw); err != nil {
				return chunk.ID{}, err
			}
		}
		if err := w.flush(); err != nil {
			return chunk.ID{}, err
		}
		items, level = w.out, level+1
	}
	if len(items) == 0 {
		return chunk.ID{}, nil
	}
	return items[0].id, nil
}
