package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	live "github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/ondemand"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

const (
	patienceOnline  = 20 * time.Second // without any answer, when the remote was there a moment ago
	patienceOffline = 3 * time.Second
)

// openDemand prepares what brings content of an on-demand folder; nil for
// others.
func (h *host) openDemand(root *disk.Root, d *folder.Folder, owners *disk.Owners, late *lateMount,
	safe func(context.Context, string, versions.Entry) (bool, error)) (syncer.Stubs, error) {
	if !h.onDemand() {
		return nil, nil
	}
	a := h.a
	demand := ondemand.New(ondemand.Options{
		Root: root, Folder: d, Trees: a.trees, Contents: a.contents,
		Owners: owners, Owner: os.Geteuid() == 0, Hidden: hidden,
		Mount: late, Safe: safe, Limit: a.o.OnDemandLimit,
		Patience: func() time.Duration {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.online {
				return patienceOnline
			}
			return patienceOffline
		},
		Now: a.o.Now, Logger: a.log.With("folder", h.folder.Name),
	})
	h.mu.Lock()
	h.demand = demand
	h.mu.Unlock()
	return demand, nil
}

// liveDemand is the mount's view of it.
func (h *host) liveDemand() live.Demand {
	if d, ok := h.demand.(*ondemand.Demand); ok {
		return d
	}
	return nil
}

// Alone is ondemand.Mount's.
func (l *lateMount) Alone(path string, f func(fd int) error) error {
	m, ok := l.get().(liveMount)
	if !ok {
		return fmt.Errorf("%s: the folder is not mounted: %w", path, unix.EBUSY)
	}
	return m.Live.Alone(path, f)
}

// tryStubs tells whether the disk of a directory can hold stubs.
func tryStubs(dir string) error {
	root, err := disk.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	d, err := root.OpenDir("")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.TryStubs()
}

// unfoldRoot fills the folder's own directory.
func (h *host) unfoldRoot(ctx context.Context, root *disk.Root) error {
	d, ok := h.demand.(*ondemand.Demand)
	if !ok {
		return nil
	}
	_, err := d.Unfold(ctx, root.Fd(), "")
	return err
}
