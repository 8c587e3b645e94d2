package agent

import (
	"context"

	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/versions"
)

// past tells the snapshots of one folder: from the database, or from the agent
// that has it open.
type past interface {
	snapshots(ctx context.Context) ([]meta.Snapshot, error)
	// snapshotAt is the newest snapshot not after at (zero: the newest);
	// io/fs.ErrNotExist.
	snapshotAt(ctx context.Context, at versions.Instant) (meta.Snapshot, error)
	// moments of a directory; complete is false while older ones may be missing.
	moments(ctx context.Context, dir string) (list []meta.Moment, complete bool, err error)
}

// databasePast is past from the database.
type databasePast struct{ f *meta.Folder }

func (p databasePast) snapshots(context.Context) ([]meta.Snapshot, error) { return p.f.Snapshots() }

func (p databasePast) snapshotAt(_ context.Context, at versions.Instant) (meta.Snapshot, error) {
	return p.f.SnapshotAt(at)
}

func (p databasePast) moments(_ context.Context, dir string) ([]meta.Moment, bool, error) {
	_, complete, err := p.f.LastNumber()
	if err != nil {
		return nil, false, err
	}
	list, err := p.f.Moments(dir)
	return list, complete, err
}
