//go:build linux

package folder_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/folder"
)

// fill makes a small tree with old files.
func fill(t *testing.T, b *bench, dir string) {
	t.Helper()
	for i := range 40 {
		path := b.path(fmt.Sprintf("%s/d%d/e/f%d", dir, i%5, i))
		write(t, path, fmt.Sprintf("%s content %d", dir, i))
		backdate(t, path)
	}
	time.Sleep(60 * time.Millisecond) // beyond the grain of the disk's clock
}

func TestRenamedDirectoryIsNotReadAgain(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("told=%v", told), func(t *testing.T) {
			b := newBench(t)
			write(t, b.path("other/x"), "x")
			fill(t, b, "from")
			b.take(t)
			must(t, os.Rename(b.path("from"), b.path("other/to")))
			write(t, b.path("other/to/d1/e/f1"), "edited after")
			if told {
				b.f.Renamed("from", "other/to")
				b.f.Changed("other/to/d1/e/f1")
			} else {
				b.scan(t)
			}
			b.chunks.Reset()
			built := b.commit(t)
			if built.Files != 1 || b.chunks.Puts(chunk.Data) != 1 {
				t.Fatalf("%d files were read, %d pieces put; want 1", built.Files, b.chunks.Puts(chunk.Data))
			}
			b.sameAsDisk(t, built.Root)
			gone, came := 0, 0
			for _, d := range built.Dirs {
				if d.Gone {
					gone++
				} else {
					came++
				}
			}
			if gone != 11 || came != 13 { // from and 10 below; to and 10 below, other and the root
				t.Fatalf("%d directories are gone and %d came: %v", gone, came, built.Dirs)
			}
			b.take(t)
			b.sameAsDisk(t, b.recordedRoot(t))
		})
	}
}

func TestRenamedFileIsNotReadAgain(t *testing.T) {
	b := newBench(t)
	fill(t, b, "d")
	b.take(t)
	must(t, os.Rename(b.path("d/d1/e/f1"), b.path("d/moved")))
	b.f.Renamed("d/d1/e/f1", "d/moved")
	must(t, os.Rename(b.path("d/moved"), b.path("twice")))
	b.f.Renamed("d/moved", "twice")
	built := b.commit(t)
	if built.Files != 0 {
		t.Fatalf("%d files were read", built.Files)
	}
	b.sameAsDisk(t, built.Root)
}

func TestRenameHidesNoChangeOfContent(t *testing.T) {
	for _, order := range []string{"before", "after", "in flight"} {
		t.Run(order, func(t *testing.T) {
			b := newBench(t)
			write(t, b.path("f"), "first")
			backdate(t, b.path("f"))
			time.Sleep(60 * time.Millisecond)
			b.take(t)
			info, err := os.Stat(b.path("f"))
			must(t, err)
			edit := func(path string) {
				t.Helper()
				write(t, b.path(path), "other") // same size and, then, same time
				must(t, os.Chtimes(b.path(path), info.ModTime(), info.ModTime()))
				b.f.Changed(path)
			}
			rename := func() {
				t.Helper()
				must(t, os.Rename(b.path("f"), b.path("g")))
				b.f.Renamed("f", "g")
			}
			switch order {
			case "before":
				edit("f")
				rename()
			case "after":
				rename()
				edit("g")
			case "in flight":
				edit("f")
				b.build(t, folder.BuildOptions{}) // never recorded
				rename()
			}
			b.commit(t)
			if got := b.content(t, b.recordedRoot(t), "g"); got != "other" {
				t.Fatalf("content is %q", got)
			}
		})
	}
}

func TestSwappedDirectoriesAreFound(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	fill(t, b, "b")
	b.take(t)
	must(t, os.Rename(b.path("a"), b.path("c")))
	must(t, os.Rename(b.path("b"), b.path("a")))
	must(t, os.Rename(b.path("c"), b.path("b")))
	b.scan(t)
	built := b.commit(t)
	b.sameAsDisk(t, built.Root)
	if built.Files != 0 {
		t.Fatalf("%d files were read", built.Files)
	}
}
