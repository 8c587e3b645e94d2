//go:build linux

package folder_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/folder"
)

func TestBuildThatWasNotRecordedIsFoundAgain(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	write(t, b.path("a/d1/e/f1"), "changed")
	must(t, os.RemoveAll(b.path("a/d2")))
	must(t, os.Rename(b.path("a/d3"), b.path("z")))
	b.scan(t)
	first := b.build(t, folder.BuildOptions{})
	if !b.f.Dirty("a/d1/e/f1") {
		t.Fatal("what is built and not recorded is not dirty")
	}
	for name, again := range map[string]func(){
		"the same process": func() {},
		"a restart":        func() { b.open(t); b.scan(t) },
	} {
		again()
		second := b.build(t, folder.BuildOptions{})
		if second == nil || second.Root.Tree != first.Root.Tree || !slices.Equal(second.Dirs, first.Dirs) {
			t.Fatalf("%s: found %+v, first it was %+v", name, second, first)
		}
	}
	if err := b.f.Record(first); err == nil {
		t.Fatal("a state that is not the last one was recorded")
	}
}

// TestCrashInTheMiddleOfRecord stops after each single record that is written.
func TestCrashInTheMiddleOfRecord(t *testing.T) {
	for after := 1; ; after++ {
		b := newBench(t)
		fill(t, b, "a")
		b.take(t)
		write(t, b.path("a/d1/e/f1"), "changed, the directory's times are not")
		must(t, os.Rename(b.path("a/d3"), b.path("z")))
		must(t, os.RemoveAll(b.path("a/d2")))
		b.scan(t)
		built := b.build(t, folder.BuildOptions{})
		b.records.failAfter, b.records.err = after, errors.New("power cut")
		err := b.f.Record(built)
		b.records.failAfter = 0
		if err == nil {
			if after < 8 {
				t.Fatalf("only %d records were written", after)
			}
			return
		}
		b.open(t)
		b.take(t)
		root := b.recordedRoot(t)
		b.sameAsDisk(t, root)
		if root.Tree != built.Root.Tree || root.Size != built.Root.Size || root.Count != built.Root.Count {
			t.Fatalf("after %d records: %+v, want %+v", after, root, built.Root)
		}
		b.scan(t)
		if again := b.commit(t); again != nil {
			t.Fatalf("after %d records: not at rest", after)
		}
	}
}

func TestLostAndDamagedRecordsCostReadingOnly(t *testing.T) {
	for _, damage := range []string{"lost", "damaged"} {
		for _, dir := range []string{"", "a", "a/d1", "a/d1/e"} {
			t.Run(fmt.Sprintf("%s %q", damage, dir), func(t *testing.T) {
				b := newBench(t)
				fill(t, b, "a")
				b.take(t)
				before := b.recordedRoot(t)
				write(t, b.path("a/d1/e/f1"), "changed")
				if damage == "lost" {
					delete(b.records.recs, dir)
				} else {
					b.records.recs[dir] = b.records.recs[dir][:40]
				}
				b.open(t)
				b.take(t)
				root := b.recordedRoot(t)
				b.sameAsDisk(t, root)
				if root.Count != before.Count {
					t.Fatalf("%d entries, before %d", root.Count, before.Count)
				}
				b.scan(t)
				if b.commit(t) != nil {
					t.Fatal("not at rest")
				}
			})
		}
	}
}

func TestLargeBuildKeepsItsRecordsInAFile(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("n", 240)
	for i := range 60 {
		for j := range 300 {
			write(t, b.path(fmt.Sprintf("d%d/%s%d", i, long, j)), "")
		}
	}
	b.take(t)
	if root := b.recordedRoot(t); root.Count != 18_000 {
		t.Fatalf("%d entries", root.Count)
	}
	left, err := os.ReadDir(b.options.TempDir)
	if err != nil || len(left) > 0 {
		t.Fatalf("left behind: %v %v", left, err)
	}
	b.open(t)
	b.scan(t)
	if b.commit(t) != nil {
		t.Fatal("not at rest")
	}
}

func TestTooManyMarksBecomeDirectories(t *testing.T) {
	b := newBench(t)
	for i := range 100 {
		write(t, b.path(fmt.Sprintf("d%d/f", i)), "first")
	}
	b.take(t)
	for i := range 100 {
		write(t, b.path(fmt.Sprintf("d%d/f", i)), "second")
		write(t, b.path(fmt.Sprintf("d%d/sub/g", i)), "new")
		for j := range 700 { // 70,000 in all, most of them of files that are gone again
			b.f.Changed(fmt.Sprintf("d%d/tmp%d", i, j))
		}
		b.f.Changed(fmt.Sprintf("d%d/f", i))
		b.f.Changed(fmt.Sprintf("d%d/sub", i))
	}
	if n, _ := b.f.Pending(); n > 40_000 {
		t.Fatalf("%d marks are kept", n)
	}
	b.commit(t)
	b.sameAsDisk(t, b.recordedRoot(t))
	if n, _ := b.f.Pending(); n != 0 {
		t.Fatalf("%d entries are dirty", n)
	}
}

func TestAbsentRootIsNotEmpty(t *testing.T) {
	b := newBench(t, func(o *folder.Options) { o.ID = "0123"; o.Attach = true })
	write(t, b.path("f"), "x")
	b.take(t)
	b.options.Attach = false
	b.open(t)
	for _, x := range b.entries(t) {
		if len(x.Xattrs) > 0 {
			t.Fatalf("the mark is content: %v", x.Xattrs)
		}
	}
	other := newBench(t, func(o *folder.Options) {})
	o := b.options
	o.Root = other.root
	if _, err := folder.Open(o); !errors.Is(err, folder.ErrRootMissing) {
		t.Fatalf("another directory was opened: %v", err)
	}
	if folder.RootMarked(other.root, "0123") || !folder.RootMarked(b.root, "0123") {
		t.Fatal("marks are not told apart")
	}
	o.ID = "4567"
	o.Root = b.root
	if _, err := folder.Open(o); !errors.Is(err, folder.ErrRootMissing) {
		t.Fatalf("another folder's root was opened: %v", err)
	}
}

func TestRecordsThatNothingLeadsToAreSwept(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	b.records.recs["left/over"] = b.records.recs["a/d1"]
	b.records.recs["left"] = b.records.recs["a"]
	b.open(t)
	b.take(t)
	if _, ok := b.records.recs["left/over"]; ok {
		t.Fatal("it is still there")
	}
	for range 2 { // what led to it is gone after the first
		b.take(t)
	}
	if _, ok := b.records.recs["left"]; ok || b.f.Dirty("") {
		t.Fatal("not at rest")
	}
	b.sameAsDisk(t, b.recordedRoot(t))
}
