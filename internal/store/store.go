// Package store keeps content-addressed chunks in packs on a blob.Store.
//
// What is put lies first in the spool, a directory on this machine's disk, and
// is durable there once Flush returns; Upload brings it to the remote: packs,
// then the index that names them. The formats are in docs/format.md.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
	"golang.org/x/sync/singleflight"
)

// Conditions that a caller may branch on.
var (
	ErrNoRepository = errors.New("there is no repository")
	ErrExists       = errors.New("there is a repository already")
	ErrCorrupt      = errors.New("stored content is damaged")
	ErrSpoolFull    = errors.New("the spool is full")
	ErrInUse        = errors.New("another process is using it")
)

// Options of a Store.
type Options struct {
	SpoolDir   string // packs not yet on the remote; not disposable
	SpoolLimit int64  // bytes; 0: no limit but the disk's
	CacheDir   string // chunk cache and index cache; disposable; "": in memory only
	CacheLimit int64  // bytes; 0: default of 2 GiB
	// OpenWithin, if not 0, opens with the cached index also where the remote has
	// not given its own by then, or answers with an error: it refuses the key, say.
	OpenWithin time.Duration
	Logger     *slog.Logger
	Now        func() time.Time

	// Hook is called at every arrow of the order of durability, for tests that
	// crash there. Its error ends what was being done.
	Hook func(point string) error
}

const (
	defaultCacheLimit = 2 << 30
	uploads           = 4 // packs sent at once
	fetches           = 4 // ranges read at once for one Prefetch
)

// Store is safe for use by many goroutines.
type Store struct {
	remote blob.Store
	keys   *seal.Keys
	o      Options
	log    *slog.Logger
	cache  *cache
	blocks *blockReader
	spool  *spool // nil without a SpoolDir: then nothing can be put

	buffers    frameBuffers
	sealers    sealerCache
	shards     shardCache
	loading    singleflight.Group
	refreshing chan struct{} // holds the turn of Refresh
	uploading  chan struct{} // holds the turn of Upload

	background sync.WaitGroup // packs being finished

	// mu guards all below.
	mu        sync.Mutex
	index     index
	refreshed time.Time                  // when the last Refresh that was done began
	storing   map[chunk.ID]chan struct{} // chunks being put; closed when they are
	current   [2]*openPack               // by class: data, tree
	closing   map[*openPack]struct{}     // closed, not finished
	finished  chan struct{}              // closed and replaced when a pack was finished
	bytes     int64                      // in the spool
	full      bool                       // the spool's disk was full; cleared by Flush and by what leaves the spool
	small     *smallIndex                // index blob that Small made
	setAside  int                        // packs that were damaged in the spool
	closed    bool
}

// Open opens the chunks of a repository. The remote may be unreachable: then
// what the caches and the spool hold can be read, and Put works.
func Open(ctx context.Context, remote blob.Store, keys *seal.Keys, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CacheLimit == 0 {
		o.CacheLimit = defaultCacheLimit
	}
	c := openCache(o.CacheDir, o.CacheLimit, o.Now, o.Logger)
	s := &Store{
		remote: remote, keys: keys, o: o, log: o.Logger, cache: c,
		blocks:     newBlockReader(remote, c),
		refreshing: make(chan struct{}, 1), uploading: make(chan struct{}, 1),
		index:   newIndex(),
		storing: map[chunk.ID]chan struct{}{}, closing: map[*openPack]struct{}{}, finished: make(chan struct{}),
	}
	s.shards.limit = shardMemory
	if o.SpoolDir != "" {
		var err error
		if s.spool, err = openSpool(o.SpoolDir); err != nil {
			return nil, fmt.Errorf("open the spool: %w", err)
		}
		if err := s.recover(); err != nil {
			s.spool.close()
			return nil, fmt.Errorf("open the spool: %w", err)
		}
	}
	if err := s.loadIndex(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// loadIndex reads the index from the remote, or from the cache where that
// cannot be reached.
func (s *Store) loadIndex(ctx context.Context) error {
	soon := ctx
	if s.o.OpenWithin > 0 {
		var cancel context.CancelFunc
		soon, cancel = context.WithTimeout(ctx, s.o.OpenWithin)
		defer cancel()
	}
	err := s.Refresh(soon)
	if errors.Is(err, blob.ErrOffline) || err != nil && s.o.OpenWithin > 0 && ctx.Err() == nil {
		s.log.Info("the remote does not answer as it should, using the cached index", "error", err)
		return s.loadCached()
	}
	return err
}

// Close writes nothing: what was not flushed is gone.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.wake() // who waits for a pack sees that none will be finished
	s.mu.Unlock()
	s.background.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.current {
		if p != nil {
			p.file.Abort()
			s.current[i] = nil
		}
	}
	for p := range s.closing {
		p.file.Abort()
		delete(s.closing, p)
	}
	if s.spool != nil {
		s.spool.close()
	}
	return nil
}

// hook lets a test crash here.
func (s *Store) hook(point string) error {
	if s.o.Hook == nil {
		return nil
	}
	return s.o.Hook(point)
}

// turn waits for the token of a channel of capacity one.
func turn(ctx context.Context, token chan struct{}) (release func(), err error) {
	select {
	case token <- struct{}{}:
		return func() { <-token }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
