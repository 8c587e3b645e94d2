package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// batch is how many records are written to the database together.
const batch = 256

// remember puts a snapshot into the database, so that .versions shows it. The
// database is disposable: an error is told, not returned. dirs may be nil: then
// the record tells.
func (s *Syncer) remember(ctx context.Context, m meta.Snapshot, dirs []versions.DirChange) {
	err := s.o.Meta.PutSnapshots([]meta.Snapshot{m}, func(m meta.Snapshot) ([]versions.DirChange, error) {
		if dirs == nil {
			var err error
			dirs, err = m.Record.ChangedDirs(ctx, &Chunks{Store: s.o.Store})
			return dirs, err
		}
		return dirs, nil
	})
	if err != nil {
		s.o.Logger.Error("the local database did not take a snapshot", "instant", m.Record.Instant, "err", err)
		return
	}
	s.notify(dirs)
}

// NotifyVersions tells that these directories have other versions now.
func (s *Syncer) NotifyVersions(dirs []versions.DirChange) { s.notify(dirs) }

func (s *Syncer) notify(dirs []versions.DirChange) {
	paths := make([]string, len(dirs))
	for i, d := range dirs {
		paths[i] = d.Path
	}
	s.o.Notify(paths)
}

// LoadHistory reads from the remote the records that the database has not:
// those after the newest known, or, where there is none (a new machine, a
// database that was lost), all from the newest down. What is damaged is left
// out; the check of the repository names it.
func LoadHistory(ctx context.Context, lines *line.Lines, chunks versions.Chunks, m *meta.Folder, id string, notify func([]versions.DirChange)) error {
	_, err := loadHistory(ctx, lines, chunks, m, id, notify)
	return err
}

// loadHistory is LoadHistory; damaged names what could not be read.
func loadHistory(ctx context.Context, lines *line.Lines, chunks versions.Chunks, m *meta.Folder, id string, notify func([]versions.DirChange)) (damaged, err error) {
	last, complete, err := m.LastNumber()
	if err != nil {
		return nil, err
	}
	switch {
	case !complete:
		last = 0
	case last > 0:
		// A merge has the number of the side snapshots that were put just
		// before it: the newest number known may have come without its merge.
		last--
	}
	var list []meta.Snapshot
	put := func() error {
		if len(list) == 0 {
			return nil
		}
		err := m.PutSnapshots(list, func(s meta.Snapshot) ([]versions.DirChange, error) {
			dirs, err := s.Record.ChangedDirs(ctx, chunks)
			if isDamage(err) {
				// That something changed is known, and the whole tree.
				damaged = errors.Join(damaged, err)
				dirs, err = []versions.DirChange{{Tree: s.Record.Root.Tree}}, nil
			}
			if err == nil && notify != nil {
				notify(dirs)
			}
			return dirs, err
		})
		list = list[:0]
		return err
	}
	err = lines.Records(ctx, id, last, !complete, func(r line.Recorded) error {
		list = append(list, meta.Snapshot{
			ID: r.SnapshotID, Number: r.Number, Received: r.Received.UnixNano(), Record: r.Snapshot,
		})
		if len(list) < batch {
			return nil
		}
		return put()
	})
	if errors.Is(err, line.ErrDamaged) { // all others were given
		damaged, err = errors.Join(damaged, err), nil
	}
	if err == nil {
		err = put()
	}
	if err == nil && !complete {
		err = m.SetComplete()
	}
	if err != nil {
		return damaged, fmt.Errorf("read the history: %w", err)
	}
	return damaged, nil
}

func isDamage(err error) bool {
	return errors.Is(err, versions.ErrCorrupt) || errors.Is(err, store.ErrCorrupt)
}

// learn brings the database and the index in step with the head: from its event
// when that carried all, else by asking the remote.
func (s *Syncer) learn(ctx context.Context, head line.Folder) error {
	s.mu.Lock()
	record, learned := s.headRecord, s.learned
	s.mu.Unlock()
	if !learned {
		if err := s.o.Store.Refresh(ctx); err != nil {
			return fmt.Errorf("read the index: %w", err)
		}
	}
	last, complete, err := s.o.Meta.LastNumber()
	if err != nil {
		return err
	}
	if learned && complete && record != nil && record.SnapshotID == head.Snapshot && record.Number == last+1 {
		s.remember(ctx, meta.Snapshot{
			ID: record.SnapshotID, Number: record.Number, Received: record.Received.UnixNano(), Record: record.Snapshot,
		}, nil)
		return nil
	}
	return s.loadHistory(ctx)
}

// completeHistory fills a database that does not know the whole past: a new one.
func (s *Syncer) completeHistory(ctx context.Context) error {
	_, complete, err := s.o.Meta.LastNumber()
	if err != nil || complete {
		return err
	}
	return s.loadHistory(ctx)
}

func (s *Syncer) loadHistory(ctx context.Context) error {
	damaged, err := loadHistory(ctx, s.o.Lines, s.o.Store, s.o.Meta, s.o.ID, s.notify)
	if damaged != nil {
		s.o.Logger.Error("a part of the history is damaged", "err", damaged)
		s.mu.Lock()
		s.status.damaged = damaged
		s.mu.Unlock()
	}
	return err
}

// rememberQueue puts the queued snapshots into a database that has lost them.
func (s *Syncer) rememberQueue(ctx context.Context) {
	s.mu.Lock()
	entries := append([]queued(nil), s.queue.entries...)
	s.mu.Unlock()
	for _, e := range entries {
		s.remember(ctx, meta.Snapshot{ID: e.id, Record: e.snapshot}, nil)
	}
}
