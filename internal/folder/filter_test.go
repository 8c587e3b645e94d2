//go:build linux

package folder_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// paths are all that is in the recorded tree.
func (b *bench) paths(t fataler) string {
	t.Helper()
	list := map[string]bool{}
	must(t, b.trees.Walk(t.Context(), b.recordedRoot(t), func(path string, _ versions.Entry) error {
		if path != "" {
			list[path] = true
		}
		return nil
	}))
	return strings.Join(slices.Sorted(maps.Keys(list)), " ")
}

func TestAFilterDecidesAloneAndAtOnce(t *testing.T) {
	out := ".bak"
	f := &folder.Filter{Names: func(_ *disk.Dir, _ string, names []disk.Dirent) ([]disk.Dirent, error) {
		return slices.DeleteFunc(names, func(n disk.Dirent) bool { return strings.HasSuffix(n.Name, out) }), nil
	}}
	b := newBench(t, func(o *folder.Options) { o.Filter = f })
	write(t, b.path(".syncfsignore"), "*.txt\n")
	write(t, b.path("a.txt"), "a")
	write(t, b.path("a.bak"), "b")
	write(t, b.path("d/b.txt"), "c")
	write(t, b.path("d/x.bak/in"), "d")
	write(t, b.path("e.bak/only"), "e")
	b.take(t)
	if got := b.paths(t); got != ".syncfsignore a.txt d d/b.txt" {
		t.Fatalf("taken: %s", got)
	}
	// What was left out is taken, what was taken is left out, by another filter.
	out = ".txt"
	b.take(t)
	if got := b.paths(t); got != ".syncfsignore a.bak d d/x.bak d/x.bak/in e.bak e.bak/only" {
		t.Fatalf("with another filter: %s", got)
	}
	f.NoEmpty = true
	out = "in"
	write(t, b.path("d/b.txt"), "touched")
	b.take(t)
	if got := b.paths(t); got != ".syncfsignore a.bak a.txt d d/b.txt e.bak e.bak/only" {
		t.Fatalf("without empty directories: %s", got)
	}
	out = ""
	b.take(t)
	b.scan(t)
	if built := b.commit(t); built != nil {
		t.Errorf("a look at what has not changed found %+v", built)
	}
}

func TestARereadReadsWhatHasNotChanged(t *testing.T) {
	b := newBench(t)
	write(t, b.path("a/f"), "content")
	b.take(t)
	before := b.recordedRoot(t)
	var read int64
	built := b.build(t, folder.BuildOptions{Force: true, Reread: true, Progress: func(files, _ int64) { read += files }})
	if read != 1 {
		t.Errorf("%d files were read", read)
	}
	if built != nil && !versions.Equal(built.Root, before) {
		t.Error("what has not changed is not the same")
	}
}
