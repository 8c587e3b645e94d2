package syncer_test

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/syncfs/syncfs/internal/blob"
)

// far is what a machine syncs with.
type far interface {
	blob.Store
	blob.Watcher
}

// network is the way of one machine to the remote, with faults.
type network struct {
	far // what it leads to

	mu      sync.Mutex
	down    error                                // every call fails with it
	after   func(c blob.Commit, err error) error // changes the answer to a commit
	full    bool                                 // nothing can be put
	garbage bool                                 // what is read is damaged
	deaf    bool                                 // events do not arrive
	asked   func()                               // called between the remote's answer about a head and its arrival
	cut     context.CancelFunc                   // ends the event stream
	commits int
}

func (n *network) set(fn func()) {
	n.mu.Lock()
	fn()
	cut := n.cut
	n.mu.Unlock()
	if cut != nil {
		cut()
	}
}

func (n *network) offline() { n.set(func() { n.down = blob.ErrOffline }) }
func (n *network) online()  { n.set(func() { n.down = nil }) }

func (n *network) err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down
}

func (n *network) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if err := n.err(); err != nil {
		return err
	}
	n.mu.Lock()
	full := n.full
	n.mu.Unlock()
	if full {
		return blob.ErrFull
	}
	return n.far.Put(ctx, name, r, size)
}

func (n *network) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := n.err(); err != nil {
		return nil, err
	}
	r, err := n.far.Get(ctx, name, offset, length)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || !n.garbage {
		return r, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	for i := range data {
		data[i] ^= 0x55
	}
	return io.NopCloser(bytes.NewReader(data)), err
}

func (n *network) Stat(ctx context.Context, name string) (blob.Info, error) {
	if err := n.err(); err != nil {
		return blob.Info{}, err
	}
	return n.far.Stat(ctx, name)
}

func (n *network) List(ctx context.Context, prefix, after string, fn func(blob.Info) error) error {
	if err := n.err(); err != nil {
		return err
	}
	return n.far.List(ctx, prefix, after, fn)
}

func (n *network) Delete(ctx context.Context, name string) error {
	if err := n.err(); err != nil {
		return err
	}
	return n.far.Delete(ctx, name)
}

func (n *network) Head(ctx context.Context, folder string) (blob.Head, error) {
	if err := n.err(); err != nil {
		return blob.Head{}, err
	}
	h, err := n.far.Head(ctx, folder)
	n.mu.Lock()
	asked := n.asked
	n.mu.Unlock()
	if asked != nil {
		asked()
	}
	return h, err
}

func (n *network) ListHeads(ctx context.Context) ([]blob.Head, error) {
	if err := n.err(); err != nil {
		return nil, err
	}
	return n.far.ListHeads(ctx)
}

func (n *network) Commit(ctx context.Context, folder string, c blob.Commit) (blob.Head, error) {
	if err := n.err(); err != nil {
		return blob.Head{}, err
	}
	n.mu.Lock()
	full, after := n.full, n.after
	n.commits++
	n.mu.Unlock()
	if full {
		return blob.Head{}, blob.ErrFull
	}
	h, err := n.far.Commit(ctx, folder, c)
	if after != nil {
		if aerr := after(c, err); aerr != nil {
			return blob.Head{}, aerr
		}
	}
	return h, err
}

func (n *network) Watch(ctx context.Context, ready func(), fn func(blob.Event)) error {
	if err := n.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	n.cut = cancel
	n.mu.Unlock()
	return n.far.Watch(ctx, ready, func(e blob.Event) {
		n.mu.Lock()
		deaf := n.deaf
		n.mu.Unlock()
		if !deaf {
			fn(e)
		}
	})
}
