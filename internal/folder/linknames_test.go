//go:build linux

package folder_test

import (
	"os"
	"testing"

	"github.com/syncfs/syncfs/internal/folder"
)

// A program writes through one name of a hard link: all of them have changed,
// in one and the same state of the tree, also those in directories that nobody
// has looked into, and after a rename or a restart.
func TestAWriteThroughOneNameOfAHardLinkChangesAll(t *testing.T) {
	b := newBench(t, func(o *folder.Options) { o.Mounted = true })
	must(t, os.MkdirAll(b.path("a/b"), 0o755))
	write(t, b.path("a/one"), "first")
	must(t, os.Link(b.path("a/one"), b.path("a/b/two")))
	must(t, os.Link(b.path("a/one"), b.path("three")))
	b.scan(t)
	b.commit(t)

	change := func(path, data string, names ...string) {
		t.Helper()
		write(t, b.path(path), data)
		b.f.Changed(path)
		built := b.commit(t)
		for _, name := range names {
			if got := b.content(t, built.Root, name); got != data {
				t.Errorf("%s holds %q after a write through %s, want %q", name, got, path, data)
			}
		}
	}
	change("a/one", "second content", "a/one", "a/b/two", "three")

	must(t, os.Rename(b.path("a/b"), b.path("c")))
	b.f.Renamed("a/b", "c")
	b.commit(t)
	change("three", "the third content", "a/one", "c/two", "three")

	must(t, os.Remove(b.path("three")))
	b.f.Changed("three")
	b.commit(t)
	change("c/two", "a fourth content of it", "a/one", "c/two")

	b.open(t) // a new start knows the names from its records
	b.scan(t)
	b.take(t)
	change("a/one", "the fifth and last of all", "a/one", "c/two")
	b.sameAsDisk(t, b.recordedRoot(t))
}
