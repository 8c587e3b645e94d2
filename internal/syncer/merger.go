package syncer

import (
	"context"
	"sort"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// merger makes one tree of three: what one side changed since the base is taken
// from it; where both did, the remote keeps the name and the local content
// becomes a conflict copy. Renames are not tracked. An edit beats a delete.
type merger struct {
	trees     *versions.Trees
	host      string           // of the local snapshot, for names of conflict copies
	instant   versions.Instant // of the local snapshot
	conflicts []string         // paths of the conflict copies
}

// roots merges three root directories; base may be the zero entry.
func (m *merger) roots(ctx context.Context, base, local, remote versions.Entry) (versions.Entry, error) {
	if remote.IsZero() {
		return local, nil
	}
	return m.dirs(ctx, base, local, remote, "")
}

// edit is what both sides did to one name.
type edit struct{ base, local, remote *versions.Entry }

// dirs merges three states of one directory. One that is not there is the zero
// entry, and then the other side's is the result, with only what it changed.
func (m *merger) dirs(ctx context.Context, base, local, remote versions.Entry, path string) (versions.Entry, error) {
	out := remote
	switch {
	case remote.IsZero():
		out = local
		out.Tree, out.Size, out.Count = chunk.ID{}, 0, 0
	case !local.IsZero():
		out = mergeAttributes(base, local, remote)
		out.Tree, out.Size, out.Count = remote.Tree, remote.Size, remote.Count
	}
	edits := map[string]*edit{}
	at := func(name string) *edit {
		e := edits[name]
		if e == nil {
			e = &edit{}
			edits[name] = e
		}
		return e
	}
	err := m.trees.DiffDir(ctx, listing(base), listing(local), func(old, new *versions.Entry) error {
		e := at(nameOf(old, new))
		e.base, e.local = clone(old), clone(new)
		return nil
	})
	if err != nil {
		return versions.Entry{}, err
	}
	ours := make([]string, 0, len(edits))
	for name := range edits {
		ours = append(ours, name)
		edits[name].remote = edits[name].base // unless the remote says otherwise
	}
	err = m.trees.DiffDir(ctx, listing(base), listing(remote), func(old, new *versions.Entry) error {
		if e := edits[nameOf(old, new)]; e != nil {
			e.base, e.remote = clone(old), clone(new)
		}
		return nil
	})
	if err != nil {
		return versions.Entry{}, err
	}
	sort.Strings(ours)
	result := map[string]*versions.Entry{}
	for _, name := range ours {
		if err := m.name(ctx, edits[name], name, path, remote, result); err != nil {
			return versions.Entry{}, err
		}
	}
	return m.write(ctx, out, remote, edits, result)
}

// write makes the edits in the remote's listing.
func (m *merger) write(ctx context.Context, out, remote versions.Entry, edits map[string]*edit, result map[string]*versions.Entry) (versions.Entry, error) {
	list := make([]versions.NameEdit, 0, len(result))
	for name, e := range result {
		var was *versions.Entry
		if ed := edits[name]; ed != nil {
			was = ed.remote
		}
		size, count := weight(e)
		oldSize, oldCount := weight(was)
		out.Size += size - oldSize
		out.Count += count - oldCount
		list = append(list, versions.NameEdit{Name: name, Entry: e})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	tree, err := m.trees.Update(ctx, listing(remote), list)
	out.Tree = tree
	return out, err
}

// name decides about one name that the local side has changed, and puts what
// shall stand there, and its conflict copy, into result.
func (m *merger) name(ctx context.Context, e *edit, name, dir string, remote versions.Entry, result map[string]*versions.Entry) error {
	b, l, r := zeroOr(e.base), zeroOr(e.local), zeroOr(e.remote)
	isDir := func(e versions.Entry) bool { return e.Kind == versions.Dir }
	switch {
	case versions.Equal(r, b): // only this side changed
		result[name] = e.local
	case versions.Equal(l, r):
		return nil
	case (isDir(l) || l.IsZero() && isDir(b)) && (isDir(r) || r.IsZero() && isDir(b)):
		base := versions.Entry{}
		if isDir(b) {
			base = b
		}
		d, err := m.dirs(ctx, base, l, r, join(dir, name))
		if err != nil {
			return err
		}
		if (l.IsZero() || r.IsZero()) && d.Tree.IsZero() {
			result[name] = nil // deleted on one side, nothing new on the other
		} else {
			result[name] = &d
		}
	case l.IsZero(): // an edit beats a delete
		return nil
	case r.IsZero():
		result[name] = e.local
	case l.Kind == r.Kind && versions.SameContent(l, r):
		d := mergeAttributes(b, l, r)
		result[name] = &d
	case l.Kind == versions.File && r.Kind == versions.File && b.Kind == versions.File && versions.SameContent(l, b):
		d := mergeAttributes(b, l, r)
		d.MTime = r.MTime
		result[name] = &d
	case l.Kind == versions.File && r.Kind == versions.File && b.Kind == versions.File && versions.SameContent(r, b):
		d := withContent(mergeAttributes(b, l, r), l)
		d.MTime = l.MTime
		result[name] = &d
	default:
		return m.conflict(ctx, l, dir, remote, result)
	}
	return nil
}

// conflict leaves the name to the remote and puts the local content beside it,
// once: a copy that is there already is enough.
func (m *merger) conflict(ctx context.Context, l versions.Entry, dir string, remote versions.Entry, result map[string]*versions.Entry) error {
	name := conflictName(l.Name, m.host, m.instant, contentHash(l))
	there, err := m.trees.Lookup(ctx, listing(remote), name)
	if err == nil && versions.SameContent(there, l) {
		return nil
	}
	if err != nil && !missing(err) {
		return err
	}
	l.Name = name
	l.Link = [16]byte{}
	result[name] = &l
	m.conflicts = append(m.conflicts, join(dir, name))
	return nil
}

// mergeAttributes is remote with those attributes that only local changed.
func mergeAttributes(b, l, r versions.Entry) versions.Entry {
	out := r
	if r.Mode == b.Mode {
		out.Mode = l.Mode
	}
	if r.UID == b.UID && r.User == b.User {
		out.UID, out.User = l.UID, l.User
	}
	if r.GID == b.GID && r.Group == b.Group {
		out.GID, out.Group = l.GID, l.Group
	}
	if r.MTime == b.MTime {
		out.MTime = l.MTime
	}
	if r.Link == b.Link {
		out.Link = l.Link
	}
	if versions.SameXattrs(r.Xattrs, b.Xattrs) {
		out.Xattrs = l.Xattrs
	}
	return out
}

// withContent is e with the bytes of from.
func withContent(e, from versions.Entry) versions.Entry {
	e.Size, e.Pieces, e.List, e.Holes, e.Unstable = from.Size, from.Pieces, from.List, from.Holes, from.Unstable
	return e
}

// weight is what an entry adds to the sums of its directory.
func weight(e *versions.Entry) (size, count int64) {
	switch {
	case e == nil:
		return 0, 0
	case e.Kind == versions.Dir:
		return e.Size, e.Count
	case e.Kind == versions.File:
		return e.Size, 1
	}
	return 0, 1
}

func nameOf(a, b *versions.Entry) string {
	if a != nil {
		return a.Name
	}
	return b.Name
}

func clone(e *versions.Entry) *versions.Entry {
	if e == nil {
		return nil
	}
	c := *e
	return &c
}

func zeroOr(e *versions.Entry) versions.Entry {
	if e == nil {
		return versions.Entry{}
	}
	return *e
}
