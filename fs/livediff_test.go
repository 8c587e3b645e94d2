//go:build linux

package fs_test

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestTheMountDoesWhatADiskDoes makes the same random calls through a mount and
// on a bare directory: the same errnos and the same tree.
func TestTheMountDoesWhatADiskDoes(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		bare := t.TempDir()
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			round++
			a, b := fmt.Sprintf("%s/%d", m.dir, round), fmt.Sprintf("%s/%d", bare, round)
			must(t, os.Mkdir(a, 0o755))
			must(t, os.Mkdir(b, 0o755))
			x, y := &caller{dir: a}, &caller{dir: b}
			defer x.close()
			defer y.close()
			for range rapid.IntRange(1, 40).Draw(rt, "calls") {
				c := drawCall(rt)
				got, want := c.run(x), c.run(y)
				if got != want {
					rt.Fatalf("%s: %q through the mount, %q on the disk", c, got, want)
				}
			}
			if got, want := treeOf(t, a), treeOf(t, b); got != want {
				rt.Fatalf("through the mount:\n%s\non the disk:\n%s", got, want)
			}
			if below := treeOf(t, fmt.Sprintf("/proc/self/fd/%d/%d", m.disk.Fd(), round)); below != treeOf(t, b) {
				rt.Fatalf("below the mount:\n%s\non the disk:\n%s", below, treeOf(t, b))
			}
		})
	})
}

// caller makes calls in one directory and keeps a file open across them.
type caller struct {
	dir  string
	open int
}

func (c *caller) close() {
	if c.open > 0 {
		unix.Close(c.open)
		c.open = 0
	}
}

type call struct {
	op   string
	p, q string
	n    int
}

func (c call) String() string { return fmt.Sprintf("%s %q %q %d", c.op, c.p, c.q, c.n) }

func drawCall(t *rapid.T) call {
	path := rapid.SampledFrom([]string{"a", "b", "c", "a/a", "a/b", "b/a", "b/c", "c/a/b", "a/b/c", "caf\xe9", "a/" + strings.Repeat("n", 255), strings.Repeat("n", 256), "."})
	return call{
		op: rapid.SampledFrom([]string{
			"create", "create", "excl", "append", "truncate", "mkdir", "mkdir", "rmdir", "unlink", "rename", "rename",
			"noreplace", "exchange", "link", "symlink", "chmod", "utimes", "stat", "readlink", "list", "setxattr",
			"getxattr", "removexattr", "fifo", "hold", "write-held", "read-held", "stat-held", "chmod-held", "tmpfile",
		}).Draw(t, "op"),
		p: path.Draw(t, "p"), q: path.Draw(t, "q"), n: rapid.IntRange(0, 10000).Draw(t, "n"),
	}
}

// run makes the call and tells what came of it.
func (c call) run(on *caller) string {
	p, q := on.dir+"/"+c.p, on.dir+"/"+c.q
	switch c.op {
	case "create":
		return put(p, unix.O_CREAT|unix.O_TRUNC|unix.O_WRONLY, c.n)
	case "excl":
		return put(p, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, c.n)
	case "append":
		return put(p, unix.O_APPEND|unix.O_WRONLY, c.n)
	case "truncate":
		return code(unix.Truncate(p, int64(c.n)))
	case "mkdir":
		return code(unix.Mkdir(p, uint32(c.n)&0o3777|0o700))
	case "rmdir":
		return code(unix.Rmdir(p))
	case "unlink":
		return code(unix.Unlink(p))
	case "rename":
		return code(unix.Rename(p, q))
	case "noreplace":
		return code(unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_NOREPLACE))
	case "exchange":
		return code(unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE))
	case "link":
		return code(unix.Link(p, q))
	case "symlink":
		return code(unix.Symlink(c.q, p))
	case "chmod":
		// No set-id bits: a write that is passed through drops them even for root,
		// since the disk is told of one right less (TestAWriteClearsSetIDBits).
		return code(unix.Chmod(p, uint32(c.n)&0o1777|0o700))
	case "utimes":
		ts := []unix.Timespec{unix.NsecToTimespec(int64(c.n) * 1e12), unix.NsecToTimespec(int64(c.n)*1e12 + 7)}
		return code(unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW))
	case "stat":
		return lstatText(p)
	case "readlink":
		to, err := os.Readlink(p)
		return to + code(err)
	case "list":
		entries, err := os.ReadDir(p)
		return fmt.Sprint(len(entries)) + code(err)
	case "setxattr":
		return code(unix.Setxattr(p, "user.x", []byte(fmt.Sprint(c.n)), c.n%3))
	case "getxattr":
		b := make([]byte, 100)
		n, err := unix.Getxattr(p, "user.x", b)
		return string(b[:max(n, 0)]) + code(err)
	case "removexattr":
		return code(unix.Removexattr(p, "user.x"))
	case "fifo":
		return code(unix.Mkfifo(p, 0o640))
	}
	return c.held(on, p, q)
}

// held are calls on a file that stays open while others go on.
func (c call) held(on *caller, p, q string) string {
	switch c.op {
	case "hold":
		on.close()
		fd, err := unix.Open(p, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
		if err == nil {
			on.open = fd
		}
		return code(err)
	case "tmpfile":
		fd, err := unix.Open(p, unix.O_RDWR|unix.O_TMPFILE, 0o640)
		if err != nil {
			return code(err)
		}
		defer unix.Close(fd)
		unix.Write(fd, make([]byte, c.n))
		return code(unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, q, unix.AT_SYMLINK_FOLLOW))
	}
	if on.open == 0 {
		return ""
	}
	var st unix.Stat_t
	if err := unix.Fstat(on.open, &st); err != nil {
		return code(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "special"
	}
	switch c.op {
	case "write-held":
		n, err := unix.Pwrite(on.open, []byte("held"), int64(c.n))
		return fmt.Sprint(n) + code(err)
	case "read-held":
		b := make([]byte, 20)
		n, err := unix.Pread(on.open, b, int64(c.n/2))
		return string(b[:max(n, 0)]) + code(err)
	case "chmod-held":
		return code(unix.Fchmod(on.open, uint32(c.n)&0o777|0o600))
	}
	return fmt.Sprintf("%o %d %d", st.Mode, st.Size, st.Nlink)
}

func put(path string, flags, n int) string {
	fd, err := unix.Open(path, flags|unix.O_NONBLOCK, 0o666)
	if err != nil {
		return code(err)
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(strings.Repeat("x", n)))
	return code(err)
}

func code(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

func lstatText(path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return code(err)
	}
	size, links := st.Size, st.Nlink
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
	}
	return fmt.Sprintf("%o %d:%d %d %d", st.Mode, st.Uid, st.Gid, size, links)
}

// treeOf describes everything in a directory but times that were not set.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir+"/", func(path string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%q %s", strings.TrimPrefix(path, dir), lstatText(path))
		switch {
		case d.Type().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum := 0
			for i, c := range content {
				sum += (i + 1) * int(c)
			}
			value := make([]byte, 100)
			n, _ := unix.Lgetxattr(path, "user.x", value)
			var st unix.Stat_t
			must(t, unix.Lstat(path, &st))
			if st.Mtim.Nsec == 7 {
				fmt.Fprintf(&b, " at %d", st.Mtim.Sec)
			}
			fmt.Fprintf(&b, " sum %d xattr %q", sum, value[:max(n, 0)])
		case d.Type()&iofs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %q", to)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}
