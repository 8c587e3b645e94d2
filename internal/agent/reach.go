package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/remote"
)

// reach is the remote of a machine that is connected. A directory that is not
// there (its disk is not plugged in) is one that cannot be reached, opened as
// soon as it is there, and never made anew. Every request that succeeds is told.
type reach struct {
	answered func() // may be nil; set before the first use

	open func() (blob.Store, func(), error)

	mu    sync.Mutex // guards the rest
	store blob.Store // nil: not open yet
	done  func()
}

// newReach makes the remote; a file server is opened at once, since that
// connects to nobody and shows what is wrong with its address.
func newReach(r repository, log *slog.Logger) (*reach, error) {
	c := &reach{open: func() (blob.Store, func(), error) {
		if !isURL(r.URL) {
			if err := isRepository(r.URL); err != nil {
				return nil, nil, err
			}
		}
		return openRemote(r.URL, r.Key, r.Pin, log)
	}}
	if isURL(r.URL) {
		if _, err := c.get(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// isRepository tells whether a directory holds one.
func isRepository(dir string) error {
	_, err := os.Stat(filepath.Join(dir, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w in %s: is its disk mounted?", blob.ErrOffline, store.ErrNoRepository, dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", blob.ErrOffline, err)
	}
	return nil
}

func (c *reach) get() (blob.Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store == nil {
		s, done, err := c.open()
		if err != nil {
			return nil, err
		}
		c.store, c.done = s, done
	}
	return c.store, nil
}

// doubt tells, before the first request, that the agent does not reach the
// remote: a command does not wait long for it.
func (c *reach) doubt() {
	if r, ok := c.store.(*remote.Client); ok {
		r.Doubt()
	}
}

func (c *reach) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil {
		c.done()
	}
}

// do makes one request and tells when it succeeded.
func (c *reach) do(fn func(blob.Store) error) error {
	s, err := c.get()
	if err != nil {
		return err
	}
	err = fn(s)
	if c.answered != nil && (err == nil || errors.Is(err, blob.ErrMoved)) {
		c.answered()
	}
	return err
}

// Put is blob.Store's.
func (c *reach) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	return c.do(func(s blob.Store) error { return s.Put(ctx, name, r, size) })
}

// Get is blob.Store's.
func (c *reach) Get(ctx context.Context, name string, offset, length int64) (r io.ReadCloser, err error) {
	err = c.do(func(s blob.Store) (err error) { r, err = s.Get(ctx, name, offset, length); return err })
	return r, err
}

// Stat is blob.Store's.
func (c *reach) Stat(ctx context.Context, name string) (i blob.Info, err error) {
	err = c.do(func(s blob.Store) (err error) { i, err = s.Stat(ctx, name); return err })
	return i, err
}

// List is blob.Store's.
func (c *reach) List(ctx context.Context, prefix, after string, fn func(blob.Info) error) error {
	return c.do(func(s blob.Store) error { return s.List(ctx, prefix, after, fn) })
}

// Delete is blob.Store's.
func (c *reach) Delete(ctx context.Context, name string) error {
	return c.do(func(s blob.Store) error { return s.Delete(ctx, name) })
}

// Head is blob.Heads'.
func (c *reach) Head(ctx context.Context, folder string) (h blob.Head, err error) {
	err = c.do(func(s blob.Store) (err error) { h, err = s.Head(ctx, folder); return err })
	return h, err
}

// ListHeads is blob.Heads'.
func (c *reach) ListHeads(ctx context.Context) (list []blob.Head, err error) {
	err = c.do(func(s blob.Store) (err error) { list, err = s.ListHeads(ctx); return err })
	return list, err
}

// Commit is blob.Heads'.
func (c *reach) Commit(ctx context.Context, folder string, m blob.Commit) (h blob.Head, err error) {
	err = c.do(func(s blob.Store) (err error) { h, err = s.Commit(ctx, folder, m); return err })
	return h, err
}

// Watch is blob.Watcher's; errors.ErrUnsupported where the store has none.
func (c *reach) Watch(ctx context.Context, ready func(), fn func(blob.Event)) error {
	s, err := c.get()
	if err != nil {
		return err
	}
	w, ok := s.(blob.Watcher)
	if !ok {
		return errors.ErrUnsupported
	}
	return w.Watch(ctx, ready, fn)
}

var (
	_ blob.Store   = (*reach)(nil)
	_ blob.Watcher = (*reach)(nil)
)
