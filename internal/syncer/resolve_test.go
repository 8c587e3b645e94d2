package syncer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/internal/syncer"
)

// disputed are two machines with a file that both have changed: "from a" has the
// name, "from b" is in the copy. The copy is the newer one.
func disputed(t *testing.T) (w *world, a, b *machine, copied string) {
	t.Helper()
	w = newWorld(t)
	a, b = w.machine("a").start(), w.machine("b").start()
	a.write("sub/f.txt", "base")
	a.flush()
	together(t, a, b)
	b.net.offline()
	a.write("sub/f.txt", "from a")
	a.flush()
	time.Sleep(20 * time.Millisecond) // so that the times of the files differ
	b.write("sub/f.txt", "from b")
	b.net.online()
	b.flush()
	together(t, a, b)
	for p := range a.tree() {
		if _, ok := reconcile.IsCopy(filepath.Base(p)); ok {
			return w, a, b, p
		}
	}
	t.Fatalf("there is no conflict copy in %v", a.tree())
	return nil, nil, nil, ""
}

func resolve(t *testing.T, m *machine, keep syncer.Keep, copies ...string) syncer.Resolved {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := m.run.s.Resolve(ctx, []syncer.Dispute{{Path: "sub/f.txt", Copies: copies}}, keep, false)
	if err != nil {
		t.Fatalf("resolve: %v", err)
	}
	return list[0]
}

// inVersions tells whether some version of the line has this content.
func inVersions(t *testing.T, w *world, m *machine, content string) bool {
	t.Helper()
	for _, r := range w.records() {
		for _, c := range m.run.treeOf(t, r.Root) {
			if c == content {
				return true
			}
		}
	}
	return false
}

func TestResolveKeepsWhatIsChosenAndTheRestInTheVersions(t *testing.T) {
	for _, c := range []struct {
		name string
		on   string
		keep syncer.Keep
		want string
	}{
		{"the file", "a", syncer.KeepCurrent, "from a"},
		{"the copy", "a", syncer.KeepCopy, "from b"},
		{"the newest", "a", syncer.KeepNewest, "from b"},
		{"mine, on the machine that won", "a", syncer.KeepMine, "from a"},
		{"mine, on the machine that lost", "b", syncer.KeepMine, "from b"},
		{"theirs, on the machine that lost", "b", syncer.KeepTheirs, "from a"},
		{"theirs, on the machine that won", "a", syncer.KeepTheirs, "from b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, a, b, copied := disputed(t)
			m := map[string]*machine{"a": a, "b": b}[c.on]
			if r := resolve(t, m, c.keep, copied); r.Err != nil || len(r.Removed) != 1 {
				t.Fatalf("resolved %+v", r)
			}
			want := map[string]string{"sub": "dir", "sub/f.txt": c.want}
			same(t, "the machine that decided", m.tree(), want)
			m.flush()
			together(t, a, b)
			same(t, "the other", b.tree(), want)
			for _, content := range []string{"from a", "from b"} {
				if !inVersions(t, w, m, content) {
					t.Errorf("%q is in no version", content)
				}
			}
		})
	}
}

func TestResolveBothGivesTheCopyAnOrdinaryName(t *testing.T) {
	_, a, b, copied := disputed(t)
	r := resolve(t, a, syncer.KeepBoth, copied)
	if r.Err != nil || len(r.Renamed) != 1 {
		t.Fatalf("resolved %+v", r)
	}
	if _, ok := reconcile.IsCopy(filepath.Base(r.Renamed[0])); ok || !strings.HasPrefix(r.Renamed[0], "sub/f (b 2") {
		t.Errorf("the copy is called %q now", r.Renamed[0])
	}
	a.flush()
	together(t, a, b)
	same(t, "the tree", b.tree(), map[string]string{"sub": "dir", "sub/f.txt": "from a", r.Renamed[0]: "from b"})
}

func TestResolveGivesTheCopyTheNameThatWasRemoved(t *testing.T) {
	_, a, b, copied := disputed(t)
	a.remove("sub/f.txt")
	a.flush()
	if r := resolve(t, a, syncer.KeepCurrent, copied); !errors.Is(r.Err, syncer.ErrUndecided) {
		t.Errorf("what is not there was kept: %+v", r)
	}
	if r := resolve(t, a, syncer.KeepCopy, copied); r.Err != nil {
		t.Fatalf("resolved %+v", r)
	}
	a.flush()
	together(t, a, b)
	same(t, "the tree", b.tree(), map[string]string{"sub": "dir", "sub/f.txt": "from b"})
}

func TestResolveTakesWhatWasWrittenJustNow(t *testing.T) {
	w, a, _, copied := disputed(t)
	a.write("sub/f.txt", "just now")
	if r := resolve(t, a, syncer.KeepCopy, copied); r.Err != nil {
		t.Fatalf("resolved %+v", r)
	}
	a.flush()
	if !inVersions(t, w, a, "just now") {
		t.Error("what was written just before is in no version")
	}
}

func TestResolveLeavesWhatAProgramWrites(t *testing.T) {
	_, a, _, copied := disputed(t)
	f, err := os.OpenFile(filepath.Join(a.dir, copied), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r := resolve(t, a, syncer.KeepCurrent, copied); !errors.Is(r.Err, syscall.EBUSY) || len(r.Removed) != 0 {
		t.Errorf("resolved %+v", r)
	}
	if r := resolve(t, a, syncer.KeepCopy, copied); !errors.Is(r.Err, syscall.EBUSY) {
		t.Errorf("resolved %+v", r)
	}
	same(t, "the tree", a.tree(), map[string]string{"sub": "dir", "sub/f.txt": "from a", copied: "from b"})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r := resolve(t, a, syncer.KeepCurrent, copied); r.Err != nil {
		t.Errorf("after it was closed: %+v", r)
	}
}

func TestResolveWorksOffline(t *testing.T) {
	w, a, b, copied := disputed(t)
	a.net.offline()
	a.forgetCache()
	if r := resolve(t, a, syncer.KeepCopy, copied); r.Err != nil {
		t.Fatalf("resolved %+v", r)
	}
	a.net.online()
	a.flush()
	together(t, a, b)
	same(t, "the other", b.tree(), map[string]string{"sub": "dir", "sub/f.txt": "from b"})
	if !inVersions(t, w, a, "from a") {
		t.Error("what was not kept is in no version")
	}
}

func TestResolveDecidesBetweenAFileAndADirectory(t *testing.T) {
	w := newWorld(t)
	a, b := w.machine("a").start(), w.machine("b").start()
	a.write("x", "x")
	a.flush()
	together(t, a, b)
	b.net.offline()
	a.write("sub/f.txt", "a file")
	a.flush()
	b.write("sub/f.txt/deep/one", "in a directory")
	b.net.online()
	b.flush()
	together(t, a, b)
	copied := ""
	for p := range a.tree() {
		if _, ok := reconcile.IsCopy(filepath.Base(p)); ok {
			copied = p
		}
	}
	other := a.tree()["sub/f.txt"] == "dir"
	if r := resolve(t, a, syncer.KeepCopy, copied); r.Err != nil {
		t.Fatalf("resolved %+v", r)
	}
	want := map[string]string{"x": "x", "sub": "dir", "sub/f.txt": "a file"}
	if !other {
		want = map[string]string{"x": "x", "sub": "dir", "sub/f.txt": "dir", "sub/f.txt/deep": "dir", "sub/f.txt/deep/one": "in a directory"}
	}
	a.flush()
	together(t, a, b)
	same(t, "the other", b.tree(), want)
}
