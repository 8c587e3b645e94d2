package syncer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/syncer"
)

func TestChangesReachTheRemoteAndTheOtherMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	a.write("one.txt", "first")
	a.write("sub/two.txt", "second")
	a.start().flush()
	same(t, "the head", a.run.treeOf(t, w.head().Root), a.tree())

	b := w.machine("b").start()
	together(t, a, b)
	a.write("one.txt", "changed")
	a.remove("sub/two.txt")
	a.write("sub/deep/three.txt", "third")
	a.flush()
	together(t, a, b)
	if got := b.tree()["one.txt"]; got != "changed" {
		t.Errorf("b has %q", got)
	}
	onlyBy(t, w, a, "a")
}

func TestAnUnchangedTreeMakesNoSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	a.write("one.txt", "first")
	a.start().flush()
	before := len(w.records())
	a.flush()
	a.stop()
	a.start().flush()
	a.write("one.txt", "changed and back")
	a.write("one.txt", "first")
	if after := len(w.records()); after != before {
		t.Errorf("%d snapshots, want %d", after, before)
	}
}

func TestOfflineSnapshotsAreKeptAndCommittedInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	a.write("f", "0")
	a.start().flush()
	a.net.offline()
	for _, c := range []string{"1", "2", "3"} {
		a.write("f", c)
		n := a.run.s.Status().Queued
		eventually(t, "a snapshot is queued", func() bool { return a.run.s.Status().Queued > n })
	}
	if st := a.run.s.Status(); st.State != syncer.Offline {
		t.Errorf("state %v, want offline", st.State)
	}
	eventually(t, "all are visible here", func() bool {
		local, err := a.run.history.Snapshots()
		return err == nil && len(local) == 4
	})
	a.stop()
	a.start() // what waits survives
	a.net.online()
	a.flush()
	var got []string
	for _, r := range w.records() {
		got = append(got, a.run.treeOf(t, r.Root)["f"])
	}
	if strings.Join(got, "") != "0123" {
		t.Errorf("the line holds %v", got)
	}
}

func TestADoubtfulCommitIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	a.write("f", "0")
	a.start().flush()
	lost := errors.New("connection reset")
	times := 0
	a.net.set(func() {
		a.net.after = func(_ blob.Commit, err error) error {
			if times++; err == nil && times <= 2 {
				return lost // it was taken, and we are not told
			}
			return err
		}
	})
	a.write("f", "1")
	a.flush()
	if n := len(w.records()); n != 2 {
		t.Errorf("%d snapshots, want 2", n)
	}
}

func TestFlushTellsTheTruthOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a").start()
	a.flush()
	a.net.offline()
	a.write("f", "1")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := a.run.s.Flush(ctx); !errors.Is(err, syncer.ErrNotSafe) {
		t.Errorf("got %v, want ErrNotSafe", err)
	}
}

func TestFirstAttachKeepsWhatIsThere(t *testing.T) {
	t.Run("identical files are fine", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		a := w.machine("a")
		a.write("same", "content")
		a.write("more", "x")
		a.start().flush()
		b := w.machine("b")
		b.write("same", "content")
		b.start()
		together(t, a, b)
	})
	t.Run("different ones are merged", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		a := w.machine("a")
		a.write("f", "from a")
		a.start().flush()
		b := w.machine("b")
		b.write("f", "from b")
		b.start()
		together(t, a, b)
		got := b.tree()
		if got["f"] != "from a" || len(got) != 2 {
			t.Errorf("got %v", got)
		}
		for p, c := range got {
			if p != "f" && c != "from b" {
				t.Errorf("%s is %q", p, c)
			}
		}
	})
}

func TestBothSidesChangedBothAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a"), w.machine("b")
	a.write("f.txt", "base")
	a.write("only-a", "base")
	a.write("only-b", "base")
	a.write("gone/here", "base")
	a.start().flush()
	b.start()
	together(t, a, b)

	b.net.offline()
	b.write("f.txt", "from b")
	b.write("only-b", "b's edit")
	b.write("gone/edited", "new in a directory that a deletes")
	eventually(t, "b has captured", func() bool { st := b.run.s.Status(); return st.Queued > 0 && st.PendingFiles == 0 })
	a.write("f.txt", "from a")
	a.write("only-a", "a's edit")
	a.remove("gone")
	a.flush()
	b.net.online()
	b.flush()
	together(t, a, b)

	got := a.tree()
	if got["f.txt"] != "from a" || got["only-a"] != "a's edit" || got["only-b"] != "b's edit" {
		t.Errorf("after the merge: %v", got)
	}
	if got["gone/edited"] == "" {
		t.Error("the file that b made in the directory that a deleted is lost")
	}
	copies := 0
	for p, c := range got {
		if strings.HasPrefix(p, "f (conflict b ") && strings.HasSuffix(p, ").txt") && c == "from b" {
			copies++
		}
	}
	if copies != 1 {
		t.Errorf("%d conflict copies: %v", copies, got)
	}
}

func TestAFileThatIsBeingWrittenIsNotReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a"), w.machine("b")
	a.write("f", "base")
	a.start().flush()
	b.start()
	together(t, a, b)
	f, err := os.OpenFile(filepath.Join(b.dir, "f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a.write("f", "from a, which is longer")
	a.write("g", "another")
	a.flush()
	eventually(t, "the rest arrives", func() bool { return b.tree()["g"] == "another" })
	if got := b.tree()["f"]; got != "base" {
		t.Errorf("f was replaced under a writer: %q", got)
	}
	if _, err := f.WriteAt([]byte("BASE"), 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b.flush()
	together(t, a, b)
	found := false
	for _, c := range a.tree() {
		found = found || c == "BASE"
	}
	if !found || a.tree()["f"] != "from a, which is longer" {
		t.Errorf("after the merge: %v", a.tree())
	}
}

func TestAReplacedFileThatIsWrittenLateComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a"), w.machine("b")
	a.write("f", "base")
	a.start().flush()
	b.start()
	together(t, a, b)
	f, err := os.Open(filepath.Join(b.dir, "f")) // reading does not hinder
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a.write("f", "from a")
	a.flush()
	together(t, a, b)
	// A program opens what it holds anew for writing.
	again, err := os.OpenFile("/proc/self/fd/"+itoa(int(f.Fd())), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.WriteString("written late"); err != nil {
		t.Fatal(err)
	}
	again.Close()
	f.Close()
	eventually(t, "it comes back as a conflict copy", func() bool {
		for p, c := range b.tree() {
			if strings.HasPrefix(p, "f (conflict b ") && c == "written late" {
				return true
			}
		}
		return false
	})
	b.flush()
	together(t, a, b)
}

func TestARemoteThatWentBackwardsIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, err := w.mem.Head(context.Background(), w.folder.ID)
	if err != nil {
		t.Fatal(err)
	}
	a := w.machine("a")
	a.write("f", "0")
	a.start().flush()
	a.write("f", "1")
	a.flush()
	a.stop()
	old := blob.NewMem(time.Now) // an empty copy of an old state
	w2 := &world{t: t, mem: old, keys: w.keys, folder: w.folder}
	if _, err := old.Commit(context.Background(), w.folder.ID, blob.Commit{Sealed: h.Sealed}); err != nil {
		t.Fatal(err)
	}
	a.net = &network{far: w2.mem}
	a.start()
	eventually(t, "it is refused", func() bool {
		st := a.run.s.Status()
		return st.State == syncer.Refused && errors.Is(st.Err, syncer.ErrReplaced)
	})
	if got := a.tree()["f"]; got != "1" {
		t.Errorf("f is %q", got)
	}
}

func TestAFullSpoolIsToldAndRecovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	a.limit = 256 << 10
	a.start().flush()
	a.net.offline()
	a.write("big", random(1<<20))
	eventually(t, "it is unprotected", func() bool { return a.run.s.Status().State == syncer.Unprotected })
	if a.tree()["big"] == "" {
		t.Fatal("the live file was touched")
	}
	a.remove("big")
	a.write("small", "fits")
	a.net.online()
	a.flush()
	same(t, "the head", a.run.treeOf(t, w.head().Root), a.tree())
}

func TestAFullServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a").start()
	a.flush()
	a.net.set(func() { a.net.full = true })
	a.write("f", "1")
	eventually(t, "the error is told", func() bool { return errors.Is(a.run.s.Status().Err, blob.ErrFull) })
	a.net.set(func() { a.net.full = false })
	a.flush()
	same(t, "the head", a.run.treeOf(t, w.head().Root), a.tree())
}

func TestGarbageFromTheServerIsNotApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a"), w.machine("b")
	a.write("f", "0")
	a.start().flush()
	b.start()
	together(t, a, b)
	b.net.set(func() { b.net.garbage = true })
	a.write("f", random(2<<20))
	a.flush()
	eventually(t, "b says so", func() bool { return b.run.s.Status().Err != nil })
	if got := b.tree()["f"]; got != "0" {
		t.Errorf("f is now %d bytes", len(got))
	}
	b.net.set(func() { b.net.garbage = false })
	together(t, a, b)
}

func TestInstantsRiseWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a").start()
	a.flush()
	w.ahead.Store(int64(-365 * 24 * time.Hour))
	a.write("f", "1")
	a.flush()
	a.write("f", "2")
	a.flush()
	list := w.records()
	for i := 1; i < len(list); i++ {
		if list[i].Instant.Compare(list[i-1].Instant) <= 0 {
			t.Errorf("%s is not after %s", list[i].Instant, list[i-1].Instant)
		}
	}
	if len(list) != 3 {
		t.Errorf("%d snapshots, want 3", len(list))
	}
}

func TestALostDatabaseIsBuiltAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	a.write("f", "0")
	a.start().flush()
	a.write("f", "1")
	a.flush()
	a.net.offline()
	a.write("f", "2")
	eventually(t, "it is queued", func() bool { return a.run.s.Status().Queued == 1 })
	a.stop()
	if err := os.RemoveAll(filepath.Join(a.home, "db")); err != nil {
		t.Fatal(err)
	}
	a.start()
	eventually(t, "what waits is visible", func() bool { l, err := a.run.history.Snapshots(); return err == nil && len(l) >= 1 })
	a.net.online()
	a.flush()
	eventually(t, "all is visible", func() bool { l, err := a.run.history.Snapshots(); return err == nil && len(l) == 3 })
	if n := len(w.records()); n != 3 {
		t.Errorf("%d snapshots on the remote, want 3", n)
	}
}
