package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// heal puts again what the queue needs and this disk has damaged in the spool:
// listings from the folder's records, contents from the files as they are now.
// What neither has any more is told and given up: it must not hold up all that
// came after it.
func (s *Syncer) heal(ctx context.Context) error {
	s.tree.Lock()
	defer s.tree.Unlock()
	return s.healLocked(ctx)
}

// healLocked is heal with the tree's lock held.
func (s *Syncer) healLocked(ctx context.Context) error {
	aside := s.o.Store.SetAside()
	s.mu.Lock()
	entries, base, done := slices.Clone(s.queue.entries), s.base.Root, aside == s.healed
	s.mu.Unlock()
	if done {
		return nil
	}
	if len(entries) > 0 {
		s.o.Logger.Warn("what waits in the spool is damaged and put again", "snapshots", len(entries))
		s.o.Disk.Relist()
		if _, err := s.captureLocked(ctx, folder.BuildOptions{}); err != nil {
			return err
		}
	}
	for _, e := range entries {
		lost := func(path string, err error) {
			s.o.Logger.Error("content is lost: this disk has damaged it before it was sent", "path", path, "instant", e.snapshot.Instant, "err", err)
			s.o.Note(Operation{What: "error", Instant: e.snapshot.Instant, Text: fmt.Sprintf("%s: what it held then is lost: this disk has damaged it before it was sent", path)})
		}
		if err := s.healSnapshot(ctx, base, e.snapshot, lost); err != nil {
			return err
		}
		if err := s.o.Store.Flush(ctx); err != nil {
			return err
		}
		s.decided(e.id, e.epoch)
	}
	s.mu.Lock()
	s.healed = aside
	s.mu.Unlock()
	return nil
}

// healSnapshot is heal for one snapshot of the queue: lost is told what is
// nowhere any more.
func (s *Syncer) healSnapshot(ctx context.Context, base versions.Entry, snap *versions.Snapshot, lost func(path string, err error)) error {
	chunks := &keeper{Chunks{Store: s.o.Store}}
	if _, err := snap.ChangedDirs(ctx, chunks); damaged(err) {
		lost(".", err)
	} else if err != nil {
		return err
	}
	err := versions.NewTrees(chunks, [32]byte{}).Diff(ctx, base, snap.Root, func(c versions.Change) error {
		err := keepFile(ctx, chunks, c, s.readAgain)
		if damaged(err) {
			lost(c.Path, err)
			return nil
		}
		return err
	})
	if damaged(err) {
		lost(".", err)
		return nil
	}
	return err
}

// damaged tells content that is nowhere whole from other failures.
func damaged(err error) bool {
	return errors.Is(err, versions.ErrCorrupt) || errors.Is(err, store.ErrCorrupt) || missing(err)
}
