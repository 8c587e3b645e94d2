//go:build linux

// Package ondemand uses on-demand folders as programs do: through real mounts,
// with real servers, and with everything that may come in between.
package ondemand

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/tests/world"
)

// rig is a folder on one machine, and on demand on another.
type rig struct {
	t       *testing.T
	srv     *world.Server
	a, b    *world.Home
	full    string // the folder on a
	mount   string // and on b
	content string // where what is here lies on b
}

// ways are how a mount reads and writes; both must do the same.
var ways = map[string][]string{"passthrough": nil, "requests": {"SYNCFS_NO_PASSTHROUGH=1"}}

// inBothWays runs a test with passthrough and without.
func inBothWays(t *testing.T, test func(t *testing.T, env []string)) {
	for name, env := range ways {
		t.Run(name, func(t *testing.T) { test(t, env) })
	}
}

// newRig fills the folder, and brings it to the other machine on demand.
func newRig(t *testing.T, env []string, config string, fill func(dir string)) *rig {
	t.Helper()
	r := &rig{t: t, srv: world.NewServer(t, ""), a: world.NewHome(t, ""), b: world.NewHome(t, "")}
	r.b.Env = env
	if config != "" {
		dir := r.b.Path(".config", "syncfs")
		must(t, os.MkdirAll(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600))
	}
	r.full, r.mount = r.a.Path("docs"), r.b.Path("docs")
	must(t, os.Mkdir(r.full, 0o755))
	fill(r.full)
	r.a.Init(r.srv)
	r.a.StartAgent()
	r.a.Run("add", r.full)
	r.a.Run("flush")
	r.b.Connect(r.srv)
	r.b.StartAgent()
	r.b.Run("get", "docs", r.mount, "--on-demand")
	list, err := filepath.Glob(r.b.Path(".local/share/syncfs/on-demand/*"))
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("content lies in %q", list)
	}
	r.content = list[0]
	return r
}

// start starts the agent again; until it has mounted, nothing is to be seen.
func (r *rig) start() {
	r.t.Helper()
	r.b.StartAgent()
	world.Eventually(r.t, 90*time.Second, "it is mounted", func() error {
		_, err := os.Lstat(filepath.Join(r.mount, ".versions"))
		return err
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// here is how many bytes of a tree are on the disk.
func here(t testing.TB, dir string) (n int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		n += st.Blocks * 512
		return nil
	}))
	return n
}

func state(t testing.TB, path string) string {
	t.Helper()
	buf := make([]byte, 64)
	n, err := unix.Getxattr(path, "user.syncfs.state", buf)
	if err != nil {
		t.Fatalf("state of %s: %v", path, err)
	}
	return string(buf[:n])
}

// becomes waits for a state: a file is whole a moment after its last byte came.
func becomes(t testing.TB, path, want string) {
	t.Helper()
	world.Eventually(t, 90*time.Second, path+" is "+want, func() error {
		if got := state(t, path); got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// noise is content that neither compresses nor repeats.
func noise(size int, seed uint64) []byte {
	b := make([]byte, size)
	src := rand.NewChaCha8(sha256.Sum256([]byte(fmt.Sprint(seed))))
	_, _ = src.Read(b)
	return b
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, data, 0o644))
}

// same waits until both machines have equal trees.
func (r *rig) same() {
	r.t.Helper()
	r.b.Run("flush")
	r.a.Run("flush")
	world.Eventually(r.t, 90*time.Second, "both machines have the same", func() error {
		x, err := world.TryDescribe(r.full, "", true)
		if err != nil {
			return err
		}
		y, err := world.TryDescribe(r.mount, "", true)
		if err != nil {
			return err
		}
		if x != y {
			return fmt.Errorf("a and b differ:\n%s", world.Differences(x, y))
		}
		return nil
	})
}

// names is a line for everything below dir, without any content.
func names(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if rel == ".versions" {
			return filepath.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size := info.Size()
		if d.IsDir() {
			size = 0
		}
		lines = append(lines, fmt.Sprintf("%s %v %d %v", rel, info.Mode(), size, info.ModTime().UTC()))
		return nil
	}))
	return strings.Join(lines, "\n")
}

func TestAWholeTreeAppearsAtOnceWithoutItsContent(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		r := newRig(t, env, "", func(dir string) {
			for i := range 3000 {
				write(t, filepath.Join(dir, fmt.Sprintf("d%02d/e%d/f%04d", i%50, i%7, i)), noise(i*3, uint64(i)))
			}
			must(t, os.Symlink("d01", filepath.Join(dir, "link")))
			must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "nothing"), nil, 0o444))
		})
		inside, err := os.ReadDir(filepath.Join(r.content, "d07"))
		must(t, err)
		if len(inside) != 0 {
			t.Errorf("nobody has looked into d07, and %d names are in it", len(inside))
		}
		if got, want := names(t, r.mount), names(t, r.full); got != want {
			t.Errorf("names, modes, sizes and times:\n%s", world.Differences(got, want))
		}
		if n := here(t, r.content); n > 1<<20 { // a mark may take a block
			t.Errorf("%d bytes came, and nobody has read any", n)
		}
		var st syscall.Stat_t
		must(t, syscall.Stat(filepath.Join(r.mount, "d06/e5/f2756"), &st))
		if st.Blocks*512 < st.Size {
			t.Errorf("a stub of %d bytes has %d blocks: programs would take it for a hole", st.Size, st.Blocks)
		}
		if got, want := world.Describe(t, r.mount), world.Describe(t, r.full); got != want {
			t.Errorf("content:\n%s", world.Differences(got, want))
		}
		r.same()
		if out := r.b.Run("versions", r.mount, "--json"); strings.Count(out, `"instant"`) != 1 {
			t.Errorf("looking and reading made versions:\n%s", out)
		}
	})
}

func TestOnlyWhatIsReadOfALargeFileComes(t *testing.T) {
	const size = 1 << 30
	r := newRig(t, nil, "", func(dir string) {
		f, err := os.Create(filepath.Join(dir, "disk.img"))
		must(t, err)
		block := noise(1<<20, 1)
		for i := range size >> 20 {
			copy(block, fmt.Sprintf("block %d of many", i))
			_, err := f.Write(block)
			must(t, err)
		}
		must(t, f.Close())
	})
	image := filepath.Join(r.mount, "disk.img")
	f, err := os.Open(image)
	must(t, err)
	defer f.Close()
	for _, off := range []int64{0, size / 2} {
		buf, want := make([]byte, 64<<10), make([]byte, 64<<10)
		_, err = f.ReadAt(buf, off)
		must(t, err)
		g, err := os.Open(filepath.Join(r.full, "disk.img"))
		must(t, err)
		_, err = g.ReadAt(want, off)
		must(t, err)
		must(t, g.Close())
		if !bytes.Equal(buf, want) {
			t.Errorf("64 KiB at %d are not what is there", off)
		}
	}
	if n := here(t, r.content); n == 0 || n > 8<<20 {
		t.Errorf("128 KiB of 1 GiB were read, and %d bytes are here", n)
	}
	cache, err := exec.Command("du", "-sb", r.b.Path(".cache/syncfs/chunks")).Output()
	must(t, err)
	var fetched int64
	fmt.Sscan(string(cache), &fetched)
	t.Logf("%d bytes are here, %d in the cache of chunks", here(t, r.content), fetched)
	if fetched > 32<<20 {
		t.Errorf("%d bytes were fetched", fetched)
	}
	if got := state(t, image); got != "partial" {
		t.Errorf("its state is %q", got)
	}
}

func TestProgramsThatCopySeeNoHoles(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		r := newRig(t, env, "", func(dir string) {
			for i, size := range []int{1, 4096, 100_000, 3 << 20} {
				write(t, filepath.Join(dir, "sub", fmt.Sprintf("f%d", i)), noise(size, uint64(i)))
			}
			f, err := os.Create(filepath.Join(dir, "sub", "sparse"))
			must(t, err)
			_, err = f.WriteAt(noise(5000, 9), 1<<20)
			must(t, err)
			must(t, f.Truncate(4<<20))
			must(t, f.Close())
		})
		want := world.DescribeContent(t, filepath.Join(r.full, "sub"))
		for name, script := range map[string]string{
			"cp":     "cp -r $SRC out",
			"cp -a":  "cp -a $SRC out",
			"sparse": "cp -r --sparse=always $SRC out",
			"tar -S": "mkdir out && tar -C $SRC -cSf - . | tar -C out -xSf -",
			"clone":  "cp -r --reflink=auto $SRC out",
			"cat":    "mkdir out && for f in $SRC/*; do cat $f > out/$(basename $f); done",
		} {
			t.Run(name, func(t *testing.T) {
				world.Eventually(t, 90*time.Second, "all is evicted", func() error {
					_, errs, _ := r.b.Try("evict", r.mount)
					for _, f := range []string{"f1", "f2", "f3", "sparse"} {
						if got := state(t, filepath.Join(r.mount, "sub", f)); got != "stub" {
							return fmt.Errorf("%s is %s\n%s", f, got, errs)
						}
					}
					return nil
				})
				dir := t.TempDir()
				world.Sh(t, dir, "SRC="+r.mount+"/sub; "+script)
				if got := world.DescribeContent(t, filepath.Join(dir, "out")); got != want {
					t.Errorf("the copy differs:\n%s", world.Differences(got, want))
				}
				world.Eventually(t, 90*time.Second, "all is recorded", func() error {
					if out := r.b.Run("status", "--json"); !strings.Contains(out, `"pending_files": 0`) {
						return fmt.Errorf("%s", out)
					}
					return nil
				})
			})
		}
		r.same()
	})
}

func TestAStubCanBeMapped(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		want := noise(5<<20, 4)
		r := newRig(t, env, "", func(dir string) { write(t, filepath.Join(dir, "file"), want) })
		f, err := os.Open(filepath.Join(r.mount, "file"))
		must(t, err)
		data, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ, unix.MAP_SHARED)
		must(t, err)
		must(t, f.Close())
		if !bytes.Equal(data[3<<20:3<<20+5000], want[3<<20:3<<20+5000]) {
			t.Error("the middle of the mapping is wrong")
		}
		if !bytes.Equal(data, want) {
			t.Error("the mapping is wrong")
		}
		// It has become a file, and is opened as one, while the mapping is there.
		becomes(t, filepath.Join(r.mount, "file"), "local")
		again, err := os.ReadFile(filepath.Join(r.mount, "file"))
		must(t, err)
		if !bytes.Equal(again, want) {
			t.Error("what is read beside the mapping is wrong")
		}
		if _, _, code := r.b.Try("evict", filepath.Join(r.mount, "file")); code != 3 {
			t.Errorf("what is mapped was evicted: exit code %d", code)
		}
		must(t, unix.Munmap(data))
		world.Eventually(t, 90*time.Second, "it can be evicted", func() error {
			if _, errs, code := r.b.Try("evict", filepath.Join(r.mount, "file")); code != 0 {
				return fmt.Errorf("%s", errs)
			}
			return nil
		})
		again, err = os.ReadFile(filepath.Join(r.mount, "file"))
		must(t, err)
		if !bytes.Equal(again, want) {
			t.Error("what is read after it was evicted is wrong")
		}
	})
}

func TestChangesOfStubsTravel(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		r := newRig(t, env, "", func(dir string) {
			for i := range 12 {
				write(t, filepath.Join(dir, fmt.Sprintf("d/f%02d", i)), noise(300_000, uint64(i)))
				write(t, filepath.Join(dir, fmt.Sprintf("closed%d/deep/f%02d", i, i)), noise(1000, uint64(100+i)))
			}
		})
		in := func(name string) string { return filepath.Join(r.mount, name) }
		add := func(name string, flags int, data string) {
			f, err := os.OpenFile(in(name), flags, 0)
			must(t, err)
			_, err = io.WriteString(f, data)
			must(t, err)
			must(t, f.Close())
		}
		add("d/f00", os.O_WRONLY|os.O_APPEND, "more at the end")
		add("d/f01", os.O_WRONLY|os.O_TRUNC, "all new")
		add("d/f02", os.O_RDWR, "first")
		must(t, os.Truncate(in("d/f03"), 1234))
		must(t, os.Truncate(in("d/f04"), 0))
		must(t, os.Rename(in("d/f05"), in("d/moved")))
		must(t, os.Chmod(in("d/f06"), 0o600))
		must(t, os.Link(in("d/f07"), in("d/second-name")))
		must(t, os.Remove(in("d/f08")))
		at := time.Unix(1_600_000_000, 123_456_789)
		must(t, os.Chtimes(in("d/f09"), at, at))
		must(t, unix.Setxattr(in("d/f10"), "user.color", []byte("red"), 0))
		must(t, os.Rename(in("closed0"), in("renamed")))
		must(t, os.Chmod(in("closed1"), 0o700))
		if err := os.Remove(in("closed2")); err == nil {
			t.Error("a directory that nobody has looked into was removed as if it were empty")
		}
		must(t, os.Mkdir(in("other"), 0o755))
		if err := unix.Rename(in("other"), in("closed3")); err == nil {
			t.Error("a directory took the place of one that is not empty")
		}
		must(t, os.RemoveAll(in("closed4")))
		for _, f := range []string{"d/moved", "d/f06", "d/f07", "d/f09", "d/f10"} {
			if got := state(t, in(f)); got != "stub" {
				t.Errorf("%s is %s: a change of its name or attributes needs no content", f, got)
			}
		}
		if got := state(t, in("renamed")); got != "stub" {
			t.Errorf("renamed is %s", got)
		}
		r.same()
		for _, gone := range []string{"d/f05", "d/f08", "closed0", "closed4"} {
			if _, err := os.Lstat(filepath.Join(r.full, gone)); !os.IsNotExist(err) {
				t.Errorf("%s is still there: %v", gone, err)
			}
		}
		data, err := os.ReadFile(filepath.Join(r.full, "d/f00"))
		must(t, err)
		if want := string(noise(300_000, 0)) + "more at the end"; string(data) != want {
			t.Error("what was added to a stub is not added to its content")
		}
	})
}

func TestChangesFromElsewhereArriveWithoutContent(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		r := newRig(t, env, "", func(dir string) {
			write(t, filepath.Join(dir, "open/file"), noise(200_000, 1))
			write(t, filepath.Join(dir, "open/read"), noise(200_000, 2))
			write(t, filepath.Join(dir, "closed/sub/file"), noise(1000, 3))
			write(t, filepath.Join(dir, "closed/gone"), noise(1000, 4))
			write(t, filepath.Join(dir, "goes/sub/file"), noise(1000, 5))
			write(t, filepath.Join(dir, "becomes/file"), noise(1000, 6))
		})
		_, err := os.ReadFile(filepath.Join(r.mount, "open/read"))
		must(t, err)
		in := func(name string) string { return filepath.Join(r.full, name) }
		write(t, in("open/file"), noise(250_000, 11))
		write(t, in("open/read"), noise(250_000, 12))
		write(t, in("open/new"), noise(250_000, 13))
		write(t, in("closed/sub/file"), noise(2000, 14))
		write(t, in("closed/sub/more/file"), noise(2000, 15))
		must(t, os.Remove(in("closed/gone")))
		must(t, os.RemoveAll(in("goes")))
		must(t, os.RemoveAll(in("becomes")))
		write(t, in("becomes"), []byte("a file now"))
		write(t, in("fresh/a/b/c"), noise(2000, 16))
		write(t, in("last"), []byte("last"))
		r.a.Run("flush")
		world.Eventually(t, 90*time.Second, "it has arrived", func() error {
			_, err := os.Lstat(filepath.Join(r.mount, "last"))
			if err == nil {
				_, err = os.Lstat(filepath.Join(r.mount, "fresh"))
			}
			if _, gone := os.Lstat(filepath.Join(r.mount, "goes")); err == nil && gone == nil {
				err = fmt.Errorf("goes is still there")
			}
			return err
		})
		for dir, want := range map[string]int{"closed": 0, "fresh": 0, "open": 3} {
			list, err := os.ReadDir(filepath.Join(r.content, dir))
			must(t, err)
			if len(list) != want {
				t.Errorf("%s holds %d names on the disk, want %d", dir, len(list), want)
			}
		}
		if got := state(t, filepath.Join(r.mount, "open/new")); got != "stub" {
			t.Errorf("a new file is %s", got)
		}
		if got := state(t, filepath.Join(r.mount, "open/read")); got != "local" {
			t.Errorf("a file that was here is %s after it has changed elsewhere", got)
		}
		r.same()
		r.b.StopAgent()
		list, err := os.ReadDir(r.mount)
		must(t, err)
		if len(list) != 0 {
			t.Errorf("the mount point holds %v while nothing is mounted", list)
		}
		write(t, in("closed/sub/file"), noise(3000, 17))
		r.a.Run("flush")
		r.start()
		r.same()
	})
}

func TestWithoutTheRemoteWhatIsNotHereFailsQuickly(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		r := newRig(t, env, "", func(dir string) {
			write(t, filepath.Join(dir, "here"), noise(100_000, 1))
			write(t, filepath.Join(dir, "absent"), noise(100_000, 2))
			write(t, filepath.Join(dir, "closed/file"), noise(100, 3))
		})
		_, err := os.ReadFile(filepath.Join(r.mount, "here"))
		must(t, err)
		becomes(t, filepath.Join(r.mount, "here"), "local")
		r.b.StopAgent()
		r.srv.Kill()
		must(t, os.RemoveAll(r.b.Path(".cache/syncfs/chunks")))
		r.start()
		world.Eventually(t, 90*time.Second, "it is known to be offline", func() error {
			if _, _, code := r.b.Try("status"); code != 5 {
				return fmt.Errorf("exit code %d", code)
			}
			return nil
		})
		began := time.Now()
		_, err = os.ReadFile(filepath.Join(r.mount, "absent"))
		if !strings.Contains(fmt.Sprint(err), syscall.EIO.Error()) {
			t.Errorf("reading what is not here: %v", err)
		}
		if _, err := os.ReadDir(filepath.Join(r.mount, "closed")); !strings.Contains(fmt.Sprint(err), syscall.EIO.Error()) {
			t.Errorf("listing what is not here: %v", err)
		}
		if took := time.Since(began); took > 60*time.Second {
			t.Errorf("the errors took %v", took)
		} else {
			t.Logf("two errors took %v", took)
		}
		log, err := os.ReadFile(r.b.Path("agent.log"))
		must(t, err)
		if !bytes.Contains(log, []byte("content cannot be fetched")) || !bytes.Contains(log, []byte("path=absent")) {
			t.Error("the log does not say why")
		}
		data, err := os.ReadFile(filepath.Join(r.mount, "here"))
		must(t, err)
		if !bytes.Equal(data, noise(100_000, 1)) {
			t.Error("what is here reads wrong without the remote")
		}
		must(t, os.WriteFile(filepath.Join(r.mount, "written"), []byte("offline"), 0o644))
		must(t, os.Rename(filepath.Join(r.mount, "absent"), filepath.Join(r.mount, "renamed")))
		r.srv.Start()
		world.Eventually(t, 90*time.Second, "it comes again", func() error {
			_, err := os.ReadFile(filepath.Join(r.mount, "renamed"))
			return err
		})
		r.same()
	})
}

func TestListedProgramsFetchNothing(t *testing.T) {
	sh, err := filepath.EvalSymlinks("/bin/cat")
	must(t, err)
	thumb := filepath.Join(t.TempDir(), "thumbnailer-x")
	program, err := os.ReadFile(sh)
	must(t, err)
	must(t, os.WriteFile(thumb, program, 0o755))
	r := newRig(t, nil, "[on-demand]\nno-fetch = [\"thumbnailer-x\"]\n", func(dir string) {
		write(t, filepath.Join(dir, "picture"), noise(100_000, 1))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	path := filepath.Join(r.mount, "picture")
	out, err := exec.CommandContext(ctx, thumb, path).CombinedOutput()
	if err == nil || !strings.Contains(strings.ToLower(string(out)), syscall.EACCES.Error()) {
		t.Errorf("a listed program read %d bytes: %v", len(out), err)
	}
	if got := state(t, path); got != "stub" {
		t.Errorf("its state is %s", got)
	}
	if out, err := exec.CommandContext(ctx, "cat", path).Output(); err != nil || len(out) != 100_000 {
		t.Errorf("another program read %d bytes: %v", len(out), err)
	}
	becomes(t, path, "local")
	if out, err := exec.CommandContext(ctx, thumb, path).Output(); err != nil || len(out) != 100_000 {
		t.Errorf("a listed program read %d bytes of what is here: %v", len(out), err)
	}
}

func TestTheMarkIsNobodysAttribute(t *testing.T) {
	r := newRig(t, nil, "", func(dir string) {
		write(t, filepath.Join(dir, "file"), noise(100_000, 1))
		must(t, unix.Setxattr(filepath.Join(dir, "file"), "user.mine", []byte("yes"), 0))
	})
	path := filepath.Join(r.mount, "file")
	buf := make([]byte, 4096)
	n, err := unix.Listxattr(path, buf)
	must(t, err)
	if got := string(buf[:n]); got != "user.mine\x00" {
		t.Errorf("its attributes are %q", got)
	}
	if _, err := unix.Getxattr(path, "user.syncfs.stub", buf); err != unix.ENODATA {
		t.Errorf("reading the mark: %v", err)
	}
	for _, name := range []string{"user.syncfs.stub", "user.syncfs.state", "user.syncfs.pin"} {
		if err := unix.Setxattr(path, name, []byte("x"), 0); err != unix.EPERM {
			t.Errorf("setting %s: %v", name, err)
		}
		if err := unix.Removexattr(path, name); err != unix.EPERM {
			t.Errorf("removing %s: %v", name, err)
		}
	}
}

func TestReadingAStubChangesNoneOfItsTimes(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		r := newRig(t, env, "", func(dir string) { write(t, filepath.Join(dir, "file"), noise(3<<20, 1)) })
		path := filepath.Join(r.mount, "file")
		times := func(when string, want string) string {
			t.Helper()
			f, err := os.Open(path)
			must(t, err)
			defer f.Close()
			_, err = f.ReadAt(make([]byte, 1), 0) // the kernel asks again after a read
			must(t, err)
			var st syscall.Stat_t
			must(t, syscall.Fstat(int(f.Fd()), &st))
			got := fmt.Sprint(st.Mtim, st.Ctim, st.Blocks)
			if want != "" && got != want {
				t.Errorf("%s: times and blocks are %s, were %s", when, got, want)
			}
			return got
		}
		var st syscall.Stat_t
		must(t, syscall.Stat(path, &st))
		before := fmt.Sprint(st.Mtim, st.Ctim, st.Blocks)
		times("a part was read", before)
		_, err := os.ReadFile(path)
		must(t, err)
		times("all was read", before)
		becomes(t, path, "local")
		times("it is here", before)
		must(t, os.Chmod(path, 0o600))
		if after := times("its mode has changed", ""); after == before {
			t.Error("a change by a program does not move its time of change")
		}
	})
}
