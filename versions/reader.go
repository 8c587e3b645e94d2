package versions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Pieces returns all pieces of a file, from the entry or its list. They cover
// the file's DataRanges, one after the other.
func (c *Contents) Pieces(ctx context.Context, e Entry) ([]Piece, error) {
	if e.List.IsZero() {
		return e.Pieces, nil
	}
	index := &pieceIndex{c: c.chunks, entry: e}
	var pieces []Piece
	for at := int64(0); at < index.dataSize(); {
		leaf, err := index.leaf(ctx, at)
		if err != nil {
			return nil, fmt.Errorf("pieces of %q: %w", e.Name, err)
		}
		for _, p := range leaf.elements {
			pieces = append(pieces, Piece{ID: p.id, Length: uint32(p.length)})
		}
		at = leaf.start + leaf.length
	}
	return pieces, nil
}

// Same tells whether two files have equal content, by reading it where the
// entries alone cannot tell: where one has a hole, the other may hold zeros, and
// an older program may have cut content otherwise.
func (c *Contents) Same(ctx context.Context, a, b Entry) (bool, error) {
	if a.Kind != File || b.Kind != File || a.Size != b.Size {
		return false, nil
	}
	if SameContent(a, b) {
		return true, nil
	}
	if len(a.Holes) == 0 && len(b.Holes) == 0 {
		return false, nil // cut by the same rule into other pieces
	}
	x, err := c.Open(ctx, a)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := c.Open(ctx, b)
	if err != nil {
		return false, err
	}
	defer y.Close()
	return x.equal(ctx, y)
}

// pieceIndex finds the piece at an offset, reading of a long list only what
// leads there.
type pieceIndex struct {
	c     Chunks
	entry Entry

	mu     sync.Mutex    // guards recent
	recent []*listedLeaf // few; the last used first
}

// listedLeaf is a run of pieces and where in the data it begins.
type listedLeaf struct {
	listNode
	start int64
	ends  []int64 // of each element, from the start of the data
}

const keptLeaves = 4

func newListedLeaf(n listNode, start int64) *listedLeaf {
	l := &listedLeaf{listNode: n, start: start, ends: make([]int64, len(n.elements))}
	at := start
	for i, e := range n.elements {
		at += e.length
		l.ends[i] = at
	}
	return l
}

// find is the index of the piece that holds offset at of the data.
func (l *listedLeaf) find(at int64) int {
	return sort.Search(len(l.ends), func(i int) bool { return l.ends[i] > at })
}

func (l *listedLeaf) covers(at int64) bool { return at >= l.start && at < l.start+l.length }

// dataSize is the sum of all pieces.
func (x *pieceIndex) dataSize() int64 {
	size := x.entry.Size
	for _, h := range x.entry.Holes {
		size -= h.Length
	}
	return size
}

// leaf is the run of pieces that holds offset at, which is within the data.
func (x *pieceIndex) leaf(ctx context.Context, at int64) (*listedLeaf, error) {
	x.mu.Lock()
	for i, l := range x.recent {
		if l.covers(at) {
			copy(x.recent[1:i+1], x.recent[:i])
			x.recent[0] = l
			x.mu.Unlock()
			return l, nil
		}
	}
	x.mu.Unlock()
	l, err := x.load(ctx, at)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.recent = append([]*listedLeaf{l}, x.recent[:min(len(x.recent), keptLeaves-1)]...)
	return l, nil
}

func (x *pieceIndex) load(ctx context.Context, at int64) (*listedLeaf, error) {
	if x.entry.List.IsZero() {
		n := listNode{}
		for _, p := range x.entry.Pieces {
			n.elements = append(n.elements, listed{id: p.ID, length: int64(p.Length)})
			n.length += int64(p.Length)
		}
		if n.length != x.dataSize() {
			return nil, fmt.Errorf("%w: pieces of %d bytes in a file of %d", ErrCorrupt, n.length, x.entry.Size)
		}
		return newListedLeaf(n, 0), nil
	}
	id, start, want, level := x.entry.List, int64(0), x.dataSize(), -1
	for {
		data, err := get(ctx, x.c, chunk.List, id)
		if err != nil {
			return nil, err
		}
		n, err := decodeList(data)
		if err == nil && (n.length != want || level >= 0 && n.level != level) {
			err = fmt.Errorf("a list of %d bytes of content on level %d where one of %d belongs", n.length, n.level, want)
		}
		if err != nil {
			return nil, damaged(chunk.List, id, err)
		}
		l := newListedLeaf(*n, start)
		if n.level == 0 {
			return l, nil
		}
		i := l.find(at)
		id, want, level = n.elements[i].id, n.elements[i].length, n.level-1
		start = l.ends[i] - want
	}
}

// Reader reads one file. It is safe for concurrent ReadAt.
type Reader struct {
	c     Chunks
	entry Entry
	index pieceIndex
	data  []Range // of the entry
	base  []int64 // where in the data each range begins

	ctx    context.Context // of fetches; ends at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	cache   []*fetch // by last use, the newest first
	cached  int64    // bytes in cache
	next    int64    // where a read goes on if the file is read in order
	streak  int      // how many reads did go on there
	fetched int64    // data before this was asked for ahead
}

// Open reads a file's content at any offset, with parallel read-ahead when it
// is read in order. Holes read as zeros. Cheap to open: nothing is read yet.
// Reads outlive ctx. Close ends read-ahead.
func (c *Contents) Open(ctx context.Context, e Entry) (*Reader, error) {
	if e.Kind != File {
		return nil, fmt.Errorf("open %q: a %v has no content", e.Name, e.Kind)
	}
	r := &Reader{c: c.chunks, entry: e, index: pieceIndex{c: c.chunks, entry: e}, data: e.DataRanges()}
	at := int64(0)
	for _, d := range r.data {
		r.base = append(r.base, at)
		at += d.Length
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return r, nil
}

// Close ends read-ahead and waits for it.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.cache, r.cached = nil, 0
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	return nil
}

// ReadAt is io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	return r.ReadAtContext(r.ctx, p, off)
}

// ReadAtContext is ReadAt that ends with ctx.
func (r *Reader) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %q: offset %d", r.entry.Name, off)
	}
	want := len(p)
	if off >= r.entry.Size {
		if want == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	p = p[:min(int64(want), r.entry.Size-off)]
	ahead := r.inOrder(off, int64(len(p)))
	n := 0
	for n < len(p) {
		got, err := r.readSome(ctx, p[n:], off+int64(n), ahead)
		n += got
		if err != nil {
			return n, r.failed(off+int64(n), err)
		}
	}
	if n < want {
		return n, io.EOF
	}
	return n, nil
}

func (r *Reader) failed(off int64, err error) error {
	return fmt.Errorf("read %q at offset %d: %w", r.entry.Name, off, err)
}

// readSome reads up to the end of a hole or piece.
func (r *Reader) readSome(ctx context.Context, p []byte, off int64, ahead bool) (int, error) {
	at, length, hole := r.locate(off)
	p = p[:min(int64(len(p)), length)]
	if hole {
		clear(p)
		return len(p), nil
	}
	leaf, err := r.index.leaf(ctx, at)
	if err != nil {
		return 0, err
	}
	i := leaf.find(at)
	piece := leaf.elements[i]
	f := r.fetch(piece, true)
	if f == nil {
		return 0, errClosed
	}
	if ahead {
		r.readAhead(ctx, leaf, i+1)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if f.err != nil {
		return 0, f.err
	}
	return copy(p, f.data[at-(leaf.ends[i]-piece.length):]), nil
}

var errClosed = errors.New("the file is closed")

// locate tells where in the data offset off of the file is, or that it is in a
// hole, and how far that goes on.
func (r *Reader) locate(off int64) (at, length int64, hole bool) {
	i := sort.Search(len(r.data), func(i int) bool { return r.data[i].Offset > off }) - 1
	if i >= 0 && off < r.data[i].end() {
		return r.base[i] + off - r.data[i].Offset, r.data[i].end() - off, false
	}
	if i+1 < len(r.data) {
		return 0, r.data[i+1].Offset - off, true
	}
	return 0, r.entry.Size - off, true
}
