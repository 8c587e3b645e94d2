package reconcile

import (
	"context"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

type merger struct {
	ctx  context.Context
	r    Reader
	o    Options
	plan Plan
}

// dir is a directory that both sides may have changed, by its three listings.
type dir struct {
	path                string
	base, local, remote chunk.ID
	added               map[string]versions.Entry // conflict copies of this merge
}

func (d dir) join(name string) string {
	if d.path == "" {
		return name
	}
	return d.path + "/" + name
}

// mark is a place in the plan to go back to.
type mark struct{ apply, commit, conflicts, lookalike int }

func (m *merger) mark() mark {
	return mark{len(m.plan.Apply), len(m.plan.Commit), len(m.plan.Conflicts), len(m.plan.Lookalike)}
}

func (m *merger) back(to mark) {
	m.plan.Apply = m.plan.Apply[:to.apply]
	m.plan.Commit = m.plan.Commit[:to.commit]
	m.plan.Conflicts = m.plan.Conflicts[:to.conflicts]
	m.plan.Lookalike = m.plan.Lookalike[:to.lookalike]
}

// take makes the local tree (apply) or the remote one (commit) hold new at path.
func (m *merger) take(steps *[]Step, path string, old, new *versions.Entry) {
	*steps = append(*steps, Step{Path: path, Old: old, New: new, Whole: new != nil && new.Kind == versions.Dir})
}

func (m *merger) apply(path string, old, new *versions.Entry) { m.take(&m.plan.Apply, path, old, new) }
func (m *merger) commit(path string, old, new *versions.Entry) {
	m.take(&m.plan.Commit, path, old, new)
}

func isDir(e *versions.Entry) bool { return e != nil && e.Kind == versions.Dir }

func equal(a, b *versions.Entry) bool {
	return a == nil && b == nil || a != nil && b != nil && versions.Equal(*a, *b)
}

// same tells whether two that are no directories have equal content.
func (m *merger) same(a, b *versions.Entry) (bool, error) {
	if a == nil || b == nil || a.Kind != b.Kind {
		return false, nil
	}
	if versions.SameContent(*a, *b) {
		return true, nil
	}
	if a.Kind != versions.File || a.Size != b.Size {
		return false, nil
	}
	return m.o.Same(m.ctx, *a, *b)
}

// edited tells whether x holds content that the base has not.
func (m *merger) edited(base, x *versions.Entry) (bool, error) {
	if x == nil {
		return false, nil
	}
	same, err := m.same(base, x)
	return !same, err
}

// name decides about one name of d, or about the root, and tells whether
// anything stands there afterwards.
func (m *merger) name(d dir, name string, b, l, r *versions.Entry) (stands bool, err error) {
	path := d.join(name)
	switch {
	case equal(l, r):
		return l != nil, nil
	case equal(b, l):
		m.apply(path, l, r)
		return r != nil, nil
	case equal(b, r):
		m.commit(path, r, l)
		return l != nil, nil
	}
	switch {
	case isDir(l) && isDir(r):
		return m.dirs(path, b, l, r, nil)
	case l == nil && isDir(r):
		return m.deleted(path, b, l, r)
	case r == nil && isDir(l):
		return m.deleted(path, b, l, r)
	case isDir(l) || isDir(r):
		return true, m.kinds(d, name, b, l, r)
	}
	return m.files(d, name, b, l, r)
}

// dirs merges what is in directories of both sides, or of one side where the
// other deleted its own (nil): then only what was edited in it stands, and with
// nothing left of it nothing is planned here. displaced is the entry of that
// other side which stands at the path and makes room.
func (m *merger) dirs(path string, b, l, r *versions.Entry, displaced *versions.Entry) (stands bool, err error) {
	start := m.mark()
	if !isDir(b) {
		b = nil
	}
	switch {
	case l == nil:
		m.plan.Apply = append(m.plan.Apply, Step{Path: path, Old: displaced, New: r})
	case r == nil:
		m.plan.Commit = append(m.plan.Commit, Step{Path: path, Old: displaced, New: l})
	default:
		merged := attributes(b, l, r, r)
		m.changeDir(&m.plan.Apply, path, l, merged)
		m.changeDir(&m.plan.Commit, path, r, merged)
	}
	d := dir{path: path, base: listing(b), local: listing(l), remote: listing(r), added: map[string]versions.Entry{}}
	stands, err = m.inside(d)
	if err != nil {
		return false, err
	}
	if l != nil && r != nil {
		return true, nil
	}
	if !stands {
		m.back(start)
	}
	return stands, nil
}

// changeDir plans a change of a directory's own attributes.
func (m *merger) changeDir(steps *[]Step, path string, old *versions.Entry, merged versions.Entry) {
	merged.Tree, merged.Size, merged.Count = old.Tree, old.Size, old.Count
	if !versions.SameAttributes(*old, merged) {
		*steps = append(*steps, Step{Path: path, Old: old, New: &merged})
	}
}

// deleted merges a directory that one side deleted and the other changed.
func (m *merger) deleted(path string, b, l, r *versions.Entry) (stands bool, err error) {
	if !isDir(b) { // it was something else: the directory is new
		if l == nil {
			m.apply(path, nil, r)
		} else {
			m.commit(path, nil, l)
		}
		return true, nil
	}
	stands, err = m.dirs(path, b, l, r, nil)
	if err != nil || stands {
		return stands, err
	}
	if l == nil {
		m.commit(path, r, nil)
	} else {
		m.apply(path, l, nil)
	}
	return false, nil
}

func listing(e *versions.Entry) chunk.ID {
	if e == nil {
		return chunk.ID{}
	}
	return e.Tree
}

// change is one name that differs from the base on one side or both.
type change struct {
	name    string
	b, l, r *versions.Entry
}

// inside merges all names of a directory and tells whether any stands.
func (m *merger) inside(d dir) (stands bool, err error) {
	changes, err := m.changes(d)
	if err != nil {
		return false, err
	}
	m.lookalikes(d, changes)
	for _, c := range changes {
		here, err := m.name(d, c.name, c.b, c.l, c.r)
		if err != nil {
			return false, err
		}
		stands = stands || here
	}
	return stands || len(d.added) > 0, nil
}

// changes lists the names that differ, in order: the differences of either side
// against the base, side by side.
func (m *merger) changes(d dir) ([]change, error) {
	var local, remote []change
	diff := func(side chunk.ID, list *[]change) error {
		return m.r.DiffDir(m.ctx, d.base, side, func(old, new *versions.Entry) error {
			c := change{b: old, l: new}
			if old != nil {
				c.name = old.Name
			} else {
				c.name = new.Name
			}
			*list = append(*list, c)
			return nil
		})
	}
	if err := diff(d.local, &local); err != nil {
		return nil, err
	}
	if err := diff(d.remote, &remote); err != nil {
		return nil, err
	}
	out := make([]change, 0, max(len(local), len(remote)))
	for len(local) > 0 || len(remote) > 0 {
		switch {
		case len(remote) == 0 || len(local) > 0 && local[0].name < remote[0].name:
			c := local[0]
			c.r = c.b
			out, local = append(out, c), local[1:]
		case len(local) == 0 || remote[0].name < local[0].name:
			c := remote[0]
			c.l, c.r = c.b, c.l
			out, remote = append(out, c), remote[1:]
		default:
			c := local[0]
			c.r = remote[0].l
			out, local, remote = append(out, c), local[1:], remote[1:]
		}
	}
	return out, nil
}

// files merges two that are no directories; one may be gone.
func (m *merger) files(d dir, name string, b, l, r *versions.Entry) (stands bool, err error) {
	path := d.join(name)
	lEdited, err := m.edited(b, l)
	if err != nil {
		return false, err
	}
	rEdited, err := m.edited(b, r)
	if err != nil {
		return false, err
	}
	switch {
	case l == nil && rEdited:
		m.apply(path, nil, r)
		return true, nil
	case l == nil:
		m.commit(path, r, nil)
		return false, nil
	case r == nil && lEdited:
		m.commit(path, nil, l)
		return true, nil
	case r == nil:
		m.apply(path, l, nil)
		return false, nil
	}
	same, err := m.same(l, r)
	if err != nil {
		return false, err
	}
	var merged versions.Entry
	switch {
	case same, !lEdited:
		merged = attributes(b, l, r, r)
	case !rEdited:
		merged = attributes(b, l, r, l)
	default:
		if err := m.conflict(d, name, l, path); err != nil {
			return false, err
		}
		merged = *r
	}
	if !versions.Equal(merged, *l) {
		m.apply(path, l, &merged)
	}
	if !versions.Equal(merged, *r) {
		m.commit(path, r, &merged)
	}
	return true, nil
}

// kinds merges a directory and what is none, both there.
func (m *merger) kinds(d dir, name string, b, l, r *versions.Entry) error {
	path := d.join(name)
	if isDir(l) {
		rEdited, err := m.edited(b, r)
		if err != nil {
			return err
		}
		if !rEdited { // a file that this side replaced by a directory
			m.commit(path, r, l)
			return nil
		}
		return m.dirMakesRoom(d, name, b, l, r)
	}
	lEdited, err := m.edited(b, l)
	if err != nil {
		return err
	}
	if !lEdited {
		m.apply(path, l, r)
		return nil
	}
	if !isDir(b) { // a new directory: all of it stands
		if err := m.conflict(d, name, l, path); err != nil {
			return err
		}
		m.apply(path, l, r)
		return nil
	}
	// The local side deleted a directory for its file. What the remote edited
	// in it stands, and then the directory keeps the name.
	start := m.mark()
	if err := m.conflict(d, name, l, path); err != nil {
		return err
	}
	stands, err := m.dirs(path, b, nil, r, l)
	if err != nil {
		return err
	}
	if !stands {
		for _, c := range m.plan.Conflicts[start.conflicts:] {
			delete(d.added, c.Entry.Name)
		}
		m.back(start)
		m.commit(path, r, l)
	}
	return nil
}

// dirMakesRoom merges a local directory and a remote file, which keeps the
// name. What is left of the directory - all of it if it is new, else what was
// edited in it since the remote deleted it - stands beside it.
func (m *merger) dirMakesRoom(d dir, name string, b, l, r *versions.Entry) error {
	path := d.join(name)
	if !isDir(b) {
		if err := m.conflict(d, name, l, path); err != nil {
			return err
		}
		m.apply(path, l, r)
		return nil
	}
	left := merger{ctx: m.ctx, r: m.r, o: m.o}
	stands, err := left.dirs("", b, l, nil, nil)
	if err != nil {
		return err
	}
	if stands {
		if err := m.moveLeft(d, name, l, left.plan); err != nil {
			return err
		}
	}
	m.apply(path, l, r)
	return nil
}

// moveLeft plans what is left of a directory at the name of its conflict copy.
// plan has it as if the directory stayed and the remote had it not.
func (m *merger) moveLeft(d dir, name string, l *versions.Entry, plan Plan) error {
	c, err := m.copyName(d, name, l, false)
	if err != nil {
		return err
	}
	to := d.join(c.name)
	for _, s := range plan.Commit {
		from := d.join(name)
		s.Path = below(to, s.Path)
		if s.Path == to {
			e := *s.New
			e.Name = c.name
			s.New = &e
			d.added[c.name] = e
			m.plan.Conflicts = append(m.plan.Conflicts, Conflict{Path: from, Copy: to, Entry: e})
		} else {
			from += s.Path[len(to):]
		}
		if s.New.Link != [16]byte{} { // no link of what may differ by now
			e := *s.New
			e.Link = [16]byte{}
			s.New = &e
		}
		m.plan.Commit = append(m.plan.Commit, s)
		s.From = ""
		if s.New.Kind != versions.Dir || s.Whole {
			s.From = from
		}
		m.plan.Apply = append(m.plan.Apply, s)
	}
	return nil
}

// below is path, relative to dir, from the root.
func below(dir, path string) string {
	if path == "" {
		return dir
	}
	return dir + "/" + path
}
