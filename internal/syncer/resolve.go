package syncer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// Keep says which of several contents stays.
type Keep string

// What can be kept.
const (
	KeepCurrent Keep = "current" // what has the name now
	KeepCopy    Keep = "copy"    // the conflict copy
	KeepNewest  Keep = "newest"  // what was changed last
	KeepMine    Keep = "mine"    // what this machine wrote
	KeepTheirs  Keep = "theirs"  // what another machine wrote
	KeepBoth    Keep = "both"    // all: the copy gets an ordinary name
)

// Dispute is a name and the conflict copies of it that are to be decided about.
type Dispute struct {
	Path   string
	Copies []string
}

// Resolved is what was done about a Dispute, or would be.
type Resolved struct {
	Path    string
	Kept    string   // path at which the content stood that has Path now; "" when all were kept
	Removed []string // paths whose content is in the versions alone now
	Renamed []string // KeepBoth: the copies' new names
	Err     error    // why it was not done, or not wholly
}

// ErrUndecided is a choice that does not say which content is meant.
var ErrUndecided = errors.New("that does not say which is meant")

// Resolve ends conflicts: of each the content that keep names has the name
// afterwards, the others are gone from the tree. Before anything is touched
// everything is in a snapshot on this machine; a path that is changed or in use
// stays, and is told of in Err. dry only tells what would be done.
func (s *Syncer) Resolve(ctx context.Context, list []Dispute, keep Keep, dry bool) ([]Resolved, error) {
	s.tree.Lock()
	defer s.tree.Unlock()
	if s.frozen.Load() {
		return nil, fmt.Errorf("folder %s is being unmounted: %w", s.o.Name, syscall.EBUSY)
	}
	if !dry {
		if err := s.secure(ctx); err != nil {
			return nil, fmt.Errorf("nothing was changed: what is here could not be put into a version first: %w", err)
		}
	}
	out := make([]Resolved, len(list))
	var gone []string
	for i, d := range list {
		r := &out[i]
		if *r, r.Err = s.choose(d, keep); r.Err != nil || dry {
			continue
		}
		switch {
		case keep == KeepBoth:
			r.Renamed, r.Err = s.rename(ctx, d)
		case r.Kept != r.Path:
			r.Err = s.promote(ctx, r)
		}
		if r.Err == nil {
			gone = append(gone, r.Removed...)
		}
	}
	if dry {
		return out, nil
	}
	stay, err := s.discard(ctx, gone)
	for i := range out {
		tellStay(&out[i], stay)
	}
	_, cerr := s.captureWith(ctx, folder.BuildOptions{}, word{nothing: true}) // the user has decided
	for _, r := range out {
		if r.Err == nil {
			s.o.Note(Operation{What: "resolved", Path: r.Path, Text: r.text()})
		}
	}
	return out, errors.Join(err, cerr)
}

// text is for the operations log.
func (r Resolved) text() string {
	if r.Kept == "" {
		return r.Path + ": both are kept"
	}
	return r.Path + ": kept what was in " + r.Kept
}

// tellStay notes which of r's paths could not be removed.
func tellStay(r *Resolved, stay []string) {
	var left []string
	r.Removed = slices.DeleteFunc(r.Removed, func(p string) bool {
		if slices.Contains(stay, p) {
			left = append(left, p)
			return true
		}
		return false
	})
	if r.Err == nil && len(left) > 0 {
		// What was chosen has the name already: to choose again would take it back.
		r.Err = fmt.Errorf("%s was just changed or is open in a program, and stays: close it and keep %q: %w", left[0], KeepCurrent, syscall.EBUSY)
	}
}

// secure makes sure that everything that is here is in a snapshot.
func (s *Syncer) secure(ctx context.Context) error {
	if s.o.ScanAtFlush {
		if err := s.o.Disk.Scan(ctx, nil); err != nil {
			return err
		}
	}
	for {
		_, err := s.captureLocked(ctx, folder.BuildOptions{Before: s.o.Now(), Force: true})
		if err != nil || !s.endedEarly() {
			return err
		}
	}
}

// candidate is one of the contents of a Dispute.
type candidate struct {
	path  string
	copy  bool
	mine  bool
	mtime int64
}

// choose decides what is kept of d.
func (s *Syncer) choose(d Dispute, keep Keep) (Resolved, error) {
	r := Resolved{Path: d.Path}
	list, err := s.candidates(d)
	if err != nil {
		return r, err
	}
	if keep == KeepBoth {
		return r, nil
	}
	var fit []candidate
	for _, c := range list {
		switch {
		case keep == KeepNewest, keep == KeepCurrent && !c.copy, keep == KeepCopy && c.copy,
			keep == KeepMine && c.mine, keep == KeepTheirs && !c.mine:
			fit = append(fit, c)
		}
	}
	switch {
	case len(fit) == 0 && keep == KeepCurrent:
		return r, fmt.Errorf("%s does not exist: keep %q, or remove %s: %w", d.Path, KeepCopy, d.Copies[0], ErrUndecided)
	case len(fit) == 0:
		return r, fmt.Errorf("%s: no content of it is %q: %w", d.Path, keep, ErrUndecided)
	case len(fit) > 1 && keep == KeepCopy:
		return r, fmt.Errorf("%s has %d conflict copies: name the one to keep, or keep %q: %w", d.Path, len(fit), KeepNewest, ErrUndecided)
	}
	won := slices.MaxFunc(fit, func(x, y candidate) int { // the first of equals: what has the name
		switch {
		case x.mtime < y.mtime:
			return -1
		case x.mtime > y.mtime:
			return 1
		}
		return 0
	})
	r.Kept = won.path
	for _, c := range list {
		switch {
		case c.path == won.path:
		case !won.copy, c.copy:
			r.Removed = append(r.Removed, c.path)
		default:
			r.Removed = append(r.Removed, won.path) // under which it stands after the exchange
		}
	}
	return r, nil
}

// candidates are what is there of d, first what has the name.
func (s *Syncer) candidates(d Dispute) ([]candidate, error) {
	var list []candidate
	ours := false
	for _, p := range d.Copies {
		e, _, err := s.o.Disk.Recorded(p)
		if err != nil {
			return nil, err
		}
		c, ok := reconcile.ParseCopy(path.Base(p))
		if !ok {
			return nil, fmt.Errorf("%s is no conflict copy: %w", p, ErrUndecided)
		}
		mine := c.Host == reconcile.CleanHost(s.o.Host)
		ours = ours || mine
		list = append(list, candidate{path: p, copy: true, mine: mine, mtime: e.MTime})
	}
	e, _, err := s.o.Disk.Recorded(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.Insert(list, 0, candidate{path: d.Path, mine: !ours, mtime: e.MTime}), nil
}

// promote gives what stands at r.Kept the name r.Path, in one step: what had it
// has the copy's name then, until it is removed.
func (s *Syncer) promote(ctx context.Context, r *Resolved) error {
	return s.undisturbed(ctx, []string{r.Path, r.Kept}, func() error {
		copied, sig, err := s.o.Disk.Recorded(r.Kept)
		if err != nil {
			return err
		}
		old, oldSig, err := s.o.Disk.Recorded(r.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return s.move(ctx, r.Kept, r.Path)
		}
		if err != nil {
			return err
		}
		if err := s.o.Applier.Do(ctx, disk.Step{Op: disk.Swap, Path: r.Path, From: r.Kept}); err != nil {
			return err
		}
		s.swapped(r.Path, copied, sig)
		s.swapped(r.Kept, old, oldSig)
		return nil
	})
}

// swapped records that e stands at name now; what is not known for certain is
// read again.
func (s *Syncer) swapped(name string, e versions.Entry, sig disk.Sig) {
	if e.Kind != versions.Dir {
		e.Name = path.Base(name)
		now, err := s.readBack(stagedChange{Change: versions.Change{Path: name, New: &e}, name: name, sig: sig})
		if err == nil {
			err = s.o.Disk.Applied([]folder.Applied{{Path: name, Entry: &e, Sig: now}})
		}
		if err == nil {
			return
		}
	}
	s.o.Disk.Changed(name)
}

// rename gives every copy of d an ordinary name.
func (s *Syncer) rename(ctx context.Context, d Dispute) (names []string, err error) {
	for _, from := range d.Copies {
		c, _ := reconcile.ParseCopy(path.Base(from)) // as candidates has seen
		for _, digits := range []int{0, 8, 64} {
			to := join(parentOf(from), c.OrdinaryName(digits))
			if err = s.undisturbed(ctx, []string{from}, func() error { return s.move(ctx, from, to) }); err == nil {
				names = append(names, to)
			}
			if !errors.Is(err, fs.ErrExist) {
				break
			}
		}
		if err != nil {
			return names, err
		}
	}
	return names, nil
}

func (s *Syncer) move(ctx context.Context, from, to string) error {
	if st, err := statBelow(s.o.Root, to); err == nil {
		return fmt.Errorf("%s (inode %d): %w", to, st.Ino, fs.ErrExist)
	}
	err := s.o.Applier.Do(ctx, disk.Step{Op: disk.Move, Path: to, From: from})
	if err == nil {
		s.o.Disk.Renamed(from, to)
	}
	return err
}

// discard removes what is in a snapshot; what is not as it is there, or is in
// use, stays.
func (s *Syncer) discard(ctx context.Context, paths []string) (stay []string, err error) {
	if len(paths) == 0 {
		return nil, nil
	}
	var inUse []string
	paths = slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
		busy := errors.Is(s.o.Disk.Unchanged(p), folder.ErrInUse)
		if busy {
			inUse = append(inUse, p)
		}
		return busy
	})
	err = s.undisturbed(ctx, nil, func() error {
		p := &plan{}
		for _, name := range paths {
			e, _, err := s.o.Disk.Recorded(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // in the try before
			}
			if err != nil {
				return err
			}
			err = s.o.Trees.Diff(ctx, e, versions.Entry{}, func(c versions.Change) error {
				p.gone = append(p.gone, versions.Change{Path: path.Join(name, c.Path), Old: c.Old})
				return nil
			})
			if err != nil {
				return err
			}
		}
		slices.Reverse(p.gone)
		stay, err = s.removePlan(ctx, p)
		if err == nil && len(stay) > 0 {
			err = fmt.Errorf("%s: %w", stay[0], syscall.EBUSY)
		}
		return err
	})
	if errors.Is(err, syscall.EBUSY) {
		err = nil // stay tells of it
	}
	// Of a directory that stays because of what is in it, its own path is told.
	for _, name := range paths {
		if slices.ContainsFunc(stay, func(p string) bool { return p != name && parentsHave(p, name) }) {
			stay = append(stay, name)
		}
	}
	return append(stay, inUse...), err
}

func parentsHave(p, dir string) bool {
	for ; p != ""; p = parentOf(p) {
		if p == dir {
			return true
		}
	}
	return false
}

// removePlan takes away what a plan has under gone.
func (s *Syncer) removePlan(ctx context.Context, p *plan) (left []string, err error) {
	a := s.newApplier(p)
	defer s.tidyStage()
	s.gateDirs(p)
	defer s.gateDirs(nil)
	defer s.activity(Activity{})
	if err := a.remove(ctx, p.gone); err != nil {
		return nil, err
	}
	for _, c := range p.gone {
		s.o.Disk.Changed(parentOf(c.Path))
	}
	if err := s.syncStage(a.stage); err != nil {
		return nil, err
	}
	return a.left, a.failure()
}

// Times for which a path that was just changed is waited for.
const (
	calmPause = 100 * time.Millisecond
	calmTries = 30
)

// undisturbed makes steps that only go on where nothing has changed since it was
// captured; what was changed just now is captured, and then tried again. What a
// program has open for writing is not waited for.
func (s *Syncer) undisturbed(ctx context.Context, paths []string, step func() error) error {
	for try := 0; ; try++ {
		for _, p := range paths {
			if err := s.o.Disk.Unchanged(p); errors.Is(err, folder.ErrInUse) {
				return fmt.Errorf("%w: %w", err, syscall.EBUSY)
			}
		}
		err := step()
		if !errors.Is(err, syscall.EBUSY) || try == calmTries {
			return err
		}
		if err := sleep(ctx, calmPause); err != nil {
			return err
		}
		if _, err := s.captureWith(ctx, folder.BuildOptions{}, word{nothing: true}); err != nil {
			return err
		}
	}
}
