package versions

import (
	"context"
	"io"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Chunks keeps content-addressed pieces; internal/store does.
type Chunks interface {
	Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error)
	Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error)
}

// Prefetcher is implemented by Chunks that can fetch many at once.
type Prefetcher interface {
	Prefetch(ctx context.Context, kind chunk.Kind, ids []chunk.ID)
}

// Trees reads and writes directory listings. A listing is cut into pieces at
// entry boundaries by a keyed hash of the name, so that one change in a large
// directory costs one small piece; equal directories have equal ids.
type Trees struct{}

// NewTrees: nameSecret is seal.Keys.NameSecret.
func NewTrees(c Chunks, nameSecret [32]byte) *Trees { panic("skeleton") }

// Write stores a listing; entries are sorted by Name (bytes) and unique. An
// empty listing is the zero ID.
func (t *Trees) Write(ctx context.Context, entries []Entry) (chunk.ID, error) { panic("skeleton") }

// Read returns a whole directory, sorted.
func (t *Trees) Read(ctx context.Context, id chunk.ID) ([]Entry, error) { panic("skeleton") }

// Lookup finds one name, reading only the pieces that lead to it;
// io/fs.ErrNotExist.
func (t *Trees) Lookup(ctx context.Context, id chunk.ID, name string) (Entry, error) {
	panic("skeleton")
}

// Resolve follows a slash-separated path ("" is root itself) from root.
// Symlinks are not followed. io/fs.ErrNotExist; ErrNotDir where a path goes
// through what is no directory.
func (t *Trees) Resolve(ctx context.Context, root Entry, path string) (Entry, error) {
	panic("skeleton")
}

// Change is one difference between two trees.
type Change struct {
	Path     string
	Old, New *Entry // nil: not there
}

// Diff calls fn for every path at which two trees differ, in path order, a
// directory before what is in it. Equal subtrees are not read. A directory is
// reported when its own attributes differ, when it is new or gone (then also
// everything in it), not only because something in it changed.
func (t *Trees) Diff(ctx context.Context, a, b Entry, fn func(Change) error) error {
	panic("skeleton")
}

// Walk calls fn for root and everything below, a directory before what is in
// it, in path order. fn returning SkipDir leaves a directory out.
func (t *Trees) Walk(ctx context.Context, root Entry, fn func(path string, e Entry) error) error {
	panic("skeleton")
}

// Contents reads and writes the bytes of files.
type Contents struct{}

// NewContents: gearSecret is seal.Keys.GearSecret.
func NewContents(c Chunks, gearSecret [32]byte) *Contents { panic("skeleton") }

// Write cuts what r yields, stores it, and returns where it is in the fields
// Size, Pieces and List of the returned entry. Large content is stored by
// several goroutines at once with bounded memory. It may be called by many
// goroutines.
func (c *Contents) Write(ctx context.Context, r io.Reader) (Entry, error) { panic("skeleton") }

// WriteSparse is Write for a file with holes: data ranges are read from r at
// their offsets, holes are not read and cost no chunk.
func (c *Contents) WriteSparse(ctx context.Context, r io.ReaderAt, size int64, holes []Range) (Entry, error) {
	panic("skeleton")
}

// Same tells whether two files have equal content, from their entries alone.
func Same(a, b Entry) bool { panic("skeleton") }

// Pieces returns all pieces of a file, from the entry or its list.
func (c *Contents) Pieces(ctx context.Context, e Entry) ([]Piece, error) { panic("skeleton") }

// Open reads a file's content at any offset, with parallel read-ahead when it
// is read in order. Holes read as zeros. Cheap to open; Close ends read-ahead.
func (c *Contents) Open(ctx context.Context, e Entry) (*Reader, error) { panic("skeleton") }

// Reader is safe for concurrent ReadAt.
type Reader struct{}

// ReadAt is io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) { panic("skeleton") }

// ReadAtContext is ReadAt that ends with ctx.
func (r *Reader) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	panic("skeleton")
}

// WriteTo writes the whole content to w, fetching ahead in parallel.
func (r *Reader) WriteTo(w io.Writer) (int64, error) { panic("skeleton") }

// Close ends read-ahead.
func (r *Reader) Close() error { panic("skeleton") }
