package syncer

import (
	"context"
	"fmt"

	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
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

func (s *Syncer) notify(dirs []versions.DirChange) {
	paths := make([]string, len(dirs))
	for i, d := range dirs {
		paths[i] = d.Path
	}
	s.o.Notify(paths)
}

// LoadHistory reads from the remote the records that the database has not:
// those after the newest known, or, where there is none (a new machine, a
// database that was lost), all from the newest down.
func LoadHistory(ctx context.Context, lines *line.Lines, chunks versions.Chunks, m *meta.Folder, id string, notify func([]versions.DirChange)) error {
	last, complete, err := m.LastNumber()
	if err != nil {
		return err
	}
	if !complete {
		last = 0
	}
	var list []meta.Snapshot
	put := func() error {
		if len(list) == 0 {
			return nil
		}
		err := m.PutSnapshots(list, func(s meta.Snapshot) ([]versions.DirChange, error) {
			dirs, err := s.Record.ChangedDirs(ctx, chunks)
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
	if err == nil {
		err = put()
	}
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	if complete {
		return nil
	}
	return m.SetComplete()
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
	return LoadHistory(ctx, s.o.Lines, s.o.Store, s.o.Meta, s.o.ID, s.notify)
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
