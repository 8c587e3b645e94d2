package syncer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/syncer"
)

// pair is two machines with n files in a directory, together.
func pair(t *testing.T, n int) (w *world, a, b *machine) {
	t.Helper()
	w = newWorld(t)
	a, b = w.machine("a"), w.machine("b")
	for i := range n {
		a.write(fmt.Sprintf("d/%03d", i), fmt.Sprint("content ", i))
	}
	a.write("keep", "kept")
	a.start().flush()
	b.start()
	together(t, a, b)
	return w, a, b
}

func (m *machine) hold(t *testing.T) (h []syncer.Hold) {
	t.Helper()
	eventually(t, m.name+" holds deletions", func() bool {
		h = m.run.s.Status().Holds
		return len(h) > 0 && m.run.s.Status().PendingFiles == 0
	})
	m.flush() // what went out before comes back with the next snapshot
	return m.run.s.Status().Holds
}

// calm waits until machines have nothing to send or apply, held or not.
func calm(t *testing.T, w *world, machines ...*machine) {
	t.Helper()
	eventually(t, "all is calm", func() bool {
		for _, m := range machines {
			st := m.run.s.Status()
			reached, err := m.run.s.Reached(w.head().Number)
			if st.PendingFiles+int64(st.Queued) > 0 || st.Activity.Stage != "" || err != nil || !reached {
				return false
			}
			if st.State != syncer.Safe && st.State != syncer.Held {
				return false
			}
		}
		return true
	})
}

// What was counted before a crash names trees: they must be there afterwards, or
// nothing is captured any more until they are out of the window.
func TestACrashAfterDeletionsWereCountedKeepsNothingFromBeingTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	for i := range 8 {
		a.write(fmt.Sprint("f", i), fmt.Sprint("content ", i))
	}
	a.start().flush()
	a.stop()
	for i := range 8 {
		a.remove(fmt.Sprint("f", i))
	}
	a.write("d/new", "of a moment")
	crashed, reboot := a.crashAt("counted", 1)
	a.start()
	eventually(t, "the crash", crashed)
	a2 := reboot()
	a2.write("d/new", "and another")
	a2.start().flush()
	if !a2.holds("and another") || w.headTree(t, a2)["d/new"] != "and another" {
		t.Errorf("the line has %v", w.headTree(t, a2))
	}
}

func TestAMassDeletionIsHeldWhereItIsMade(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, w *world, a, b *machine)
	}{
		{"until it is confirmed", func(t *testing.T, w *world, a, b *machine) {
			d, err := a.run.s.Confirm(t.Context())
			if err != nil || d.Here != 300 || d.Elsewhere != 0 || len(d.Left) > 0 {
				t.Fatalf("confirm: %+v, %v", d, err)
			}
			a.flush()
			// The other machine asks as well: nobody has said a word there.
			if h := b.hold(t); h[0].Here || h[0].Files != 300 || h[0].From != "a" {
				t.Errorf("b holds %+v", h)
			}
			if len(b.tree()) != 302 || len(w.headTree(t, b)) != 1 {
				t.Errorf("b has %d, the line %d", len(b.tree()), len(w.headTree(t, b)))
			}
			if _, err := b.run.s.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			together(t, a, b)
			if got := len(b.tree()); got != 1 {
				t.Errorf("b has %d: %v", got, b.tree())
			}
		}},
		{"until it is undone", func(t *testing.T, w *world, a, b *machine) {
			d, err := a.run.s.Undo(t.Context())
			if err != nil || d.Here != 300 || len(d.Left) > 0 {
				t.Fatalf("undo: %+v, %v", d, err)
			}
			together(t, a, b)
			if got := a.tree(); got["d/007"] != "content 7" || len(got) != 302 {
				t.Errorf("a has %d, d/007 is %q", len(got), got["d/007"])
			}
			if b.holdsNow() {
				t.Error("b holds something")
			}
		}},
		{"over a restart, until the other machine is asked in vain", func(t *testing.T, w *world, a, b *machine) {
			a.stop()
			a.start()
			a.flush()
			if h := a.hold(t); h[0].Files != 300 {
				t.Errorf("after a restart %+v", h)
			}
			if _, err := b.run.s.Confirm(t.Context()); !errors.Is(err, syncer.ErrNothingHeld) {
				t.Errorf("b has nothing to confirm, and says %v", err)
			}
			if len(b.tree()) != 302 {
				t.Errorf("b has %d", len(b.tree()))
			}
		}},
		{"over the loss of the database", func(t *testing.T, w *world, a, b *machine) {
			a.stop()
			if err := os.RemoveAll(filepath.Join(a.home, "db")); err != nil {
				t.Fatal(err)
			}
			a.start()
			a.flush()
			if h := a.hold(t); h[0].Files != 300 {
				t.Errorf("after a restart %+v", h)
			}
			calm(t, w, a, b)
			if len(b.tree()) != 302 {
				t.Errorf("b has %d", len(b.tree()))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, a, b := pair(t, 300)
			a.remove("d")
			h := a.hold(t)
			if !h[0].Here || h[0].Files != 300 || h[0].Most != 301 || len(h[0].Examples) == 0 {
				t.Errorf("a holds %+v", h)
			}
			if st := a.run.s.Status(); st.State != syncer.Held {
				t.Errorf("state %v", st.State)
			}
			// Everything else goes on, both ways.
			a.write("keep", "edited here")
			a.write("new/one", "made here")
			a.flush()
			eventually(t, "edits arrive there", func() bool {
				return b.tree()["keep"] == "edited here" && b.tree()["new/one"] == "made here"
			})
			b.write("keep", "edited there")
			b.write("other", "made there")
			b.remove("new")
			b.flush()
			eventually(t, "edits arrive here", func() bool {
				return a.tree()["other"] == "made there" && a.tree()["keep"] == "edited there" && a.tree()["new"] == ""
			})
			b.remove("other")
			b.flush()
			calm(t, w, a, b)
			if got := b.tree(); got["d/299"] != "content 299" || len(got) != 302 {
				t.Fatalf("b has %d files", len(got))
			}
			if got := a.tree(); len(got) != 1 {
				t.Fatalf("what was deleted here came back by itself: %d", len(got))
			}
			tt.end(t, w, a, b)
		})
	}
}

func (m *machine) holdsNow() bool { return len(m.run.s.Status().Holds) > 0 }

func (w *world) headTree(t *testing.T, m *machine) map[string]string {
	t.Helper()
	return m.run.treeOf(t, w.head().Root)
}

func TestADeletionThatTricklesIsHeldAsAWhole(t *testing.T) {
	t.Parallel()
	_, a, b := pair(t, 300)
	for i := range 3 {
		for j := range 40 {
			a.remove(fmt.Sprintf("d/%03d", 40*i+j))
		}
		a.flush()
	}
	if h := a.hold(t); h[0].Files != 120 || h[0].Most != 301 {
		t.Errorf("a holds %+v", h)
	}
	eventually(t, "what had gone out already came back to the other machine", func() bool { return len(b.tree()) == 302 })
	if len(a.tree()) != 182 {
		t.Errorf("a has %d", len(a.tree()))
	}
	if _, err := a.run.s.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	together(t, a, b)
	if len(a.tree()) != 302 {
		t.Errorf("a has %d", len(a.tree()))
	}
}

func TestAMoveIsNoDeletion(t *testing.T) {
	t.Parallel()
	_, a, b := pair(t, 300)
	if err := os.Rename(filepath.Join(a.dir, "d"), filepath.Join(a.dir, "moved")); err != nil {
		t.Fatal(err)
	}
	a.flush()
	together(t, a, b)
	if a.holdsNow() || b.holdsNow() || b.tree()["moved/123"] != "content 123" {
		t.Errorf("a move was held: %v %v", a.run.s.Status().Holds, b.run.s.Status().Holds)
	}
	// But what was moved and then deleted is.
	a.remove("moved")
	if h := a.hold(t); h[0].Files != 300 {
		t.Errorf("a holds %+v", h)
	}
}

func TestAllOfASmallFolderIsHeld(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		files int
		held  bool
	}{{5, true}, {4, false}} {
		t.Run(fmt.Sprint(tt.files+1, " files"), func(t *testing.T) {
			t.Parallel()
			w, a, b := pair(t, tt.files)
			a.remove("d")
			a.remove("keep")
			a.flush()
			calm(t, w, a, b)
			if a.holdsNow() != tt.held {
				t.Errorf("held: %v", a.holdsNow())
			}
			want := 0
			if tt.held {
				want = tt.files + 2
			}
			if len(b.tree()) != want {
				t.Errorf("b has %v", b.tree())
			}
		})
	}
}

func TestAnEditBeatsADeletionThatIsHeld(t *testing.T) {
	t.Parallel()
	w, a, b := pair(t, 300)
	a.remove("d")
	a.hold(t)
	calm(t, w, a, b)
	b.write("d/007", "edited there")
	b.remove("d/008") // deleted on both sides
	b.write("d/new", "made there")
	b.flush()
	eventually(t, "the edit is here", func() bool { return a.tree()["d/007"] == "edited there" && a.tree()["d/new"] == "made there" })
	a.write("d/009", "made again here")
	a.flush()
	calm(t, w, a, b)
	if got := b.tree()["d/009"]; got != "made again here" {
		t.Errorf("d/009 is %q there", got)
	}
	if h := a.hold(t); h[0].Files != 297 {
		t.Errorf("a holds %+v", h)
	}
	if _, err := a.run.s.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.flush()
	b.hold(t)
	b.write("d/010", "edited while it is held there")
	b.remove("d/011")
	b.flush()
	if _, err := b.run.s.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	together(t, a, b)
	want := map[string]string{
		"d": "dir", "keep": "kept", "d/007": "edited there", "d/new": "made there", "d/009": "made again here",
		"d/010": "edited while it is held there",
	}
	same(t, "a", a.tree(), want)
	same(t, "b", b.tree(), want)
}

func TestWhatWasDeletedElsewhereIsHeldAndGivenBack(t *testing.T) {
	t.Parallel()
	w, a, b := pair(t, 300)
	b.stop()
	a.remove("d")
	a.hold(t)
	if _, err := a.run.s.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.write("more", "of a")
	a.flush()
	b.start()
	if h := b.hold(t); h[0].Here || h[0].Files != 300 || h[0].Most != 301 {
		t.Errorf("b holds %+v", h)
	}
	b.stop()
	b.start()
	b.write("keep", "edited by b")
	b.flush()
	calm(t, w, a, b)
	if got := w.headTree(t, b); len(got) != 2 || got["keep"] != "edited by b" || got["more"] != "of a" {
		t.Errorf("the line holds %d: what is held was sent again", len(got))
	}
	if _, err := b.run.s.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.flush()
	together(t, a, b)
	if got := a.tree(); len(got) != 303 || got["d/123"] != "content 123" {
		t.Errorf("a has %d", len(got))
	}
	if a.holdsNow() || b.holdsNow() {
		t.Error("something is still held")
	}
}

// A compiler's files come and go by the hundred.
func TestFilesThatComeAndGoDoNotAddUp(t *testing.T) {
	t.Parallel()
	w, a, b := pair(t, 100)
	for i := range 8 {
		for j := range 30 {
			a.write(fmt.Sprintf("tmp/%d-%d", i, j), fmt.Sprint("temporary ", i, j))
		}
		a.flush()
		a.remove("tmp")
		a.flush()
	}
	calm(t, w, a, b)
	if a.holdsNow() || b.holdsNow() || len(b.tree()) != 102 {
		t.Errorf("held: %+v; b has %d", a.run.s.Status().Holds, len(b.tree()))
	}
}

func TestStatusTellsOfChangesThatWait(t *testing.T) {
	t.Parallel()
	_, a, b := pair(t, 3)
	f, err := os.OpenFile(filepath.Join(b.dir, "keep"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a.write("keep", "changed")
	a.flush()
	eventually(t, "b says that a change waits", func() bool {
		st := b.run.s.Status()
		return st.Waiting == 1 && st.State == syncer.Pending
	})
	f.Close()
	together(t, a, b)
}

func TestTheWindowEnds(t *testing.T) {
	t.Parallel()
	w, a, b := pair(t, 300)
	for i := range 3 {
		for j := range 40 {
			a.remove(fmt.Sprintf("d/%03d", 40*i+j))
		}
		a.flush()
		w.ahead.Add(int64(11 * time.Minute))
	}
	together(t, a, b)
	if a.holdsNow() || len(b.tree()) != 182 {
		t.Errorf("held: %+v; b has %d", a.run.s.Status().Holds, len(b.tree()))
	}
}

func TestHoldsNameTheirExamples(t *testing.T) {
	t.Parallel()
	_, a, _ := pair(t, 300)
	a.remove("d")
	h := a.hold(t)
	if got := strings.Join(h[0].Examples, " "); got != "d/" {
		t.Errorf("examples %q", got)
	}
}

// What is held stands here like all that is left, while a change beside it
// waits: it is not sent again as if it was new.
func TestWhatIsHeldIsNotSentWhileAChangeWaits(t *testing.T) {
	t.Parallel()
	w, a, b := pair(t, 300)
	f, err := os.OpenFile(filepath.Join(b.dir, "keep"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b.net.offline()
	a.remove("d")
	a.hold(t)
	if _, err := a.run.s.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.write("keep", "changed")
	a.flush()
	b.net.online()
	eventually(t, "a change waits", func() bool { return b.run.s.Status().Waiting > 0 })
	b.write("other", "made there")
	b.flush()
	eventually(t, "a has it", func() bool { return a.tree()["other"] == "made there" })
	if n := len(a.tree()); n != 2 {
		t.Fatalf("what was deleted came back: %d", n)
	}
	f.Close()
	b.hold(t)
	calm(t, w, a, b)
	if len(a.tree()) != 2 || len(b.tree()) != 303 || b.tree()["keep"] != "changed" {
		t.Errorf("a has %d, b %d", len(a.tree()), len(b.tree()))
	}
}

// What is held is what stood there last, not what the fullest tree of the window
// had.
func TestWhatIsHeldIsWhatWasDeleted(t *testing.T) {
	t.Parallel()
	w, a, b := pair(t, 8)
	a.remove("d/000") // from here on deletions are counted
	a.flush()
	a.write("d/001", "edited")
	a.flush()
	together(t, a, b)
	before := b.tree()
	before["d/000"] = "content 0" // was deleted in the same ten minutes
	a.remove("d")
	a.remove("keep")
	if h := a.hold(t); h[0].Files != 9 {
		t.Errorf("a holds %+v", h)
	}
	eventually(t, "all that is held is in the line and on b", func() bool {
		return difference(w.headTree(t, b), before) == "" && difference(b.tree(), before) == ""
	})
	if _, err := a.run.s.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := difference(a.tree(), before); d != "" {
		t.Errorf("what came back is not what was deleted:\n%s", d)
	}
}
