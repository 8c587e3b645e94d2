package versions

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Walk calls fn for root and everything below, a directory before what is in
// it, in path order (the names of each directory in byte order). fn returning
// SkipDir for a directory leaves out what is in it. Directories that come next
// are read ahead, in memory that does not grow with the tree.
func (t *Trees) Walk(ctx context.Context, root Entry, fn func(path string, e Entry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	w := &walker{t: t, ctx: ctx, dirs: list.New()}
	defer w.wg.Wait()
	defer cancel()
	if root.Kind == Dir && !root.Tree.IsZero() {
		w.dirs.PushBack(&walkDir{tree: root.Tree})
	}
	return w.visit("", root, 0, fn)
}

const (
	walkBatch   = 64      // directories that are read ahead at once
	walkEntries = 1 << 16 // entries read ahead at most, but for one batch
)

// walker holds the directories still to be visited, in the order of the walk.
// Those at the front are read ahead: where one has been read, its own
// directories take their place behind it.
type walker struct {
	t   *Trees
	ctx context.Context
	wg  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	dirs    *list.List // of *walkDir
	ahead   int        // entries read and not visited
	reading bool       // a batch is being read
}

// walkDir is a directory with something in it.
type walkDir struct {
	tree    chunk.ID
	depth   int
	done    chan struct{} // nil: nobody reads it yet; closed: entries or err is set
	entries []Entry
	err     error
	skipped bool
}

func (w *walker) visit(path string, e Entry, depth int, fn func(string, Entry) error) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	err := fn(path, e)
	isDir := e.Kind == Dir && !e.Tree.IsZero()
	if errors.Is(err, SkipDir) {
		if isDir {
			w.skip(depth)
		}
		return nil
	}
	if err != nil || !isDir {
		return err
	}
	entries, err := w.next()
	if err != nil {
		return fmt.Errorf("read directory %q: %w", path, err)
	}
	for i := range entries {
		if err := w.visit(join(path, entries[i].Name), entries[i], depth+1, fn); err != nil {
			return err
		}
	}
	return nil
}

// skip drops the front directory, with everything of it that was read ahead.
func (w *walker) skip(depth int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for first := true; ; first = false {
		e := w.dirs.Front()
		if e == nil || !first && e.Value.(*walkDir).depth <= depth {
			return
		}
		d := w.dirs.Remove(e).(*walkDir)
		d.skipped = true
		w.ahead -= len(d.entries)
	}
}

// next takes the front directory, the one that is visited now, and sees to it
// that those behind it are being read.
func (w *walker) next() ([]Entry, error) {
	w.mu.Lock()
	e := w.dirs.Front()
	d := e.Value.(*walkDir)
	if d.done == nil || !w.reading && w.ahead < walkEntries/2 {
		w.readAhead()
	}
	if d.done == nil { // another batch is on its way
		d.done = make(chan struct{})
		w.mu.Unlock()
		w.read(e)
	} else {
		w.mu.Unlock()
	}
	select {
	case <-d.done:
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs.Remove(e)
	w.ahead -= len(d.entries)
	return d.entries, d.err
}

// readAhead starts to read the directories at the front that nobody reads yet.
// w.mu is held.
func (w *walker) readAhead() {
	if w.reading {
		return
	}
	var batch []*list.Element
	var ids []chunk.ID
	seen := 0
	for e := w.dirs.Front(); e != nil && len(batch) < walkBatch && seen < 4*walkBatch; e = e.Next() {
		seen++
		if d := e.Value.(*walkDir); d.done == nil {
			d.done = make(chan struct{})
			batch = append(batch, e)
			ids = append(ids, d.tree)
		}
	}
	if len(batch) == 0 {
		return
	}
	w.reading = true
	w.wg.Go(func() {
		prefetch(w.ctx, w.t.chunks, chunk.Tree, ids)
		for _, e := range batch {
			w.read(e)
		}
		w.mu.Lock()
		w.reading = false
		w.mu.Unlock()
	})
}

// read reads one directory and puts those in it behind it.
func (w *walker) read(e *list.Element) {
	d := e.Value.(*walkDir)
	defer close(d.done)
	entries, err := w.t.Read(w.ctx, d.tree)
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.skipped {
		return
	}
	d.entries, d.err = entries, err
	w.ahead += len(d.entries)
	at := e
	for i := range d.entries {
		if c := &d.entries[i]; c.Kind == Dir && !c.Tree.IsZero() {
			at = w.dirs.InsertAfter(&walkDir{tree: c.Tree, depth: d.depth + 1}, at)
		}
	}
}
