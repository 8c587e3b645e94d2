//go:build linux

package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/syncfs/syncfs/fs"
	"golang.org/x/sys/unix"
)

// below writes a file under the mount, as a shell does whose cwd is older.
func (m *mounted) below(t *testing.T, name, content string) {
	t.Helper()
	fd, err := m.disk.Openat(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o644)
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(content))
	must(t, err)
}

func TestWhatChangesBelowTheMountIsSeen(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		read := func(name string) string {
			b, err := os.ReadFile(m.dir + "/" + name)
			if err != nil {
				return "error: " + err.Error()
			}
			return string(b)
		}
		list := func() string {
			entries, err := os.ReadDir(m.dir)
			must(t, err)
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return strings.Join(names, " ")
		}
		if _, err := os.Stat(m.dir + "/new"); !errors.Is(err, iofs.ErrNotExist) { // now remembered as absent
			t.Fatal(err)
		}
		list() // now cached

		m.below(t, "new", "one")
		m.Invalidate("new")
		eventually(t, "a new file is seen", func() bool { return read("new") == "one" })
		eventually(t, "a new file is listed", func() bool { return list() == "new" })

		m.below(t, "new", "another content")
		m.Invalidate("new")
		eventually(t, "its new content is seen", func() bool { return read("new") == "another content" })

		must(t, unix.Fchmodat(m.disk.Fd(), "new", 0o600, 0))
		m.Invalidate("new")
		eventually(t, "its new mode is seen", func() bool {
			st, err := os.Stat(m.dir + "/new")
			return err == nil && st.Mode() == 0o600
		})

		must(t, unix.Renameat(m.disk.Fd(), "new", m.disk.Fd(), "renamed"))
		m.Invalidate("new", "renamed")
		eventually(t, "a renamed file is seen", func() bool {
			return read("renamed") == "another content" && strings.HasPrefix(read("new"), "error") && list() == "renamed"
		})

		must(t, unix.Unlinkat(m.disk.Fd(), "renamed", 0))
		m.Invalidate("renamed")
		eventually(t, "a removed file is gone", func() bool { return list() == "" && strings.HasPrefix(read("renamed"), "error") })

		// A file that another takes the place of, at once with the same inode number.
		write(t, m.dir+"/f", "first")
		must(t, unix.Unlinkat(m.disk.Fd(), "f", 0))
		must(t, unix.Mkdirat(m.disk.Fd(), "f", 0o755))
		m.Invalidate("f")
		eventually(t, "a directory in place of a file", func() bool {
			st, err := os.Stat(m.dir + "/f")
			return err == nil && st.IsDir()
		})
	})
}

func TestEverythingCanBeInvalidated(t *testing.T) {
	m := mountAt(t, workDir(t))
	for i := range 20 {
		write(t, fmt.Sprintf("%s/f%d", m.dir, i), "before")
	}
	for i := range 20 {
		m.below(t, fmt.Sprintf("f%d", i), "after, and longer")
	}
	m.InvalidateAll()
	for i := range 20 {
		eventually(t, "new size", func() bool {
			st, err := os.Stat(fmt.Sprintf("%s/f%d", m.dir, i))
			return err == nil && st.Size() == int64(len("after, and longer"))
		})
	}
}

func TestInvalidationDoesNotBlockRequests(t *testing.T) {
	m := mountAt(t, workDir(t))
	stop := time.Now().Add(2 * time.Second)
	done := make(chan error, 4)
	for w := range 4 {
		go func() {
			for i := 0; time.Now().Before(stop); i++ {
				f := fmt.Sprintf("%s/w%d-%d", m.dir, w, i%10)
				if err := os.WriteFile(f, []byte("x"), 0o644); err != nil {
					done <- err
					return
				}
				m.Invalidate(filepath.Base(f), "")
				if err := os.Rename(f, f+".moved"); err != nil {
					done <- err
					return
				}
				m.Invalidate(filepath.Base(f), filepath.Base(f)+".moved")
			}
			done <- nil
		}()
	}
	for range 4 {
		must(t, <-done)
	}
}

func TestAShellOlderThanTheMountWritesBelow(t *testing.T) {
	dir := workDir(t)
	s := startHelper(t, dir, "write-on", "by-the-old-shell") // relative: below the mount to come
	s.expect("open")
	m := mountAt(t, dir)
	if got := read(t, m.dir+"/by-the-old-shell"); got != "" {
		t.Fatalf("got %q", got)
	}
	s.say("hello")
	s.expect("done")
	m.Invalidate("by-the-old-shell")
	eventually(t, "its write is seen", func() bool { return read(t, m.dir+"/by-the-old-shell") == "hello\n" })
}

func TestAFileCountsAsBeingWrittenWhileItIsMapped(t *testing.T) {
	m := mountAt(t, workDir(t), passthrough(true))
	f := m.dir + "/mapped"
	must(t, os.WriteFile(f, make([]byte, 4096), 0o644))
	eventually(t, "the file rests", func() bool { return m.Stats().Writing == 0 })
	s := startHelper(t, m.dir, "map", f)
	s.expect("mapped") // and closed
	fd, err := m.disk.Openat("mapped", unix.O_RDONLY, 0)
	must(t, err)
	defer unix.Close(fd)
	for _, b := range []string{"a", "b"} {
		told := m.log.count("mapped")
		var before unix.Stat_t
		must(t, unix.Stat(f, &before))
		s.say(b)
		s.expect("done")
		eventually(t, "a store to a mapping is told of", func() bool { return m.log.count("mapped") > told })
		var after unix.Stat_t
		eventually(t, "the mount shows the time of the store", func() bool {
			must(t, unix.Stat(f, &after))
			return after.Mtim != before.Mtim
		})
		if got := read(t, f); got[:1] != b {
			t.Errorf("read %q, want %q", got[:1], b)
		}
		if m.Stats().Writing != 1 {
			t.Errorf("%d files are being written, want 1", m.Stats().Writing)
		}
		// Only now does the next store to the page move the time: capture does the same.
		must(t, unix.Fdatasync(fd))
	}
	s.in.Close()
	eventually(t, "the file rests when the mapping is gone", func() bool { return m.Stats().Writing == 0 })
}

func TestAKilledWaiterForALockDies(t *testing.T) {
	m := mountAt(t, workDir(t))
	f := m.dir + "/lock"
	write(t, f, "")
	holder := startHelper(t, m.dir, "lock", f)
	holder.expect("waiting")
	holder.expect("locked")
	waiter := startHelper(t, m.dir, "lock", f)
	waiter.expect("waiting")
	must(t, waiter.cmd.Process.Kill())
	gone := make(chan struct{})
	go func() { waiter.cmd.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("it still waits")
	}
	third := startHelper(t, m.dir, "lock", f)
	third.expect("waiting")
	holder.in.Close()
	third.expect("locked")
}

func TestAFileOnAnOverlayIsServed(t *testing.T) {
	for _, depth := range []int{1, 2} {
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			dir := overlay(t, depth)
			m := mountAt(t, dir)
			for i := range 3 {
				f := fmt.Sprintf("%s/f%d", m.dir, i)
				write(t, f, "over")
				if got := read(t, f); got != "over" {
					t.Errorf("got %q", got)
				}
			}
			if got := read(t, m.dir+"/lower"); got != "from below" {
				t.Errorf("got %q", got)
			}
			if s := m.Stats(); depth == 1 && s.Passed == 0 {
				t.Errorf("nothing was passed through: %+v", s)
			} else if !s.Passthrough {
				t.Errorf("one refused file turned passthrough off: %+v", s)
			}
		})
	}
}

// overlay is a directory on a stack of overlay mounts.
func overlay(t *testing.T, depth int) string {
	t.Helper()
	base := t.TempDir()
	must(t, unix.Mount("tmpfs", base, "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(base, unix.MNT_DETACH) })
	lower := base + "/lower"
	must(t, os.Mkdir(lower, 0o755))
	write(t, lower+"/lower", "from below")
	for i := range depth {
		var dirs [3]string
		for j, name := range []string{"upper", "work", "merged"} {
			dirs[j] = fmt.Sprintf("%s/%s%d", base, name, i)
			must(t, os.Mkdir(dirs[j], 0o755))
		}
		must(t, unix.Mount("overlay", dirs[2], "overlay", 0,
			fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, dirs[0], dirs[1])))
		t.Cleanup(func() { unix.Unmount(dirs[2], unix.MNT_DETACH) })
		lower = dirs[2]
	}
	return lower
}

func TestOneInodeHasOneModeAtATime(t *testing.T) {
	m := mountAt(t, workDir(t), passthrough(true))
	f := m.dir + "/f"
	write(t, f, "0123456789")
	eventually(t, "the kernel gave up the first handle", func() bool { return m.Stats().Handles == 0 })
	for _, first := range []bool{false, true} {
		m.SetPassthrough(first)
		a, err := unix.Open(f, unix.O_RDWR, 0)
		must(t, err)
		m.SetPassthrough(!first)
		b, err := unix.Open(f, unix.O_RDWR, 0)
		if err != nil {
			t.Fatalf("the second open (first passed: %v): %v", first, err)
		}
		for i, fd := range []int{a, b} {
			_, err := unix.Pwrite(fd, []byte{'a' + byte(i)}, 0)
			must(t, err)
			for _, r := range []int{a, b} {
				got := make([]byte, 1)
				_, err := unix.Pread(r, got, 0)
				must(t, err)
				if got[0] != 'a'+byte(i) {
					t.Errorf("read %q, want %q", got[0], 'a'+byte(i))
				}
			}
		}
		unix.Close(a)
		unix.Close(b)
		eventually(t, "both handles are given up", func() bool { return m.Stats().Handles == 0 })
	}
	m.SetPassthrough(true)
	before := m.Stats().Passed
	_ = read(t, f)
	if m.Stats().Passed == before {
		t.Error("passthrough does not begin again with the first open after the last cached one")
	}
}

func TestAProgramRunsInsideTheMount(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		program, err := exec.LookPath("true")
		must(t, err)
		// By a shell, since this process, which serves, must not fork and wait for itself.
		out, err := exec.Command("sh", "-c", `cd "$1" && cp "$2" ./prog && ./prog && cp ./prog ./prog2 && ./prog2`, "sh", m.dir, program).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
}

func TestNoIoctlReachesTheDisk(t *testing.T) {
	m := mountAt(t, workDir(t))
	write(t, m.dir+"/f", "x")
	const shutdown = 0x8004587d // FS_IOC_SHUTDOWN: no disk may hear it from us
	const getFlags = 0x80086601
	for _, path := range []string{m.dir, m.dir + "/f"} {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		must(t, err)
		defer unix.Close(fd)
		for _, request := range []uint{getFlags, shutdown} {
			if err := unix.IoctlSetPointerInt(fd, request, 2); err != unix.ENOTTY {
				t.Errorf("%s %x: %v, want ENOTTY", path, request, err)
			}
		}
	}
	write(t, m.dir+"/g", "the disk goes on")
}

func TestAnythingMountedBelowIsAnEmptyDirectory(t *testing.T) {
	dir := workDir(t)
	for _, name := range []string{"sub", "bound"} {
		must(t, os.Mkdir(dir+"/"+name, 0o755))
	}
	other := t.TempDir()
	write(t, other+"/alien", "x")
	must(t, unix.Mount("tmpfs", dir+"/sub", "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(dir+"/sub", unix.MNT_DETACH) })
	must(t, unix.Mount(other, dir+"/bound", "", unix.MS_BIND, "")) // the same disk
	t.Cleanup(func() { unix.Unmount(dir+"/bound", unix.MNT_DETACH) })
	write(t, dir+"/sub/file", "x")

	m := mountAt(t, dir)
	for _, name := range []string{"sub", "bound"} {
		sub := m.dir + "/" + name
		st, err := os.Lstat(sub)
		must(t, err)
		if !st.IsDir() {
			t.Errorf("%s is %v", name, st.Mode())
		}
		entries, err := os.ReadDir(sub)
		must(t, err)
		if len(entries) != 0 {
			t.Errorf("%s lists %v", name, entries)
		}
		if _, err := os.Stat(sub + "/file"); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("%s/file: %v", name, err)
		}
		if err := os.WriteFile(sub+"/new", nil, 0o644); !errors.Is(err, unix.EXDEV) {
			t.Errorf("create in %s: %v, want EXDEV", name, err)
		}
		if err := os.Remove(sub); !errors.Is(err, unix.EBUSY) {
			t.Errorf("remove %s: %v, want EBUSY", name, err)
		}
		if err := os.Rename(sub, sub+"2"); !errors.Is(err, unix.EBUSY) {
			t.Errorf("rename %s: %v, want EBUSY", name, err)
		}
	}
	entries, err := os.ReadDir(m.dir)
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("the root lists %v", entries)
	}
}

func TestPathsLongerThanTheSystemTakesWork(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		name := strings.Repeat("d", 250)
		fd, err := unix.Open(m.dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		for range 40 { // 10 KB of path
			must(t, unix.Mkdirat(fd, name, 0o755))
			next, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
			must(t, err)
			unix.Close(fd)
			fd = next
		}
		defer unix.Close(fd)
		file, err := unix.Openat(fd, "f", unix.O_CREAT|unix.O_RDWR, 0o644)
		must(t, err)
		_, err = unix.Write(file, []byte("deep"))
		must(t, err)
		unix.Close(file)
		must(t, unix.Renameat(fd, "f", fd, "g"))
		var st unix.Stat_t
		must(t, unix.Fstatat(fd, "g", &st, 0))
		if st.Size != 4 {
			t.Errorf("size is %d", st.Size)
		}
		if want := strings.Repeat(name+"/", 40) + "f"; m.log.count(want) == 0 {
			t.Error("the change of a deep file is not told by its path")
		}
		below, err := m.disk.Openat(strings.Repeat(name+"/", 40)+"g", unix.O_RDONLY, 0)
		must(t, err)
		unix.Close(below)
		// For the clean-up, which has no way for such paths.
		must(t, exec.Command("sh", "-c", `cd "$1" && rm -rf ./d*`, "sh", m.dir).Run())
	})
}

func TestErrorsAreMappedInOnePlace(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, c := range []struct {
		err  error
		want unix.Errno
	}{
		{nil, 0},
		{unix.ENOTEMPTY, unix.ENOTEMPTY},
		{fmt.Errorf("wrapped twice: %w", fmt.Errorf("once: %w", unix.EDQUOT)), unix.EDQUOT},
		{&os.PathError{Op: "open", Path: "x", Err: unix.ENAMETOOLONG}, unix.ENAMETOOLONG},
		{fmt.Errorf("no such thing: %w", iofs.ErrNotExist), unix.ENOENT},
		{fmt.Errorf("no: %w", iofs.ErrPermission), unix.EACCES},
		{errors.New("a stranger"), unix.EIO},
	} {
		if got := fs.ToStatus(log, c.err); got != fuse.Status(c.want) {
			t.Errorf("%v is %v, want %v", c.err, got, c.want)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "a stranger") {
		t.Errorf("the log has %d lines: %s", n, out.String())
	}
}
