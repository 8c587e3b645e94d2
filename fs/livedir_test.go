//go:build linux

package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/disk"
	"golang.org/x/sys/unix"
)

func dirNames(t *testing.T, fd, bufSize int) (names []string, more bool) {
	t.Helper()
	buf := make([]byte, bufSize)
	n, err := unix.Getdents(fd, buf)
	must(t, err)
	_, _, names = unix.ParseDirent(buf[:n], -1, nil)
	return names, n > 0
}

func TestAListingStaysRightWhileEntriesComeAndGo(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		const files = 1000
		for i := range files {
			write(t, fmt.Sprintf("%s/f%04d", m.dir, i), "")
		}
		fd, err := unix.Open(m.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		defer unix.Close(fd)
		seen := map[string]int{}
		for removed := 0; ; {
			names, more := dirNames(t, fd, 2048)
			if !more {
				break
			}
			for _, name := range names {
				seen[name]++
				if removed < 300 { // what is removed was seen
					must(t, os.Remove(m.dir+"/"+name))
					removed++
				}
			}
		}
		for i := range files {
			if name := fmt.Sprintf("f%04d", i); seen[name] != 1 {
				t.Errorf("%s is listed %d times", name, seen[name])
			}
		}

		// telldir, seekdir.
		_, err = unix.Seek(fd, 0, 0)
		must(t, err)
		first, _ := dirNames(t, fd, 2048)
		here, err := unix.Seek(fd, 0, 1)
		must(t, err)
		second, _ := dirNames(t, fd, 2048)
		dirNames(t, fd, 8192)
		_, err = unix.Seek(fd, here, 0)
		must(t, err)
		if again, _ := dirNames(t, fd, 2048); !slices.Equal(again, second) {
			t.Errorf("after seekdir %d names differ from %d", len(again), len(second))
		}
		_, err = unix.Seek(fd, 0, 0)
		must(t, err)
		if again, _ := dirNames(t, fd, 2048); !slices.Equal(again, first) {
			t.Errorf("after rewinddir the names differ")
		}
	})
}

func TestAListingShowsWhatTheMountItselfChanged(t *testing.T) {
	m := mountAt(t, workDir(t))
	names := func() string {
		entries, err := os.ReadDir(m.dir)
		must(t, err)
		var all []string
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return strings.Join(all, " ")
	}
	for range 3 {
		if got := names(); got != "" {
			t.Fatalf("got %q", got)
		}
		write(t, m.dir+"/a", "")
		must(t, os.Mkdir(m.dir+"/b", 0o755))
		if got := names(); got != "a b" {
			t.Fatalf("got %q", got)
		}
		must(t, os.Rename(m.dir+"/a", m.dir+"/c"))
		if got := names(); got != "b c" {
			t.Fatalf("got %q", got)
		}
		must(t, os.Remove(m.dir+"/b"))
		must(t, os.Remove(m.dir+"/c"))
	}
}

func TestHolesTimesAndDirectIO(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		f := m.dir + "/sparse"
		fd, err := unix.Open(f, unix.O_CREAT|unix.O_RDWR, 0o644)
		must(t, err)
		defer unix.Close(fd)
		must(t, unix.Ftruncate(fd, 100<<30))
		_, err = unix.Pwrite(fd, []byte("data"), 50<<30)
		must(t, err)
		must(t, unix.Fsync(fd))
		if off, err := unix.Seek(fd, 0, unix.SEEK_DATA); err != nil || off != 50<<30 {
			t.Errorf("data begins at %d: %v", off, err)
		}
		if off, err := unix.Seek(fd, 50<<30, unix.SEEK_HOLE); err != nil || off != 50<<30+4096 {
			t.Errorf("the hole begins at %d: %v", off, err)
		}
		var st unix.Stat_t
		must(t, unix.Stat(f, &st))
		if st.Size != 100<<30 || st.Blocks > 64 {
			t.Errorf("size %d, %d blocks", st.Size, st.Blocks)
		}
		times := []unix.Timespec{unix.NsecToTimespec(1e18 + 1), unix.NsecToTimespec(1e18 + 987654321)}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, f, times, 0))
		must(t, unix.Stat(f, &st))
		if st.Mtim.Nano() != 1e18+987654321 {
			t.Errorf("mtime is %d", st.Mtim.Nano())
		}
		must(t, unix.Fallocate(fd, 0, 0, 1<<20))
		must(t, unix.Stat(f, &st))
		if st.Blocks < 2048 {
			t.Errorf("%d blocks after fallocate", st.Blocks)
		}

		direct, err := unix.Open(f, unix.O_RDWR|unix.O_DIRECT, 0)
		must(t, err)
		defer unix.Close(direct)
		mem, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		must(t, err)
		defer unix.Munmap(mem)
		copy(mem, bytes.Repeat([]byte("D"), 4096))
		if n, err := unix.Pwrite(direct, mem[:4096], 4096); err != nil || n != 4096 {
			t.Errorf("direct write: %d, %v", n, err)
		}
		got := make([]byte, 4096)
		_, err = unix.Pread(fd, got, 4096)
		must(t, err)
		if !bytes.Equal(got, mem[:4096]) {
			t.Error("a direct write is not read")
		}
		if n, err := unix.Pread(direct, mem[4096:], 4096); err != nil || n != 4096 || !bytes.Equal(mem[4096:], got) {
			t.Errorf("direct read: %d, %v", n, err)
		}
	})
}

func TestTwoAppendersNeverOverwriteEachOther(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		a := startHelper(t, m.dir, "write-on", "log")
		b := startHelper(t, m.dir, "write-on", "log")
		a.expect("open")
		b.expect("open")
		var want strings.Builder
		for i := range 30 {
			s := []*session{a, b}[i%2]
			line := strings.Repeat("x", i)
			s.say(line)
			s.expect("done")
			want.WriteString(line + "\n")
		}
		if got := read(t, m.dir+"/log"); got != want.String() {
			t.Errorf("got %d bytes, want %d", len(got), want.Len())
		}
	})
}

func TestChangesAreTold(t *testing.T) {
	m := mountAt(t, workDir(t))
	write(t, m.dir+"/f", "x")
	must(t, os.Link(m.dir+"/f", m.dir+"/hard"))
	must(t, os.Mkdir(m.dir+"/d", 0o755))
	must(t, os.Rename(m.dir+"/f", m.dir+"/d/g"))
	must(t, os.Chmod(m.dir+"/d", 0o700))
	must(t, os.Symlink("x", m.dir+"/s"))
	must(t, os.Remove(m.dir+"/s"))
	fd, err := unix.Open(m.dir+"/only-made", unix.O_CREAT|unix.O_RDONLY, 0o644)
	must(t, err)
	unix.Close(fd)
	for _, path := range []string{"f", "hard", "d", "s", "only-made"} {
		if m.log.count(path) == 0 {
			t.Errorf("%s is not told of", path)
		}
	}
	m.log.mu.Lock()
	renamed := slices.Clone(m.log.renamed)
	m.log.mu.Unlock()
	if len(renamed) != 1 || renamed[0] != [2]string{"f", "d/g"} {
		t.Errorf("renamed: %v", renamed)
	}
	// A write by one name of a file changes it at every name.
	eventually(t, "no handle is open", func() bool { return m.Stats().Handles == 0 })
	before := [2]int{m.log.count("hard"), m.log.count("d/g")}
	write(t, m.dir+"/hard", "through one name")
	eventually(t, "both names are told of", func() bool {
		return m.log.count("hard") > before[0] && m.log.count("d/g") > before[1]
	})
}

func TestAMountThatCannotBe(t *testing.T) {
	dir := workDir(t)
	root, err := disk.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	_, err = fs.MountLive(context.Background(), fs.LiveOptions{Root: root, MountPoint: dir + "/missing", Folder: "x"})
	if !errors.Is(err, iofs.ErrNotExist) || !strings.Contains(err.Error(), dir+"/missing") {
		t.Errorf("got %v", err)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// Without root, fusermount3 mounts, and files are served by requests.
func TestAUserMountsTheirOwnFolder(t *testing.T) {
	dir := workDir(t)
	must(t, os.Chown(dir, 65534, 65534))
	exe, err := os.MkdirTemp("", "syncfs-exe")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(exe) })
	must(t, os.Chmod(exe, 0o755))
	must(t, exec.Command("cp", os.Args[0], exe+"/test").Run())
	must(t, os.Chmod("/dev/fuse", 0o666))
	script := fmt.Sprintf(`(sleep 1.5; echo) | %s/test __mount . pass private & sleep 1; cd "$PWD"; echo hello >f; cat f; stat -c '%%U %%a' f; cd /; wait`, exe)
	out := nobody(t, dir, script)
	if !strings.Contains(out, "hello\nnobody 644\n") {
		t.Errorf("got %s", out)
	}
	if got := read(t, dir+"/f"); got != "hello\n" {
		t.Errorf("below it is %q", got)
	}
}
