package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// Options of the agent.
type Options struct {
	Dirs config.Dirs
	Exe  []string // command line of the applier child, such as [/usr/bin/syncfs, applier]
	// GuardExe is the command line of the process that calls Guard; nil: there is
	// none.
	GuardExe []string
	Only     []string // names of the folders to serve; nil: all
	// Command runs one command line of this program, away from every mount, and
	// ends it with ctx; nil: nothing is repeated.
	Command func(ctx context.Context, args []string) Outcome

	NoPassthrough bool          // serve every read and write ourselves
	AllowOther    bool          // let other users into the mounts (where permitted)
	SpoolLimit    int64         // bytes; 0: only the disk's
	CacheLimit    int64         // bytes; 0: the store's default
	Limits        Limits        // of the traffic with a server; a directory has none
	OnDemandLimit int64         // bytes of content that on-demand folders keep here; 0: no limit
	NoFetch       []string      // names of programs for which none is fetched
	CommitEvery   time.Duration // how long new content is read before what is whole is committed; 0: five minutes
	Settle        time.Duration // how long a file rests before it is captured; 0: one second
	MaintainEvery time.Duration // how often the remote is put in order; 0: every hour

	// Secrets are asked, in this order, for the passphrase that protects this
	// machine's key, where one does.
	Secrets []Secret

	Version string       // told in Status
	Ready   func(Status) // called once, when every folder is being served; may be nil
	Logger  *slog.Logger // nil: discard
	Now     func() time.Time
	Host    string // "": the host's and the user's name
	User    string
}

// Agent is the running process.
type Agent struct {
	o     Options
	log   *slog.Logger
	lock  *homeLock
	repo  *Repository
	store *store.Store
	lines *line.Lines
	db    *meta.DB
	packs *syncer.Packs
	ops   *operations
	since time.Time
	stop  context.CancelFunc

	trees    *versions.Trees
	contents *versions.Contents
	identity string // of this machine; opens the repository

	work      errgroup.Group // everything that runs; waited for by Run
	lingering sync.WaitGroup // mounts that were taken away and are still used; nobody waits

	wake chan struct{} // ends the pause before the next event stream
	back chan struct{} // the remote can be reached again

	paused chan struct{} // some pause has begun or ended

	registry  sync.Mutex    // held while the list of folders is changed
	schedules sync.Mutex    // held while the list of schedules is changed
	due       chan struct{} // a schedule has changed

	mu     sync.Mutex // guards all below
	ctx    context.Context
	hosts  []*host
	online bool
	limits Limits
	why    error // not online
	notes  []string
}

// stopTime is how long a clean stop may take to send what waits.
const stopTime = 5 * time.Second

// Run is the agent: it serves until ctx ends or a client says Stop, then
// unmounts, sends what is quickly sent, and returns. ErrRunning with the pid of
// the one that runs; ErrNotConnected. It works without the remote.
func Run(ctx context.Context, o Options) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Host == "" {
		o.Host = hostName()
	}
	if o.User == "" {
		o.User = userName()
	}
	if o.MaintainEvery == 0 {
		o.MaintainEvery = maintainEvery
	}
	a := &Agent{
		o: o, log: o.Logger, packs: &syncer.Packs{}, ops: &operations{}, since: o.Now(),
		wake: make(chan struct{}, 1), back: make(chan struct{}, 1), paused: make(chan struct{}, 1), due: make(chan struct{}, 1),
	}
	if _, err := readRepository(o.Dirs); err != nil {
		return err
	}
	lock, err := takeLock(lockFile(o.Dirs))
	if err != nil {
		return err
	}
	defer lock.Close()
	a.lock = lock
	defer startGuard(o.GuardExe, a.log)()
	// Nothing of the agent may stand below one of its own mounts.
	if err := os.Chdir(string(filepath.Separator)); err != nil {
		return err
	}
	if err := a.unlock(ctx); err != nil {
		if errors.Is(err, ErrStopped) {
			return nil
		}
		return err
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	defer a.close()
	return a.serve(ctx)
}

// open opens everything that is not a folder.
func (a *Agent) open(ctx context.Context) (err error) {
	if a.repo, err = openRepository(ctx, a.o.Dirs, a.identity, a.log); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if err := atomicfile.MkdirAll(spoolDir(a.o.Dirs), 0o700); err != nil {
		return err
	}
	a.repo.remote.answered = a.answered
	a.limits = a.o.Limits
	a.repo.remote.limit(a.limits)
	err = waitFree(ctx, func() (err error) {
		a.store, err = store.Open(ctx, a.repo.Remote, a.repo.Keys, store.Options{
			SpoolDir: spoolDir(a.o.Dirs), SpoolLimit: a.o.SpoolLimit,
			CacheDir: chunkCacheDir(a.o.Dirs), CacheLimit: a.o.CacheLimit,
			OpenWithin: indexTime,
			Logger:     a.log, Now: a.o.Now,
		})
		return err
	})
	if err != nil {
		return err
	}
	a.lines = line.New(a.repo.Remote, a.repo.Keys)
	err = waitFree(ctx, func() (err error) {
		a.db, err = a.openDatabase()
		return err
	})
	if err != nil {
		return err
	}
	chunks := &syncer.Chunks{Store: a.store}
	a.trees = versions.NewTrees(chunks, a.repo.Keys.NameSecret())
	a.contents = versions.NewContents(chunks, a.repo.Keys.GearSecret())
	return nil
}

// indexTime is how long the agent waits for the remote's index at its start:
// whatever is wrong with the remote, the user's folders are mounted.
const indexTime = 5 * time.Second

// freeTime is how long the agent waits for a command that reads: most have
// ended by then.
const freeTime = 10 * time.Second

// waitFree opens what another process may still have open. ErrBusy when it does
// not let go.
func waitFree(ctx context.Context, open func() error) error {
	for end := time.Now().Add(freeTime); ; {
		err := open()
		if !errors.Is(err, meta.ErrLocked) && !errors.Is(err, store.ErrInUse) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *Agent) close() {
	if a.db != nil {
		if err := a.db.Close(); err != nil {
			a.log.Error("close the local database", "err", err)
		}
	}
	if a.store != nil {
		if err := a.store.Close(); err != nil {
			a.log.Error("close the store", "err", err)
		}
	}
	a.repo.Close()
}

// serve runs until ctx ends or a client stops it.
func (a *Agent) serve(parent context.Context) error {
	ctx, stop := context.WithCancel(parent)
	defer stop()
	a.stop = stop
	listener, err := listen(a.o.Dirs)
	if err != nil {
		return err
	}
	// What runs ends when we say so, not when ctx does: stopping takes care of
	// what waits.
	running, end := context.WithCancel(context.WithoutCancel(parent))
	defer end()
	a.mu.Lock()
	a.ctx = running
	a.mu.Unlock()
	folders, err := readFolders(a.o.Dirs)
	if err != nil {
		listener.Close()
		return err
	}
	for _, f := range folders {
		if a.o.Only == nil || slices.Contains(a.o.Only, f.Name) {
			h := a.newHost(f)
			if !f.Stopped {
				h.start()
			}
		}
	}
	control := a.newControl()
	a.work.Go(func() error { return control.serve(listener) })
	a.work.Go(func() error { a.watch(running); return nil })
	a.work.Go(func() error { a.revive(running); return nil })
	a.work.Go(func() error { a.endPauses(running); return nil })
	a.work.Go(func() error { a.watchNetwork(running); return nil })
	a.work.Go(func() error { a.calm(running); return nil })
	a.work.Go(func() error { a.maintain(running); return nil })
	if a.o.Command != nil {
		a.work.Go(func() error { a.keepSchedules(running); return nil })
	}
	a.work.Go(func() error { a.announce(ctx); return nil })

	<-ctx.Done()
	a.log.Info("stopping")
	a.stopHosts()
	end()
	control.close()
	return a.work.Wait()
}

// announce calls Ready when every folder is served, or has told why not.
func (a *Agent) announce(ctx context.Context) {
	for _, h := range a.allHosts() {
		select {
		case <-h.tried():
		case <-ctx.Done():
			return
		}
	}
	if a.o.Ready != nil {
		a.o.Ready(a.status())
	}
}

// stopHosts unmounts everything and sends what is quickly sent, all at once.
func (a *Agent) stopHosts() {
	var g errgroup.Group
	for _, h := range a.allHosts() {
		g.Go(func() error { return h.stop(false) })
	}
	if err := g.Wait(); err != nil {
		a.log.Warn("stop", "err", err)
	}
}

func (a *Agent) allHosts() []*host {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.hosts)
}

// find returns the host of a folder by name, or by a path that it serves.
func (a *Agent) find(name string) (*host, error) {
	for _, h := range a.allHosts() {
		if h.folder.Name == name || h.folder.Path == name {
			return h, nil
		}
	}
	return nil, fmt.Errorf("%w on this machine: %q", ErrUnknown, name)
}

// openDatabase opens the local database, and builds a new one when it is broken.
func (a *Agent) openDatabase() (*meta.DB, error) {
	dir := databaseDir(a.o.Dirs)
	_, statErr := os.Stat(dir)
	db, err := meta.Open(dir, a.log)
	if errors.Is(err, meta.ErrBroken) {
		aside := dir + ".broken"
		if rerr := os.RemoveAll(aside); rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		if rerr := os.Rename(dir, aside); rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		a.tell(fmt.Sprintf("the local database was broken (%v); it lies in %s, and a new one is being built from the folders and the remote", err, aside))
		return meta.Open(dir, a.log)
	}
	if err == nil && statErr != nil {
		if folders, ferr := readFolders(a.o.Dirs); ferr == nil && len(folders) > 0 {
			a.tell("the local database was missing; a new one is being built from the folders and the remote")
		}
	}
	return db, err
}

// tell notes something that the agent did by itself.
func (a *Agent) tell(text string) {
	a.log.Warn(text)
	a.mu.Lock()
	a.notes = append(a.notes, text)
	a.mu.Unlock()
	a.ops.add(Operation{Time: a.o.Now(), What: "note", Text: text})
}
