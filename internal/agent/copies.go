package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// copies knows which conflict copies are in a folder's tree. The whole tree is
// looked through once; from then on a new one costs what differs. What it knows
// is kept in the database, so that a restart costs nothing either.
type copies struct {
	trees *versions.Trees
	db    *meta.Folder // nil: nothing is kept

	turn sync.Mutex // held by who looks

	mu    sync.Mutex // guards all below
	known bool       // what the database has was read
	root  versions.Entry
	paths []string // sorted
}

// count is how many were found last, without looking.
func (c *copies) count() int {
	c.turnless()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.paths)
}

// turnless reads what the database has, once.
func (c *copies) turnless() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known || c.db == nil {
		return
	}
	c.known = true
	if root, paths, err := c.db.Copies(); err == nil { // else they are found again
		c.root, c.paths = root, paths
	}
}

// in finds the conflict copies in the tree of root.
func (c *copies) in(ctx context.Context, root versions.Entry) ([]string, error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.turnless()
	c.mu.Lock()
	last, paths := c.root, c.paths
	c.mu.Unlock()
	if versions.Equal(last, root) {
		return paths, nil
	}
	found := make(map[string]bool, len(paths))
	for _, p := range paths {
		found[p] = true
	}
	err := c.compare(ctx, last, root, found)
	if err != nil && !last.IsZero() && ctx.Err() == nil {
		// The tree before may be gone from everywhere: look through all of this.
		clear(found)
		err = c.compare(ctx, versions.Entry{}, root, found)
	}
	if err != nil {
		return nil, fmt.Errorf("look for conflict copies: %w", err)
	}
	paths = slices.Sorted(maps.Keys(found))
	c.mu.Lock()
	c.root, c.paths = root, paths
	c.mu.Unlock()
	if c.db != nil {
		return paths, c.db.SetCopies(root, paths)
	}
	return paths, nil
}

func (c *copies) compare(ctx context.Context, old, new versions.Entry, found map[string]bool) error {
	return c.trees.Diff(ctx, old, new, func(d versions.Change) error {
		_, name := splitPath(d.Path)
		if _, ok := reconcile.ParseCopy(name); !ok {
			return nil
		}
		if d.New == nil {
			delete(found, d.Path)
		} else {
			found[d.Path] = true
		}
		return nil
	})
}

// copiesPause is how long what changed is left alone before it is looked
// through: rounds go first.
const copiesPause = 200 * time.Millisecond

// follow keeps count true while the folder is served: due is kicked when the
// tree has changed.
func (c *copies) follow(ctx context.Context, due <-chan struct{}, root func() versions.Entry, failed func(error)) {
	for {
		timer := time.NewTimer(copiesPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if _, err := c.in(ctx, root()); err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
		}
	}
}
