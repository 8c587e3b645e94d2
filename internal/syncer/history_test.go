package syncer_test

import (
	"context"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

// Another machine reads the history between the side snapshots of a merge and
// the merge itself, which has their number: it must get the merge as well.
func TestAMergeIsNotMissedByWhoReadItsSidesFirst(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t)
	lines := line.New(w.mem, w.keys)
	db, err := meta.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	history := db.Folder(w.folder.ID)
	snapshot := func(seq int, parents ...chunk.ID) *versions.Snapshot {
		return &versions.Snapshot{
			Folder: w.folder.ID, Instant: versions.Instant{Sec: time.Now().Unix(), Seq: seq},
			Root: versions.Entry{Kind: versions.Dir, Mode: 0o755, MTime: int64(seq)}, Kind: "sync", Parents: parents,
		}
	}
	known := func() int {
		t.Helper()
		if err := syncer.LoadHistory(ctx, lines, versionstest.New(), history, w.folder.ID, nil); err != nil {
			t.Fatal(err)
		}
		list, err := history.Snapshots()
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	first := snapshot(0)
	head, err := lines.Commit(ctx, w.folder, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := known(); n != 1 {
		t.Fatalf("%d snapshots, want 1", n)
	}
	side := snapshot(1, first.ID())
	if err := lines.PutSide(ctx, head, side); err != nil {
		t.Fatal(err)
	}
	if n := known(); n != 2 {
		t.Fatalf("%d snapshots with the side, want 2", n)
	}
	if _, err := lines.Commit(ctx, head, snapshot(2, first.ID(), side.ID()), nil); err != nil {
		t.Fatal(err)
	}
	if n := known(); n != 3 {
		t.Errorf("%d snapshots with the merge, want 3", n)
	}
}
