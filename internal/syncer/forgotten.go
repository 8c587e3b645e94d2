package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/versions"
)

// dropForgotten takes out of the database what the line has no more, so that
// .versions does not show what cannot be read. A prune, which follows upon
// forgetting, gives the head a new epoch: then it is time to look.
func (s *Syncer) dropForgotten(ctx context.Context, head line.Folder) error {
	s.mu.Lock()
	known := !s.attached || s.base.Epoch >= head.Epoch
	s.mu.Unlock()
	if known {
		return nil
	}
	list, err := s.o.Meta.Snapshots()
	if err != nil {
		return err
	}
	there := map[chunk.ID]struct{}{}
	err = s.o.Lines.AllRecords(ctx, s.o.ID, func(r line.Recorded) error {
		there[r.SnapshotID] = struct{}{}
		return nil
	})
	if errors.Is(err, line.ErrDamaged) {
		return nil // what is damaged is not forgotten
	}
	if err != nil {
		return fmt.Errorf("look what was forgotten: %w", err)
	}
	if _, ok := there[head.Snapshot]; !ok {
		return nil // this is no whole list
	}
	var gone []meta.Snapshot
	for _, m := range list {
		if _, ok := there[m.ID]; !ok && m.Number > 0 && m.Number <= head.Number {
			gone = append(gone, m)
		}
	}
	return ForgetLocally(s.o.Meta, gone, s.notify)
}

// ForgetLocally takes forgotten snapshots out of the database.
func ForgetLocally(m *meta.Folder, gone []meta.Snapshot, notify func([]versions.DirChange)) error {
	for _, g := range gone {
		if err := m.Forget(g.ID); err != nil {
			return err
		}
		if notify != nil {
			notify(append([]versions.DirChange{{}}, g.Record.Dirs...))
		}
	}
	return nil
}
