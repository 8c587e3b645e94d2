package syncer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/syncer"
)

func TestAPausedFolderSendsAndAppliesNothingAndGoesOnTakingVersions(t *testing.T) {
	w := newWorld(t)
	a, b := w.machine("a").start(), w.machine("b").start()
	a.write("f", "base")
	a.flush()
	together(t, a, b)
	a.run.s.Pause(true)
	number := w.head().Number
	b.write("from b", "b")
	b.flush()
	a.write("from a", "a")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.run.s.Flush(ctx); !errors.Is(err, syncer.ErrPaused) {
		t.Errorf("a flush says %v", err)
	}
	if err := a.run.s.Secure(ctx); err != nil {
		t.Fatalf("secure: %v", err)
	}
	if st := a.run.s.Status(); st.Queued == 0 || st.State != syncer.Pending {
		t.Errorf("%d versions wait, %v", st.Queued, st.State)
	}
	a.run.s.Stale() // as after an event or a cut
	a.run.s.Kick()
	time.Sleep(200 * time.Millisecond)
	same(t, "the paused machine", a.tree(), map[string]string{"f": "base", "from a": "a"})
	same(t, "the other", b.tree(), map[string]string{"f": "base", "from b": "b"})
	if got := w.head().Number; got != number+1 {
		t.Errorf("the line has moved by %d, want 1", got-number)
	}
	a.run.s.Pause(false)
	a.flush()
	together(t, a, b)
	same(t, "both", b.tree(), map[string]string{"f": "base", "from a": "a", "from b": "b"})
}

func TestAFlushThatWaitsEndsWhenTheFolderIsPaused(t *testing.T) {
	w := newWorld(t)
	a := w.machine("a").start()
	a.write("f", "base")
	a.flush()
	a.net.offline()
	a.write("f", "more")
	ended := make(chan error, 1)
	go func() { ended <- a.run.s.Flush(context.Background()) }()
	eventually(t, "it is offline", func() bool { return errors.Is(a.run.s.Status().Err, blob.ErrOffline) })
	a.run.s.Pause(true)
	select {
	case err := <-ended:
		if !errors.Is(err, syncer.ErrPaused) {
			t.Errorf("it says %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on waiting")
	}
}

func TestAFirstAttachThatIsPausedTakesVersions(t *testing.T) {
	w := newWorld(t)
	a := w.machine("a")
	a.write("f", "content")
	a.start()
	a.run.s.Pause(true)
	eventually(t, "a version is taken", func() bool {
		m, err := a.run.history.Snapshots()
		return err == nil && len(m) > 0
	})
	a.run.s.Pause(false)
	a.flush()
	if got := w.head().Root.Count; got != 1 {
		t.Errorf("the line has %d files", got)
	}
}
