package syncer_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncfs/syncfs/internal/ignore"
	"github.com/syncfs/syncfs/internal/syncer"
)

func (m *machine) untrack(paths ...string) []string {
	m.w.t.Helper()
	out, err := m.run.s.Untrack(context.Background(), paths, false)
	if err != nil {
		m.w.t.Fatalf("untrack on %s: %v", m.name, err)
	}
	return out
}

// tracking are two machines with things in the tree that rules are against.
func tracking(t *testing.T) (w *world, a, b *machine, tree, rest map[string]string) {
	w = newWorld(t)
	a, b = w.machine("a").start(), w.machine("b").start()
	a.write(".env", "secret")
	a.write("build/deep/x", "built")
	a.write("src/x.o", "object")
	a.write("src/x.c", "source")
	a.flush()
	a.write(ignore.Name, "/.env\nbuild/\n*.o\n")
	a.flush()
	tree = map[string]string{
		ignore.Name: "/.env\nbuild/\n*.o\n", ".env": "secret", "build": "dir", "build/deep": "dir", "build/deep/x": "built",
		"src": "dir", "src/x.o": "object", "src/x.c": "source",
	}
	rest = map[string]string{ignore.Name: "/.env\nbuild/\n*.o\n", "src": "dir", "src/x.c": "source"}
	together(t, a, b)
	same(t, "the line", w.line(a), tree)
	return w, a, b, tree, rest
}

func TestUntrackedPathsStayOnEveryDisk(t *testing.T) {
	w, a, b, tree, rest := tracking(t)
	if out := a.untrack(".env", "build", "src"); len(out) != 3 || out[2] != "src/x.o" {
		t.Errorf("untracked are %q", out)
	}
	a.flush()
	b.safe()
	same(t, "the line", w.line(a), rest)
	same(t, "a", a.tree(), tree)
	same(t, "b", b.tree(), tree)
	// They come back nowhere, changed or not, and go nowhere.
	number := w.head().Number
	b.write(".env", "of b")
	b.write("build/deep/new", "of b")
	b.stop()
	b.start()
	b.flush()
	a.stop()
	a.start()
	a.flush()
	b.safe()
	if n := w.head().Number; n != number {
		t.Errorf("there are %d snapshots more: %v", n-number, w.line(a))
	}
	if a.tree()[".env"] != "secret" || b.tree()[".env"] != "of b" {
		t.Errorf("on a it is %q, on b %q", a.tree()[".env"], b.tree()[".env"])
	}
	// Done twice is done.
	if out := a.untrack(".env", "src/x.o"); len(out) != 0 {
		t.Errorf("again untracked are %q", out)
	}
	// Without its rule a path is new again, and what is in its place elsewhere stays.
	a.write(ignore.Name, "build/\n*.o\n")
	a.flush()
	eventually(t, "both contents are on b", func() bool { return b.holds("secret") && b.holds("of b") })
	eventually(t, "both contents are on a", func() bool { return a.holds("secret") && a.holds("of b") })
}

func TestOnlyWhatARuleIgnoresCanBeUntracked(t *testing.T) {
	w, a, _, tree, _ := tracking(t)
	number := w.head().Number
	for p, want := range map[string]error{"src/x.c": syncer.ErrNoRule, "": nil, "none": fs.ErrNotExist} {
		_, err := a.run.s.Untrack(context.Background(), []string{p}, true)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", p, err, want)
		}
	}
	out, err := a.run.s.Untrack(context.Background(), []string{"build", "build/deep/x"}, true)
	if err != nil || len(out) != 1 || out[0] != "build" {
		t.Errorf("it would untrack %q, %v", out, err)
	}
	a.flush()
	same(t, "the line", w.line(a), tree)
	if w.head().Number != number {
		t.Error("something was changed")
	}
}

// What somebody deletes goes everywhere, also when rules are against it.
func TestADeleteIsNoUntrack(t *testing.T) {
	_, a, b, tree, _ := tracking(t)
	a.remove(".env")
	a.flush()
	delete(tree, ".env")
	eventually(t, "it is gone on b", func() bool { return difference(b.tree(), tree) == "" })
}

func TestAMachineThatWasAwayKeepsWhatWasUntracked(t *testing.T) {
	w, a, b, tree, rest := tracking(t)
	b.stop()
	a.untrack(".env")
	a.flush()
	a.write("src/x.c", "more")
	a.flush()
	a.untrack("build", "src/x.o")
	a.flush()
	tree["src/x.c"], rest["src/x.c"] = "more", "more"
	b.write("mine", "of b") // so that there is a merge
	b.start()
	b.flush()
	b.safe()
	a.safe()
	tree["mine"], rest["mine"] = "of b", "of b"
	same(t, "the line", w.line(a), rest)
	same(t, "a", a.tree(), tree)
	same(t, "b", b.tree(), tree)
}

// A merge is committed by the machine that untracks: it is what others see.
func TestAMergeTellsWhatItsSidesUntracked(t *testing.T) {
	w, a, b, tree, rest := tracking(t)
	a.net.offline()
	a.untrack(".env", "build", "src/x.o")
	b.write("mine", "of b")
	b.flush()
	a.net.online()
	a.flush()
	a.safe()
	b.safe()
	tree["mine"], rest["mine"] = "of b", "of b"
	same(t, "the line", w.line(a), rest)
	same(t, "a", a.tree(), tree)
	same(t, "b", b.tree(), tree)
}

// A crash at any point of an untrack leaves paths that are tracked, or that the
// next snapshot names. What else rules are against stays in the tree, though all
// records of it are lost.
func TestACrashDuringAnUntrackDeletesNothingElsewhere(t *testing.T) {
	for _, point := range []string{"untracking", "untracked", "flushed", "queued", "recorded"} {
		t.Run(point, func(t *testing.T) {
			w, a, b, tree, rest := tracking(t)
			a.stop()
			crashed, reboot := a.crashAt(point, 1)
			a.start()
			a.safe()
			s := a.run.s
			ended := make(chan struct{})
			go func() {
				defer close(ended) // by the crash
				_, _ = s.Untrack(context.Background(), []string{".env", "build"}, false)
			}()
			eventually(t, "the crash", crashed)
			a2 := reboot()
			<-ended
			a2.start()
			a2.flush()
			a2.safe()
			b.safe()
			same(t, "a", a2.tree(), tree)
			same(t, "b", b.tree(), tree)
			rest["src/x.o"] = "object"
			same(t, "the line", w.line(a2), rest)
		})
	}
}

func TestRulesTakeNothingOutWhenTheRecordsAreLost(t *testing.T) {
	w, a, b, tree, _ := tracking(t)
	a.stop()
	a.must(os.RemoveAll(filepath.Join(a.home, "db")))
	a.start()
	a.flush()
	a.safe()
	b.safe()
	same(t, "the line", w.line(a), tree)
	same(t, "b", b.tree(), tree)
}

// However much leaves the tree, none of it is deleted: nothing is held.
func TestAnUntrackIsNoMassDeletion(t *testing.T) {
	w := newWorld(t)
	a, b := w.machine("a").start(), w.machine("b").start()
	want := map[string]string{"build": "dir", "src": "s"}
	for i := range 300 {
		want["build/"+itoa(i)] = "x"
		a.write("build/"+itoa(i), "x")
	}
	a.write("src", "s")
	a.flush()
	together(t, a, b)
	a.write(ignore.Name, "build/\n")
	want[ignore.Name] = "build/\n"
	a.untrack("build")
	a.flush()
	b.safe()
	a.safe()
	same(t, "the line", w.line(a), map[string]string{ignore.Name: "build/\n", "src": "s"})
	same(t, "a", a.tree(), want)
	same(t, "b", b.tree(), want)
}
