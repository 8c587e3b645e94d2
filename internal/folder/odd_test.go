//go:build linux

package folder_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

func TestSocketsAndFifosAreSkippedWithANote(t *testing.T) {
	b := newBench(t)
	must(t, unix.Mkfifo(b.path("fifo"), 0o600))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: b.path("sock")}))
	write(t, b.path("f"), "x")
	built := b.take(t)
	for _, name := range []string{"fifo", "sock"} {
		if _, ok := b.lookup(t, built.Root, name); ok {
			t.Errorf("%s is in the tree", name)
		}
	}
	list := b.f.Trouble()
	if len(list) != 2 || list[0].Path != "fifo" || list[1].Path != "sock" || !list[0].Note || !list[1].Note {
		t.Fatalf("trouble: %v", list)
	}
	must(t, os.Remove(b.path("fifo")))
	b.f.Changed("fifo")
	b.commit(t)
	if list := b.f.Trouble(); len(list) != 1 {
		t.Fatalf("trouble after the fifo is gone: %v", list)
	}
}

func TestDevicesAreKept(t *testing.T) {
	b := newBench(t)
	must(t, unix.Mknod(b.path("null"), unix.S_IFCHR|0o640, int(unix.Mkdev(1, 3))))
	built := b.take(t)
	e, ok := b.lookup(t, built.Root, "null")
	if !ok || e.Kind != versions.CharDev || e.Device != unix.Mkdev(1, 3) || e.Mode != 0o640 {
		t.Fatalf("taken as %+v", e)
	}
}

func TestSubmountKeepsWhatWasRecorded(t *testing.T) {
	b := newBench(t)
	write(t, b.path("sub/inner/f"), "kept")
	must(t, os.Mkdir(b.path("empty"), 0o755))
	b.take(t)
	must(t, os.Mkdir(b.path("new"), 0o755))
	for _, dir := range []string{"sub", "new"} {
		must(t, unix.Mount("none", b.path(dir), "tmpfs", 0, "size=1m"))
		t.Cleanup(func() { _ = unix.Unmount(b.path(dir), unix.MNT_DETACH) })
		write(t, b.path(dir+"/foreign"), "not ours")
	}
	write(t, b.path("x"), "y")
	b.scan(t)
	b.f.Changed("sub")
	b.commit(t)
	root := b.recordedRoot(t)
	if got := b.content(t, root, "sub/inner/f"); got != "kept" {
		t.Fatalf("what is below a mount is %q", got)
	}
	if e, ok := b.lookup(t, root, "new"); !ok || e.Kind != versions.Dir || e.Count != 0 {
		t.Fatalf("a new submount is %v %+v", ok, e)
	}
	var told []string
	for _, x := range b.f.Trouble() {
		told = append(told, x.Path)
		if !x.Note {
			t.Errorf("%v is no note", x)
		}
	}
	if strings.Join(told, " ") != "new sub" {
		t.Fatalf("told of %q", told)
	}
	must(t, unix.Unmount(b.path("sub"), 0))
	must(t, unix.Unmount(b.path("new"), 0))
	b.take(t)
	b.sameAsDisk(t, b.recordedRoot(t))
}

// TestUnreadableKeepsWhatWasRecorded runs itself again as a user who may not
// read everything, since nothing is closed to root.
func TestUnreadableKeepsWhatWasRecorded(t *testing.T) {
	if os.Geteuid() == 0 {
		exe, err := os.Executable()
		must(t, err)
		// Neither the test binary nor its directory is open to others.
		copied := filepath.Join("/var/tmp", fmt.Sprintf("folder-test-%d", os.Getpid()))
		data, err := os.ReadFile(exe)
		must(t, err)
		must(t, os.WriteFile(copied, data, 0o755))
		defer os.Remove(copied)
		tmp, err := os.MkdirTemp("/var/tmp", "folder-test")
		must(t, err)
		defer os.RemoveAll(tmp)
		must(t, os.Chown(tmp, 65534, 65534))
		cmd := exec.Command(copied, "-test.run=^TestUnreadableKeepsWhatWasRecorded$", "-test.v")
		cmd.Dir = tmp
		cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "HOME="+tmp)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("as another user: %v\n%s", err, out)
		}
		return
	}
	b := newBench(t)
	write(t, b.path("f"), "first")
	write(t, b.path("dir/g"), "first")
	write(t, b.path("fine"), "first")
	b.take(t)
	for _, p := range []string{"f", "dir/g", "fine"} {
		write(t, b.path(p), "second")
	}
	write(t, b.path("never"), "x")
	for _, p := range []string{"f", "dir", "never"} {
		must(t, os.Chmod(b.path(p), 0))
	}
	t.Cleanup(func() { _ = os.Chmod(b.path("dir"), 0o755) })
	b.take(t)
	root := b.recordedRoot(t)
	for path, want := range map[string]string{"f": "first", "dir/g": "first", "fine": "second"} {
		if got := b.content(t, root, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if _, ok := b.lookup(t, root, "never"); ok {
		t.Error("a file that cannot be read is in the tree")
	}
	var told []string
	for _, x := range b.f.Trouble() {
		told = append(told, x.Path)
		if x.Note || !errors.Is(x.Err, os.ErrPermission) {
			t.Errorf("trouble: %v", x)
		}
	}
	if strings.Join(told, " ") != "dir f never" {
		t.Errorf("told of %q", told)
	}
	for _, p := range []string{"f", "dir", "never"} {
		must(t, os.Chmod(b.path(p), 0o755))
	}
	b.take(t)
	b.sameAsDisk(t, b.recordedRoot(t))
	if list := b.f.Trouble(); len(list) != 0 {
		t.Errorf("trouble in the end: %v", list)
	}
}

func TestStagingAndHiddenNamesAreNoContent(t *testing.T) {
	b := newBench(t, func(o *folder.Options) { o.Hidden = func(name string) bool { return name == ".ours" } })
	write(t, b.path(".ours"), "x")
	write(t, b.path(folder.StagePrefix+"1/f"), "x")
	write(t, b.path("sub/.ours"), "content")
	b.take(t)
	b.f.Changed(".ours")
	b.f.Changed(folder.StagePrefix + "1/f")
	b.f.Renamed(".ours", "sub/came")
	must(t, os.Rename(b.path(".ours"), b.path("sub/came")))
	b.commit(t)
	root := b.recordedRoot(t)
	if e, _ := b.lookup(t, root, "sub"); e.Count != 2 {
		t.Fatalf("sub has %d entries, want 2", e.Count)
	}
	if root.Count != 2 {
		t.Fatalf("the tree has %d entries, want 2", root.Count)
	}
}

func TestHardLinksShareOneGroupForEver(t *testing.T) {
	b := newBench(t)
	write(t, b.path("a"), "shared")
	write(t, b.path("d/x"), "alone")
	must(t, os.Link(b.path("a"), b.path("d/b")))
	b.take(t)
	group := func(path string) [16]byte {
		t.Helper()
		e, ok := b.lookup(t, b.recordedRoot(t), path)
		if !ok {
			t.Fatalf("%s is missing", path)
		}
		return e.Link
	}
	first := group("a")
	if first == [16]byte{} || group("d/b") != first || group("d/x") != [16]byte{} {
		t.Fatalf("groups %x %x %x", first, group("d/b"), group("d/x"))
	}
	b.open(t) // a restart
	must(t, os.Link(b.path("a"), b.path("c")))
	b.take(t)
	if group("c") != first || group("a") != first || group("d/b") != first {
		t.Fatalf("groups %x %x %x, want %x", group("a"), group("d/b"), group("c"), first)
	}
	must(t, os.Remove(b.path("a")))
	must(t, os.Remove(b.path("c")))
	b.take(t)
	if group("d/b") != [16]byte{} {
		t.Fatal("the last name is still in a group")
	}
}

func TestTimesThatGoBackAreSeen(t *testing.T) {
	b := newBench(t)
	write(t, b.path("f"), "first")
	b.take(t)
	write(t, b.path("f"), "older") // same size
	must(t, os.Chtimes(b.path("f"), time.Unix(1, 1), time.Unix(1, 1)))
	b.take(t)
	if got := b.content(t, b.recordedRoot(t), "f"); got != "older" {
		t.Fatalf("content is %q", got)
	}
	b.sameAsDisk(t, b.recordedRoot(t))
}

func TestFileTakenInTheInstantOfItsChangeIsReadAgain(t *testing.T) {
	b := newBench(t)
	write(t, b.path("f"), "first")
	b.take(t) // within the grain of the clock
	b.scan(t)
	if !b.f.Dirty("f") {
		t.Fatal("a change in the same instant would not be seen")
	}
	time.Sleep(60 * time.Millisecond)
	if built := b.commit(t); built != nil {
		t.Fatalf("nothing changed, and yet %+v", built)
	}
	b.scan(t)
	if b.f.Dirty("f") {
		t.Fatal("a file that rested is read at each scan")
	}
}

func TestSparseFileKeepsItsHoles(t *testing.T) {
	b := newBench(t)
	f, err := os.Create(b.path("sparse"))
	must(t, err)
	must(t, f.Truncate(100<<30))
	_, err = f.WriteAt([]byte("in the middle"), 50<<30)
	must(t, err)
	must(t, f.Close())
	built := b.take(t)
	e, _ := b.lookup(t, built.Root, "sparse")
	if e.Size != 100<<30 || len(e.Holes) != 2 || len(e.Pieces) != 1 {
		t.Fatalf("taken as %+v", e)
	}
}

func TestManyLevelsDeep(t *testing.T) {
	b := newBench(t)
	name := strings.Repeat("n", 60)
	dir, err := unix.Open(b.dir, unix.O_DIRECTORY|unix.O_PATH, 0)
	must(t, err)
	path := ""
	for range 200 { // 12,200 bytes: no system call takes such a path
		must(t, unix.Mkdirat(dir, name, 0o755))
		next, err := unix.Openat(dir, name, unix.O_DIRECTORY|unix.O_PATH, 0)
		must(t, err)
		unix.Close(dir)
		dir = next
		path += "/" + name
	}
	fd, err := unix.Openat(dir, "f", unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, err)
	_, err = unix.Write(fd, []byte("deep"))
	must(t, err)
	unix.Close(fd)
	unix.Close(dir)
	path = path[1:] + "/f"
	built := b.take(t)
	if got := b.content(t, built.Root, path); got != "deep" {
		t.Fatalf("content is %q", got)
	}
	if len(built.Dirs) != 201 {
		t.Fatalf("%d directories changed, want 201", len(built.Dirs))
	}
	b.scan(t)
	target := filepath.Join(t.TempDir(), "out")
	rep, err := disk.Restore(t.Context(), b.trees, b.contents, built.Root, target, disk.RestoreOptions{})
	if err != nil || len(rep.Failed) > 0 || rep.Files != 1 || rep.Dirs != 200 {
		t.Fatalf("restored: %v %+v", err, rep)
	}
}

func TestManyFilesInOneDirectory(t *testing.T) {
	const n = 100_000
	b := newBench(t)
	for i := range n {
		must(t, os.WriteFile(b.path(fmt.Sprintf("f%06d", i)), nil, 0o644))
	}
	b.take(t)
	if root := b.recordedRoot(t); root.Count != n {
		t.Fatalf("%d entries, want %d", root.Count, n)
	}
	time.Sleep(60 * time.Millisecond)
	write(t, b.path("f050000"), "one changed")
	b.f.Changed("f050000")
	b.chunks.Reset()
	built := b.commit(t)
	if built.Changed != 1 || built.Files != 1 {
		t.Fatalf("built %+v", built)
	}
	if e, _, err := b.f.Recorded("f050000"); err != nil || e.Size != 11 {
		t.Fatalf("recorded %+v %v", e, err)
	}
	if e, _, err := b.f.Recorded("f099999"); err != nil || e.Size != 0 {
		t.Fatalf("recorded %+v %v", e, err)
	}
}
