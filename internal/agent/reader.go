package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// Reader reads the past of a repository in the command's own process: snapshot
// lists come from the agent if one runs, else from the local database and the
// remote; content from the caches and the remote.
type Reader struct {
	repo     *Repository
	dirs     config.Dirs
	store    *store.Store
	lines    *line.Lines
	trees    *versions.Trees
	contents *versions.Contents
	client   *Client  // nil: no agent runs
	db       *meta.DB // nil: the agent has it
	temp     string   // directory of db, when it is this reader's own; removed at Close
	log      *slog.Logger
	now      func() time.Time
	local    []registered
	loaded   map[string]bool // folders whose records were read from the remote
}

// OpenReader opens the repository of this HOME for reading; ErrNotConnected.
func OpenReader(ctx context.Context, dirs config.Dirs, log *slog.Logger) (*Reader, error) {
	return openReader(ctx, dirs, log, false)
}

// openReader opens a Reader; one that is modest keeps nobody else from the state
// of this HOME, however long it lives: what is on this machine only it sees
// through the agent, or not.
func openReader(ctx context.Context, dirs config.Dirs, log *slog.Logger, modest bool) (*Reader, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Reader{dirs: dirs, log: log, now: time.Now, loaded: map[string]bool{}}
	if err := r.open(ctx, log, modest); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Reader) open(ctx context.Context, log *slog.Logger, modest bool) (err error) {
	if r.repo, err = OpenRepository(ctx, r.dirs, log); err != nil {
		return err
	}
	if r.local, err = readFolders(r.dirs); err != nil {
		return err
	}
	o := store.Options{CacheDir: chunkCacheDir(r.dirs), Logger: log}
	r.client, err = Dial(r.dirs)
	if errors.Is(err, ErrNotRunning) {
		if !modest {
			o.SpoolDir = spoolDir(r.dirs)
		}
		err = r.openDatabase(modest)
	} else if err == nil {
		if st, serr := r.client.Status(ctx); serr == nil && !st.Online && st.Error != "" {
			r.repo.remote.doubt()
		}
	}
	if err != nil {
		return err
	}
	r.store, err = store.Open(ctx, r.repo.Remote, r.repo.Keys, o)
	if errors.Is(err, store.ErrInUse) { // another command, or an agent that just starts
		o.SpoolDir = ""
		r.store, err = store.Open(ctx, r.repo.Remote, r.repo.Keys, o)
	}
	if err != nil {
		return err
	}
	r.lines = line.New(r.repo.Remote, r.repo.Keys)
	chunks := &readChunks{Store: r.store, client: r.client}
	r.trees = versions.NewTrees(chunks, r.repo.Keys.NameSecret())
	r.contents = versions.NewContents(chunks, r.repo.Keys.GearSecret())
	return nil
}

// openDatabase opens the database of this HOME, or an empty one of this reader
// alone, which then learns from the remote.
func (r *Reader) openDatabase(own bool) (err error) {
	if !own {
		r.db, err = meta.Open(databaseDir(r.dirs), r.log)
		if !errors.Is(err, meta.ErrLocked) && !errors.Is(err, meta.ErrBroken) {
			return err
		}
		r.log.Info("working without the local database", "err", err)
	}
	if r.temp, err = os.MkdirTemp("", "syncfs-reader-"); err != nil {
		return err
	}
	r.db, err = meta.Open(r.temp, r.log)
	return err
}

// Close closes everything.
func (r *Reader) Close() error {
	var errs []error
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.db != nil {
		errs = append(errs, r.db.Close())
	}
	if r.temp != "" {
		errs = append(errs, os.RemoveAll(r.temp))
	}
	if r.client != nil {
		errs = append(errs, r.client.Close())
	}
	if r.repo != nil {
		errs = append(errs, r.repo.Close())
	}
	return errors.Join(errs...)
}

// readChunks reads from the remote and the caches, and from the agent what only
// its spool has.
type readChunks struct {
	*store.Store
	client *Client
}

// Get is store.Store.Get.
func (c *readChunks) Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	data, err := c.Store.Get(ctx, kind, id)
	if err == nil || c.client == nil {
		return data, err
	}
	if fromAgent, aerr := c.client.chunk(ctx, kind, id); aerr == nil {
		return fromAgent, nil
	}
	return data, err
}

// Repository is the connection that this reader works with; it ends with it.
func (r *Reader) Repository() *Repository { return r.repo }

// Trees reads listings.
func (r *Reader) Trees() *versions.Trees { return r.trees }

// Contents reads files.
func (r *Reader) Contents() *versions.Contents { return r.contents }

// Store is the chunk store, open for reading.
func (r *Reader) Store() *store.Store { return r.store }

// Lines are the folders on the remote.
func (r *Reader) Lines() *line.Lines { return r.lines }

func isOffline(err error) bool { return errors.Is(err, blob.ErrOffline) }

// Folders lists all folders of the repository, here or not; offline those that
// this machine knows of.
func (r *Reader) Folders(ctx context.Context) ([]FolderInfo, error) {
	if r.client != nil {
		var list []FolderInfo
		return list, r.client.get(ctx, "folders", nil, &list)
	}
	local := []FolderInfo{}
	for _, f := range r.local {
		i := FolderInfo{ID: f.ID, Name: f.Name, Kind: f.Kind, Path: f.Path, NoMount: f.NoMount, VersionsName: f.VersionsName}
		if m, err := r.db.Folder(f.ID).SnapshotAt(zeroInstant); err == nil {
			i.Instant, i.Time = m.Record.Instant.String(), m.Record.Instant.Time()
			i.Files, i.Bytes = m.Record.Root.Count, m.Record.Root.Size
		}
		local = append(local, i)
	}
	list, err := r.lines.Folders(ctx)
	if err != nil && len(list) == 0 {
		if isOffline(err) && len(local) > 0 {
			return local, nil
		}
		return nil, err
	}
	return joinFolders(list, local), nil
}

// past of a folder. Without an agent its records are read from the remote first.
func (r *Reader) past(ctx context.Context, folder FolderInfo) (past, error) {
	if r.client != nil {
		return agentPast{c: r.client, id: folder.ID}, nil
	}
	f := r.db.Folder(folder.ID)
	if r.loaded[folder.ID] {
		return databasePast{f}, nil
	}
	r.loaded[folder.ID] = true
	err := syncer.LoadHistory(ctx, r.lines, r.store, f, folder.ID, nil)
	if err == nil {
		return databasePast{f}, nil
	}
	if _, none := f.SnapshotAt(zeroInstant); isOffline(err) && none == nil {
		return databasePast{f}, nil
	}
	return nil, fmt.Errorf("folder %s: %w", folder.Name, err)
}

// SnapshotInfo is one snapshot.
type SnapshotInfo struct {
	ID       chunk.ID
	Number   uint64 // 0: not on the remote yet
	Received time.Time
	*versions.Snapshot
}

func infoOf(s meta.Snapshot) SnapshotInfo {
	i := SnapshotInfo{ID: s.ID, Number: s.Number, Snapshot: s.Record}
	if s.Number > 0 {
		i.Received = time.Unix(0, s.Received)
	}
	return i
}

// Snapshots of a folder by instant, ascending. ErrOffline when this machine
// knows none and cannot ask.
func (r *Reader) Snapshots(ctx context.Context, folder FolderInfo) ([]SnapshotInfo, error) {
	p, err := r.past(ctx, folder)
	if err != nil {
		return nil, err
	}
	list, err := p.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]SnapshotInfo, len(list))
	for i, s := range list {
		out[i] = infoOf(s)
	}
	return out, nil
}

// Moments of a directory, ascending.
func (r *Reader) Moments(ctx context.Context, p Place) ([]meta.Moment, error) {
	past, err := r.past(ctx, p.Folder)
	if err != nil {
		return nil, err
	}
	list, _, err := past.moments(ctx, p.Rel)
	return list, err
}

// Found is what was at a place at an instant.
type Found struct {
	Entry    versions.Entry
	Snapshot SnapshotInfo
}

// At finds a place as it was. ErrNoInstant names the instants that there are;
// io/fs.ErrNotExist when the place did not exist then.
func (r *Reader) At(ctx context.Context, p Place, w versions.When) (Found, error) {
	list, err := r.Snapshots(ctx, p.Folder)
	if err != nil {
		return Found{}, err
	}
	instants := make([]versions.Instant, len(list))
	for i, s := range list {
		instants[i] = s.Instant
	}
	i, ok := w.Pick(instants, r.now())
	if !ok {
		return Found{}, fmt.Errorf("%w: folder %s: %w", ErrNoInstant, p.Folder.Name, w.Missing(instants, r.now()))
	}
	e, err := r.trees.Resolve(ctx, list[i].Root, p.Rel)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, versions.ErrNotDir) {
		return Found{}, fmt.Errorf("%s:%s did not exist at %s: %w", p.Folder.Name, p.Rel, list[i].Instant, fs.ErrNotExist)
	}
	if err != nil {
		return Found{}, err
	}
	return Found{Entry: e, Snapshot: list[i]}, nil
}

// newestAt is the newest of ascending snapshots that is not after at (zero: the
// newest).
func newestAt(list []meta.Snapshot, at versions.Instant) (meta.Snapshot, error) {
	for _, s := range slices.Backward(list) {
		if at.IsZero() || s.Record.Instant.Compare(at) <= 0 {
			return s, nil
		}
	}
	return meta.Snapshot{}, fmt.Errorf("there is no snapshot then: %w", os.ErrNotExist)
}

// folderNames are for errors.
func folderNames(list []FolderInfo) string {
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.Name
		if f.Path != "" {
			names[i] += " (" + f.Path + ")"
		}
	}
	return orNone(names)
}
