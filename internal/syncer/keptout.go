package syncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/ignore"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/versions"
)

// What rules keep out of the tree stands in the folder all the same. It is never
// deleted by an apply and never written over, and nothing waits for it: a
// directory that goes stays with only that, and where something of the tree
// comes, it makes room and stands beside it as a conflict copy.

func inTheWay(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.ENOTEMPTY)
}

// makeRoom makes c, which is new, visible where something kept out stands; err
// is why that was not possible at once.
func (a *applier) makeRoom(ctx context.Context, c *stagedChange, err error) error {
	kept, kerr := a.s.o.Disk.KeptOut(c.Path)
	if kerr != nil || !kept {
		return errors.Join(err, kerr)
	}
	st, serr := statBelow(a.s.o.Root, c.Path)
	if serr != nil {
		return errors.Join(err, serr)
	}
	if c.stub && st.Type() == disk.TypeDir {
		return err // what is below was not planned: next time it is
	}
	if c.New.Kind == versions.Dir && st.Type() == disk.TypeDir {
		return nil // it is in the tree from now on, with what comes into it
	}
	step := disk.Step{Op: disk.Replace, Path: c.Path, Staged: c.name}
	d := displaced{Stage: a.stageName, Staged: c.name, Path: c.Path, Ours: c.sig}
	if c.New.Kind == versions.Dir {
		step.Op, step.Staged = disk.Remove, a.s.stageName()
		d.Staged = step.Staged
	}
	// Without a signature it counts as changed: it comes back, unless it is what
	// has taken its place.
	if err := a.s.noteDisplaced([]displaced{d}); err != nil {
		return err
	}
	a.s.mu.Lock()
	a.s.displaced = append(a.s.displaced, d)
	a.s.mu.Unlock()
	c.name = "" // from here on it may be what was kept out: the sweep decides
	yielding := ownStep{step.Op, c.Path}
	a.s.yield(yielding, true)
	defer a.s.yield(yielding, false)
	if err := a.s.o.Applier.Do(ctx, step); err != nil {
		return err
	}
	if c.New.Kind == versions.Dir {
		return a.visible(ctx, c)
	}
	return nil
}

// yield tells the gate that a step may displace what rules keep out.
func (s *Syncer) yield(step ownStep, may bool) {
	s.gateMu.Lock()
	defer s.gateMu.Unlock()
	if s.yielding == nil {
		s.yielding = map[ownStep]bool{}
	}
	if may {
		s.yielding[step] = true
	} else {
		delete(s.yielding, step)
	}
}

// yields: see yield.
func (s *Syncer) yields(step ownStep) bool {
	s.gateMu.Lock()
	defer s.gateMu.Unlock()
	return s.yielding[step]
}

// checkKeptOut is the check of a step that displaces what rules keep out.
func (s *Syncer) checkKeptOut(path string) error {
	kept, err := s.o.Disk.KeptOut(path)
	if err == nil && !kept {
		err = fmt.Errorf("%s: %w", path, errWait)
	}
	return err
}

// leave gives up a directory that cannot be removed since what rules keep out is
// in it: it leaves the tree and stays on the disk. applied are the steps before
// it, which are recorded first.
func (a *applier) leave(c stagedChange, applied []folder.Applied, err error) error {
	if err := a.s.o.Disk.Applied(applied); err != nil {
		return err
	}
	left, lerr := a.s.o.Disk.Leftover(c.Path)
	if lerr != nil || !left {
		return errors.Join(err, lerr)
	}
	return nil
}

// rulesOf are the rules that a head has in a directory. At a first attach they
// hold where this disk has none: they are on their way.
func (s *Syncer) rulesOf(ctx context.Context, head line.Folder) func(dir string) ([]byte, error) {
	s.mu.Lock()
	attached := s.attached
	s.mu.Unlock()
	if attached || head.Snapshot.IsZero() {
		return nil
	}
	return func(dir string) ([]byte, error) {
		e, err := s.o.Trees.Resolve(ctx, head.Root, join(dir, ignore.Name))
		if err != nil || e.Kind != versions.File || e.Size > ignore.MaxFile {
			if err == nil || errors.Is(err, versions.ErrNotDir) {
				err = fs.ErrNotExist
			}
			return nil, err
		}
		r, err := s.o.Contents.Open(ctx, e)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		var data bytes.Buffer
		_, err = r.WriteTo(&data)
		return data.Bytes(), err
	}
}
