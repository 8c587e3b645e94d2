package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

var errNotLast = errors.New("this is not the last state that was built")

// Record makes b the state that later builds and scans compare with. Call it
// once the snapshot of b is durable. Not called, the same changes are found
// again.
func (f *Folder) Record(b *Built) error {
	f.change.Lock()
	defer f.change.Unlock()
	if b.build == nil || f.built != b.build {
		return fmt.Errorf("record %s: %w", f.o.Root.Path(), errNotLast)
	}
	if err := f.save(b.build); err != nil {
		f.drop()
		return err
	}
	b.build.spill.close()
	f.built = nil
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgetExplained(f.o.Now())
	return nil
}

// save writes what a build found into the records, and what was in flight is
// done. What Applied changed since the build began is not overwritten: it is
// looked at again. With change held.
//
// A crash in the middle leaves records that do not fit together; Scan sees it.
func (f *Folder) save(b *build) error {
	f.mu.Lock()
	replaced := make(map[string]bool, len(f.replaced))
	for dir := range f.replaced {
		replaced[dir] = true
	}
	f.mu.Unlock()
	err := f.updateRecords(func(set func(string, []byte) error) error {
		if len(b.gone) > 0 {
			err := b.spill.each(func(dir string, _ []byte) error {
				delete(b.gone, dir) // it went and came
				return nil
			})
			if err != nil {
				return err
			}
		}
		for dir := range b.gone {
			if replaced[dir] {
				continue
			}
			if err := set(dir, nil); err != nil {
				return err
			}
		}
		err := b.spill.each(func(dir string, record []byte) error {
			if replaced[dir] {
				return nil
			}
			return set(dir, record)
		})
		if err != nil {
			return err
		}
		return set(rootKey, b.root.encode())
	})
	if err != nil {
		return fmt.Errorf("record %s: %w", f.o.Root.Path(), err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flight = nil
	now := f.o.Now()
	for dir := range replaced {
		m := f.dirty.node(dir)
		m.stamp(now)
		m.self, m.all, m.relist = true, true, true
	}
	for key, group := range b.links {
		f.links[key] = group
	}
	return nil
}

// Recorded is the entry that was last taken or applied at path, and the
// signature its inode had then; io/fs.ErrNotExist.
func (f *Folder) Recorded(path string) (versions.Entry, disk.Sig, error) {
	if path == "" {
		r, known, err := f.rootRecord()
		if err != nil {
			return versions.Entry{}, disk.Sig{}, err
		}
		if !known || r.entry == nil {
			return versions.Entry{}, disk.Sig{}, &fs.PathError{Op: "recorded", Path: path, Err: fs.ErrNotExist}
		}
		return *r.entry, r.sig, nil
	}
	r, c, err := f.recorded(path)
	if err != nil {
		return versions.Entry{}, disk.Sig{}, err
	}
	if c == nil {
		return versions.Entry{}, disk.Sig{}, &fs.PathError{Op: "recorded", Path: path, Err: fs.ErrNotExist}
	}
	e, err := c.entry()
	if err != nil {
		return versions.Entry{}, disk.Sig{}, err
	}
	sig := c.sig
	sig.Dev = f.longDev(r.dev)
	return e, sig, nil
}

// recorded finds path in its directory's record; nil when it is not there.
func (f *Folder) recorded(path string) (*record, *child, error) {
	dir, name := split(path)
	data, err := f.readRecord(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("record of directory %q: %w", dir, err)
	}
	if data == nil {
		return nil, nil, nil
	}
	r, err := parseRecord(data)
	if err != nil {
		return nil, nil, fmt.Errorf("record of directory %q: %w", dir, err)
	}
	c, err := r.find(name)
	if err != nil {
		return nil, nil, fmt.Errorf("record of directory %q: %w", dir, err)
	}
	return r, c, nil
}

// Applied is one path that the applier changed. Of a directory, the entry's
// Tree, Size and Count do not matter: its listing is that of what is recorded
// in it, unless it is Folded.
type Applied struct {
	Path  string
	Entry *versions.Entry
	Sig   disk.Sig
	From  string // where the step moved it from; "": nowhere
	// Within: it came inside a directory that was placed or moved whole, so
	// nothing tells of it alone.
	Within bool
	// Folded: a directory of which nothing is here: the entry stands for all below.
	Folded bool
	// Absent: this disk cannot hold it. It is in the tree all the same, a
	// directory with all below.
	Absent bool

	filled bool // only filled or emptied: what the watch still tells of that is known
}

func (a *Applied) flags() byte {
	flags := byte(0)
	if a.Absent {
		flags = childAbsent
	}
	if a.Folded || a.Absent && a.Entry.Kind == versions.Dir {
		flags |= childFolded
	}
	return flags
}

// Applied records that path now holds e, put there by our own applier (nil: it
// is gone), with the signature read back from the disk. The next Build makes
// the listings anew.
func (f *Folder) Applied(changes []Applied) error {
	f.change.Lock()
	defer f.change.Unlock()
	changes = f.stillFolded(changes)
	byDir := make(map[string][]Applied)
	for _, c := range changes {
		dir, _ := split(c.Path)
		if c.Path == "" {
			dir = rootKey
		}
		byDir[dir] = append(byDir[dir], c)
	}
	dirs := make([]string, 0, len(byDir))
	for dir := range byDir {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	gone, fresh := f.appliedDirs(changes)
	came := slices.Collect(maps.Keys(fresh))
	err := f.updateRecords(func(set func(string, []byte) error) error {
		for _, dir := range dirs {
			if dir == rootKey || gone[dir] {
				continue
			}
			record, err := f.applyTo(dir, byDir[dir], fresh[dir])
			if err != nil {
				return err
			}
			delete(fresh, dir)
			if err := set(dir, record); err != nil {
				return err
			}
		}
		for dir := range gone {
			if err := set(dir, nil); err != nil {
				return err
			}
		}
		for dir := range fresh { // empty directories
			var w recordWriter
			if err := set(dir, w.finish([32]byte{}, 0, true)); err != nil {
				return err
			}
		}
		return f.applyRoot(byDir[rootKey], set)
	})
	if err != nil {
		return fmt.Errorf("record what was applied: %w", err)
	}
	f.appliedMarks(changes, dirs)
	for _, dir := range came {
		f.watchApplied(dir)
	}
	return nil
}

// appliedDirs lists the directories that went, with all recorded below them,
// and those that came.
func (f *Folder) appliedDirs(changes []Applied) (gone, fresh map[string]bool) {
	gone, fresh = make(map[string]bool), make(map[string]bool)
	for _, c := range changes {
		if c.Path == "" {
			continue
		}
		_, old, err := f.recorded(c.Path)
		was := err == nil && old != nil && old.isDir() && !old.folded()
		is := c.Entry != nil && c.Entry.Kind == versions.Dir && c.flags()&childFolded == 0
		switch {
		case was && !is:
			f.below(c.Path, gone)
		case is && !was:
			fresh[c.Path] = true
		}
	}
	for dir := range fresh {
		delete(gone, dir)
	}
	return gone, fresh
}

// below adds dir and all directories recorded below it to list.
func (f *Folder) below(dir string, list map[string]bool) {
	list[dir] = true
	data, err := f.o.Records.Get(dir)
	if err != nil || data == nil {
		return
	}
	r, err := parseRecord(data)
	if err != nil {
		return
	}
	_ = r.each(func(c child) error { // what cannot be read is not below
		if c.isDir() {
			f.below(join(dir, c.name), list)
		}
		return nil
	})
}

// applyTo returns the record of dir with changes made in it, stale.
func (f *Folder) applyTo(dir string, changes []Applied, fresh bool) ([]byte, error) {
	var old *record
	if !fresh {
		data, err := f.readRecord(dir)
		if err != nil {
			return nil, err
		}
		if data != nil {
			if old, err = parseRecord(data); err != nil {
				return nil, fmt.Errorf("record of directory %q: %w", dir, err)
			}
		}
	}
	last := make(map[string]edit)
	dev := uint64(0)
	open, err := f.o.Root.OpenDir(dir)
	if err == nil {
		defer open.Close()
	}
	for _, c := range changes {
		_, name := split(c.Path)
		e := edit{name: name}
		if c.Entry != nil {
			one := *c.Entry
			one.Name = name
			switch {
			case c.Absent:
				e.to = newChild(one, nil, disk.Sig{Mode: typeOf(one.Kind)}, c.flags())
			case open != nil:
				e.to = newChild(one, f.seenAs(open, name, one, c.Sig), c.Sig, c.flags())
			default:
				e.to = newChild(one, nil, c.Sig, c.flags())
			}
			if !c.Absent {
				dev = f.shortDev(c.Sig.Dev)
			}
		}
		last[name] = e
	}
	edits := make([]edit, 0, len(last))
	for _, e := range last {
		edits = append(edits, e)
	}
	slices.SortFunc(edits, func(x, y edit) int { return strings.Compare(x.name, y.name) })
	var w recordWriter
	if err := old.merge(edits, func(c *child) error { w.add(c); return nil }); err != nil {
		return nil, fmt.Errorf("record of directory %q: %w", dir, err)
	}
	var tree [32]byte
	if old != nil {
		tree, dev = old.tree, old.dev
	}
	return w.finish(tree, dev, true), nil
}

func (f *Folder) applyRoot(changes []Applied, set func(string, []byte) error) error {
	if len(changes) == 0 {
		return nil
	}
	r, _, err := f.rootRecord()
	if err != nil {
		return err
	}
	c := changes[len(changes)-1]
	if c.Entry != nil {
		e := *c.Entry
		e.Name = ""
		if r.entry != nil {
			e.Tree, e.Size, e.Count = r.entry.Tree, r.entry.Size, r.entry.Count
		}
		r.entry, r.sig, r.seen = &e, c.Sig, nil
		if dir, err := f.o.Root.OpenDir(""); err == nil {
			r.seen = f.seenAs(dir, "", e, c.Sig)
			dir.Close()
		}
	}
	return set(rootKey, r.encode())
}

// appliedMarks clears what the applier's own steps made dirty, and has the
// listings written again.
func (f *Folder) appliedMarks(changes []Applied, dirs []string) {
	// Under the lock: who changes a path after the look at it marks it after it.
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.o.Now()
	for i, c := range changes {
		f.rulesOf(c.Path)
		f.setAbsent(c.Path, c.Absent)
		if c.Absent {
			f.dirty.clear(c.Path)
			continue
		}
		if c.Entry != nil {
			f.skipped.taken(c.Path)
		}
		if !c.Within {
			f.explainApplied(&changes[i], now)
		}
		if c.From != "" {
			f.names.moved(c.From, c.Path)
		}
		if c.Entry != nil && c.Entry.Kind == versions.Dir && !c.Folded {
			f.dirty.node(c.Path).relist = true
		}
		switch m := f.dirty.find(c.Path); {
		case m == nil:
		case c.From != "" && f.stands(c):
			f.dirty.clear(c.Path) // a rename hides nothing that was written
		case m.written && c.Entry != nil && c.Entry.Kind == versions.File:
			// It was not dirty when the step was made: a program has come
			// between, and our step may have hidden what it wrote.
			m.doubt = true
		case f.stands(c):
			f.dirty.clear(c.Path)
		}
		if c.Entry == nil || c.Entry.Link == [16]byte{} {
			f.names.remove(c.Path)
		} else {
			f.links[f.inodeOf(c.Sig)] = c.Entry.Link
			f.names.add(c.Path, f.inodeOf(c.Sig))
		}
	}
	for _, dir := range dirs {
		if dir == rootKey {
			dir = ""
		}
		f.dirty.node(dir).relist = true
		f.replaced[dir] = true
	}
	if len(f.skipped.rules) > 0 {
		f.poke()
	}
}

// explainApplied is explain for what the applier did; with mu held.
func (f *Folder) explainApplied(c *Applied, now time.Time) {
	f.explain(c.Path, now)
	if r, ok := f.explained[c.Path]; ok {
		r.applied, r.filling = c, c.filled
		f.explained[c.Path] = r
	}
	if r, ok := f.explained[c.From]; ok && c.From != "" {
		r.to = c.Path
		f.explained[c.From] = r
	}
}

// stands tells whether the disk still holds what was applied.
func (f *Folder) stands(c Applied) bool {
	st, err := f.lstat(c.Path)
	if c.Entry == nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return err == nil && st.Same(c.Sig)
}

// rootStands is stands for the root, whose times further steps may have moved:
// the next build looks at it in any case, since its listing is made anew.
func (f *Folder) rootStands(c Applied) bool {
	st, err := f.lstat("")
	return err == nil && st.Ino == c.Sig.Ino && st.Mode == c.Sig.Mode
}

func (f *Folder) lstat(path string) (disk.Stat, error) {
	dir, name := split(path)
	d, err := f.o.Root.OpenDir(dir)
	if err != nil {
		return disk.Stat{}, err
	}
	defer d.Close()
	if name == "" {
		return d.Self()
	}
	return d.Stat(name)
}
