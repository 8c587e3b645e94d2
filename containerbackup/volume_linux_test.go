package containerbackup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

func TestAVolumeComesBackAsItWas(t *testing.T) {
	m, trees, contents := stores()
	source := t.TempDir()
	at := func(name string) string { return filepath.Join(source, name) }
	files(t, source, []string{"a/one", "a/two", "b", "left/out", "odd\nname"})
	must(t, os.Link(at("b"), at("a/same")))
	must(t, os.Symlink("../b", at("a/link")))
	must(t, syscall.Mkfifo(at("pipe"), 0o600))
	must(t, os.Chmod(at("a"), 0o750|os.ModeSetgid))
	must(t, os.Chown(at("a/one"), 33, 44))
	must(t, unix.Setxattr(at("a/two"), "user.colour", []byte("red"), 0))
	sparse, err := os.Create(at("sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("data"), 3<<20)
	must(t, err)
	must(t, sparse.Truncate(8<<20))
	must(t, sparse.Close())

	read := func(before *past) (versions.Entry, *walker, int64) {
		t.Helper()
		var n atomic.Int64
		w := &walker{trees: trees, contents: contents, owners: disk.NewOwners(), sums: newSums(), top: "volumes/v", exclude: map[string]bool{"left": true}, before: before, read: &n}
		e, err := w.readAll(t.Context(), source)
		must(t, err)
		return e, w, n.Load()
	}
	root, w, _ := read(nil)
	if !slices.Equal(w.told(), []string{"volumes/v/pipe: it is a socket or a pipe"}) {
		t.Errorf("warnings: %q", w.told())
	}
	target := filepath.Join(t.TempDir(), "back")
	rep, err := disk.Restore(t.Context(), trees, contents, root, target, disk.RestoreOptions{Numeric: true})
	must(t, err)
	if len(rep.Failed)+len(rep.Refused)+len(rep.Notes) > 0 {
		t.Errorf("%+v", rep)
	}
	if _, err := os.Stat(filepath.Join(target, "left")); err == nil {
		t.Error("what is excluded came back")
	}
	var value [8]byte
	if n, err := unix.Getxattr(filepath.Join(target, "a/two"), "user.colour", value[:]); err != nil || string(value[:n]) != "red" {
		t.Errorf("extended attribute: %q, %v", value[:n], err)
	}
	var one, same, holes unix.Stat_t
	must(t, unix.Stat(filepath.Join(target, "b"), &one))
	must(t, unix.Stat(filepath.Join(target, "a/same"), &same))
	must(t, unix.Stat(filepath.Join(target, "sparse"), &holes))
	if one.Ino != same.Ino || holes.Size != 8<<20 || holes.Blocks*512 > 1<<20 {
		t.Errorf("inodes %d and %d; %d bytes in %d blocks", one.Ino, same.Ino, holes.Size, holes.Blocks)
	}
	for _, name := range []string{"a/one", "a/two", "b", "odd\nname", "sparse"} {
		was, err := os.ReadFile(at(name))
		must(t, err)
		if is, err := os.ReadFile(filepath.Join(target, name)); err != nil || string(is) != string(was) {
			t.Errorf("%q differs: %v", name, err)
		}
	}

	// Once more: what has not changed is not read, and costs nothing.
	old := &past{root: root, sums: w.sums, since: time.Now().Add(time.Hour)}
	m.new = 0
	again, w2, n := read(old)
	if n != 0 || m.new != 0 || !versions.Equal(again, root) || !slices.Equal(w2.sums.paths(), w.sums.paths()) {
		t.Errorf("%d bytes read, %d chunks new, equal %v", n, m.new, versions.Equal(again, root))
	}
	// The last backup began before the file's inode changed: times that a program
	// has set back prove nothing.
	info, err := os.Stat(at("b"))
	must(t, err)
	old.since = time.Now().Add(-time.Hour)
	must(t, os.WriteFile(at("b"), []byte("B"), 0o644))
	must(t, os.Chtimes(at("b"), info.ModTime(), info.ModTime()))
	changed, w3, _ := read(old)
	before, _ := w.sums.get("volumes/v/b")
	if after, _ := w3.sums.get("volumes/v/b"); versions.Equal(changed, root) || after == before {
		t.Error("a file of the same size and time, written since, was taken for the old one")
	}
}

func TestAFileThatIsWrittenWhileItIsReadIsSaid(t *testing.T) {
	_, trees, contents := stores()
	source := t.TempDir()
	path := filepath.Join(source, "log")
	must(t, os.WriteFile(path, make([]byte, 1<<20), 0o644))
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				now := time.Unix(1e9, int64(n))
				_ = os.Chtimes(path, now, now)
			}
		}
	}()
	var n atomic.Int64
	w := &walker{trees: trees, contents: contents, owners: disk.NewOwners(), sums: newSums(), top: "v", read: &n}
	root, err := w.readAll(t.Context(), source)
	close(stop)
	<-ended
	must(t, err)
	e, err := trees.Lookup(t.Context(), root.Tree, "log")
	must(t, err)
	if told := strings.Join(w.told(), " "); e.Unstable != strings.Contains(told, "written while it was read") {
		t.Errorf("unstable %v, warnings %q", e.Unstable, told)
	}
}
