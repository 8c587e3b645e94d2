// Package reconcile merges what two machines did to one tree since they last
// agreed. It is pure: no clock, no log, no disk; it reads listings, and only
// those that differ.
//
// Of three trees - base, local, remote - what one side changed is taken from
// it. Where both changed the same path:
//
//   - Equal content is no conflict; attributes are merged one by one, and the
//     remote's hold where both changed one. The mtime follows the content.
//   - An edit beats a delete, inside directories too. A change of attributes
//     alone does not.
//   - Different content: the remote committed first and keeps the name. The
//     local content stands beside it under the name that CopyName makes, once
//     for each distinct content. A file against a directory keeps both so.
//
// Renames are not tracked: one is a delete and a new file.
package reconcile

import (
	"context"
	"errors"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// Reader reads listings; versions.Trees does.
type Reader interface {
	// DiffDir calls fn, in order, for every name under which two listings differ.
	DiffDir(ctx context.Context, a, b chunk.ID, fn func(old, new *versions.Entry) error) error
	// Lookup finds a name in a listing; io/fs.ErrNotExist.
	Lookup(ctx context.Context, id chunk.ID, name string) (versions.Entry, error)
	// List calls fn for a listing's entries from a name on; fn ends it with
	// io/fs.SkipAll.
	List(ctx context.Context, id chunk.ID, from string, fn func(versions.Entry) error) error
}

// Options of a merge.
type Options struct {
	// Host and Instant are of the snapshot that first held the local content:
	// they name conflict copies.
	Host    string
	Instant versions.Instant
	// Origin, if set, tells them for one path.
	Origin func(path string) (host string, instant versions.Instant)
	// Same, if set, compares the content of two files where their entries
	// cannot tell (versions.Contents.Same): one may be sparse, the other not.
	Same func(ctx context.Context, a, b versions.Entry) (bool, error)
}

// Plan is the result of a merge: what to change on either side so that both are
// the merged tree. Both lists are empty where a side is that already.
type Plan struct {
	Apply     []Step // what this machine changes in its tree
	Commit    []Step // what the new snapshot changes against the remote's
	Conflicts []Conflict
	Lookalike []Lookalike
}

// Step is one change, as versions.Change and versions.Edit are. Steps come in
// path order, a directory before what is in it, but for a conflict copy, which
// comes before the step that gives its name to the remote's content.
type Step struct {
	Path     string
	Old, New *versions.Entry // nil: nothing there
	// Whole: New is a directory that replaces what is there with all it lists.
	// Otherwise only its attributes are meant, and steps tell what is in it.
	// Where New is nil or no directory, all that is below Old goes.
	Whole bool
	// From, in Apply, is where the tree holds this content until then: a
	// conflict copy is a rename of what makes room.
	From string
}

// Conflict is local content that made room for the remote's.
type Conflict struct {
	Path  string         // what both changed
	Copy  string         // where the local content stands
	Entry versions.Entry // the local content; a directory with only what was changed in it
	Known bool           // it stood there already
}

// Lookalike is two new names, one of each side, that differ in case or Unicode
// form only: they are two files here, and one on other systems.
type Lookalike struct{ Local, Remote string }

// ErrNoRoot is a local tree that is not there at all, which must never pass for
// one in which everything was deleted.
var ErrNoRoot = errors.New("the local tree has no root")

// Merge plans how local and remote become one tree. base is what they last had
// in common; the zero Entry where they never had (then nothing is deleted). The
// zero remote is a folder without a snapshot.
func Merge(ctx context.Context, r Reader, base, local, remote versions.Entry, o Options) (Plan, error) {
	if local.Kind != versions.Dir {
		return Plan{}, ErrNoRoot
	}
	m := &merger{ctx: ctx, r: r, o: o}
	if m.o.Same == nil {
		m.o.Same = func(_ context.Context, a, b versions.Entry) (bool, error) { return versions.Same(a, b), nil }
	}
	var b, rem *versions.Entry
	if base.Kind == versions.Dir {
		b = &base
	}
	if remote.Kind == versions.Dir {
		rem = &remote
	}
	if rem == nil { // whatever the base: nothing is deleted by a line that is empty
		return Plan{Commit: []Step{{New: &local, Whole: true}}}, nil
	}
	if _, err := m.name(dir{}, "", b, &local, rem); err != nil {
		return Plan{}, err
	}
	return m.plan, nil
}

// Edits are steps as versions.Trees.Apply takes them.
func Edits(steps []Step) []versions.Edit {
	edits := make([]versions.Edit, len(steps))
	for i, s := range steps {
		edits[i] = versions.Edit{Path: s.Path, Entry: s.New, Whole: s.Whole}
	}
	return edits
}
