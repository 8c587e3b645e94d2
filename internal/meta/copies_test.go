package meta_test

import (
	"slices"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

func TestCopiesAreKeptPerFolder(t *testing.T) {
	db := open(t, t.TempDir())
	f, other := db.Folder("docs"), db.Folder("other")
	if root, paths, err := f.Copies(); err != nil || !root.IsZero() || len(paths) != 0 {
		t.Fatalf("of a new folder: %+v %q %v", root, paths, err)
	}
	root := versions.Entry{Kind: versions.Dir, Mode: 0o755, Tree: chunk.ID{1}}
	for _, want := range [][]string{{"a", "b/c \xff"}, nil} {
		if err := f.SetCopies(root, want); err != nil {
			t.Fatal(err)
		}
		got, paths, err := f.Copies()
		if err != nil || !versions.Equal(got, root) || !slices.Equal(paths, want) {
			t.Errorf("got %+v %q, %v; want %q", got, paths, err, want)
		}
	}
	if _, paths, err := other.Copies(); err != nil || len(paths) > 0 {
		t.Errorf("another folder has %q, %v", paths, err)
	}
	if err := f.Drop(); err != nil {
		t.Fatal(err)
	}
	if root, _, err := f.Copies(); err != nil || !root.IsZero() {
		t.Errorf("after Drop: %+v, %v", root, err)
	}
}
