package syncer

import (
	"context"
	"errors"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/syncfs/syncfs/versions"
)

// plan is what must happen to bring one tree to another, in the order in which
// it happens: what gives way to another kind, what only has another path, what
// is new or changed (parents first), what is gone (children first), and at the
// end the attributes of directories, whose times all else moves (children
// first).
type plan struct {
	giveWay []versions.Change
	parents []versions.Change // new directories that moves lead into
	moves   []move
	changes []versions.Change
	gone    []versions.Change
	dirs    []dirMeta
	absent  []string // what this disk could not hold, and is tried again when all else is done
	again   []versions.Change
	bytes   int64 // of content that is needed
	folds   *folds

	untracked map[string]bool // paths that leave the tree and stay on this disk
}

// dirMeta is a directory that exists in the end, and what it shall be.
type dirMeta struct {
	path  string
	entry versions.Entry
}

// empty tells that there is nothing to do.
func (p *plan) empty() bool {
	return len(p.giveWay)+len(p.moves)+len(p.changes)+len(p.gone)+len(p.dirs)+len(p.absent) == 0 &&
		(p.folds == nil || len(p.folds.touched) == 0)
}

// makePlan compares from with to.
func (s *Syncer) makePlan(ctx context.Context, from, to versions.Entry) (*plan, error) {
	p := &plan{folds: s.newFolds()}
	known := map[string]versions.Entry{"": to} // directories of to that the comparison told of
	replaced := ""                             // below this path everything gives way first
	err := s.o.Trees.Diff(ctx, from, to, func(c versions.Change) (end error) {
		taken, skip := p.folds.takes(c)
		if skip {
			end = versions.SkipDir
		}
		if taken {
			return end
		}
		if c.New != nil && c.New.Kind == versions.Dir {
			known[c.Path] = *c.New
		}
		below := replaced != "" && strings.HasPrefix(c.Path, replaced+"/")
		switch {
		case c.Old != nil && c.New != nil && c.Old.Kind != c.New.Kind:
			replaced = c.Path
			p.giveWay = append(p.giveWay, c)
			p.changes = append(p.changes, versions.Change{Path: c.Path, New: c.New})
		case c.New == nil && below:
			p.giveWay = append(p.giveWay, c)
		case c.New == nil:
			p.gone = append(p.gone, c)
		default:
			p.changes = append(p.changes, c)
		}
		return end
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(p.giveWay)
	slices.Reverse(p.gone)
	if len(p.gone)+len(p.giveWay) > 0 {
		s.mu.Lock()
		base := s.base.Instant
		s.mu.Unlock()
		if p.untracked, err = s.untrackedSince(base); err != nil {
			return nil, err
		}
	}
	if !s.moveless && len(p.untracked) == 0 && s.o.Stubs == nil && len(s.o.Disk.Absents()) == 0 { // what is not planned cannot be moved
		p.findMoves(s.o.Disk.HoldsKeptOut)
	}
	for _, c := range p.changes {
		if s.o.Stubs == nil && needsContent(c) { // else nobody knows before each is looked at
			p.bytes += c.New.Size
		}
	}
	if err := s.planDirs(ctx, p, p.touched(), known, to); err != nil {
		return nil, err
	}
	return p, s.planAbsent(ctx, p, to)
}

// touched are the directories whose times our steps move.
func (p *plan) touched() map[string]bool {
	dirs := map[string]bool{}
	add := func(c versions.Change) {
		if c.Path != "" {
			dirs[parentOf(c.Path)] = true
		}
		if c.New != nil && c.New.Kind == versions.Dir {
			dirs[c.Path] = true
		}
	}
	for _, list := range [][]versions.Change{p.giveWay, p.parents, p.changes, p.gone} {
		for _, c := range list {
			add(c)
		}
	}
	for _, m := range p.moves {
		add(m.Change)
		dirs[parentOf(m.from)] = true
	}
	return dirs
}

// planDirs finds the entries of all directories that are touched and stay.
func (s *Syncer) planDirs(ctx context.Context, p *plan, touched map[string]bool, known map[string]versions.Entry, to versions.Entry) error {
	paths := make([]string, 0, len(touched))
	for dir := range touched {
		paths = append(paths, dir)
	}
	// A directory sorts before what is in it, so backwards children come first.
	sort.Sort(sort.Reverse(sort.StringSlice(paths)))
	for _, dir := range paths {
		e, ok := known[dir]
		if !ok {
			var err error
			e, err = s.o.Trees.Resolve(ctx, to, dir)
			if missing(err) || errors.Is(err, versions.ErrNotDir) {
				continue // it goes as well, or what it was in becomes a file
			}
			if err != nil {
				return err
			}
		}
		if e.Kind == versions.Dir {
			p.dirs = append(p.dirs, dirMeta{dir, e})
		}
	}
	return nil
}

// needsContent tells whether a change brings bytes that are not in place.
func needsContent(c versions.Change) bool {
	return c.New != nil && c.New.Kind == versions.File &&
		(c.Old == nil || c.Old.Kind != versions.File || !versions.SameContent(*c.Old, *c.New))
}

// onlyMeta tells whether a change can be made on the inode that is there.
func onlyMeta(c versions.Change) bool {
	return c.Old != nil && c.New != nil && c.Old.Kind == c.New.Kind &&
		versions.SameContent(*c.Old, *c.New) && c.Old.Link == c.New.Link
}

func parentOf(p string) string {
	d := path.Dir(p)
	if d == "." {
		return ""
	}
	return d
}

// make makes changes visible, in batches.
func (a *applier) make(ctx context.Context, rest []versions.Change) error {
	for len(rest) > 0 {
		n, size := 0, int64(0)
		for n < len(rest) && n < batchSteps && (n == 0 || size < batchBytes) {
			if a.s.o.Stubs == nil && needsContent(rest[n]) {
				size += rest[n].New.Size
			}
			n++
		}
		if err := a.batch(ctx, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}
