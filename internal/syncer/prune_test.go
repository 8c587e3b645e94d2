package syncer_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/internal/upkeep"
	"github.com/syncfs/syncfs/versions"
)

// forgetAndPrune forgets all versions but the newest, without regard to the
// bases of machines, and frees everything at once.
func (w *world) forgetAndPrune(t *testing.T) store.PruneResult {
	t.Helper()
	ctx := context.Background()
	lines := line.New(w.mem, w.keys)
	head := w.head()
	ids := map[chunk.ID]struct{}{}
	for _, r := range w.records() {
		if r.SnapshotID != head.Snapshot {
			ids[r.SnapshotID] = struct{}{}
		}
	}
	if err := lines.Forget(ctx, head.ID, ids); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(ctx, w.mem, w.keys, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.Prune(ctx, upkeep.Roots{Lines: lines, Chunks: s}, store.PruneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// readable fails unless every version can be read whole by a machine that has
// nothing yet.
func (w *world) readable(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, w.mem, w.keys, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, r := range w.records() {
		err := r.Uses(ctx, s, func(kind chunk.Kind, id chunk.ID) bool {
			if _, err := s.Get(ctx, kind, id); err != nil {
				t.Errorf("version %v: %v", r.Instant, err)
			}
			return true
		})
		if err != nil {
			t.Errorf("version %v: %v", r.Instant, err)
		}
	}
}

// A machine that is away has captured what it deduplicated against versions that
// are forgotten and pruned meanwhile, its own base among them.
func TestWhatWasCapturedOnAForgottenBaseIsStoredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a").start()
	old, kept := random(3000), random(4000)
	a.write("old", old)
	a.write("kept", kept)
	a.flush()
	b := w.machine("b").start()
	eventually(t, "b has it", func() bool { return b.tree()["old"] == old })
	a.net.offline()
	a.write("again", old) // only versions that will be forgotten have it
	a.write("mine", "m")
	eventually(t, "it is captured", func() bool { st := a.run.s.Status(); return st.Queued > 0 && st.PendingFiles == 0 })
	b.remove("old")
	b.flush()
	for i := range 3 {
		b.write("count", fmt.Sprint(i))
		b.flush()
	}
	if res := w.forgetAndPrune(t); res.Deleted == 0 {
		t.Fatal("nothing was deleted")
	}
	a.net.online()
	eventually(t, "a has sent everything, or says that it cannot", func() bool {
		st := a.run.s.Status()
		return st.Queued == 0 && st.State == syncer.Safe || st.Refused
	})
	if a.run.s.Status().Refused { // its base is no more: the user is asked
		if _, err := a.run.s.Accept(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		a.flush()
	}
	eventually(t, "b has what a wrote", func() bool {
		tree := b.tree()
		return tree["again"] == old && tree["mine"] == "m" && tree["kept"] == kept
	})
	w.readable(t)
}

// A prune counts heads on without a version: a machine that has seen that, and
// then was away for long, is still known by its base.
func TestABaseIsFoundBehindThePrunesAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lines := line.New(w.mem, w.keys)
	a := w.machine("a").start()
	a.write("f", "1")
	a.flush()
	b := w.machine("b").start()
	eventually(t, "b has it", func() bool { return b.tree()["f"] == "1" })
	for n := range 3 {
		if err := lines.BumpAll(t.Context(), uint64(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	a.write("e", "seen") // on the head that was counted on
	a.flush()
	for n := range 3 {
		if err := lines.BumpAll(t.Context(), uint64(n+4)); err != nil {
			t.Fatal(err)
		}
	}
	a.stop()
	a.start()
	a.flush()
	a.net.offline()
	for i := range 40 { // more than a head tells of
		b.write("g", fmt.Sprint(i))
		b.flush()
	}
	a.net.online()
	a.write("h", "a")
	a.flush()
	eventually(t, "both have both", func() bool { return b.tree()["h"] == "a" && a.tree()["g"] == "39" })
}

// A new folder's head is made between a mark and the end of its prune.
func TestTheFirstVersionOfANewFolderReliesOnNothingMarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	a := w.machine("a").start()
	content := random(5000)
	a.write("f", content)
	a.flush()
	a.remove("f")
	a.flush()
	packs := w.packs()
	a.stop()
	// The same content comes into a folder of its own, by a machine whose index
	// is from before the mark.
	lines := line.New(w.mem, w.keys)
	fresh, err := lines.Create(ctx, "new", "sync")
	if err != nil {
		t.Fatal(err)
	}
	c := w.machine("c")
	c.opts = nil
	w.folder = fresh
	c.net.offline()
	c.net.online()
	c.start()
	c.net.offline()
	c.write("g", content)
	eventually(t, "it is captured", func() bool { st := c.run.s.Status(); return st.Queued > 0 && st.PendingFiles == 0 })
	pruner, err := store.Open(ctx, w.mem, w.keys, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pruner.Close()
	// Its heads were given their epoch before this folder was there.
	if _, err := pruner.Mark(ctx, packs); err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		if err := w.mem.Delete(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	c.net.online()
	c.flush()
	s, err := store.Open(ctx, w.mem, w.keys, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	head := w.head()
	err = versions.Uses(ctx, s, head.Root, func(kind chunk.Kind, id chunk.ID) bool {
		if _, err := s.Get(ctx, kind, id); err != nil {
			t.Error(err)
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
}

// What was forgotten elsewhere leaves .versions/ once a prune has come.
func TestForgottenVersionsLeaveTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a").start()
	for i := range 5 {
		a.write("f", fmt.Sprint(i, random(2000)))
		a.flush()
	}
	count := func() int {
		list, err := a.run.history.Snapshots()
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := count(); n < 5 {
		t.Fatalf("%d versions", n)
	}
	w.forgetAndPrune(t)
	a.write("g", "wake up")
	a.flush()
	eventually(t, "the forgotten ones are gone", func() bool { return count() <= 2 })
	w.readable(t)
}
