package syncer

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// move is something that is gone at one path and new, as it was, at another: it
// is renamed instead of being made anew and taken away. Trees do not tell of
// renames, so whatever fits is taken.
type move struct {
	from string
	versions.Change
}

// findMoves takes out of the plan what a rename does: whole directories with
// the same listing first, then files of the same content and attributes. A
// directory out of which rules keep something stays with that, so it is none.
func (p *plan) findMoves(holdsKeptOut func(dir string) bool) {
	if len(p.gone) == 0 {
		return
	}
	p.moveDirs(holdsKeptOut)
	p.moveFiles()
	if len(p.moves) == 0 {
		return
	}
	// What a target lies in has to be there before all else.
	above := map[string]bool{}
	for _, m := range p.moves {
		for dir := parentOf(m.Path); dir != "" && !above[dir]; dir = parentOf(dir) {
			above[dir] = true
		}
	}
	p.changes = keep(p.changes, func(c versions.Change) bool {
		if c.Old == nil && c.New.Kind == versions.Dir && above[c.Path] {
			p.parents = append(p.parents, c)
			return false
		}
		return true
	})
}

func (p *plan) moveDirs(holdsKeptOut func(dir string) bool) {
	from := map[chunk.ID][]versions.Change{}
	for _, c := range p.gone {
		// To rename a directory its owner must be able to write to it.
		if c.Old.Kind == versions.Dir && c.Old.Count > 0 && c.Old.Mode&0o300 == 0o300 {
			from[c.Old.Tree] = append(from[c.Old.Tree], c)
		}
	}
	if len(from) == 0 {
		return
	}
	var came, went below
	p.changes = keep(p.changes, func(c versions.Change) bool {
		if came.has(c.Path) {
			return false
		}
		if c.Old != nil || c.New.Kind != versions.Dir || c.New.Count == 0 {
			return true
		}
		f, ok := pick(from, c.New.Tree, c.Path, func(f versions.Change) bool {
			return !went.has(f.Path) && !went.holds(f.Path) && !holdsKeptOut(f.Path)
		})
		if !ok {
			return true
		}
		came.add(c.Path)
		went.add(f.Path)
		p.moves = append(p.moves, move{f.Path, c})
		return false
	})
	p.gone = keep(p.gone, func(c versions.Change) bool { return !went.has(c.Path) })
}

func (p *plan) moveFiles() {
	from := map[[32]byte][]versions.Change{}
	for _, c := range p.gone {
		if c.Old.Kind == versions.File && c.Old.Size > 0 && c.Old.Link == [16]byte{} {
			hash := versions.ContentHash(*c.Old)
			from[hash] = append(from[hash], c)
		}
	}
	if len(from) == 0 {
		return
	}
	went := map[string]bool{}
	p.changes = keep(p.changes, func(c versions.Change) bool {
		if c.Old != nil || c.New.Kind != versions.File || c.New.Size == 0 || c.New.Link != [16]byte{} {
			return true
		}
		f, ok := pick(from, versions.ContentHash(*c.New), c.Path, func(f versions.Change) bool {
			old := *f.Old
			old.Name = c.New.Name
			return !went[f.Path] && versions.SameAttributes(old, *c.New)
		})
		if !ok {
			return true
		}
		went[f.Path] = true
		p.moves = append(p.moves, move{f.Path, c})
		return false
	})
	p.gone = keep(p.gone, func(c versions.Change) bool { return !went[c.Path] })
}

// pick chooses among what is under key, by preference what has the same name.
func pick[K comparable](from map[K][]versions.Change, key K, to string, fits func(versions.Change) bool) (versions.Change, bool) {
	found := -1
	for i, c := range from[key] {
		if !fits(c) {
			continue
		}
		if path.Base(c.Path) == path.Base(to) {
			found = i
			break
		}
		if found < 0 {
			found = i
		}
	}
	if found < 0 {
		return versions.Change{}, false
	}
	c := from[key][found]
	from[key] = slices.Delete(from[key], found, found+1)
	return c, true
}

// keep is what of list is kept, in a slice of its own: fn may look at list.
func keep(list []versions.Change, fn func(versions.Change) bool) []versions.Change {
	kept := make([]versions.Change, 0, len(list))
	for _, c := range list {
		if fn(c) {
			kept = append(kept, c)
		}
	}
	return kept
}

// below is a set of directories with all that is in them.
type below struct{ dirs map[string]bool }

func (b *below) add(dir string) {
	if b.dirs == nil {
		b.dirs = map[string]bool{}
	}
	b.dirs[dir] = true
}

// has tells whether path is one of the directories or in one.
func (b *below) has(path string) bool {
	for len(b.dirs) > 0 && path != "" {
		if b.dirs[path] {
			return true
		}
		path = parentOf(path)
	}
	return false
}

// holds tells whether one of the directories is in path.
func (b *below) holds(path string) bool {
	for d := range b.dirs {
		if strings.HasPrefix(d, path+"/") {
			return true
		}
	}
	return false
}

// move makes the moves of the plan. After one that could not be made the next
// apply makes and removes instead, which needs less of what is there.
func (a *applier) move(ctx context.Context) error {
	if err := a.batch(ctx, a.plan.parents); err != nil {
		return err
	}
	if len(a.plan.moves) == 0 {
		a.s.moveless = false
	}
	for _, m := range a.plan.moves {
		if err := a.moveOne(ctx, m); err != nil {
			a.s.moveless = true
			if err := a.note(m.Path, err); err != nil {
				return err
			}
			if err := a.unmoved(ctx, m); err != nil {
				return err
			}
		}
		a.count(m.Change)
		a.s.o.Hook("step")
	}
	return nil
}

// unmoved notes that all of what could not be moved is where it was.
func (a *applier) unmoved(ctx context.Context, m move) error {
	a.s.o.Disk.Changed(m.from)
	return a.s.o.Trees.Walk(ctx, *m.New, func(rel string, _ versions.Entry) error {
		a.left = append(a.left, strings.TrimSuffix(join(m.from, rel), "/"))
		return nil
	})
}

func (a *applier) moveOne(ctx context.Context, m move) error {
	applied, err := a.carried(ctx, m)
	if err != nil {
		return err
	}
	_, was, err := a.s.o.Disk.Recorded(m.from)
	if err != nil {
		return err
	}
	if err := a.s.o.Applier.Do(ctx, disk.Step{Op: disk.Move, From: m.from, Path: m.Path}); err != nil {
		return err
	}
	sig, err := a.s.readBack(stagedChange{Change: m.Change})
	if err != nil {
		return err
	}
	if m.New.Kind == versions.File && (sig.Ino != was.Ino || sig.MTime != was.MTime) {
		return fmt.Errorf("%s: %w", m.Path, errWait) // a program came between
	}
	here := folder.Applied{Path: m.Path, Entry: m.New, Sig: sig, From: m.from}
	for _, c := range append([]folder.Applied{here}, applied...) {
		was := join(m.from, strings.TrimPrefix(strings.TrimPrefix(c.Path, m.Path), "/"))
		a.news.add(versions.Change{Path: strings.TrimSuffix(was, "/"), Old: c.Entry})
		a.news.add(versions.Change{Path: c.Path, New: c.Entry})
	}
	return a.s.o.Disk.Applied(append(applied, folder.Applied{Path: m.from}, here))
}

// carried is all that comes along with a directory. Its signatures are those
// that are recorded: what a program has changed differs from them afterwards as
// it did before.
func (a *applier) carried(ctx context.Context, m move) ([]folder.Applied, error) {
	if m.New.Kind != versions.Dir {
		return nil, nil
	}
	var list []folder.Applied
	err := a.s.o.Trees.Walk(ctx, *m.New, func(rel string, e versions.Entry) error {
		if rel == "" {
			return nil
		}
		_, sig, err := a.s.o.Disk.Recorded(join(m.from, rel))
		if err != nil {
			return err
		}
		list = append(list, folder.Applied{Path: join(m.Path, rel), Entry: &e, Sig: sig, Within: true})
		return nil
	})
	return list, err
}
