package folder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// task is a directory in the hands of a build. Whoever finishes the last thing
// in it makes its listing, and so on upwards: nothing waits, and no more of the
// tree is in memory than is being worked on.
type task struct {
	parent *task
	name   string
	path   string
	base   string  // recorded path of what this directory was
	old    *child  // what the parent's record has under this name, nil: nothing (or the root)
	origin *child  // what it was where it came from, nil: it did not come
	record *record // what is recorded of base, nil: nothing
	root   bool

	dir   *disk.Dir
	users atomic.Int32 // of dir

	entry   versions.Entry  // as read now
	seen    *versions.Entry // attributes that the disk shows; nil: those of entry
	sig     disk.Sig
	rest    bool  // new names in it were left for later; the walk's alone
	skipped bool  // not entered: the parent keeps what it has
	folded  bool  // nothing of it is here: its mark says what it holds
	missing error // root: why it could not be entered

	asked bool            // was is known
	was   *versions.Entry // what the directory was, where its record is lost

	lost map[string]bool // recorded directories that are none any more; the walk's alone

	left atomic.Int32 // files, directories and the listing itself
	out  atomic.Int64 // names that rules keep out

	mu    sync.Mutex // guards all below
	edits []edit
	tree  bool  // some edit changes the listing
	fresh bool  // some edit is a new name
	bytes int64 // what the edits add to the sizes
	count int64
}

func (t *task) lose(name string) {
	if t.lost == nil {
		t.lost = make(map[string]bool)
	}
	t.lost[name] = true
}

// enter and leave count who needs t.dir.
func (t *task) enter() { t.users.Add(1) }

func (t *task) leave() {
	if t.users.Add(-1) == 0 {
		t.dir.Close()
	}
}

// put notes what name is now. tree tells that the listing changes by it.
func (t *task) put(e edit, tree bool, bytes, count int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.edits = append(t.edits, e)
	t.tree = t.tree || tree
	t.bytes += bytes
	t.count += count
}

// become makes name what e says; old is what it was, seen what the disk shows.
func (b *build) become(t *task, old *child, e versions.Entry, seen *versions.Entry, sig disk.Sig, flags byte) {
	c := newChild(e, seen, sig, flags)
	if old == nil {
		b.added.Add(1)
		t.mu.Lock()
		t.fresh = true
		t.mu.Unlock()
		t.put(edit{e.Name, c}, true, e.Size, weight(e))
		return
	}
	was, err := old.entry()
	if err != nil {
		b.fatal(err)
		return
	}
	if versions.Equal(was, e) {
		t.put(edit{e.Name, c}, false, 0, 0) // only its signature is new
		return
	}
	if e.Kind != versions.Dir || !versions.SameAttributes(was, e) {
		b.changed.Add(1)
	}
	t.put(edit{e.Name, c}, true, e.Size-was.Size, weight(e)-weight(was))
}

// weight is what an entry adds to its directory's Count.
func weight(e versions.Entry) int64 {
	if e.Kind == versions.Dir {
		return e.Count
	}
	return 1
}

// vanish removes a name that is no more.
func (b *build) vanish(t *task, old *child, path string) {
	b.f.well(path)
	if old == nil {
		return
	}
	was, err := old.entry()
	if err != nil {
		b.fatal(err)
		return
	}
	if was.Kind == versions.Dir {
		b.bury(join(t.base, old.name), path)
	}
	if old.folded() {
		b.guessed()
	}
	b.removed.Add(1)
	if was.Link != [16]byte{} {
		b.f.unnamed(path)
	}
	if was.Kind == versions.Dir {
		b.removed.Add(was.Count)
	}
	t.put(edit{old.name, nil}, true, -was.Size, -weight(was))
}

// bury forgets the records of a directory and of all below it. base is where
// they are, path what the directory was called last.
func (b *build) bury(base, path string) {
	b.mu.Lock()
	b.gone[base] = true
	b.mu.Unlock()
	b.dirChanged(path, chunk.ID{}, true)
	r := b.record(base)
	if r == nil {
		return
	}
	err := r.each(func(c child) error {
		if c.isDir() {
			if c.folded() {
				b.guessed()
			}
			b.removed.Add(1)
			b.bury(join(base, c.name), join(path, c.name))
		}
		return nil
	})
	if err != nil {
		b.f.o.Logger.Warn("a directory's record is damaged", "dir", base)
	}
}

// rekey gives the records below base, which nothing in this build looks at,
// their new path.
func (b *build) rekey(base, path string) {
	data, err := b.f.o.Records.Get(base)
	if err != nil {
		b.fatal(fmt.Errorf("record of directory %q: %w", base, err))
		return
	}
	r, err := parseRecord(data)
	if err != nil {
		return // lost: the next scan sees it and has it read again
	}
	b.keep(path, data)
	b.dirChanged(path, r.tree, false)
	b.added.Add(1)
	err = r.each(func(c child) error {
		switch {
		case c.folded():
			b.added.Add(1)
			b.moved(&c, join(path, c.name))
		case c.isDir():
			b.rekey(join(base, c.name), join(path, c.name))
		default:
			b.added.Add(1)
		}
		return nil
	})
	if err != nil {
		b.f.o.Logger.Warn("a directory's record is damaged", "dir", base)
	}
}

// done counts one thing of t as finished; with the last one t is whole.
func (b *build) done(ctx context.Context, t *task) {
	for ; t != nil && t.left.Add(-1) == 0; t = t.parent {
		if b.err() != nil || ctx.Err() != nil || t.skipped {
			continue
		}
		if err := b.finish(ctx, t); err != nil {
			b.fatal(err)
		}
	}
}

// finish makes t's listing and record and tells its parent.
func (b *build) finish(ctx context.Context, t *task) error {
	if t.folded {
		return b.finishFolded(t)
	}
	if t.isLeftover() {
		t.parent.out.Add(1)
		b.f.skip(t.parent.path, t.name, false)
		b.vanish(t.parent, t.old, t.path)
		return nil
	}
	slices.SortFunc(t.edits, func(x, y edit) int { return strings.Compare(x.name, y.name) })
	before, err := b.before(t)
	if err != nil {
		return err
	}
	if err := t.carry(b, before); err != nil {
		return fmt.Errorf("directory %q: %w", t.base, err)
	}
	e := &t.entry
	moved := t.base != t.path
	known := t.record != nil && before.Kind == versions.Dir
	stale := b.relist || known && (t.record.stale || t.record.tree != before.Tree)
	switch {
	case known && !t.tree && !stale:
		e.Tree, e.Size, e.Count = before.Tree, before.Size, before.Count
	case known && !stale && t.record.n > updateFrom:
		if err := b.update(ctx, t); err != nil {
			return err
		}
		e.Size, e.Count = before.Size+t.bytes, before.Count+t.count
	default:
		if err := b.write(ctx, t); err != nil {
			return err
		}
	}
	if b.leavesOut(t) {
		b.vanish(t.parent, t.old, t.path)
		return nil
	}
	listed := t.record == nil || t.record.tree != e.Tree
	if listed || moved || t.record.stale || len(t.edits) > 0 {
		var w recordWriter
		var alike *lookalikes
		if t.fresh || b.f.hasAlike(t.path) {
			alike = newLookalikes()
		}
		err := t.record.merge(t.edits, func(c *child) error {
			w.add(c)
			if alike != nil {
				alike.add(c.name)
			}
			return nil
		})
		if alike != nil {
			b.f.foundAlike(t.path, alike)
		}
		if err != nil {
			return fmt.Errorf("directory %q: %w", t.base, err)
		}
		b.keep(t.path, w.finish(e.Tree, b.f.shortDev(t.sig.Dev), false))
	}
	filled := t.old != nil && t.old.folded() // which changes nothing
	if moved || listed && !(filled && before.Tree == e.Tree) {
		b.dirChanged(t.path, e.Tree, false)
	}
	if t.root {
		return nil
	}
	if t.old != nil && !moved && !filled && t.sig.Same(t.old.sig) && versions.Equal(before, *e) {
		return nil
	}
	b.become(t.parent, t.old, *e, t.seen, t.sig, 0)
	return nil
}

// carry keeps the attributes of the directory that this disk cannot hold.
func (t *task) carry(b *build, before versions.Entry) (err error) {
	switch {
	case t.root && b.root.seen != nil:
		t.entry, t.seen = b.carry(before, *b.root.seen, t.entry)
	case t.root && b.root.entry != nil && b.weak:
		t.entry, t.seen = b.carry(before, before, t.entry)
	case t.origin != nil:
		t.entry, t.seen, err = b.carried(t.origin, t.entry)
	case t.old != nil && t.old.isDir():
		t.entry, t.seen, err = b.carried(t.old, t.entry)
	case t.root && b.root.entry == nil, !t.root:
		t.entry, t.seen, err = b.lostAttributes(t.parent, t.name, t.entry)
	}
	return err
}

// isLeftover tells of a directory that is not in the tree and holds nothing that
// is taken: it may be what is left of one that was removed elsewhere, and does
// not come back.
func (t *task) isLeftover() bool {
	return !t.root && t.origin == nil && t.record == nil && (t.old == nil || !t.old.isDir()) && len(t.edits) == 0 && t.out.Load() > 0
}

// before is what was recorded of t itself; the zero Entry: nothing.
func (b *build) before(t *task) (versions.Entry, error) {
	switch {
	case t.root && b.root.entry != nil:
		return *b.root.entry, nil
	case t.origin != nil:
		return t.origin.entry()
	case t.old != nil && t.old.isDir():
		return t.old.entry()
	}
	return versions.Entry{}, nil
}

// updateFrom is the number of names from which on only the pieces of a listing
// that change are read and written; below, encoding all is quicker than reading.
const updateFrom = 256

// write stores the whole listing.
func (b *build) write(ctx context.Context, t *task) error {
	var entries []versions.Entry
	e := &t.entry
	e.Size, e.Count = 0, 0
	err := t.record.merge(t.edits, func(c *child) error {
		one, err := c.entry()
		if err != nil {
			return err
		}
		entries = append(entries, one)
		e.Size += one.Size
		e.Count += weight(one)
		return nil
	})
	if err != nil {
		return fmt.Errorf("directory %q: %w", t.path, err)
	}
	e.Tree, err = b.trees.Write(ctx, entries)
	if err != nil {
		return fmt.Errorf("directory %q: %w", t.path, err)
	}
	return nil
}

// update stores what changes of a large listing. When what is stored cannot be
// read (offline), it is written as a whole: the record has it all.
func (b *build) update(ctx context.Context, t *task) error {
	edits := make([]versions.NameEdit, 0, len(t.edits))
	for _, x := range t.edits {
		n := versions.NameEdit{Name: x.name}
		if x.to != nil {
			e, err := x.to.entry()
			if err != nil {
				return err
			}
			n.Entry = &e
		}
		edits = append(edits, n)
	}
	tree, err := b.trees.Update(ctx, t.record.tree, edits)
	if err == nil {
		t.entry.Tree = tree
		return nil
	}
	if cerr := ctx.Err(); cerr != nil {
		return errors.Join(err, cerr)
	}
	size, count := t.entry.Size, t.entry.Count
	err = b.write(ctx, t)
	t.entry.Size, t.entry.Count = size, count
	return err
}
