package folder

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// A stub is a file or a directory of which the content is not on this disk:
// its mark says what it is. Nothing is ever read of one.

// folded looks whether t is a directory of which nothing is here; if so it
// takes what the mark says, and nothing below is looked at.
func (b *build) folded(t *task) bool {
	s, is, err := t.dir.Stub()
	if err != nil {
		b.closed(t, &mark{}, false, err)
		return true
	}
	if !is {
		return false
	}
	if t.root {
		t.skipped, t.missing = true, errRootFolded
		return true
	}
	entry, sig, notes, err := selfEntry(t.dir, b.f.o.Owners)
	if err != nil {
		b.closed(t, &mark{}, false, err)
		return true
	}
	b.f.well(t.path)
	b.noted(t.path, notes)
	t.entry, t.sig, t.folded = entry, sig, true
	t.entry.Name = t.name
	s.Fill(&t.entry)
	return true
}

// finishFolded tells the parent of a directory of which nothing is here.
func (b *build) finishFolded(t *task) error {
	before, err := b.before(t)
	if err != nil {
		return err
	}
	if err := t.carry(b, before); err != nil {
		return fmt.Errorf("directory %q: %w", t.base, err)
	}
	known := t.old
	if t.origin != nil {
		known = t.origin
	}
	if known != nil && known.isDir() && !known.folded() {
		b.forget(t.base) // what stood here was another one
	}
	moved := t.base != t.path
	if moved || before.Tree != t.entry.Tree {
		b.dirChanged(t.path, t.entry.Tree, false)
		b.guessed()
	}
	same := t.old != nil && t.old.folded() && t.sig.Same(t.old.sig)
	if same && !moved && versions.Equal(before, t.entry) {
		return nil
	}
	b.become(t.parent, t.old, t.entry, t.seen, t.sig, childFolded)
	return nil
}

// moved tells of a folded directory that moved with one above it.
func (b *build) moved(c *child, path string) {
	e, err := c.entry()
	if err != nil {
		b.fatal(err)
		return
	}
	b.dirChanged(path, e.Tree, false)
	b.guessed()
}

// forget removes the records of a directory and of all below it, whose content
// is somewhere else.
func (b *build) forget(base string) {
	b.mu.Lock()
	b.gone[base] = true
	b.mu.Unlock()
	r := b.record(base)
	if r == nil {
		return
	}
	err := r.each(func(c child) error {
		if c.isDir() && !c.folded() {
			b.forget(join(base, c.name))
		}
		return nil
	})
	if err != nil {
		b.f.o.Logger.Warn("a directory's record is damaged", "dir", base)
	}
}

// stub takes a file that is a stub, as its mark says; false: it is none.
func (b *build) stub(j *job, file *disk.File) (e versions.Entry, sig disk.Sig, is bool, err error) {
	s, is, err := file.Stub()
	if err == nil && !is {
		s, is, err = b.lostMark(j, file)
	}
	if err != nil || !is {
		return e, sig, is, err
	}
	e, st, notes, err := file.Entry(b.f.o.Owners)
	if err != nil {
		return e, sig, true, err
	}
	b.noted(j.path, notes)
	s.Fill(&e)
	b.group(j, &e, st)
	if e.Link == [16]byte{} {
		e.Link = s.Content.Link
	}
	return e, st.Sig, true, e.Validate()
}

// lostMark finds a stub whose mark has got lost: no request has written it, it
// is what was recorded by size and time, and where content was there is none.
// It is given the mark again; nothing of it is ever taken.
func (b *build) lostMark(j *job, file *disk.File) (disk.Stub, bool, error) {
	no := disk.Stub{}
	if !b.f.o.Stubs || j.old == nil || j.mark != nil && j.mark.written {
		return no, false, nil
	}
	st, err := file.Stat()
	if err != nil || st.Size == 0 || st.Blocks*512 >= st.Size || !isFile(j.old.sig) ||
		st.Size != j.old.sig.Size || st.MTime != j.old.sig.MTime {
		return no, false, err
	}
	was, err := j.old.entry()
	if err != nil {
		return no, false, err
	}
	holes, err := file.Holes(st.Size)
	if err != nil || !holesIn(holes, was.DataRanges()) {
		return no, false, err
	}
	s := disk.NewStub(was)
	if err := file.SetStub(s); err != nil {
		return no, false, fmt.Errorf("a part of its content is missing, and it cannot be marked: %w", err)
	}
	b.f.o.Logger.Warn("a file that is not here had lost its mark; it has it again", "path", j.path)
	return s, true, nil
}

// holesIn tells whether there is a hole where there was data.
func holesIn(holes, data []versions.Range) bool {
	for _, h := range holes {
		for _, d := range data {
			if h.Offset < d.Offset+d.Length && d.Offset < h.Offset+h.Length {
				return true
			}
		}
	}
	return false
}

// Folded tells whether path is recorded as a directory of which nothing is here.
func (f *Folder) Folded(path string) (bool, error) {
	if path == "" {
		return false, nil
	}
	_, c, err := f.recorded(path)
	return err == nil && c != nil && c.folded(), err
}

// Unfolded records that the directory at path was filled with the stubs of what
// it holds: dir is its own signature. That changed nothing, so no listing is
// made anew. When it is not recorded as folded, it is looked at.
func (f *Folder) Unfolded(path string, root versions.Entry, dir disk.Sig, children []Applied) error {
	f.change.Lock()
	defer f.change.Unlock()
	slices.SortFunc(children, func(a, b Applied) int { return strings.Compare(a.Path, b.Path) })
	open, err := f.o.Root.OpenDir(path)
	if err != nil {
		return fmt.Errorf("record what was filled: %w", err)
	}
	defer open.Close()
	var w recordWriter
	for _, c := range children {
		one := *c.Entry
		_, one.Name = split(c.Path)
		w.add(newChild(one, f.seenAs(open, one.Name, one, c.Sig), c.Sig, c.flags()))
	}
	known, err := f.unfoldedAbove(path, root, dir, func(above string, record []byte, tree [32]byte) error {
		return f.o.Records.Update(func(set func(string, []byte) error) error {
			if err := set(path, w.finish(tree, f.shortDev(dir.Dev), false)); err != nil {
				return err
			}
			for _, c := range children {
				if c.Entry.Kind != versions.Dir || c.Folded {
					continue
				}
				var empty recordWriter
				if err := set(c.Path, empty.finish([32]byte{}, 0, false)); err != nil {
					return err
				}
			}
			return set(above, record)
		})
	})
	if err != nil {
		return fmt.Errorf("record what was filled: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !known {
		if f.mark(path, true, f.o.Now()) {
			f.poke()
		}
		return nil
	}
	above, _ := split(path)
	f.replaced[path], f.replaced[above] = true, true
	for _, c := range children {
		if c.Entry.Link != [16]byte{} && c.Entry.Kind != versions.Dir {
			f.links[f.inodeOf(c.Sig)] = c.Entry.Link
			f.names.add(c.Path, f.inodeOf(c.Sig))
		}
	}
	return nil
}

// unfoldedAbove gives write the record that says of path that it is not folded
// any more, and path's listing; false: nothing is recorded that fits.
func (f *Folder) unfoldedAbove(path string, root versions.Entry, dir disk.Sig, write func(above string, record []byte, tree [32]byte) error) (bool, error) {
	if path == "" {
		r, _, err := f.rootRecord()
		if err != nil {
			return false, err
		}
		if r.entry == nil {
			root.Name = ""
			r.entry = &root
		}
		r.sig = dir
		return true, write(rootKey, r.encode(), r.entry.Tree)
	}
	r, c, err := f.recorded(path)
	if err != nil || c == nil || !c.folded() || c.sig.Ino != dir.Ino {
		return false, err
	}
	e, err := c.entry()
	if err != nil || e.Tree != root.Tree {
		return false, err
	}
	var w recordWriter
	filled := newChild(e, nil, dir, 0)
	if c.seen != nil {
		filled.seen, filled.flags = c.seen, filled.flags|childSeen
	}
	err = r.merge([]edit{{c.name, filled}}, func(c *child) error { w.add(c); return nil })
	if err != nil {
		return false, err
	}
	above, _ := split(path)
	return true, write(above, w.finish(r.tree, r.dev, r.stale), e.Tree)
}

// Watching makes changes in a directory that was just filled be told of.
func (f *Folder) Watching(path string) {
	dir, err := f.o.Root.OpenDir(path)
	if err != nil {
		return // gone again
	}
	defer dir.Close()
	f.watchDir(dir, path)
}

// Filling says that content is being put in place at path, which is no change
// of it: what the watch tells of it is known.
func (f *Folder) Filling(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.explain(path, f.o.Now())
	if r, ok := f.explained[path]; ok {
		r.filling = true
		f.explained[path] = r
	}
}

// stillFolded corrects what is said of folded directories that were filled
// since. With change held.
func (f *Folder) stillFolded(changes []Applied) []Applied {
	for i, c := range changes {
		if !c.Folded {
			continue
		}
		dir, err := f.o.Root.OpenDir(c.Path)
		if err != nil {
			continue // gone: the next look says so
		}
		if _, is, err := dir.Stub(); err == nil && !is {
			changes = slices.Clone(changes)
			changes[i].Folded = false
		}
		dir.Close()
	}
	return changes
}

// Refill records that a stub was filled, or a file made a stub: neither changed
// it. When it is not as recorded any more it stays dirty.
func (f *Folder) Refill(path string, sig disk.Sig) error {
	e, was, err := f.Recorded(path)
	if err != nil {
		return err
	}
	was.CTime = sig.CTime
	if !was.Same(sig) {
		return fmt.Errorf("%s: %w", path, ErrChanged)
	}
	return f.Applied([]Applied{{Path: path, Entry: &e, Sig: sig, Folded: e.Kind == versions.Dir, filled: true}})
}

// errRootFolded is a root of which nothing is here: it must be filled first.
var errRootFolded = errors.New("the folder's root is not filled yet")
