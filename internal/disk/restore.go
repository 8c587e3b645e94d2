package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/versions"
)

// Existing says what a restore does where something different is already.
type Existing int

// What may happen to what is there already. A directory is never replaced by a
// file, and nothing is ever removed that the tree does not name.
const (
	KeepExisting    Existing = iota // it stays and is reported
	ReplaceExisting                 // files and symlinks are replaced
	ReplaceOlder                    // those that are older are; what is newer stays
)

// RestoreOptions say how a tree is written to a directory.
type RestoreOptions struct {
	Existing Existing
	Compare  bool // read existing files of the right size and time as well, instead of taking them for equal
	Numeric  bool // owners by number, not by name
	Sync     bool // make everything durable before returning
	Workers  int  // 0: twice the processors
	// Filter leaves out what it returns false for, with all below it; nil takes
	// everything.
	Filter func(path string, e *versions.Entry) bool
	// Progress is told what was done since the last call, by several goroutines
	// at once; may be nil.
	Progress func(files, bytes int64)
}

// RestoreReport tells what a restore did.
type RestoreReport struct {
	Files, Dirs int64    // made; Files are all that are no directories
	Bytes       int64    // of content written
	Same        int64    // there already
	Newer       []string // left alone as newer
	Refused     []string // left alone as different
	Failed      []PathError
	Notes       []NoteCount
}

// PathError is one path, relative to the target, that something is wrong with.
type PathError struct {
	Path string
	Err  error
}

func (e PathError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e PathError) Unwrap() error { return e.Err }

// NoteCount is a note and how often it was met, first on Path.
type NoteCount struct {
	Note
	Path  string
	Count int
}

// Restore writes the tree below root into the directory at target, which is
// made when there is none; of an entry that is no directory, that entry under
// its name. Every file is complete, with all its metadata, before it gets its
// name. A path that fails is reported and the rest goes on; the error is about
// what ended the whole. No symlink below target is followed.
func Restore(ctx context.Context, trees *versions.Trees, contents *versions.Contents, root versions.Entry, target string, o RestoreOptions) (RestoreReport, error) {
	_, statErr := os.Lstat(target)
	if err := os.MkdirAll(target, 0o700); err != nil {
		return RestoreReport{}, fmt.Errorf("restore: %w", err)
	}
	at, err := OpenRoot(target)
	if err != nil {
		return RestoreReport{}, fmt.Errorf("restore: %w", err)
	}
	defer at.Close()
	if o.Workers <= 0 {
		o.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	r := &restorer{
		trees: trees, contents: contents, o: o, at: at,
		create: CreateOptions{Owner: os.Geteuid() == 0},
		prefix: partName(),
		groups: make(map[[16]byte]first), notes: make(map[string]*NoteCount),
	}
	if !o.Numeric {
		r.create.Owners = NewOwners()
	}
	top := &node{entry: root, made: errors.Is(statErr, os.ErrNotExist)}
	if root.Kind != versions.Dir {
		top.made = false
	} else if !top.made {
		top.made, err = isEmpty(at)
		if err != nil {
			return RestoreReport{}, fmt.Errorf("restore: %w", err)
		}
	}
	err = r.run(ctx, top)
	if err == nil && o.Sync {
		err = at.syncDisk()
	}
	if err != nil {
		err = fmt.Errorf("restore to %s: %w", target, err)
	}
	return r.result(), err
}

func isEmpty(at *Root) (bool, error) {
	d, err := at.OpenDir("")
	if err != nil {
		return false, err
	}
	defer d.Close()
	list, err := d.List()
	return len(list) == 0, err
}

func (r *Root) syncDisk() error {
	d, err := r.OpenDir("")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.SyncDisk()
}

// restorer is one run of Restore.
type restorer struct {
	trees    *versions.Trees
	contents *versions.Contents
	o        RestoreOptions
	create   CreateOptions
	at       *Root
	prefix   string // of the names of files that are not complete
	jobs     chan job

	files, dirs, bytes, equal, parts atomic.Int64

	mu        sync.Mutex         // guards all below
	groups    map[[16]byte]first // of a hard-link group that was met
	later     []later
	finishing bool // nothing is put off any more
	newer     []string
	refused   []string
	failed    []PathError
	notes     map[string]*NoteCount
}

// first is the first file of a hard-link group: path is "" before it stands
// complete.
type first struct {
	path  string
	entry versions.Entry
}

// later is a file of a hard-link group that waits for the group's first.
type later struct {
	dir   *node
	entry versions.Entry
}

// node is a directory that is being filled. It gets its own metadata when
// nothing in it is left to do, since every name in it moves its time.
type node struct {
	parent *node
	path   string
	entry  versions.Entry
	made   bool         // by us: what is in it is ours alone
	left   atomic.Int32 // batches, directories and the listing itself
}

// job is a batch of entries of one directory, none of them directories.
type job struct {
	dir     *node
	entries []versions.Entry
}

const (
	batchFiles = 64
	batchBytes = 4 << 20
)

func (r *restorer) run(parent context.Context, top *node) error {
	r.jobs = make(chan job, 2*r.o.Workers)
	g, ctx := errgroup.WithContext(parent)
	for range r.o.Workers {
		g.Go(func() error {
			for j := range r.jobs {
				if ctx.Err() == nil {
					r.batch(ctx, j.dir, j.entries)
				}
				r.done(j.dir)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(r.jobs)
		top.left.Store(1)
		if top.entry.Kind != versions.Dir {
			if r.o.Filter == nil || r.o.Filter(top.entry.Name, &top.entry) {
				top.left.Add(1)
				r.jobs <- job{top, []versions.Entry{top.entry}}
			}
		} else {
			r.fill(ctx, top)
		}
		r.done(top)
		return ctx.Err()
	})
	if err := g.Wait(); err != nil {
		return err
	}
	// Every group's first file stands now, or has failed.
	r.finishing = true
	for _, l := range r.later {
		if err := parent.Err(); err != nil {
			return err
		}
		r.batch(parent, l.dir, []versions.Entry{l.entry})
		r.done(l.dir)
	}
	return nil
}

// fill makes the directories below n and hands the rest out.
func (r *restorer) fill(ctx context.Context, n *node) {
	dir, err := r.at.OpenDir(n.path)
	if err != nil {
		r.fail(n.path, err)
		return
	}
	if !n.made {
		sweepParts(dir)
	}
	var below []*node
	var batch []versions.Entry
	var size int64
	flush := func() {
		if len(batch) > 0 {
			n.left.Add(1)
			r.jobs <- job{n, batch}
			batch, size = nil, 0
		}
	}
	err = r.trees.List(ctx, n.entry.Tree, "", func(e versions.Entry) error {
		path := relative(n.path, e.Name)
		if r.o.Filter != nil && !r.o.Filter(path, &e) {
			return nil
		}
		if e.Kind != versions.Dir {
			batch, size = append(batch, e), size+e.Size
			if len(batch) == batchFiles || size >= batchBytes {
				flush()
			}
			return nil
		}
		if made, ok := r.mkdir(dir, path, e.Name); ok {
			n.left.Add(1)
			sub := &node{parent: n, path: path, entry: e, made: made}
			sub.left.Store(1)
			below = append(below, sub)
		}
		return nil
	})
	flush()
	dir.Close()
	if err != nil && ctx.Err() == nil {
		r.fail(n.path, err)
	}
	for _, sub := range below {
		if ctx.Err() == nil {
			r.fill(ctx, sub)
		}
		r.done(sub)
	}
}

// mkdir makes a directory, or uses the one that is there.
func (r *restorer) mkdir(dir *Dir, path, name string) (made, ok bool) {
	err := error(&os.PathError{Op: "mkdir", Path: path, Err: syscall.EINVAL})
	if dir.Holds(name) {
		err = dir.Mkdir(name)
	}
	if errors.Is(err, os.ErrExist) {
		exact, serr := dir.Exact(name)
		var st Stat
		if serr == nil {
			st, serr = dir.Stat(name)
		}
		switch {
		case serr != nil:
			err = serr
		case !exact: // another's name leads to the same
			r.refuse(path)
			return false, false
		case st.Type() == TypeDir:
			return false, true
		case r.o.Existing != ReplaceExisting:
			r.refuse(path)
			return false, false
		default:
			if err = dir.Remove(name); err == nil {
				err = dir.Mkdir(name)
			}
		}
	}
	if err != nil {
		r.fail(path, err)
		return false, false
	}
	r.dirs.Add(1)
	return true, true
}

// done counts one thing of n as finished; the last one sets n's metadata.
func (r *restorer) done(n *node) {
	for ; n != nil && n.left.Add(-1) == 0; n = n.parent {
		if n.entry.Kind != versions.Dir || !n.made && (n.parent == nil || r.o.Existing != ReplaceExisting) {
			continue
		}
		dir, err := r.at.OpenDir(n.path)
		if err != nil {
			r.fail(n.path, err)
			continue
		}
		_, notes, err := dir.SetSelfMeta(MetaOf(n.entry, r.create))
		dir.Close()
		if err != nil {
			r.fail(n.path, err)
		}
		r.note(n.path, notes)
	}
}

func (r *restorer) fail(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, PathError{path, err})
}

func (r *restorer) refuse(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, path)
}

func (r *restorer) leave(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newer = append(r.newer, path)
}

func (r *restorer) note(path string, notes []Note) {
	if len(notes) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range notes {
		if c := r.notes[n.What]; c != nil {
			c.Count++
			continue
		}
		r.notes[n.What] = &NoteCount{Note: n, Path: path, Count: 1}
	}
}

func (r *restorer) result() RestoreReport {
	slices.Sort(r.refused)
	slices.Sort(r.newer)
	slices.SortFunc(r.failed, func(a, b PathError) int { return cmp.Compare(a.Path, b.Path) })
	rep := RestoreReport{
		Files: r.files.Load(), Dirs: r.dirs.Load(), Bytes: r.bytes.Load(), Same: r.equal.Load(),
		Newer: r.newer, Refused: r.refused, Failed: r.failed,
	}
	for _, n := range r.notes {
		rep.Notes = append(rep.Notes, *n)
	}
	slices.SortFunc(rep.Notes, func(a, b NoteCount) int { return cmp.Compare(a.What, b.What) })
	return rep
}

func relative(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
