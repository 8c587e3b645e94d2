//go:build linux

package fs_test

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/disk"
	"golang.org/x/sys/unix"
)

// gate lets pass what is not in closed, and notes what it was asked.
type gate struct {
	mu     sync.Mutex
	closed map[string]bool
	asked  []string
	inside func(path string) // runs in the check
}

func (g *gate) Check(op disk.Op, path string) error {
	g.mu.Lock()
	g.asked = append(g.asked, fmt.Sprint(op, " ", path))
	closed, inside := g.closed[path], g.inside
	g.mu.Unlock()
	if inside != nil {
		inside(path)
	}
	if closed {
		return errors.New("it is dirty")
	}
	return nil
}

// do makes later checks run f.
func (g *gate) do(f func(path string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside = f
}

func (g *gate) close(path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed[path] = true
}

func withApplier(g *gate) option {
	return func(o *fs.LiveOptions) { o.Gate, o.Exe = g, []string{os.Args[0], "__apply"} }
}

func mountApplied(t *testing.T) (*mounted, *gate) {
	g := &gate{closed: map[string]bool{}}
	return mountAt(t, workDir(t), withApplier(g)), g
}

// staged puts content into the staging directory.
func (m *mounted) staged(t *testing.T, name, content string) {
	t.Helper()
	fd, err := unix.Openat(int(m.Stage().Fd()), name, unix.O_CREAT|unix.O_WRONLY|unix.O_EXCL, 0o644)
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(content))
	must(t, err)
}

func (m *mounted) stagedContent(t *testing.T, name string) string {
	t.Helper()
	fd, err := unix.Openat(int(m.Stage().Fd()), name, unix.O_RDONLY, 0)
	must(t, err)
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	b := make([]byte, 1000)
	n, _ := f.Read(b)
	return string(b[:n])
}

func TestRemoteChangesAppearThroughTheMount(t *testing.T) {
	m, _ := mountApplied(t)
	ctx := t.Context()
	do := func(s disk.Step) {
		t.Helper()
		must(t, m.Do(ctx, s))
	}
	w := startHelper(t, m.dir, "watch", m.dir)
	w.expect("watching")
	if _, err := os.Stat(m.dir + "/placed"); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatal(err)
	}

	m.staged(t, "1", "from afar")
	do(disk.Step{Op: disk.Place, Path: "placed", Staged: "1"})
	w.expect("to placed")
	if got := read(t, m.dir+"/placed"); got != "from afar" {
		t.Errorf("got %q", got)
	}

	m.staged(t, "2", "a newer one")
	do(disk.Step{Op: disk.Replace, Path: "placed", Staged: "2"})
	if a, b := w.line(), w.line(); a+", "+b != "to placed, from placed" && a+", "+b != "from placed, to placed" {
		t.Errorf("a watcher sees %s, %s", a, b)
	}
	if got := read(t, m.dir+"/placed"); got != "a newer one" {
		t.Errorf("got %q", got)
	}
	if got := m.stagedContent(t, "2"); got != "from afar" {
		t.Errorf("what was replaced is %q", got)
	}

	do(disk.Step{Op: disk.MakeDir, Path: "dir", Meta: disk.Meta{Mode: 0o2751, MTime: 1e18 + 5}})
	w.expect("create dir")
	w.expect("attrib dir")
	if st, err := os.Stat(m.dir + "/dir"); err != nil || st.ModTime().UnixNano() != 1e18+5 {
		t.Errorf("the directory's time is not set: %v, %v", st, err)
	}
	m.same(t, "dir", "0:0 2751")

	do(disk.Step{Op: disk.Move, From: "placed", Path: "dir/moved"})
	if got := read(t, m.dir+"/dir/moved"); got != "a newer one" {
		t.Errorf("got %q", got)
	}

	meta := disk.Meta{Mode: 0o4750, UID: 65534, GID: 12345, SetOwner: true, MTime: 1234567890123456789,
		Xattrs: map[string][]byte{"user.of": []byte("value")}}
	do(disk.Step{Op: disk.SetMeta, Path: "dir/moved", Meta: meta})
	m.same(t, "dir/moved", "65534:12345 4750")
	st, err := os.Stat(m.dir + "/dir/moved")
	must(t, err)
	if st.ModTime().UnixNano() != meta.MTime {
		t.Errorf("mtime is %d", st.ModTime().UnixNano())
	}
	value := make([]byte, 10)
	n, err := unix.Getxattr(m.dir+"/dir/moved", "user.of", value)
	if err != nil || string(value[:n]) != "value" {
		t.Errorf("xattr is %q: %v", value[:max(n, 0)], err)
	}

	must(t, os.Symlink("nowhere", m.dir+"/link"))
	do(disk.Step{Op: disk.SetMeta, Path: "link", Meta: disk.Meta{Mode: 0o777, UID: 5, GID: 6, SetOwner: true, MTime: 1e18}})
	m.same(t, "link", "5:6 777")

	do(disk.Step{Op: disk.Remove, Path: "dir/moved", Staged: "3"})
	if _, err := os.Stat(m.dir + "/dir/moved"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if got := m.stagedContent(t, "3"); got != "a newer one" {
		t.Errorf("what was removed is %q", got)
	}
	for path := range m.log.changed {
		if strings.HasPrefix(path, fs.StagePrefix) || strings.HasPrefix(path, "dir") || strings.HasPrefix(path, "placed") {
			t.Errorf("%s is told of as a program's change", path)
		}
	}
	for _, name := range []string{"2", "3"} {
		must(t, unix.Unlinkat(int(m.Stage().Fd()), name, 0))
	}
}

func TestTheGateHoldsAStepBack(t *testing.T) {
	m, g := mountApplied(t)
	write(t, m.dir+"/dirty", "mine")
	write(t, m.dir+"/clean", "old")
	g.close("dirty")
	for _, s := range []disk.Step{
		{Op: disk.Replace, Path: "dirty", Staged: "1"},
		{Op: disk.Remove, Path: "dirty", Staged: "2"},
		{Op: disk.SetMeta, Path: "dirty", Meta: disk.Meta{Mode: 0o600}},
		{Op: disk.Move, From: "dirty", Path: "elsewhere"},
	} {
		if s.Staged == "1" {
			m.staged(t, "1", "theirs")
		}
		if err := m.Do(t.Context(), s); !errors.Is(err, unix.EBUSY) {
			t.Errorf("step %d on a dirty path: %v, want EBUSY", s.Op, err)
		}
	}
	if got := read(t, m.dir+"/dirty"); got != "mine" {
		t.Errorf("dirty is %q", got)
	}
	m.same(t, "dirty", "0:0 644")
	must(t, m.Do(t.Context(), disk.Step{Op: disk.Replace, Path: "clean", Staged: "1"}))
	if got := read(t, m.dir+"/clean"); got != "theirs" {
		t.Errorf("clean is %q", got)
	}
	if err := m.Do(t.Context(), disk.Step{Op: disk.Place, Path: "clean", Staged: "1"}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("place over something: %v, want EEXIST", err)
	}
	must(t, unix.Unlinkat(int(m.Stage().Fd()), "1", 0))
}

// While the gate looks, nobody opens or changes the path.
func TestTheGateIsAskedUnderThePathsLock(t *testing.T) {
	m, g := mountApplied(t)
	write(t, m.dir+"/f", "old")
	m.staged(t, "1", "new")
	opened := make(chan error, 1)
	g.do(func(string) {
		go func() {
			f, err := os.OpenFile(m.dir+"/f", os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString("+")
				f.Close()
			}
			opened <- err
		}()
		select {
		case <-opened:
			t.Error("the file was opened while the gate looked at it")
		case <-time.After(300 * time.Millisecond):
		}
	})
	must(t, m.Do(t.Context(), disk.Step{Op: disk.Replace, Path: "f", Staged: "1"}))
	must(t, <-opened)
	if got := read(t, m.dir+"/f") + m.stagedContent(t, "1"); got != "new+old" && got != "newold+" {
		t.Errorf("the write is lost: %q", got)
	}
	must(t, unix.Unlinkat(int(m.Stage().Fd()), "1", 0))
}

func TestStagingIsOnlyForTheApplier(t *testing.T) {
	m, _ := mountApplied(t)
	m.staged(t, "1", "hidden")
	name := filepath.Base(m.Stage().Name())
	if !strings.HasPrefix(name, fs.StagePrefix) || len(name) != len(fs.StagePrefix)+32 {
		t.Errorf("the staging directory is %s", name)
	}
	must(t, m.Do(t.Context(), disk.Step{Op: disk.Place, Path: "a", Staged: "1"})) // the child knows it now
	must(t, os.Mkdir(m.dir+"/sub", 0o755))
	for _, path := range []string{name, name + "/1", fs.StagePrefix + "other", "sub/" + name} {
		if _, err := os.Stat(m.dir + "/" + path); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Mkdir(m.dir+"/"+fs.StagePrefix+"other", 0o755); !errors.Is(err, unix.EPERM) {
		t.Errorf("make such a name: %v", err)
	}
	if err := os.Rename(m.dir+"/a", m.dir+"/"+fs.StagePrefix+"x"); !errors.Is(err, unix.EPERM) {
		t.Errorf("rename to such a name: %v", err)
	}
	entries, err := os.ReadDir(m.dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), fs.StagePrefix) {
			t.Errorf("%s is listed", e.Name())
		}
	}
}

func TestAKilledApplierIsStartedAgain(t *testing.T) {
	m, g := mountApplied(t)
	for i := range 5 {
		name := fmt.Sprint(i)
		m.staged(t, name, name)
		must(t, m.Do(t.Context(), disk.Step{Op: disk.Place, Path: name, Staged: name}))
		must(t, unix.Kill(m.ApplierPID(), unix.SIGKILL))
		// The next step finds it dead, or not yet; it is told either way.
		m.staged(t, "again"+name, name)
		err := m.Do(t.Context(), disk.Step{Op: disk.Place, Path: "again" + name, Staged: "again" + name})
		if errors.Is(err, fs.ErrApplierGone) {
			err = m.Do(t.Context(), disk.Step{Op: disk.Place, Path: "again" + name, Staged: "again" + name})
		}
		must(t, err)
		if got := read(t, m.dir+"/again"+name); got != name {
			t.Errorf("got %q", got)
		}
	}
	// Killed inside a request, while the gate looks.
	m.staged(t, "last", "last")
	g.do(func(string) { unix.Kill(m.ApplierPID(), unix.SIGKILL); time.Sleep(100 * time.Millisecond) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := m.Do(ctx, disk.Step{Op: disk.Place, Path: "last", Staged: "last"}); !errors.Is(err, fs.ErrApplierGone) {
		t.Errorf("got %v, want ErrApplierGone", err)
	}
	_, staged := os.Lstat("/proc/self/fd/" + fmt.Sprint(m.Stage().Fd()) + "/last")
	_, live := os.Lstat(m.dir + "/last")
	if (staged == nil) == (live == nil) {
		t.Errorf("the content is in both places or in none: %v, %v", staged, live)
	}
	unix.Unlinkat(int(m.Stage().Fd()), "last", 0)
}

func TestTheApplierHoldsNothingOfTheConnection(t *testing.T) {
	m, _ := mountApplied(t)
	m.staged(t, "1", "x")
	must(t, m.Do(t.Context(), disk.Step{Op: disk.Place, Path: "a", Staged: "1"}))
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.ApplierPID()))
	must(t, err)
	for _, fd := range fds {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", m.ApplierPID(), fd.Name())); strings.Contains(to, "fuse") {
			t.Errorf("it has %s open", to)
		}
	}
	if len(fds) < 4 {
		t.Errorf("only %d descriptors were seen", len(fds))
	}
}
