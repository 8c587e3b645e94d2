package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// mounting is what serves a folder's directory: its mount, or the plain
// directory.
type mounting interface {
	syncer.Applier
	Invalidate(paths ...string) // outside changes, for the kernel's caches
	NotifyVersions(dir string)
	Done() <-chan struct{} // closed when the mount has ended by itself
	Unmount() error
	Wait()
}

// host is one folder of this machine and what serves it.
type host struct {
	a      *Agent
	folder registered
	copies *copies
	due    chan struct{} // the tree has changed: look for conflict copies

	mu      sync.Mutex // guards all below
	cancel  context.CancelFunc
	ended   chan struct{} // closed when what start began has ended
	first   chan struct{} // closed after the first attempt to serve, however it ended
	once    *sync.Once
	syncer  *syncer.Syncer // nil: not being served
	preview *syncer.Syncer // being prepared: for its progress
	mount   mounting
	demand  demand // nil: everything is here
	ready   bool   // scanned, and in use
	pause   pause
	err     error
}

// retryServe is how long to wait before serving a folder is tried again.
const retryServe = 5 * time.Second

// newHost makes a folder known; start serves it.
func (a *Agent) newHost(f registered) *host {
	h := &host{
		a: a, folder: f, pause: f.Pause, first: make(chan struct{}), once: &sync.Once{},
		copies: &copies{trees: a.trees, db: a.db.Folder(f.ID)}, due: make(chan struct{}, 1),
	}
	if f.Stopped {
		close(h.first)
		h.once.Do(func() {})
	}
	a.mu.Lock()
	a.hosts = append(a.hosts, h)
	a.mu.Unlock()
	return h
}

// start serves the folder until stop; served already is fine.
func (h *host) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cancel != nil {
		return
	}
	h.a.mu.Lock()
	parent := h.a.ctx
	h.a.mu.Unlock()
	ctx, cancel := context.WithCancel(parent)
	h.cancel, h.ended, h.err = cancel, make(chan struct{}), nil
	h.first, h.once = make(chan struct{}), &sync.Once{}
	ended := h.ended
	h.a.work.Go(func() error {
		defer close(ended)
		h.run(ctx)
		return nil
	})
}

// run serves, and tries again when that ends with an error.
func (h *host) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := h.serve(ctx)
		h.mu.Lock()
		h.syncer, h.preview, h.mount, h.demand, h.ready = nil, nil, nil, nil, false
		if ctx.Err() == nil || h.err == nil {
			h.err = err
		}
		h.mu.Unlock()
		h.attempted()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			h.a.log.Error("a folder is not served", "folder", h.folder.Name, "err", err)
			h.note(syncer.Operation{What: "error", Text: err.Error()})
		}
		timer := time.NewTimer(retryServe)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (h *host) attempted() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.once.Do(func() { close(h.first) })
}

// tried is closed after the first attempt to serve the folder.
func (h *host) tried() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first
}

// running is the folder's syncer while it is served.
func (h *host) running() *syncer.Syncer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.syncer
}

// stop ends serving: no more changes come in, what waits is captured, and sent
// if that is quick.
func (h *host) stop(lazy bool) error {
	h.mu.Lock()
	cancel, ended, m, s, ready := h.cancel, h.ended, h.mount, h.syncer, h.ready
	h.mu.Unlock()
	if cancel == nil {
		return nil
	}
	if s != nil {
		s.Freeze()
	}
	var err error
	if m != nil {
		err = m.Unmount()
	}
	if s != nil && ready {
		ctx, done := context.WithTimeout(context.Background(), stopTime)
		keep := s.Flush
		if s.Paused() {
			keep = s.Secure
		}
		if ferr := keep(ctx); ferr != nil {
			h.a.log.Info("not everything was sent before the stop; it is kept and sent later", "folder", h.folder.Name, "err", ferr)
		}
		if lerr := s.Leave(ctx); lerr != nil {
			h.a.log.Info("displaced files stay until the next start", "folder", h.folder.Name, "err", lerr)
		}
		done()
	}
	cancel()
	<-ended
	h.mu.Lock()
	h.cancel = nil
	h.mu.Unlock()
	if lazy {
		return nil
	}
	return err
}

// serve opens the folder's directory, mounts it, and keeps it in step with its
// line until ctx or the mount ends.
func (h *host) serve(ctx context.Context) (err error) {
	path := h.folder.Path
	if err := cleanStale(path, h.a.log); err != nil {
		return err
	}
	if err := h.a.checkPath(path, h.folder.ID); err != nil {
		return err
	}
	if err := h.checkMountPoint(); err != nil {
		return err
	}
	root, err := disk.OpenRoot(h.contentPath())
	if err != nil {
		return err
	}
	closing := func() { root.Close() }
	defer func() { closing() }()
	unlock, err := lockRoot(root)
	if err != nil {
		return err
	}
	defer unlock()

	late := &lateMount{}
	d, s, err := h.open(root, late)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.preview = s
	s.Pause(h.pause.On)
	h.mu.Unlock()
	if err := h.restore(ctx, s, root); err != nil {
		return err
	}
	var m mounting
	syncer.KeepTime(root, func() { m, err = h.mountOn(ctx, root, d, s) })
	if err != nil {
		return err
	}
	if err := h.a.lock.serves(connectionOf(m)); err != nil {
		h.a.log.Warn("the lock does not name a mount", "folder", h.folder.Name, "err", err)
	}
	late.set(m)
	closing = func() { h.leave(m, root) }
	h.mu.Lock()
	h.mount = m
	h.mu.Unlock()
	return h.work(ctx, root, d, s, m)
}

// lingerTime is how long the end of a mount is waited for.
const lingerTime = 2 * time.Second

// leave takes the mount off the tree. Programs that still use it go on with
// what they have open: they are served for as long as the agent lives, and
// nobody waits for them.
func (h *host) leave(m mounting, root *disk.Root) {
	if err := m.Unmount(); err != nil {
		h.a.log.Warn("unmount", "folder", h.folder.Name, "err", err)
	}
	gone := make(chan struct{})
	h.a.lingering.Go(func() {
		defer close(gone)
		syncer.KeepTime(root, m.Wait)
		root.Close()
		if err := h.a.lock.served(connectionOf(m)); err != nil {
			h.a.log.Warn("the lock names a mount that has ended", "folder", h.folder.Name, "err", err)
		}
	})
	timer := time.NewTimer(lingerTime)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
		h.a.log.Info("programs still use the mount that was taken away", "folder", h.folder.Name)
	}
}

// work runs the watch, the scan and the syncer of a mounted folder.
func (h *host) work(ctx context.Context, root *disk.Root, d *folder.Folder, s *syncer.Syncer, m mounting) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := d.Watch(ctx, func(path string) { m.Invalidate(path) })
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
	g.Go(func() error {
		if err := s.Attach(ctx); err != nil {
			return err
		}
		h.mu.Lock()
		h.syncer, h.ready = s, true
		h.mu.Unlock()
		h.attempted()
		return s.Run(ctx)
	})
	if h.demand != nil {
		g.Go(func() error { return h.demand.Run(ctx) })
	}
	g.Go(func() error {
		h.copies.follow(ctx, h.due, s.Root, func(err error) { h.a.log.Warn("conflict copies", "folder", h.folder.Name, "err", err) })
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-m.Done():
		}
		return h.unmounted(ctx)
	})
	g.Go(func() error { return h.watchRoot(ctx, root) })
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// errUnmounted is a mount that somebody else took away.
var errUnmounted = errors.New("it was unmounted from outside")

// unmounted decides what the end of the mount means: our own stop, which then
// goes on, or somebody's umount, which counts as ours.
func (h *host) unmounted(ctx context.Context) error {
	timer := time.NewTimer(stopTime + time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-timer.C:
		return errUnmounted
	}
}

// open prepares the folder and its syncer.
func (h *host) open(root *disk.Root, late *lateMount) (*folder.Folder, *syncer.Syncer, error) {
	a := h.a
	db := a.db.Folder(h.folder.ID)
	owners := disk.NewOwners()
	stateDir := folderDir(a.o.Dirs, h.folder.ID)
	_, baseErr := syncer.ReadBase(stateDir)
	d, err := folder.Open(folder.Options{
		Root: root, Records: db.Records(), Mounted: !h.folder.NoMount, Settle: a.o.Settle,
		ID: h.folder.ID, Attach: baseErr != nil, Stubs: h.onDemand(), TempDir: tempDir(a.o.Dirs), Owners: owners,
		Logger: a.log.With("folder", h.folder.Name), Now: a.o.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	var s *syncer.Syncer
	stubs, err := h.openDemand(root, d, owners, late, func(ctx context.Context, path string, e versions.Entry) (bool, error) {
		return s.Safe(ctx, path, e)
	})
	if err != nil {
		return nil, nil, err
	}
	s, err = syncer.New(syncer.Options{
		ID: h.folder.ID, Name: h.folder.Name, Kind: h.folder.Kind, Repository: a.repo.Setup.Repository,
		StateDir: stateDir, QueueDir: queueDir(a.o.Dirs, h.folder.ID),
		Settle: a.o.Settle, Slice: a.o.CommitEvery,
		Root: root, Disk: d, Applier: late, Stubs: stubs, Owners: owners, Hidden: hidden,
		Trees: a.trees, Contents: a.contents, Store: a.store, Lines: a.lines, Meta: db, Packs: a.packs,
		Device: a.repo.Setup.Device, Host: a.o.Host, User: a.o.User,
		Identify:    a.identify,
		ScanAtFlush: h.folder.NoMount,
		Notify:      late.notify,
		Note:        h.note,
		Now:         a.o.Now, Logger: a.log,
	})
	return d, s, err
}

// hidden tells names in a root that are ours.
func hidden(name string) bool { return strings.HasPrefix(name, folder.StagePrefix) }

// restore fills a new directory from the remote before it is mounted.
func (h *host) restore(ctx context.Context, s *syncer.Syncer, root *disk.Root) error {
	if h.onDemand() {
		return h.restoreFolded(ctx, s, root)
	}
	dir := folderDir(h.a.o.Dirs, h.folder.ID)
	_, err := syncer.ReadBase(dir)
	if err == nil {
		return nil
	}
	empty, err := isEmptyDir(h.folder.Path)
	if err != nil {
		return err
	}
	if !empty && !syncer.Restoring(dir) {
		return nil // what is there is compared, file by file, when it is scanned
	}
	return s.WhileResumed(ctx, func(ctx context.Context) error { return s.Restore(ctx, h.folder.Path) })
}

// note writes an operation of the folder into the log.
func (h *host) note(op syncer.Operation) {
	o := Operation{
		Time: h.a.o.Now(), Folder: h.folder.Name, What: op.What, Text: op.Text, Total: op.Total,
		Path: op.Path, RawPath: quoted(op.Path),
	}
	for _, f := range op.Files {
		o.Files = append(o.Files, FileChange{Path: f.Path, RawPath: quoted(f.Path), Change: f.Change, Type: TypeName(f.Kind), Size: f.Size})
	}
	if !op.Instant.IsZero() {
		o.Instant = op.Instant.String()
	}
	h.a.ops.add(o)
	kick(h.due)
}

// history is the folder's part of the database.
func (h *host) history() *meta.Folder { return h.a.db.Folder(h.folder.ID) }

// status of the folder.
func (h *host) status() FolderStatus {
	h.mu.Lock()
	s, preview, m, ready, err, demand := h.syncer, h.preview, h.mount, h.ready, h.err, h.demand
	started := h.cancel != nil
	h.mu.Unlock()
	st := FolderStatus{FolderInfo: h.info(), State: StateStopped}
	st.Mounted = m != nil && !h.folder.NoMount
	st.Passthrough = passing(m)
	if demand != nil {
		st.HereBytes = demand.Kept()
	}
	if s == nil {
		s = preview
	}
	if s != nil {
		fillStatus(&st, s.Status())
	}
	switch {
	case err != nil && s == nil:
		st.Error, st.State = err.Error(), StateStopped
	case started && !ready:
		st.State = StateStarting
	}
	st.Conflicts = h.copies.count()
	if p := h.paused(); p.On {
		st.Paused, st.PausedUntil = true, p.Until
		if st.State == StateSafe || st.State == StatePending || st.State == StateOffline {
			st.State = StatePaused
		}
	}
	return st
}

// info describes the folder from what is known here.
func (h *host) info() FolderInfo {
	f := h.folder
	i := FolderInfo{ID: f.ID, Name: f.Name, Kind: f.Kind, Path: f.Path, NoMount: f.NoMount, VersionsName: f.VersionsName, OnDemand: h.onDemand()}
	if h.onDemand() {
		i.Content = h.contentPath()
	}
	if m, err := h.history().SnapshotAt(zeroInstant); err == nil {
		i.Instant, i.Time = m.Record.Instant.String(), m.Record.Instant.Time()
		i.Files, i.Bytes = m.Record.Root.Count, m.Record.Root.Size
	}
	return i
}

// fillStatus translates the syncer's view.
func fillStatus(st *FolderStatus, s syncer.Status) {
	st.State = stateOf(s.State)
	st.PendingFiles, st.PendingBytes, st.Queued = s.PendingFiles, s.PendingBytes, s.Queued
	st.LastSnapshot, st.LastSync = s.LastSnapshot, s.LastSync
	st.Holds, st.Waiting, st.Refused = toHolds(s.Holds), s.Waiting, s.Refused
	if s.Err != nil {
		st.Error = s.Err.Error()
	}
	for _, t := range s.Trouble {
		st.Problems = append(st.Problems, Problem{Path: t.Path, Text: t.Err.Error(), Note: t.Note})
		if !t.Note && (st.State == StateSafe || st.State == StatePending) {
			st.State = StateProblem
		}
	}
	if a := s.Activity; a.Stage != "" {
		st.Activity = &Progress{
			Stage: a.Stage, Folder: st.Name,
			Files: a.Files, TotalFiles: a.TotalFiles, Bytes: a.Bytes, TotalBytes: a.TotalBytes,
		}
	}
}

func stateOf(s syncer.State) State {
	switch s {
	case syncer.Safe:
		return StateSafe
	case syncer.Pending:
		return StatePending
	case syncer.Offline:
		return StateOffline
	case syncer.Unprotected:
		return StateUnprotected
	case syncer.Problem, syncer.Refused:
		return StateProblem
	case syncer.Held:
		return StateHeld
	case syncer.Starting:
		return StateStarting
	}
	panic(fmt.Sprintf("state %d", s)) // cannot happen: all are listed
}
