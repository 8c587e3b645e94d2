package syncer_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// inodes of all files below dir of a machine, by content.
func (m *machine) inodes(dir string) map[string]uint64 {
	m.w.t.Helper()
	all := map[string]uint64{}
	err := filepath.WalkDir(filepath.Join(m.dir, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		all[string(content)] = info.Sys().(*syscall.Stat_t).Ino
		return err
	})
	if err != nil {
		m.w.t.Fatal(err)
	}
	return all
}

func (m *machine) rename(from, to string) {
	m.w.t.Helper()
	if err := os.Rename(filepath.Join(m.dir, from), filepath.Join(m.dir, to)); err != nil {
		m.w.t.Fatal(err)
	}
}

// twoDirs is two machines that hold the same tree: files below d and e.
func twoDirs(t *testing.T) (w *world, a, b *machine) {
	w = newWorld(t)
	a, b = w.machine("a"), w.machine("b")
	for i := range 20 {
		a.write("d/"+itoa(i), "in d: "+itoa(i))
		a.write("d/sub/"+itoa(i), "in d/sub: "+itoa(i))
		a.write("e/"+itoa(i), "in e: "+itoa(i))
	}
	a.write("x/y/z", "here")
	a.write("n/m/x", "here as well")
	a.start().flush()
	b.start()
	together(t, a, b)
	return w, a, b
}

func TestARenameIsARenameOnTheOtherMachine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(a *machine)
	}{
		{"a directory", func(a *machine) { a.rename("d", "new") }},
		{"a directory, deeper", func(a *machine) { a.rename("d", "x/y/d") }},
		{"a directory out of one that goes", func(a *machine) {
			a.rename("d/sub", "sub")
			a.remove("d/0")
		}},
		{"a directory in which something changed", func(a *machine) {
			a.rename("d", "new")
			a.write("new/more", "one more")
			a.remove("new/sub/3")
		}},
		{"a file", func(a *machine) { a.rename("d/1", "e/other") }},
		{"a file, deeper", func(a *machine) { a.rename("d/1", "n/m/1") }},
		{"a directory, and its mode", func(a *machine) {
			a.rename("d", "new")
			if err := os.Chmod(filepath.Join(a.dir, "new"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// On a busy machine B may be told too late what its own steps were,
			// and then makes the files anew, which is no less right.
			for range 4 {
				if renamed(t, tt.change) {
					return
				}
			}
			t.Error("the files were made anew each time")
		})
	}
}

// renamed has A make a change, and tells whether the files of B that are still
// there are the same inodes. Both must be equal in any case.
func renamed(t *testing.T, change func(a *machine)) bool {
	t.Helper()
	w, a, b := twoDirs(t)
	before := b.inodes("")
	a.net.offline() // so that all of it arrives as one
	change(a)
	eventually(t, "a snapshot", func() bool { return a.run.s.Status().Queued > 0 && a.run.s.Status().PendingFiles == 0 })
	left := a.inodes("")
	a.net.online()
	a.flush()
	together(t, a, b)
	after, same := b.inodes(""), true
	for content, ino := range before {
		if _, ok := left[content]; ok {
			same = same && after[content] == ino
		}
	}
	// What was renamed goes on being watched and compared.
	for _, at := range []string{"new/later", "x/y/d/later", "sub/later", "e/later", "n/m/later"} {
		if _, err := os.Stat(filepath.Join(b.dir, filepath.Dir(at))); err == nil {
			b.write(at, "written on b")
		}
	}
	b.flush()
	together(t, a, b)
	onlyOnce(t, w)
	return same
}

// onlyOnce verifies that no two snapshots in a row have the same tree.
func onlyOnce(t *testing.T, w *world) {
	t.Helper()
	list := w.records()
	for i := 1; i < len(list); i++ {
		if versions.Equal(list[i].Root, list[i-1].Root) {
			t.Errorf("snapshot %s by %s says nothing new", list[i].Instant, list[i].Host)
		}
	}
}

func TestARenameCarriesWhatAProgramHasWrittenBelow(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(b *machine, dir string) error
		want string
	}{
		{"a new file", func(b *machine, dir string) error {
			return os.WriteFile(filepath.Join(b.dir, dir, "mine"), []byte("mine"), 0o644)
		}, "mine"},
		{"a changed file", func(b *machine, dir string) error {
			return os.WriteFile(filepath.Join(b.dir, dir, "1"), []byte("changed by b"), 0o644)
		}, "changed by b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, a, b := twoDirs(t)
			done := make(chan error, 1)
			b.moment = func(op disk.Op, path string) {
				if op == disk.Move && path == "d" && len(done) == 0 {
					done <- tt.do(b, "d")
				}
			}
			a.rename("d", "new")
			a.flush()
			eventually(t, "the step", func() bool { return len(done) == 1 })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			done <- errors.New("not again")
			together(t, a, b)
			if !a.holds(tt.want) {
				t.Errorf("%q is lost: %v", tt.want, a.tree())
			}
		})
	}
}

// A directory that comes from another machine is watched from its first moment,
// also where no mount tells of requests.
func TestWhatIsPutIntoADirectoryThatJustCameTravelsBack(t *testing.T) {
	t.Parallel()
	_, a, b := twoDirs(t)
	for i := range 3 {
		at := "came " + itoa(i) + "/deeper"
		a.write(at+"/from a", "a")
		eventually(t, "it comes", func() bool {
			return os.WriteFile(filepath.Join(b.dir, at, "from b"), []byte("b"), 0o644) == nil
		})
		together(t, a, b)
		if _, ok := a.tree()[at+"/from b"]; !ok {
			t.Errorf("what b put into %s is not on a", at)
		}
	}
}
