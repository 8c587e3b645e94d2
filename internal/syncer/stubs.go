package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// Stubs says what of a folder is brought to this disk with its content: a
// folder without it is brought as a whole.
type Stubs interface {
	// Wanted: what is at path is to be here, and all that comes there.
	Wanted(path string) bool
	// Here: there is a file at path with its content.
	Here(path string) bool
	// Refold makes a directory of which nothing is here stand for another tree;
	// EBUSY when somebody has looked into it.
	Refold(path string, from, to versions.Entry) (disk.Sig, error)
	// Staged makes what is said of the file at path hold for what replaces it.
	Staged(path string, stage *disk.Dir, name string) error
}

// folds are the directories that stand for all that is in them, as far as one
// plan meets them: nothing below is planned.
type folds struct {
	s       *Syncer
	known   map[string]bool // paths, and whether they are folded
	fresh   map[string]bool // come with this plan
	touched map[string]bool // something below is to change
}

func (s *Syncer) newFolds() *folds {
	if s.o.Stubs == nil {
		return nil
	}
	return &folds{s: s, known: map[string]bool{}, fresh: map[string]bool{}, touched: map[string]bool{}}
}

// is tells whether path is such a directory.
func (f *folds) is(path string) bool {
	if f == nil {
		return false
	}
	if is, ok := f.known[path]; ok {
		return is
	}
	is, err := f.s.o.Disk.Folded(path)
	f.known[path] = is && err == nil
	return f.known[path]
}

// takes decides about one change: taken, it is below a folded directory, which
// then stands for another tree; skip, what is below is not to be planned.
func (f *folds) takes(c versions.Change) (taken, skip bool) {
	if f == nil {
		return false, false
	}
	for dir := parentOf(c.Path); dir != ""; dir = parentOf(dir) {
		if f.is(dir) {
			f.touched[dir] = true
			return true, true
		}
	}
	if c.Path == "" || c.New == nil || c.New.Kind != versions.Dir {
		return false, f.is(c.Path)
	}
	if c.Old != nil && c.Old.Kind == versions.Dir {
		if f.is(c.Path) {
			f.touched[c.Path] = true
			return false, true
		}
		return false, false
	}
	if c.New.Tree.IsZero() || f.s.o.Stubs.Wanted(c.Path) {
		return false, false
	}
	if st, err := statBelow(f.s.o.Root, c.Path); err == nil && st.Type() == disk.TypeDir {
		return false, false // one that is kept out stands there: it is filled
	}
	f.fresh[c.Path], f.known[c.Path] = true, true
	return false, true
}

// refold makes the folded directories below which something changes stand for
// their new trees.
func (a *applier) refold(ctx context.Context, to versions.Entry) error {
	f := a.plan.folds
	if f == nil {
		return nil
	}
	for path := range f.touched {
		e, err := a.s.o.Trees.Resolve(ctx, to, path)
		if missing(err) {
			continue // it goes
		}
		if err != nil {
			return err
		}
		if e.Kind != versions.Dir {
			continue
		}
		if err := a.refoldOne(path, e); err != nil {
			f.known[path] = false
			if err := a.note(path, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *applier) refoldOne(path string, to versions.Entry) error {
	was, _, err := a.s.o.Disk.Recorded(path)
	if err != nil {
		return err
	}
	if was.Tree == to.Tree {
		return nil
	}
	sig, err := a.s.o.Stubs.Refold(path, was, to)
	if err != nil {
		return err
	}
	was.Tree, was.Size, was.Count = to.Tree, to.Size, to.Count
	return a.s.o.Disk.Applied([]folder.Applied{{Path: path, Entry: &was, Sig: sig, Folded: !to.Tree.IsZero()}})
}

// asStub tells whether a change is brought without its content.
func (a *applier) asStub(c versions.Change) bool {
	stubs := a.s.o.Stubs
	switch {
	case stubs == nil:
		return false
	case c.New.Kind == versions.Dir:
		return a.plan.folds.fresh[c.Path]
	case c.New.Kind != versions.File || c.New.Size == 0 || stubs.Wanted(c.Path):
		return false
	}
	return c.Old == nil || c.Old.Kind != versions.File || !stubs.Here(c.Path)
}

// createStub stages a change without its content; false: it needs it.
func (a *applier) createStub(c *stagedChange) (bool, error) {
	e := *c.New
	if e.Kind == versions.Dir {
		e.Mode |= 0o700 // else not even its owner can move it
	}
	st, notes, err := a.stage.CreateStub(c.name, e, a.options)
	if errors.Is(err, disk.ErrStubTooLong) {
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("%s: %w", c.Path, err)
	}
	a.s.noted(c.Path, notes)
	c.sig = st.Sig
	return true, nil
}

// AttachFolded makes the directory, which is empty and which nothing else uses
// yet, stand for the newest snapshot, and makes that the base: whoever looks
// into it first brings what is in it.
func (s *Syncer) AttachFolded(ctx context.Context) error {
	head, err := s.currentHead(ctx)
	if err != nil {
		return err
	}
	if err := s.learn(ctx, head); err != nil {
		return err
	}
	if head.Snapshot.IsZero() {
		return nil
	}
	root, err := s.o.Root.OpenDir("")
	if err != nil {
		return err
	}
	defer root.Close()
	if _, _, err := root.SetSelfMeta(disk.MetaOf(head.Root, disk.CreateOptions{Owner: os.Geteuid() == 0, Owners: s.o.Owners})); err != nil {
		return err
	}
	if !head.Root.Tree.IsZero() {
		if err := root.SetStub(disk.NewStub(head.Root)); err != nil {
			return err
		}
	}
	if err := root.Sync(); err != nil {
		return err
	}
	return s.setBase(Base{
		Repository: s.o.Repository, Folder: s.o.ID,
		Number: head.Number, Epoch: head.Epoch,
		Snapshot: head.Snapshot, Instant: head.Instant, Root: head.Root,
	})
}

// Safe tells whether the remote has the content of e, which is at path here.
func (s *Syncer) Safe(ctx context.Context, path string, e versions.Entry) (bool, error) {
	s.mu.Lock()
	base := s.base.Root
	s.mu.Unlock()
	if base.IsZero() {
		return false, nil
	}
	have, err := s.o.Trees.Resolve(ctx, base, path)
	if missing(err) {
		return false, nil
	}
	return err == nil && versions.SameContent(have, e), err
}
