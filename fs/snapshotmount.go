//go:build linux

package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// HistoryMountOptions configure a read-only mount of a folder's snapshots.
type HistoryMountOptions struct {
	Source       Source
	MountPoint   string
	Folder       string           // shown as the source in /proc/mounts
	At           versions.Instant // the state to show; zero: the newest, followed as snapshots land
	VersionsName string           // "" is ".versions"; with At there is none
	Nodes        int              // see HistoryOptions
	AllowOther   bool
	Now          func() time.Time // nil is time.Now
	Logger       *slog.Logger     // may be nil
}

// HistoryMount is a read-only mount of its own: the newest state of a folder
// with .versions in it, or the state of one instant.
type HistoryMount struct {
	o       HistoryMountOptions
	log     *slog.Logger
	history *History
	mounted atomic.Bool
	stop    context.CancelFunc
	work    sync.WaitGroup
	over    chan struct{} // closed when the kernel has let go of the mount
}

// MountHistory mounts a folder's snapshots and serves them until Unmount, or
// until ctx ends.
func MountHistory(ctx context.Context, o HistoryMountOptions) (*HistoryMount, error) {
	m, err := mountHistory(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", o.MountPoint, err)
	}
	return m, nil
}

func mountHistory(ctx context.Context, o HistoryMountOptions) (*HistoryMount, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &HistoryMount{o: o, log: o.Logger.With("folder", o.Folder), over: make(chan struct{})}
	m.history = NewHistory(o.Source, HistoryOptions{
		Folder: o.Folder, VersionsName: o.VersionsName, Nodes: o.Nodes, Now: o.Now, Logger: m.log,
	})
	if err := m.history.makeRoot(ctx, o.At); err != nil {
		return nil, err
	}
	fd, err := mountFuse(o.MountPoint, mountFlags{
		source: o.Folder, allowOther: o.AllowOther, readOnly: true, maxRead: maxIO,
	})
	if err != nil {
		return nil, err
	}
	m.mounted.Store(true)
	server, err := newServer(m.history, fd, m.fuseOptions())
	if err != nil {
		m.detach()
		unix.Close(fd)
		return nil, err
	}
	m.history.Connect(server.kernel)
	ctx, m.stop = context.WithCancel(ctx)
	m.work.Go(func() {
		server.serve()
		m.history.OnUnmount()
		m.stop()
		close(m.over)
	})
	m.work.Go(func() {
		<-ctx.Done()
		m.detach()
	})
	return m, nil
}

// makeRoot puts the root: one state, or the newest one.
func (h *History) makeRoot(ctx context.Context, at versions.Instant) error {
	h.own = true
	if at.IsZero() {
		h.nodes.root(&pastNode{kind: followDir, ino: newIno(h.o.Folder, ""), dir: &pastDir{}})
		return nil
	}
	e, err := h.o.Source.Dir(ctx, "", at)
	if err != nil {
		return fmt.Errorf("folder %s at %s: %w", h.o.Folder, at, err)
	}
	h.nodes.root(&pastNode{kind: frozenDir, ino: newIno(h.o.Folder, at.String(), ""),
		dir: &pastDir{tree: e.Tree, entry: &e, frozen: true}})
	return nil
}

// fuseOptions are what we agree on with the kernel.
func (m *HistoryMount) fuseOptions() *fuse.MountOptions {
	return &fuse.MountOptions{
		Name:                 "syncfs",
		FsName:               m.o.Folder,
		MaxWrite:             maxIO,
		MaxReadAhead:         maxIO,
		MaxBackground:        64,
		EnableAcl:            true,
		EnableSymlinkCaching: true,
		// Directories are not opened, so the kernel keeps all listings; it must
		// drop those of directories whose time has changed.
		ExplicitDataCacheControl: false,
		DisabledCapabilities:     fuse.CAP_PASSTHROUGH,
		PanicHandler: func(v any) fuse.Status {
			m.log.Error("a request panicked", "panic", v, "stack", string(debug.Stack()))
			return fuse.EIO
		},
		Logger: slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}
}

// Landed says that the folder has a new snapshot: what follows the newest state
// shows it. It must not be called from a request.
func (m *HistoryMount) Landed(versions.Instant) { m.history.landedAll() }

// landedAll is NotifyLanded for every directory that the kernel knows.
func (h *History) landedAll() {
	h.epoch.Add(1)
	h.moments.clear()
	kernel := h.kernel.Load()
	if kernel == nil {
		return
	}
	for _, id := range h.nodes.changing() {
		kernel.InodeNotify(id, 0, 0)
	}
}

// changing are the ids of the nodes that a new snapshot changes.
func (t *pastNodes) changing() (ids []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, n := range t.byID {
		if n.kind == followDir || n.kind == versionsNode {
			ids = append(ids, id)
		}
	}
	return ids
}

// detach takes the mount off the tree, at once and in any case.
func (m *HistoryMount) detach() {
	if m.mounted.Swap(false) {
		if err := unmountFuse(m.o.MountPoint, true); err != nil {
			m.log.Debug("the mount was gone already", "error", err)
		}
	}
}

// Unmount ends the mount. When programs still use it, it is taken off the tree
// at once nevertheless, and the *HeldError says who they are.
func (m *HistoryMount) Unmount() error {
	if !m.mounted.Swap(false) {
		return nil
	}
	err := unmountFuse(m.o.MountPoint, false)
	if err == nil {
		return nil
	}
	var held error
	if errors.Is(err, unix.EBUSY) {
		held = &HeldError{MountPoint: m.o.MountPoint, Holders: holders(m.o.MountPoint)}
	}
	err = unmountFuse(m.o.MountPoint, true)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, os.ErrNotExist) {
		m.mounted.Store(true)
		return fmt.Errorf("unmount %s: %w", m.o.MountPoint, err)
	}
	return held
}

// Done is closed when the kernel has let go of the mount, however that came.
func (m *HistoryMount) Done() <-chan struct{} { return m.over }

// Wait returns when nobody uses the mount any more and all is closed.
func (m *HistoryMount) Wait() {
	m.work.Wait()
	m.history.Close()
}

// Stats of this moment.
func (m *HistoryMount) Stats() HistoryStats { return m.history.Stats() }
