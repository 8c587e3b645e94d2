package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

var (
	errSubmount = errors.New("something else is mounted here: shown as it was, or empty")
	errSpecial  = errors.New("sockets and fifos are not kept")
)

func isFile(s disk.Sig) bool { return s.Type() == disk.TypeFile }

// visit is a directory that is to be opened after its parent's files.
type visit struct {
	task *task
	mark *mark
	deep bool
}

// open looks at what m marks in directory t, or at all of it when deep, hands
// files to the workers, and goes down into directories.
func (b *build) open(ctx context.Context, t *task, m *mark, deep bool) {
	if b.err() != nil || ctx.Err() != nil {
		return
	}
	dir, err := b.f.o.Root.OpenDir(t.path)
	if err != nil {
		b.closed(t, m, deep, err)
		return
	}
	t.dir = dir
	t.enter()
	defer t.leave()
	if b.folded(t) {
		return
	}
	b.f.watchDir(dir, t.path) // before it is read, so that no change falls between
	var notes []disk.Note
	t.entry, t.sig, notes, err = selfEntry(dir, b.f.o.Owners)
	if err != nil {
		b.closed(t, m, deep, err)
		return
	}
	t.entry.Name = t.name
	if t.root {
		b.weak = dir.Folds()
	} else {
		b.f.well(t.path) // trouble with the root is the watch's
	}
	b.noted(t.path, notes)
	t.record = b.record(t.base)
	deep = deep || t.record == nil || m.deep
	below, err := b.children(ctx, t, m, deep)
	if err != nil {
		b.closed(t, m, deep, err)
		return
	}
	for _, v := range below {
		b.open(ctx, v.task, v.mark, v.deep)
		b.done(ctx, v.task)
	}
}

func selfEntry(dir *disk.Dir, owners *disk.Owners) (versions.Entry, disk.Sig, []disk.Note, error) {
	e, st, notes, err := dir.SelfEntry(owners)
	return e, st.Sig, notes, err
}

// closed deals with a directory that cannot be entered: what is recorded of it
// stays.
func (b *build) closed(t *task, m *mark, deep bool, err error) {
	t.skipped = true
	if t.root {
		t.missing = fmt.Errorf("%w: %w", ErrRootMissing, err)
		return
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		again := *m // it went away or became something else just now
		again.deep = again.deep || deep
		b.wait(t.path, &again, retryAfter)
	case errors.Is(err, disk.ErrSubmount):
		b.f.troubled(t.path, errSubmount, true)
		if t.old == nil {
			e := versions.Entry{Name: t.name, Kind: versions.Dir, Mode: 0o755}
			b.become(t.parent, nil, e, nil, disk.Sig{Mode: disk.TypeDir}, childRacy)
		}
	default:
		b.f.troubled(t.path, err, false)
	}
}

// children looks at the names in t and returns the directories to go into.
func (b *build) children(ctx context.Context, t *task, m *mark, deep bool) ([]visit, error) {
	list := deep || m.all
	if m.self && !list {
		// The directory itself was marked: if names came or went, its time moved.
		st := t.recordedSig(b)
		list = st == nil || !st.Same(t.sig)
	}
	folds := (list || len(m.below) > 0) && t.dir.Folds()
	// A name that is not there may lead to one that is; one that is there may be
	// no content any more.
	list = list || folds || b.f.o.Filter != nil
	var names []disk.Dirent
	if list {
		found, err := b.f.listing(t.dir, t.path)
		if err != nil {
			return nil, err
		}
		names = found
	}
	var below []visit
	look := func(n disk.Dirent, old *child, there bool) {
		if folds && !there && old != nil && t.shadowed(old, names) {
			b.keepShadowed(t, old)
			return
		}
		if v, ok := b.look(t, n, old, m.below[n.Name], deep, there); ok {
			below = append(below, v)
		}
	}
	if !list {
		marked := make([]string, 0, len(m.below))
		for name := range m.below {
			marked = append(marked, name)
		}
		slices.Sort(marked)
		for _, name := range marked {
			old, err := t.record.find(name)
			if err != nil {
				return nil, fmt.Errorf("directory %q: %w", t.base, err)
			}
			look(disk.Dirent{Name: name}, old, true)
		}
	} else if err := b.compare(t, names, look); err != nil {
		return nil, err
	}
	if t.rest {
		b.wait(t.path, &mark{self: true, all: true, touched: true, since: b.now, at: b.now}, 0)
	}
	if folds && t.record == nil {
		if err := b.keepLost(ctx, t, names); err != nil {
			return nil, err
		}
	}
	if t.base != t.path && !deep {
		return below, b.rekeyBelow(t, below)
	}
	return below, nil
}

// compare goes through what is in a directory and what is recorded of it.
func (b *build) compare(t *task, names []disk.Dirent, look func(n disk.Dirent, old *child, there bool)) error {
	i := 0
	if t.record != nil {
		err := t.record.each(func(c child) error {
			for ; i < len(names) && names[i].Name < c.name; i++ {
				look(names[i], nil, true)
			}
			if i < len(names) && names[i].Name == c.name {
				look(names[i], &c, true)
				i++
			} else {
				look(disk.Dirent{Name: c.name}, &c, false)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("directory %q: %w", t.base, err)
		}
	}
	for ; i < len(names); i++ {
		look(names[i], nil, true)
	}
	return nil
}

// rekeyBelow gives the records of directories that moved with t, and that are
// not gone into, their new paths.
func (b *build) rekeyBelow(t *task, below []visit) error {
	into := make(map[string]bool, len(below))
	for _, v := range below {
		into[v.task.name] = true
	}
	return t.record.each(func(c child) error {
		switch {
		case !c.isDir() || into[c.name] || t.lost[c.name]:
		case c.folded():
			b.moved(&c, join(t.path, c.name))
		default:
			b.rekey(join(t.base, c.name), join(t.path, c.name))
		}
		return nil
	})
}

func (t *task) recordedSig(b *build) *disk.Sig {
	switch {
	case t.root && b.root.entry != nil:
		return &b.root.sig
	case t.origin != nil:
		return &t.origin.sig
	case t.old != nil:
		return &t.old.sig
	}
	return nil
}

// look decides about one name: nothing, a job, or a directory to go into.
// there is false when the name was not in the listing.
func (b *build) look(t *task, n disk.Dirent, old *child, m *mark, deep, there bool) (visit, bool) {
	path := join(t.path, n.Name)
	if t.root && b.f.hidden(n.Name) {
		return visit{}, false
	}
	var st *disk.Stat
	// What is new is looked at by the worker; a directory needs no other look.
	if there && (old != nil || n.Type == 0 || m != nil && m.from != "") {
		found, err := t.dir.Stat(n.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			there = false
		case err != nil:
			b.f.troubled(path, err, false)
			return visit{}, false
		default:
			st, n.Type = &found, found.Type()
		}
	}
	switch {
	case !there && old.absent():
		return visit{}, false // as long as this disk cannot hold it
	case !there:
		if b.absent(t, old, m, path) {
			t.lose(n.Name)
		}
		return visit{}, false
	case old == nil && b.keptOut(t, n, m):
		return visit{}, false
	case n.Type == disk.TypeFifo || n.Type == disk.TypeSocket:
		b.vanish(t, old, path)
		b.f.troubled(path, errSpecial, true)
		return visit{}, false
	case old == nil && (m == nil || m.from == "") && b.partial.Load() && t.mayRest():
		t.rest = true
		return visit{}, false
	case n.Type == disk.TypeDir:
		return b.lookDir(t, n.Name, path, old, st, m, deep)
	}
	if old != nil && st != nil && old.sig.Same(st.Sig) && old.flags&(childRacy|childUnstable) == 0 && (m == nil || !m.doubt) && !b.o.Reread {
		b.f.well(path)
		return visit{}, false
	}
	j := &job{task: t, name: n.Name, path: path, old: old, mark: m, typ: n.Type}
	if old != nil && old.isDir() {
		j.buries = true
		t.lose(n.Name)
	}
	if m != nil && m.from != "" && !m.touched && st != nil {
		j.origin = b.origin(m.from, st)
	}
	t.left.Add(1)
	t.enter()
	b.jobs <- j
	return visit{}, false
}

// keptOut applies the rules to what is new: true, it is not taken, or not yet.
func (b *build) keptOut(t *task, n disk.Dirent, m *mark) bool {
	isDir := n.Type == disk.TypeDir
	rule, err := b.rules.rule(t.path, n.Name, isDir)
	if err == nil && rule != nil {
		var before *versions.Entry
		if before, err = b.lostOf(t, n.Name); before != nil {
			return false
		}
	}
	if err != nil {
		if !errors.Is(err, errWriting) {
			b.f.troubled(join(t.path, n.Name), err, false)
		}
		again := mark{self: true, touched: true, deep: isDir}
		if m != nil && m.dirty() {
			again = *m
		}
		b.wait(join(t.path, n.Name), &again, retryAfter)
		return true
	}
	if rule == nil {
		return false
	}
	t.out.Add(1)
	b.f.well(join(t.path, n.Name))
	b.f.skip(t.path, n.Name, isDir)
	return true
}

// againstRules tells whether what is recorded could not be taken if it were
// new.
func (b *build) againstRules(t *task, old *child) bool {
	rule, err := b.rules.rule(t.path, old.name, old.isDir())
	return err != nil || rule != nil
}

// absent deals with a name that is not there; false: it is looked at later.
func (b *build) absent(t *task, old *child, m *mark, path string) bool {
	if old != nil && m != nil && (b.o.Rested || !b.o.Force && b.againstRules(t, old)) {
		// What was just removed may be about to come back: programs save like
		// that. What rules are against would not be taken again.
		if age := b.age(m, nil); age < b.f.o.Settle {
			b.wait(path, m, b.f.o.Settle-age)
			return false
		}
	}
	b.vanish(t, old, path)
	return true
}

// lookDir decides about one directory.
func (b *build) lookDir(t *task, name, path string, old *child, st *disk.Stat, m *mark, deep bool) (visit, bool) {
	sub := &task{parent: t, name: name, path: path, base: join(t.base, name), old: old}
	if old != nil && !old.isDir() {
		sub.base = path
	}
	if m != nil && m.from != "" && st != nil {
		if c := b.origin(m.from, st); c != nil && c.isDir() {
			if age := b.age(m, nil); b.o.Rested && age < b.f.o.Settle {
				b.wait(path, m, b.f.o.Settle-age)
				return visit{}, false
			}
			if old != nil && old.isDir() {
				b.bury(join(t.base, name), path) // what it took the place of
			}
			sub.base, sub.origin = m.from, c
		}
	}
	if m == nil {
		m = &mark{}
	}
	if !deep && m.empty() && sub.origin == nil && old != nil && old.isDir() {
		if st == nil || old.sig.Same(st.Sig) {
			return visit{}, false
		}
		m = &mark{self: true}
	}
	// Another directory stands here than was recorded: all of it is looked at.
	other := sub.origin == nil && old != nil && st != nil && old.sig.Ino != st.Ino
	t.left.Add(1)
	sub.left.Store(1)
	return visit{task: sub, mark: m, deep: deep || other}, true
}

// origin is what was recorded at from, if that is the inode that st shows: same
// inode, size and time. A rename moves the time of change alone.
func (b *build) origin(from string, st *disk.Stat) *child {
	dir, name := split(from)
	r := b.record(dir)
	if r == nil {
		return nil
	}
	c, err := r.find(name)
	if err != nil || c == nil || c.sig.Ino != st.Ino || c.sig.Type() != st.Type() {
		return nil
	}
	if c.isDir() {
		return c
	}
	if c.flags&(childRacy|childUnstable) != 0 || b.f.longDev(r.dev) != st.Dev || c.sig.Size != st.Size || c.sig.MTime != st.MTime {
		return nil
	}
	return c
}

// noted tells of what could not be read of an inode beside its content.
func (b *build) noted(path string, notes []disk.Note) {
	for _, n := range notes {
		b.f.troubled(path, n, true)
	}
}
