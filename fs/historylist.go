//go:build linux

package fs

import (
	"container/list"
	"context"
	"errors"
	iofs "io/fs"
	"sort"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// listing is one directory, sorted by name. It never changes.
type listing struct {
	tree    chunk.ID
	entries []versions.Entry
	bytes   int64
}

func newListing(tree chunk.ID, entries []versions.Entry) *listing {
	l := &listing{tree: tree, entries: entries, bytes: 128}
	for i := range entries {
		e := &entries[i]
		l.bytes += 288 + int64(len(e.Name)+len(e.Target)+40*len(e.Pieces)+16*len(e.Holes))
		for _, x := range e.Xattrs {
			l.bytes += int64(64 + len(x.Name) + len(x.Value))
		}
	}
	return l
}

// find returns nil when there is no such name.
func (l *listing) find(name string) (*versions.Entry, int) {
	i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Name >= name })
	if i == len(l.entries) || l.entries[i].Name != name {
		return nil, -1
	}
	return &l.entries[i], i
}

// listings keeps the listings that were used last, within a bound. One listing
// is read once, however many ask for it at a time.
type listings struct {
	mu    sync.Mutex
	max   int64
	bytes int64
	byID  map[chunk.ID]*list.Element // of *listing
	order list.List                  // most recently used first
	loads map[chunk.ID]*load

	large *listing // one that is too large for the others, while it is in use
	used  bool     // large was used since the last sweep
	asked bool     // any was asked for since the last sweep
	quiet int      // sweeps in a row without that
}

// quietSweeps in a row in which nobody asked, ten seconds or a little more, and
// all listings go: before an agent at rest gives its memory back.
const quietSweeps = 2

type load struct {
	done chan struct{}
	list *listing
	err  error
}

func (c *listings) init(limit int64) {
	c.max = limit
	c.byID = map[chunk.ID]*list.Element{}
	c.loads = map[chunk.ID]*load{}
}

// cached returns nil when the listing is not in memory.
func (c *listings) cached(tree chunk.ID) *listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cachedLocked(tree)
}

func (c *listings) cachedLocked(tree chunk.ID) *listing {
	c.asked = true
	if c.large != nil && c.large.tree == tree {
		c.used = true
		return c.large
	}
	at := c.byID[tree]
	if at == nil {
		return nil
	}
	c.order.MoveToFront(at)
	return at.Value.(*listing)
}

// get returns a listing, from memory or by read.
func (c *listings) get(ctx context.Context, tree chunk.ID, read func(context.Context, chunk.ID) ([]versions.Entry, error)) (*listing, error) {
	for {
		c.mu.Lock()
		if l := c.cachedLocked(tree); l != nil {
			c.mu.Unlock()
			return l, nil
		}
		running := c.loads[tree]
		if running == nil {
			running = &load{done: make(chan struct{})}
			c.loads[tree] = running
			c.mu.Unlock()
			return c.load(ctx, tree, running, read)
		}
		c.mu.Unlock()
		select {
		case <-running.done:
		case <-ctx.Done():
			return nil, context.Canceled
		}
		// The one that read it may have been interrupted; we were not.
		if running.err == nil || !errors.Is(running.err, context.Canceled) {
			return running.list, running.err
		}
	}
}

func (c *listings) load(ctx context.Context, tree chunk.ID, l *load, read func(context.Context, chunk.ID) ([]versions.Entry, error)) (*listing, error) {
	l.err = context.Canceled // what the others get if read panics
	defer func() {
		c.mu.Lock()
		delete(c.loads, tree)
		if l.err == nil {
			c.put(l.list)
		}
		c.mu.Unlock()
		close(l.done)
	}()
	entries, err := read(ctx, tree)
	if err == nil {
		l.list = newListing(tree, entries)
	}
	l.err = err
	return l.list, l.err
}

// put keeps a listing. A large one would only push out the others, so it is
// kept beside them, and not for long.
func (c *listings) put(l *listing) {
	if c.isLarge(l) {
		c.large, c.used = l, true
		return
	}
	if c.byID[l.tree] != nil {
		return
	}
	c.byID[l.tree] = c.order.PushFront(l)
	c.bytes += l.bytes
	for c.bytes > c.max {
		last := c.order.Back()
		old := c.order.Remove(last).(*listing)
		delete(c.byID, old.tree)
		c.bytes -= old.bytes
	}
}

func (c *listings) isLarge(l *listing) bool { return l.bytes > c.max/4 }

// sweep drops a large listing that was not used since the last sweep, and all
// when none was for long. It tells whether any is left.
func (c *listings) sweep() (left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.used {
		c.large = nil
	}
	if c.quiet++; c.asked {
		c.quiet = 0
	}
	if c.quiet >= quietSweeps {
		c.byID, c.bytes = map[chunk.ID]*list.Element{}, 0
		c.order.Init()
	}
	c.used, c.asked = false, false
	return c.large != nil || len(c.byID) > 0
}

func (c *listings) size() (n int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes = len(c.byID), c.bytes
	if c.large != nil {
		n, bytes = n+1, bytes+c.large.bytes
	}
	return n, bytes
}

// listing reads the directory with this tree; the zero ID is an empty one.
func (h *History) listing(ctx context.Context, tree chunk.ID) (*listing, error) {
	if tree.IsZero() {
		return &listing{}, nil
	}
	l, err := h.listings.get(ctx, tree, h.o.Source.Read)
	h.sweepSoon()
	return l, err
}

// placeIn is a place in a listing as nodes use it: -1 where the listing is too
// large to be at hand when a file is asked for by its place.
func (h *History) placeIn(l *listing, i int) int {
	if h.listings.isLarge(l) {
		return -1
	}
	return i
}

// lookupsBeforeListing is how many names are looked up one by one, each of which
// reads a small part of a listing, before all of it is read.
const lookupsBeforeListing = 8

// lookup finds one name in a directory's tree, and its place in the listing if
// that was read (else -1); nil when there is none.
func (h *History) lookup(ctx context.Context, dir *pastDir, tree chunk.ID, name string) (e *versions.Entry, place int, err error) {
	if tree.IsZero() {
		return nil, -1, nil
	}
	if l := h.listings.cached(tree); l != nil {
		e, place = l.find(name)
		return e, h.placeIn(l, place), nil
	}
	if dir.manyLookups() || h.nodes.hasPlaced(dir) {
		l, err := h.listing(ctx, tree)
		if err != nil {
			return nil, -1, err
		}
		e, place = l.find(name)
		return e, h.placeIn(l, place), nil
	}
	found, err := h.o.Source.Lookup(ctx, tree, name)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, -1, nil
	}
	if err != nil {
		return nil, -1, err
	}
	return &found, -1, nil
}

// manyLookups counts one more.
func (d *pastDir) manyLookups() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookups++
	if d.lookups <= lookupsBeforeListing {
		return false
	}
	d.lookups = 0
	return true
}

// What one directory makes us do ahead.
const (
	prefetchMax = 256 // listings that the source is told of
	readAhead   = 64  // listings that are read, when somebody walks
)

// prefetch brings the listings of a directory's subdirectories near, since a
// walk will want them next. It is a walk when the directory above was listed
// too.
func (h *History) prefetch(n *pastNode, l *listing) {
	n.dir.listed.Store(true)
	source, ok := h.o.Source.(Prefetcher)
	walk := n.dir.frozen && n.parent != nil && n.parent.dir.frozen && n.parent.dir.listed.Load()
	if !ok && !walk || h.ctx.Err() != nil {
		return
	}
	var trees []chunk.ID
	for i := range l.entries {
		if e := &l.entries[i]; e.Kind == versions.Dir && !e.Tree.IsZero() && h.listings.cached(e.Tree) == nil {
			if trees = append(trees, e.Tree); len(trees) == prefetchMax {
				break
			}
		}
	}
	if len(trees) == 0 {
		return
	}
	select {
	case h.ahead <- struct{}{}:
	default:
		return // enough are under way
	}
	h.work.Go(func() {
		defer func() { <-h.ahead }()
		if ok {
			source.Prefetch(h.ctx, trees)
		}
		if !walk {
			return
		}
		for _, tree := range trees[:min(len(trees), readAhead)] {
			if _, err := h.listing(h.ctx, tree); err != nil {
				return // who needs it will say so
			}
		}
	})
}

// momentCache keeps the moments of a few directories for a short time: to list
// .versions with attributes, they are needed once for every instant.
type momentCache struct {
	now   func() time.Time
	mu    sync.Mutex
	byDir map[string]*momentList
}

type momentList struct {
	moments  []Moment
	complete bool
	until    time.Time
}

const momentLists = 16

func (c *momentCache) init(now func() time.Time) {
	c.now, c.byDir = now, map[string]*momentList{}
}

func (c *momentCache) get(dir string) *momentList {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.byDir[dir]
	if l == nil || !c.now().Before(l.until) || l.until.Sub(c.now()) > listValid*time.Second {
		return nil
	}
	return l
}

// put keeps a list if it is still fresh, which is asked under the lock that
// drop takes after a list went stale.
func (c *momentCache) put(dir string, l *momentList, fresh func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !fresh() {
		return
	}
	for old := range c.byDir {
		if len(c.byDir) < momentLists {
			break
		}
		delete(c.byDir, old)
	}
	l.until = c.now().Add(listValid * time.Second)
	c.byDir[dir] = l
}

func (c *momentCache) drop(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byDir, dir)
}

func (c *momentCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.byDir)
}

// momentsOf lists a directory's moments, ascending.
func (h *History) momentsOf(ctx context.Context, dir string) ([]Moment, bool, error) {
	if l := h.moments.get(dir); l != nil {
		return l.moments, l.complete, nil
	}
	epoch := h.epoch.Load()
	moments, complete, err := h.o.Source.Moments(ctx, dir)
	if err != nil {
		return nil, false, err
	}
	// A snapshot that landed meanwhile may not be in the list.
	h.moments.put(dir, &momentList{moments: moments, complete: complete}, func() bool { return h.epoch.Load() == epoch })
	return moments, complete, nil
}
