package versions

import (
	"context"
	"errors"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Change is one difference between two trees.
type Change struct {
	Path     string
	Old, New *Entry // nil: not there
}

// Diff calls fn for every path at which two trees differ, in path order (the
// names of each directory in byte order), a directory before what is in it.
// Equal subtrees, and equal pieces of large directories, are not read. A
// directory is reported when its own attributes differ, when it is new or gone
// (then also everything in it), not only because something in it changed; fn
// returning SkipDir for one leaves out what is in it. The zero Entry stands for
// no tree at all.
func (t *Trees) Diff(ctx context.Context, a, b Entry, fn func(Change) error) error {
	var x, y *Entry
	if !a.IsZero() {
		x = &a
	}
	if !b.IsZero() {
		y = &b
	}
	if x == nil && y == nil || x != nil && y != nil && Equal(a, b) {
		return nil
	}
	return t.diff(ctx, "", x, y, fn)
}

// diff reports one path and goes on below it; a and b differ.
func (t *Trees) diff(ctx context.Context, path string, a, b *Entry, fn func(Change) error) error {
	if a == nil || b == nil || a.Kind != b.Kind || a.Kind != Dir || !SameAttributes(*a, *b) {
		if err := fn(Change{Path: path, Old: a, New: b}); err != nil {
			if errors.Is(err, SkipDir) {
				return nil
			}
			return err
		}
	}
	old, new := listingOf(a), listingOf(b)
	if old == new {
		return nil
	}
	var pairs []Change
	err := t.DiffDir(ctx, old, new, func(x, y *Entry) error {
		pairs = append(pairs, Change{Old: x, New: y})
		return nil
	})
	if err != nil {
		return err
	}
	for i, p := range pairs {
		if i%prefetchPieces == 0 {
			t.prefetchPairs(ctx, pairs[i:min(len(pairs), i+prefetchPieces)])
		}
		name := ""
		if p.Old != nil {
			name = p.Old.Name
		} else {
			name = p.New.Name
		}
		if err := t.diff(ctx, join(path, name), p.Old, p.New, fn); err != nil {
			return err
		}
		pairs[i] = Change{} // what is done need not be kept
	}
	return nil
}

// listingOf is the listing of what may be no directory, or nothing.
func listingOf(e *Entry) chunk.ID {
	if e == nil {
		return chunk.ID{}
	}
	return e.Tree
}

// prefetchPairs asks for the listings that are read next.
func (t *Trees) prefetchPairs(ctx context.Context, pairs []Change) {
	var ids []chunk.ID
	for _, p := range pairs {
		a, b := listingOf(p.Old), listingOf(p.New)
		if a == b {
			continue
		}
		for _, id := range []chunk.ID{a, b} {
			if !id.IsZero() {
				ids = append(ids, id)
			}
		}
	}
	prefetch(ctx, t.chunks, chunk.Tree, ids)
}

// DiffDir calls fn for every name under which two listings differ, in order,
// with what each has there (nil: nothing). Directories are compared by their
// entries alone, nothing below them is read; nor are equal pieces.
func (t *Trees) DiffDir(ctx context.Context, a, b chunk.ID, fn func(old, new *Entry) error) error {
	if a == b {
		return nil
	}
	x, y := pending(a), pending(b)
	for {
		if err := errors.Join(x.start(ctx, t), y.start(ctx, t)); err != nil {
			return err
		}
		switch {
		case x.empty() && y.empty():
			return nil
		case y.empty() || !x.empty() && x.name() < y.name():
			if err := x.alone(ctx, t, func(e *Entry) error { return fn(e, nil) }); err != nil {
				return err
			}
		case x.empty() || y.name() < x.name():
			if err := y.alone(ctx, t, func(e *Entry) error { return fn(nil, e) }); err != nil {
				return err
			}
		default:
			if err := both(ctx, t, x, y, fn); err != nil {
				return err
			}
		}
	}
}

// both moves two cursors that stand at the same name.
func both(ctx context.Context, t *Trees, x, y *cursor, fn func(old, new *Entry) error) error {
	a, b := *x.top(), *y.top()
	switch {
	case a.level >= 0 && a.level == b.level && a.item.id == b.item.id:
		x.pop()
		y.pop()
		return nil
	case a.level < 0 && b.level < 0:
		x.pop()
		y.pop()
		if Equal(*a.entry, *b.entry) {
			return nil
		}
		return fn(a.entry, b.entry)
	}
	// Open the higher one: an equal piece may stand at the start of it.
	if a.level >= b.level {
		if err := x.open(ctx, t); err != nil {
			return err
		}
	}
	if b.level >= a.level {
		return y.open(ctx, t)
	}
	return nil
}

// cursor goes through a listing without opening pieces before it must.
type cursor struct {
	root  chunk.ID
	stack []pendingElement // next last
}

// pendingElement is an entry, or a piece that was not opened yet.
type pendingElement struct {
	level int // of the piece; -1: an entry
	item  item
	entry *Entry
}

func pending(id chunk.ID) *cursor { return &cursor{root: id} }

// start reads the root, whose first name nothing tells.
func (c *cursor) start(ctx context.Context, t *Trees) error {
	if c.root.IsZero() {
		return nil
	}
	n, err := t.node(ctx, c.root)
	if err != nil {
		return err
	}
	c.root = chunk.ID{}
	c.push(n)
	return nil
}

func (c *cursor) empty() bool          { return len(c.stack) == 0 }
func (c *cursor) top() *pendingElement { return &c.stack[len(c.stack)-1] }
func (c *cursor) pop()                 { c.stack = c.stack[:len(c.stack)-1] }

// name at which the cursor stands.
func (c *cursor) name() string {
	e := c.top()
	if e.level < 0 {
		return e.entry.Name
	}
	return e.item.first
}

func (c *cursor) push(n *node) {
	for i := len(n.entries) - 1; i >= 0; i-- {
		c.stack = append(c.stack, pendingElement{level: -1, entry: &n.entries[i]})
	}
	for i := len(n.items) - 1; i >= 0; i-- {
		c.stack = append(c.stack, pendingElement{level: n.level - 1, item: n.items[i]})
	}
}

// open replaces the piece on top by what is in it.
func (c *cursor) open(ctx context.Context, t *Trees) error {
	e := *c.top()
	n, err := t.childNode(ctx, e.level, e.item)
	if err != nil {
		return err
	}
	c.pop()
	c.push(n)
	return nil
}

// alone moves a cursor that stands before the other one: an entry is only
// here, a piece is opened.
func (c *cursor) alone(ctx context.Context, t *Trees, fn func(*Entry) error) error {
	e := *c.top()
	if e.level >= 0 {
		return c.open(ctx, t)
	}
	c.pop()
	return fn(e.entry)
}
