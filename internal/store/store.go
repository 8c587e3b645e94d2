// Package store keeps content-addressed chunks in packs on a blob.Store.
//
// What is put lies first in the spool, a directory on this machine's disk, and
// is durable there once Flush returns; Upload brings it to the remote.
package store

import (
	"context"
	"errors"
	"log/slog"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
)

// Conditions that a caller may branch on.
var (
	ErrNoRepository = errors.New("there is no repository")
	ErrExists       = errors.New("there is a repository already")
	ErrCorrupt      = errors.New("stored content is damaged")
	ErrSpoolFull    = errors.New("the spool is full")
)

// Options of a Store.
type Options struct {
	SpoolDir   string // packs and records not yet on the remote; not disposable
	SpoolLimit int64  // bytes; 0: no limit but the disk's
	CacheDir   string // chunk cache and index cache; disposable
	CacheLimit int64  // bytes; 0: default of 2 GiB
	Logger     *slog.Logger
}

// Store is safe for use by many goroutines.
type Store struct{}

// Open opens the chunks of a repository. The remote may be unreachable: then
// what the caches and the spool hold can be read, and Put works.
func Open(ctx context.Context, remote blob.Store, keys *seal.Keys, o Options) (*Store, error) {
	panic("skeleton")
}

// Close writes nothing: what was not flushed is gone.
func (s *Store) Close() error { panic("skeleton") }

// Get returns a chunk's plain content, verified against id. It looks in the
// spool, the cache, and on the remote at every place the index names;
// io/fs.ErrNotExist where no place is known, ErrCorrupt where all are damaged.
// The slice is the caller's.
func (s *Store) Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	panic("skeleton")
}

// Put stores a chunk unless it is there already (in an unmarked pack or the
// spool), and returns its id. data may be reused when Put returns.
func (s *Store) Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	panic("skeleton")
}

// Has tells whether a chunk is in the spool or in an unmarked pack.
func (s *Store) Has(ctx context.Context, kind chunk.Kind, id chunk.ID) (bool, error) {
	panic("skeleton")
}

// Flush closes the open pack and returns when all that was put is durable in
// the spool.
func (s *Store) Flush(ctx context.Context) error { panic("skeleton") }

// Pending returns what Flush wrote and no commit has carried yet: the packs
// and index blobs that must be on the remote before a head refers to them.
// Total bytes are the sum of their sizes.
func (s *Store) Pending() (names []string, bytes int64) { panic("skeleton") }

// Upload puts the pending packs and then their index on the remote, several at
// once, telling progress (bytes sent since the last call). It may run while
// Put goes on: then it sends what is complete so far.
func (s *Store) Upload(ctx context.Context, progress func(bytes int64)) error { panic("skeleton") }

// Small returns the pending packs and index as blobs for a one-request commit
// when together they are at most limit bytes, else nil: then call Upload.
func (s *Store) Small(limit int64) ([]blob.Blob, error) { panic("skeleton") }

// Committed tells that a head now refers to the named blobs (from Pending or
// Small): they leave the spool (the hottest stay in the cache).
func (s *Store) Committed(ctx context.Context, names []string) error { panic("skeleton") }

// Refresh reads index blobs and marks that have come to the remote since.
func (s *Store) Refresh(ctx context.Context) error { panic("skeleton") }

// Learn takes the packs and index of another machine's small round out of an
// event, so that reading them needs no request.
func (s *Store) Learn(ctx context.Context, blobs []blob.Blob) error { panic("skeleton") }

// Prefetch asks for chunks that will be read soon, into the cache, in few
// requests. It returns when they are there; errors show at Get.
func (s *Store) Prefetch(ctx context.Context, kind chunk.Kind, ids []chunk.ID) { panic("skeleton") }

// Stats are sizes of a repository as seen from here.
type Stats struct {
	Packs, Chunks                     int64
	PlainBytes, StoredBytes           int64
	SpoolBytes, CacheBytes, SpoolFull int64
}

// Stats counts.
func (s *Store) Stats(ctx context.Context) (Stats, error) { panic("skeleton") }

// Problem is one thing that Check found.
type Problem struct {
	Blob  string // the pack or index blob
	Chunk chunk.ID
	Err   error
}

// Check verifies that every pack that the index names is there with its size,
// and, with readData, every byte of every pack. report is called for each
// problem; the error is about checking itself.
func (s *Store) Check(ctx context.Context, readData bool, progress func(done, total int64), report func(Problem)) error {
	panic("skeleton")
}
