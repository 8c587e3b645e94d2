package syncer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// inSlices makes a machine commit after each few files.
func inSlices(m *machine) *machine {
	m.opts = func(o *syncer.Options) { o.Slice = time.Nanosecond }
	return m
}

// many files in some directories, and what a tree of them is.
func many(m *machine, n int) map[string]string {
	want := map[string]string{}
	for i := range n {
		dir := fmt.Sprintf("d%d", i%4)
		sub := fmt.Sprintf("%s/s%d", dir, i%3)
		name := fmt.Sprintf("%s/f%d", sub, i)
		m.write(name, fmt.Sprintf("content %d", i))
		want[dir], want[sub], want[name] = "dir", "dir", fmt.Sprintf("content %d", i)
	}
	return want
}

// partials are the records that say that more is to come. None of the line may
// take anything away.
func partials(t *testing.T, list []line.Recorded) (n int) {
	t.Helper()
	for _, r := range list {
		if r.Removed > 0 {
			t.Errorf("version %s of %s removes %d entries", r.Instant, r.Host, r.Removed)
		}
		if slices.Contains(r.Tags, syncer.TagPartial) {
			n++
		}
	}
	return n
}

func TestALongFirstUploadCommitsWhatIsWholeSoFar(t *testing.T) {
	w := newWorld(t)
	a, b := inSlices(w.machine("a")), w.machine("b").start()
	want := many(a, 60)
	a.start()
	a.flush()
	list := w.records()
	if n := partials(t, list); n < 2 {
		t.Errorf("%d partial versions", n)
	}
	last := list[len(list)-1]
	if slices.Contains(last.Tags, syncer.TagPartial) {
		t.Error("the last version still says that more is to come")
	}
	roots := map[chunk.ID]versions.Entry{}
	for _, r := range list {
		roots[r.SnapshotID] = r.Root
	}
	for _, r := range list { // each holds all of the one before
		for _, parent := range r.Parents {
			err := a.run.trees.Diff(context.Background(), roots[parent], r.Root, func(c versions.Change) error {
				if c.New == nil {
					t.Errorf("version %s has lost %s", r.Instant, c.Path)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// One merge, with what the other had first, is enough: no slice is read
	// before it is applied.
	merges := 0
	for _, r := range list {
		if len(r.Parents) > 1 {
			merges++
		}
	}
	if merges > len(list)/4 {
		t.Errorf("%d of %d versions are merges", merges, len(list))
	}
	together(t, a, b)
	same(t, "the other", b.tree(), want)
	onlyBy(t, w, a, "a")
}

func TestAFlushWaitsForAllSlices(t *testing.T) {
	w := newWorld(t)
	a := inSlices(w.machine("a")).start()
	a.write("first", "1")
	a.flush()
	want := many(a, 40)
	want["first"] = "1"
	a.flush()
	same(t, "the line", a.run.treeOf(t, w.head().Root), want)
	if partials(t, w.records()) == 0 {
		t.Error("nothing was committed early")
	}
}

func TestACrashBetweenSlicesTakesNothingForDeleted(t *testing.T) {
	w := newWorld(t)
	a, b := inSlices(w.machine("a")), w.machine("b").start()
	b.write("of b", "b")
	b.flush()
	want := many(a, 60)
	want["of b"] = "b"
	for range 4 {
		a.start()
		before := w.head().Number
		eventually(t, "a slice is committed", func() bool {
			return w.head().Number > before || len(a.tree()) == len(want)
		})
		a.stop() // in the middle: what was not recorded is found again
	}
	a.start()
	a.flush()
	together(t, a, b)
	same(t, "both", b.tree(), want)
	partials(t, w.records())
}

func TestAMergeWithAPartialVersionDeletesNothing(t *testing.T) {
	w := newWorld(t)
	a, b := inSlices(w.machine("a")), inSlices(w.machine("b"))
	want := many(a, 40)
	many(b, 50) // of which 40 are the same
	b.write("d0/s0/f0", "another content")
	a.start()
	b.start()
	a.flush()
	b.flush()
	together(t, a, b)
	got := b.tree()
	copies := 0
	for p, c := range want {
		if p != "d0/s0/f0" && got[p] != c {
			t.Errorf("%s is %q, want %q", p, got[p], c)
		}
	}
	for _, c := range got {
		if c == "another content" || c == "content 0" {
			copies++
		}
	}
	if copies != 2 {
		t.Errorf("%d of the two contents of one name are there: %v", copies, got)
	}
	partials(t, w.records())
}

func TestRecordsThatWereLostMakeNoPartialVersion(t *testing.T) {
	w := newWorld(t)
	a := w.machine("a").start()
	want := many(a, 40)
	a.flush()
	a.stop()
	if err := os.RemoveAll(filepath.Join(a.home, "db")); err != nil {
		t.Fatal(err)
	}
	before := len(w.records())
	inSlices(a).start()
	a.flush()
	same(t, "the line", a.run.treeOf(t, w.head().Root), want)
	if list := w.records(); partials(t, list[before:]) != 0 {
		t.Error("a version says that more is to come")
	}
}
