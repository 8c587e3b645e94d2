package syncer

import (
	"context"
	"fmt"
	"slices"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// merge commits a snapshot that holds what both sides changed since the base:
// its parents are the head and this machine's newest snapshot, which with the
// rest of the queue becomes part of the line as side snapshots. Then the base
// is that newest snapshot, and the merge is applied as any other head.
func (s *Syncer) merge(ctx context.Context, head line.Folder) error {
	s.mu.Lock()
	base := s.base
	tip, ok := s.queue.last()
	s.mu.Unlock()
	if !ok {
		return nil // a program has undone its change
	}
	if s.merged(head, tip.id) {
		return s.settleMerged(ctx, tip, head)
	}
	if err := s.decide(ctx, head); err != nil {
		return err
	}
	if err := s.healLocked(ctx); err != nil {
		return fmt.Errorf("put again what the spool has lost: %w", err)
	}
	from, err := s.mergeBase(ctx, tip.snapshot.Root)
	if err != nil {
		return fmt.Errorf("merge with snapshot %s: %w", head.Instant, err)
	}
	plan, err := reconcile.Merge(ctx, s.o.Trees, from, tip.snapshot.Root, head.Root, reconcile.Options{
		Host: tip.snapshot.Host, Instant: tip.snapshot.Instant, Same: s.o.Contents.Same,
	})
	if err != nil {
		return fmt.Errorf("merge with snapshot %s: %w", head.Instant, err)
	}
	root, err := s.o.Trees.Apply(ctx, head.Root, reconcile.Edits(plan.Commit))
	if err != nil {
		return fmt.Errorf("merge with snapshot %s: %w", head.Instant, err)
	}
	last := tip.snapshot.Instant
	if last.Compare(head.Instant) < 0 {
		last = head.Instant
	}
	snap := &versions.Snapshot{
		Folder: s.o.ID, Instant: versions.NextInstant(s.o.Now(), last), Root: root,
		Parents: []chunk.ID{head.Snapshot, tip.id},
		Host:    s.o.Host, User: s.o.User, Device: s.o.Device, Kind: s.o.Kind,
	}
	if snap.Untracked, err = s.mergedUntracked(ctx, base.Instant, root); err != nil {
		return err
	}
	if err := s.compare(ctx, head.Root, snap); err != nil {
		return err
	}
	if err := snap.StoreDirs(ctx, s.o.Store); err != nil {
		return err
	}
	if err := s.o.Store.Flush(ctx); err != nil {
		return err
	}
	if err := s.upload(ctx); err != nil {
		return err
	}
	s.o.Hook("uploaded")
	if err := s.putSides(ctx, head); err != nil {
		return err
	}
	next, err := s.o.Lines.Commit(ctx, head, snap, nil)
	if err != nil {
		s.forgetHead()
		return fmt.Errorf("commit the merge %s: %w", snap.Instant, err)
	}
	s.o.Hook("committed")
	s.tellMerge(plan, snap.Instant)
	s.setHead(next, true)
	return s.settleMerged(ctx, tip, next)
}

// tellMerge writes into the operations log what a user may want to look at.
func (s *Syncer) tellMerge(plan reconcile.Plan, at versions.Instant) {
	for _, c := range plan.Conflicts {
		if !c.Known {
			s.told[c.Copy] = true
		}
		s.o.Note(Operation{What: "conflict", Instant: at, Path: c.Copy, Text: c.Path + ": this machine's content is in " + c.Copy})
	}
	for _, l := range plan.Lookalike {
		s.o.Note(Operation{What: "lookalike", Instant: at, Text: fmt.Sprintf("%s and %s differ in case or form only", l.Local, l.Remote)})
	}
}

// merged tells whether the head is a merge that has our snapshot already: a
// crash came after its commit.
func (s *Syncer) merged(head line.Folder, tip chunk.ID) bool {
	m, err := s.o.Meta.SnapshotAt(head.Instant)
	return err == nil && m.ID == head.Snapshot && slices.Contains(m.Record.Parents, tip)
}

// settleMerged makes this machine's newest snapshot the base: the line has it
// as a parent of head. Its number is not that of the head, which is above.
func (s *Syncer) settleMerged(ctx context.Context, tip queued, head line.Folder) error {
	s.mu.Lock()
	before := s.base.Root
	s.mu.Unlock()
	err := s.setBase(Base{
		Repository: s.o.Repository, Folder: s.o.ID,
		Number: head.Number - 1, Epoch: head.Epoch,
		Snapshot: tip.id, Instant: tip.snapshot.Instant, Root: tip.snapshot.Root,
	})
	if err != nil {
		return err
	}
	s.o.Hook("based")
	if err := s.settleQueue(ctx); err != nil {
		return err
	}
	s.tellPushed(ctx, before, tip.snapshot)
	return nil
}

// putSides brings the queue's records to the remote beside the line.
func (s *Syncer) putSides(ctx context.Context, head line.Folder) error {
	s.mu.Lock()
	entries := slices.Clone(s.queue.entries)
	s.mu.Unlock()
	for _, e := range entries {
		if err := s.o.Lines.PutSide(ctx, head, e.snapshot); err != nil {
			return fmt.Errorf("send snapshot %s: %w", e.snapshot.Instant, err)
		}
	}
	return nil
}
