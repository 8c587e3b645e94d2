package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/syncer"
)

// progressInterval is how often a waiting client is told.
const progressInterval = 100 * time.Millisecond

// add makes a directory a folder.
func (a *Agent) add(ctx context.Context, r AddRequest, progress func(Progress)) (FolderStatus, error) {
	path, err := a.prepare(r.Path, "", r.NoMount)
	if err != nil {
		return FolderStatus{}, err
	}
	if !r.NoMount {
		if err := checkVersionsName(path, r.VersionsName); err != nil {
			return FolderStatus{}, err
		}
	}
	if r.Name == "" {
		r.Name = filepath.Base(path)
	}
	if err := validFolderName(r.Name); err != nil {
		return FolderStatus{}, err
	}
	created, err := a.lines.Create(ctx, r.Name, "sync")
	if errors.Is(err, fs.ErrExist) {
		return FolderStatus{}, fmt.Errorf("the repository has a folder %q already: bring it here with \"syncfs get %s DIR\", or choose another --name: %w", r.Name, r.Name, fs.ErrExist)
	}
	if err != nil {
		return FolderStatus{}, err
	}
	// A prune that has read the heads before this one was made bumps it no more:
	// its marks must be known before the first snapshot relies on anything.
	if err := a.store.Refresh(ctx); err != nil {
		return FolderStatus{}, err
	}
	if err := a.db.Folder(created.ID).SetComplete(); err != nil { // it has no past yet
		return FolderStatus{}, err
	}
	h, err := a.register(registered{
		ID: created.ID, Name: r.Name, Kind: created.Kind, Path: path,
		NoMount: r.NoMount, VersionsName: r.VersionsName, Show: r.Show,
	})
	if err != nil {
		return FolderStatus{}, err
	}
	return a.firstServe(ctx, h, progress, func(*syncer.Syncer) (bool, error) { return true, nil })
}

// get brings a folder of the repository to this machine.
func (a *Agent) get(ctx context.Context, r GetRequest, progress func(Progress)) (FolderStatus, error) {
	list, err := a.lines.Folders(ctx)
	i := slices.IndexFunc(list, func(f line.Folder) bool { return f.Name == r.Name })
	if i < 0 {
		if err != nil {
			return FolderStatus{}, err
		}
		names := make([]string, len(list))
		for i, f := range list {
			names[i] = f.Name
		}
		return FolderStatus{}, fmt.Errorf("%w: %q; the repository has %s", ErrUnknown, r.Name, orNone(names))
	}
	f := list[i]
	if f.Kind != "sync" {
		return FolderStatus{}, fmt.Errorf("%w: %q is a folder of kind %s, which nothing but its own machine writes: \"syncfs mount\" shows it, \"syncfs restore\" brings files back", ErrRefused, f.Name, f.Kind)
	}
	for _, h := range a.allHosts() {
		if h.folder.ID == f.ID {
			return FolderStatus{}, fmt.Errorf("%w: the folder %q is on this machine already, at %s", ErrRefused, f.Name, h.folder.Path)
		}
	}
	if err := atomicfile.MkdirAll(r.Path, 0o755); err != nil {
		return FolderStatus{}, err
	}
	path, err := a.prepare(r.Path, f.ID, r.NoMount)
	if err != nil {
		return FolderStatus{}, err
	}
	content, err := a.contentFor(r, path, f.ID)
	if err != nil {
		return FolderStatus{}, err
	}
	h, err := a.register(registered{
		ID: f.ID, Name: f.Name, Kind: f.Kind, Path: path, Content: content,
		NoMount: r.NoMount, VersionsName: r.VersionsName, Show: r.Show,
	})
	if err != nil {
		return FolderStatus{}, err
	}
	return a.firstServe(ctx, h, progress, func(s *syncer.Syncer) (bool, error) { return s.Reached(f.Number) })
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "no folders"
	}
	return strings.Join(names, ", ")
}

// prepare resolves a path and refuses what cannot be a folder.
func (a *Agent) prepare(path, id string, noMount bool) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%w: %q is not an absolute path", ErrRefused, path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%w: %s is not a directory", ErrRefused, real)
	}
	if err := a.checkPath(real, id); err != nil {
		return "", err
	}
	if err := checkFree(real); err != nil {
		return "", err
	}
	if !noMount {
		return real, checkFUSE()
	}
	return real, nil
}

// checkFree refuses a directory that another agent serves.
func checkFree(path string) error {
	root, err := disk.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := lockRoot(root)
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// validFolderName refuses names that commands could not spell.
func validFolderName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/:\x00\n") {
		return fmt.Errorf("%w: %q cannot name a folder", ErrRefused, name)
	}
	return nil
}

// register puts a folder into the list of this machine, durably, and starts it.
func (a *Agent) register(f registered) (*host, error) {
	a.registry.Lock()
	defer a.registry.Unlock()
	list, err := readFolders(a.o.Dirs)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(g registered) bool { return g.ID == f.ID || g.Name == f.Name }) {
		return nil, fmt.Errorf("%w: the folder %q is on this machine already", ErrRefused, f.Name)
	}
	if err := atomicfile.MkdirAll(folderDir(a.o.Dirs, f.ID), 0o700); err != nil {
		return nil, err
	}
	if err := writeFolders(a.o.Dirs, append(list, f)); err != nil {
		return nil, err
	}
	h := a.newHost(f)
	h.start()
	return h, nil
}

// firstServe waits until a new folder is in use and done says so; when the first
// attempt fails it is taken back, so that nothing half remains.
func (a *Agent) firstServe(ctx context.Context, h *host, progress func(Progress), done func(*syncer.Syncer) (bool, error)) (FolderStatus, error) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		if s := h.running(); s != nil {
			ok, err := done(s)
			if err != nil {
				return FolderStatus{}, errors.Join(err, a.remove(h.folder.Name))
			}
			if ok {
				return h.status(), nil
			}
		}
		h.mu.Lock()
		err := h.err
		h.mu.Unlock()
		if err != nil {
			return FolderStatus{}, errors.Join(err, a.remove(h.folder.Name))
		}
		select {
		case <-ctx.Done():
			return FolderStatus{}, ctx.Err()
		case <-tick.C:
		}
		if st := h.status(); st.Activity != nil {
			progress(*st.Activity)
		}
	}
}

// remove forgets a folder on this machine. Its files stay, and so does what
// waits for the remote, unless nothing does.
func (a *Agent) remove(name string) error {
	h, err := a.find(name)
	if err != nil {
		return err
	}
	stopErr := h.stop(true)
	a.registry.Lock()
	defer a.registry.Unlock()
	queued, err := os.ReadDir(queueDir(a.o.Dirs, h.folder.ID))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(queued) > 0 {
		h.start()
		return fmt.Errorf("%w: %d snapshots of %s are not on the remote yet", ErrBusy, len(queued), name)
	}
	list, err := readFolders(a.o.Dirs)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(f registered) bool { return f.ID == h.folder.ID })
	if err := writeFolders(a.o.Dirs, list); err != nil {
		return err
	}
	a.mu.Lock()
	a.hosts = slices.DeleteFunc(a.hosts, func(g *host) bool { return g == h })
	a.mu.Unlock()
	return errors.Join(stopErr, os.RemoveAll(folderDir(a.o.Dirs, h.folder.ID)), h.history().Drop())
}

// mountFolder serves a folder again.
func (a *Agent) mountFolder(ctx context.Context, name string, progress func(Progress)) (FolderStatus, error) {
	h, err := a.find(name)
	if err != nil {
		return FolderStatus{}, err
	}
	if err := a.setStopped(h, false); err != nil {
		return FolderStatus{}, err
	}
	h.start()
	for {
		select {
		case <-ctx.Done():
			return FolderStatus{}, ctx.Err()
		case <-time.After(progressInterval):
		case <-h.tried():
			h.mu.Lock()
			err := h.err
			h.mu.Unlock()
			return h.status(), err
		}
		if st := h.status(); st.Activity != nil {
			progress(*st.Activity)
		}
	}
}

// umountFolder ends serving a folder, also after a restart of the agent.
func (a *Agent) umountFolder(name string, lazy bool) error {
	h, err := a.find(name)
	if err != nil {
		return err
	}
	if err := a.setStopped(h, true); err != nil {
		return err
	}
	return h.stop(lazy)
}

func (a *Agent) setStopped(h *host, stopped bool) error {
	a.registry.Lock()
	defer a.registry.Unlock()
	list, err := readFolders(a.o.Dirs)
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].ID == h.folder.ID {
			list[i].Stopped = stopped
		}
	}
	return writeFolders(a.o.Dirs, list)
}

// flush waits for one folder or all.
func (a *Agent) flush(ctx context.Context, r FlushRequest) error {
	hosts := a.allHosts()
	if r.Name != "" {
		h, err := a.find(r.Name)
		if err != nil {
			return err
		}
		hosts = []*host{h}
	}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	kick(a.wake) // somebody waits: try the event stream now
	var g errgroup.Group
	for _, h := range hosts {
		g.Go(func() error { return h.flush(ctx) })
	}
	err := g.Wait()
	a.mu.Lock()
	why := a.why
	a.mu.Unlock()
	if errors.Is(err, ErrTimeout) && why != nil && !errors.Is(err, blob.ErrOffline) {
		err = fmt.Errorf("%w: %w", err, why) // a request may not know it yet
	}
	return err
}

// flush waits for the folder to be in use, and then for everything in it.
func (h *host) flush(ctx context.Context) error {
	for {
		if p := h.paused(); p.On {
			return h.pausedError(p)
		}
		if s := h.running(); s != nil {
			err := flushUnlessRefused(ctx, s)
			if errors.Is(err, syncer.ErrNotSafe) {
				err = fmt.Errorf("%w: %w", ErrTimeout, err)
			}
			return err
		}
		st := h.status()
		if st.State == StateStopped {
			return fmt.Errorf("folder %s is not served: %s: %w", h.folder.Name, orText(st.Error, "it was unmounted"), ErrBusy)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("folder %s: %w: it is still being looked at", h.folder.Name, ErrTimeout)
		case <-time.After(progressInterval):
		}
	}
}

// refusedTime is how long a key must have been refused before a flush gives up:
// waiting does not change that.
const refusedTime = 3 * time.Second

// flushUnlessRefused is Flush, ended when the remote refuses our key.
func flushUnlessRefused(parent context.Context, s *syncer.Syncer) error {
	ctx, cancel := context.WithCancel(parent)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		tick := time.NewTicker(refusedTime / 10)
		defer tick.Stop()
		for refused := 0; refused < 10; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if refused++; !errors.Is(s.Status().Err, blob.ErrUnauthorized) {
				refused = 0
			}
		}
		cancel()
	})
	return s.Flush(ctx)
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// status of everything.
func (a *Agent) status() Status {
	a.mu.Lock()
	st := Status{
		PID: os.Getpid(), Version: a.o.Version, Repository: a.repo.Setup.Repository, URL: a.repo.Setup.URL,
		Online: a.online, Since: a.since, Limits: a.limits, Notes: slices.Clone(a.notes), Folders: []FolderStatus{},
	}
	if a.why != nil {
		st.Error = a.why.Error()
	}
	a.mu.Unlock()
	_, st.SpoolBytes = a.store.Pending()
	for _, h := range a.allHosts() {
		st.Folders = append(st.Folders, h.status())
	}
	slices.SortFunc(st.Folders, func(x, y FolderStatus) int { return strings.Compare(x.Name, y.Name) })
	return st
}

// folders lists all folders of the repository; without the remote, those of
// this machine.
func (a *Agent) folders(ctx context.Context) ([]FolderInfo, error) {
	var local []FolderInfo
	for _, h := range a.allHosts() {
		local = append(local, h.status().FolderInfo)
	}
	list, err := a.lines.Folders(ctx)
	if err != nil && len(list) == 0 {
		if len(local) > 0 {
			return local, nil
		}
		return nil, err
	}
	return joinFolders(list, local), nil
}

// joinFolders is what the remote tells, with what this machine knows of it.
func joinFolders(remote []line.Folder, local []FolderInfo) []FolderInfo {
	out := []FolderInfo{}
	known := map[string]FolderInfo{}
	for _, f := range local {
		known[f.ID] = f
	}
	for _, f := range remote {
		i, here := known[f.ID]
		if !here {
			i = FolderInfo{ID: f.ID, Name: f.Name, Kind: f.Kind}
		}
		delete(known, f.ID)
		if !f.Snapshot.IsZero() && !f.Instant.Time().Before(i.Time) {
			i.Instant, i.Time = f.Instant.String(), f.Instant.Time()
			i.Files, i.Bytes = f.Root.Count, f.Root.Size
		}
		out = append(out, i)
	}
	for _, f := range local {
		if _, left := known[f.ID]; left {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(x, y FolderInfo) int { return strings.Compare(x.Name, y.Name) })
	return out
}
