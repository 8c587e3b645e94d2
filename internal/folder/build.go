package folder

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// Built is a new state of the whole tree.
type Built struct {
	Root                    versions.Entry
	Dirs                    []versions.DirChange // against the state before, with what Applied changed since
	Added, Changed, Removed int64
	Files, Bytes            int64 // content read in this build
	Unstable                int64 // of them, taken while they were being written
	Waiting                 int   // dirty paths left for later: being written, or not settled
	// Inexact: a directory that is not here has come, moved or gone, and what is
	// in it is neither counted nor in Dirs.
	Inexact bool
	Partial bool // Enough said so: some of what is new is left for later

	build *build
}

// BuildOptions say what a build takes.
type BuildOptions struct {
	Rested   bool                     // only what rested for Settle (capture); else all that nobody is writing
	Before   time.Time                // not zero: of what is being written, take what was dirty by then, flagged unstable
	Force    bool                     // take all that is being written, flagged unstable
	Progress func(files, bytes int64) // what was read since the last call, by several goroutines at once; may be nil
	// Enough is asked before new content is read. Once it says so, what is new
	// is left to the next build: this one holds what is whole so far, and all
	// that was recorded before. It is for records that are known to be those of
	// the last snapshot: otherwise what is left would pass for deleted. Nil: all
	// is taken.
	Enough func() bool
	// Reread reads everything, also what has not changed.
	Reread bool
	// NothingNew leaves all that is new, as if Enough had said so at once.
	NothingNew bool
	// Rules are rules for directories that hold none on this disk: at a first
	// attach, those of the remote. io/fs.ErrNotExist where there are none; nil:
	// nowhere.
	Rules func(dir string) ([]byte, error)
	// Was is what a path is in the tree of which the records may have been
	// lost; nil where there is nothing. It is asked in directories without a
	// record alone. Nil: nothing is known.
	Was func(path string) (*versions.Entry, error)
}

// build is one run of Build.
type build struct {
	f        *Folder
	trees    *versions.Trees
	contents *versions.Contents
	o        BuildOptions
	now      time.Time
	relist   bool
	jobs     chan *job
	spill    *spill
	weak     bool // a disk that holds hardly any attributes, as those that fold names; set before all else
	rules    *rulebook
	root     rootRecord

	added, changed, removed, files, bytes, unstable atomic.Int64

	partial atomic.Bool // Enough has said so

	mu      sync.Mutex // guards all below
	dirs    []versions.DirChange
	gone    map[string]bool // records to remove
	links   map[inode][16]byte
	waiting []waiting
	failed  error
	inexact bool // see Built
}

// waiting is a path that stays dirty.
type waiting struct {
	path  string
	mark  mark // without what is below
	after time.Duration
}

// Build takes the dirty set, reads what changed (a file that moves while it is
// read is read again), stores content and listings, and returns the new tree.
// Nil when nothing changed. The dirty set keeps what could not be taken.
//
// It is also not nil when Applied has changed the records: then Root may be
// what the remote has already.
func (f *Folder) Build(ctx context.Context, trees *versions.Trees, contents *versions.Contents, o BuildOptions) (*Built, error) {
	f.change.Lock()
	defer f.change.Unlock()
	f.drop()
	if err := f.checkRoot(); err != nil {
		return nil, err
	}
	root, _, err := f.rootRecord()
	if err != nil {
		return nil, err
	}
	taken, relist := f.take()
	if taken == nil && root.entry != nil && !o.Reread {
		return nil, nil
	}
	b := &build{
		f: f, trees: trees, contents: contents, o: o, now: f.o.Now(), relist: relist, root: root,
		spill: &spill{dir: f.o.TempDir}, rules: f.rulebook(), gone: make(map[string]bool), links: make(map[inode][16]byte),
	}
	b.rules.extra = o.Rules
	b.partial.Store(o.NothingNew && !relist)
	top, err := b.run(ctx, taken)
	f.give(b, err == nil)
	if err != nil {
		b.spill.close()
		f.untake(relist)
		return nil, fmt.Errorf("build %s: %w", f.o.Root.Path(), err)
	}
	built := b.result(top)
	if built == nil {
		// Nothing but signatures is new: that needs no snapshot to be durable.
		err := f.save(b)
		b.spill.close()
		if err != nil {
			f.untake(relist)
			return nil, err
		}
		return nil, nil
	}
	f.built = b
	return built, nil
}

// take makes the dirty set the one in flight; nil when there is none.
func (f *Folder) take() (*marks, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.replaced)
	f.markNames(f.o.Now())
	f.lookAgain(f.o.Now())
	if f.dirty.root.empty() && !f.relist {
		return nil, false
	}
	f.flight, f.dirty = f.dirty, &marks{}
	relist := f.relist
	f.relist = false
	return f.flight, relist
}

// give puts back what a build left for later.
func (f *Folder) give(b *build, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := time.Duration(0)
	for _, w := range b.waiting {
		one := &marks{}
		m := one.node(w.path)
		*m = w.mark
		m.below = nil
		f.dirty.merge(one)
		if next == 0 || w.after < next {
			next = w.after
		}
	}
	if ok && next > 0 {
		f.pokeIn(next)
	}
}

// untake makes dirty again what a build had taken.
func (f *Folder) untake(relist bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relist = f.relist || relist
	if f.flight != nil {
		f.dirty.merge(f.flight)
		f.flight = nil
		f.bound()
	}
}

// drop gives up a build that was not recorded. With change held.
func (f *Folder) drop() {
	if f.built == nil {
		return
	}
	f.built.spill.close()
	f.untake(f.built.relist)
	f.built = nil
}

func (b *build) run(ctx context.Context, taken *marks) (*task, error) {
	if taken == nil {
		taken = &marks{} // an empty folder that was never taken
	}
	workers := runtime.GOMAXPROCS(0) + 2
	b.jobs = make(chan *job, 16*workers)
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			for j := range b.jobs { // to the end, also after an error: the walk must not block
				if ctx.Err() == nil && b.err() == nil {
					b.work(ctx, j)
				}
				j.task.leave()
				b.done(ctx, j.task)
			}
			return nil
		})
	}
	top := &task{path: "", root: true}
	g.Go(func() error {
		defer close(b.jobs)
		top.left.Store(1)
		b.open(ctx, top, &taken.root, b.root.entry == nil || b.relist || b.o.Reread)
		b.done(ctx, top)
		return ctx.Err()
	})
	err := g.Wait()
	if failed := b.err(); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	if top.missing != nil {
		return nil, top.missing
	}
	return top, nil
}

// fatal ends the build: what it notes is not about one file.
func (b *build) fatal(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil {
		b.failed = err
	}
}

func (b *build) err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// result is what the build found, nil when the tree is as recorded.
func (b *build) result(top *task) *Built {
	b.root.sig, b.root.seen = top.sig, top.seen
	old := b.root.entry
	b.root.entry = &top.entry
	if old != nil && versions.Equal(*old, top.entry) {
		return nil
	}
	// A directory that went and came in one build came.
	slices.SortStableFunc(b.dirs, func(x, y versions.DirChange) int {
		if c := strings.Compare(x.Path, y.Path); c != 0 {
			return c
		}
		switch {
		case x.Gone == y.Gone:
			return 0
		case x.Gone:
			return 1
		}
		return -1
	})
	b.dirs = slices.CompactFunc(b.dirs, func(x, y versions.DirChange) bool { return x.Path == y.Path })
	return &Built{
		Root: top.entry, Dirs: b.dirs, build: b, Waiting: len(b.waiting), Partial: b.partial.Load(),
		Added: b.added.Load(), Changed: b.changed.Load(), Removed: b.removed.Load(),
		Files: b.files.Load(), Bytes: b.bytes.Load(), Unstable: b.unstable.Load(), Inexact: b.inexact,
	}
}

func (b *build) dirChanged(path string, tree chunk.ID, gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirs = append(b.dirs, versions.DirChange{Path: path, Tree: tree, Gone: gone})
}

// guessed notes that what is below a folded directory was not looked at.
func (b *build) guessed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inexact = true
}

// wait leaves path for later: why, in the mark that it had.
func (b *build) wait(path string, m *mark, after time.Duration) {
	w := waiting{path: path, after: max(after, 20*time.Millisecond)}
	if m != nil {
		w.mark = *m
	}
	w.mark.below, w.mark.size = nil, 0
	if !w.mark.self {
		w.mark = mark{self: true, touched: true, deep: w.mark.deep, since: w.mark.since, at: w.mark.at}
	}
	if w.mark.since.IsZero() {
		w.mark.since = b.now
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, w)
}

// age is how long path has rested: since it was last marked or, when that is
// not known, since its inode changed. A time in the future says nothing.
func (b *build) age(m *mark, sig *disk.Sig) time.Duration {
	age := time.Duration(1<<62 - 1)
	if m != nil && m.self && !m.at.IsZero() {
		age = b.now.Sub(m.at)
	}
	if sig != nil {
		if inode := b.now.Sub(time.Unix(0, sig.CTime)); inode > -b.f.o.Settle {
			age = min(age, inode)
		}
	}
	return age
}

// record reads one directory's record; nil when there is none that can be read:
// then all of it is read again.
func (b *build) record(dir string) *record {
	data, err := b.f.o.Records.Get(dir)
	if err != nil {
		b.fatal(fmt.Errorf("record of directory %q: %w", dir, err))
		return nil
	}
	if data == nil {
		return nil
	}
	r, err := parseRecord(data)
	if err != nil {
		b.f.o.Logger.Warn("a directory's record is damaged; it is read again", "dir", dir)
		return nil
	}
	return r
}

// keep saves a directory's new record.
func (b *build) keep(dir string, data []byte) {
	if err := b.spill.add(dir, data); err != nil {
		b.fatal(err)
	}
}
