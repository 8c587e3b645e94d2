package syncer

import (
	"context"
	"fmt"

	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/versions"
)

// pull brings what others committed into the folder. again is true when the
// line has moved by that (a merge) and must be looked at anew.
//
// The state before is (base, local, head). Every path of the local tree that is
// as in the base or as in the head is not ours: then the rest of the head is
// applied. That also ends an apply that a crash cut, whose tree is a mixture of
// the two. Otherwise both sides have changed: a merge is committed first, and
// then applied as any other head.
func (s *Syncer) pull(ctx context.Context, head line.Folder) (again bool, err error) {
	if err := s.learn(ctx, head); err != nil {
		return false, err
	}
	s.tree.Lock()
	defer s.tree.Unlock()
	s.mu.Lock()
	base, queued := s.base, len(s.queue.entries) > 0
	mix, mixed := s.mixtureLocked()
	_, _, tip := s.tip()
	s.mu.Unlock()

	o := folder.BuildOptions{Rules: s.rulesOf(ctx, head)}
	local, built, err := s.look(ctx, o)
	if err != nil {
		return false, err
	}
	v, err := s.outward(ctx, s.held(), local, tip)
	if err != nil {
		return false, err
	}
	ours := queued
	if !ours {
		since, remotes := base.Root, []versions.Entry{head.Root}
		if mixed {
			since, remotes = mix.from, append(remotes, mix.to)
		}
		if ours, err = s.ours(ctx, since, v.root, remotes...); err != nil {
			return false, err
		}
	}
	if ours {
		if _, err := s.captureLocked(ctx, o); err != nil {
			return false, err
		}
		return true, s.merge(ctx, head)
	}
	if built != nil {
		if err := s.record(ctx, built); err != nil {
			return false, err
		}
	}
	return false, s.follow(ctx, local, v.root, head)
}

// look builds the local tree as it is now, without making a snapshot of it.
func (s *Syncer) look(ctx context.Context, o folder.BuildOptions) (versions.Entry, *folder.Built, error) {
	root, err := s.recordedRoot()
	if err != nil {
		return versions.Entry{}, nil, err
	}
	s.mu.Lock()
	_, _, tip := s.tip()
	s.mu.Unlock()
	o.Was = s.was(ctx, tip)
	// In the middle of a long first upload what was not read yet waits here too:
	// the steps go around it.
	o.NothingNew = s.endedEarly() && versions.Equal(root, tip)
	built, err := s.o.Disk.Build(ctx, s.o.Trees, s.o.Contents, o)
	if err != nil {
		return versions.Entry{}, nil, fmt.Errorf("look at the folder: %w", err)
	}
	if built != nil {
		root = built.Root
	}
	return root, built, nil
}

// ours tells whether the local tree is anywhere neither as the base nor as any
// of the remote trees: the head, and the one that an unfinished apply was making.
func (s *Syncer) ours(ctx context.Context, base, local versions.Entry, remotes ...versions.Entry) (bool, error) {
	if local.IsZero() {
		return false, nil
	}
	changed := map[string]versions.Change{}
	err := s.o.Trees.Diff(ctx, base, local, func(c versions.Change) error {
		if !incidental(c) {
			changed[c.Path] = c
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	for _, remote := range remotes {
		if len(changed) == 0 {
			return false, nil
		}
		if remote.IsZero() {
			continue
		}
		left := map[string]versions.Change{}
		err := s.o.Trees.Diff(ctx, local, remote, func(d versions.Change) error {
			if c, ok := changed[d.Path]; ok && !sameForUs(c.Old, d.Old, d.New) {
				left[d.Path] = c
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		changed = left
	}
	for path := range changed {
		s.o.Logger.Debug("changed here", "path", path)
		return true, nil
	}
	return false, nil
}

// incidental tells whether a change is none that a program made: a file has
// rested since it was taken unrested, or belongs to another hard-link group than
// the base says. A group loses its last other name when that leaves staging, and
// gets another id where the records of it were lost. Such a change goes along
// with the next one.
func incidental(c versions.Change) bool {
	if c.Old == nil || c.New == nil || c.Old.Link == [16]byte{} && c.New.Link != [16]byte{} {
		return false
	}
	old := *c.Old
	old.Link = c.New.Link
	old.Unstable = old.Unstable && c.New.Unstable
	return versions.Equal(old, *c.New)
}

// sameForUs tells whether local, which differs from both, differs in nothing
// that must be kept: the time of a directory and whether a file has other names,
// which our own steps change, and at a first attach the attributes of what has the remote's content.
func sameForUs(base, local, remote *versions.Entry) bool {
	if base != nil && local != nil && base.Kind == versions.File {
		l, b := *local, *base
		l.Link, b.Link = [16]byte{}, [16]byte{}
		if versions.Equal(l, b) {
			return true
		}
	}
	if local == nil || remote == nil || local.Kind != remote.Kind {
		return false
	}
	if base == nil {
		return local.Kind == versions.Dir || versions.SameContent(*local, *remote)
	}
	if local.Kind != versions.Dir || base.Kind != versions.Dir {
		return false
	}
	l, b, r := *local, *base, *remote
	l.MTime, b.MTime, r.MTime = 0, 0, 0
	return versions.SameAttributes(l, b) || versions.SameAttributes(l, r)
}

// follow applies head to a tree that holds nothing of ours, and makes it the
// base. from is what the line is to see of the tree.
func (s *Syncer) follow(ctx context.Context, local, from versions.Entry, head line.Folder) error {
	if s.frozen.Load() {
		return nil // the next start finds it again
	}
	if err := s.begin(ctx, from, head.Root); err != nil {
		return err
	}
	to, h, err := s.inward(ctx, s.held(), local, head.Root)
	if err != nil {
		return err
	}
	p, err := s.makePlan(ctx, local, to)
	if err != nil {
		return err
	}
	held := false
	if to, h, held, err = s.holdIn(ctx, p, h, local, to, s.hostOf(head)); err != nil {
		return err
	}
	if held {
		if p, err = s.makePlan(ctx, local, to); err != nil {
			return err
		}
	}
	left, err := s.apply(ctx, p, to, head.Instant)
	s.tellUnapplied(err)
	if err != nil {
		return fmt.Errorf("apply snapshot %s: %w", head.Instant, err)
	}
	s.mu.Lock()
	// What waits only until it has been looked at again goes on right after that.
	s.soon = len(left) > 0 && s.status.Waiting == 0
	s.status.Waiting = len(left)
	s.mu.Unlock()
	if len(left) > 0 { // the base stays: what is left is found again
		reached, err := s.reached(ctx, from, head.Root, left)
		if err == nil && held {
			reached, err = s.withFresh(ctx, reached, h, local, head.Root)
		}
		if err != nil {
			s.o.Logger.Info("what was applied may pass for a change", "err", err)
			return nil
		}
		return s.begin(ctx, reached, head.Root)
	}
	s.o.Hook("applied")
	err = s.setBaseAndHolds(Base{
		Repository: s.o.Repository, Folder: s.o.ID,
		Number: head.Number, Epoch: head.Epoch,
		Snapshot: head.Snapshot, Instant: head.Instant, Root: head.Root,
	}, h)
	if err != nil {
		return err
	}
	s.o.Note(Operation{What: "applied", Instant: head.Instant})
	if held {
		s.o.Note(Operation{What: "hold", Instant: head.Instant, Text: fmt.Sprintf("%d of %d files were deleted on %s and are kept here: %s",
			h.in.Files(), h.in.most, h.in.from, heldText(h.in.Held))})
	}
	return s.done()
}

// hostOf is the machine that made the head, as far as it is known here.
func (s *Syncer) hostOf(head line.Folder) string {
	m, err := s.o.Meta.SnapshotAt(head.Instant)
	if err != nil || m.ID != head.Snapshot || m.Record.Host == "" {
		return "another machine"
	}
	return m.Record.Host
}
