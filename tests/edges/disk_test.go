//go:build linux

package edges

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/tests/world"
)

// noise are n random bytes.
func noise(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return string(b)
}

// ext4 mounts a small disk with a real file system.
func ext4(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	world.Sh(t, "/", `mkdir "$DIR" && truncate -s "$SIZE" "$DIR.image" && mkfs.ext4 -qF -m 0 "$DIR.image" && mount -o loop "$DIR.image" "$DIR"`, "DIR="+dir, "SIZE="+size)
	t.Cleanup(func() { world.Sh(t, "/", `umount -l "$DIR"`, "DIR="+dir) })
	return dir
}

// withDisk is a pair whose b has its folder, and nothing else, on a small disk.
func withDisk(t *testing.T, disk string) *pair {
	t.Helper()
	p := &pair{t: t, srv: world.NewServer(t, "")}
	p.a = first(t, p.srv, func(dir string) {
		write(t, dir, "kept", "as it was")
		write(t, dir, "going", noise(2<<20))
	})
	p.b = join(t, p.srv, machine{Home: world.NewHome(t, ""), dir: filepath.Join(disk, "docs")})
	p.settled()
	return p
}

// names a path waits until status of m tells of it, with what is wrong.
func names(t *testing.T, m machine, path, says string) {
	t.Helper()
	world.Eventually(t, patience, "status names "+path, func() error {
		out, _, code := m.Try("status")
		if code != 3 || !strings.Contains(out, path) || !strings.Contains(out, says) {
			return fmt.Errorf("exit code %d, want 3 with %q and %q\n%s", code, path, says, out)
		}
		return nil
	})
}

func TestAFullDiskStopsOnlyWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	disk := ext4(t, "24M")
	p := withDisk(t, disk)
	write(t, disk, "ballast", noise(8<<20))
	large := noise(16 << 20)
	write(t, p.a.dir, "a large one", large)
	write(t, p.a.dir, "kept", "as it is now")
	if err := os.Mkdir(filepath.Join(p.a.dir, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		write(t, p.a.dir, fmt.Sprintf("dir/small%d", i), fmt.Sprint(i))
	}
	if err := os.Remove(filepath.Join(p.a.dir, "going")); err != nil {
		t.Fatal(err)
	}
	names(t, p.b, "a large one", "no space left")
	comes(t, p.b.dir, "kept", "as it is now")
	for i := range 20 {
		comes(t, p.b.dir, fmt.Sprintf("dir/small%d", i), fmt.Sprint(i))
	}
	goes(t, p.b.dir, "going")
	if _, err := os.Lstat(filepath.Join(p.b.dir, "a large one")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half of a file is visible: %v", err)
	}
	// The other direction goes on.
	write(t, p.b.dir, "mine", "of b")
	comes(t, p.a.dir, "mine", "of b")
	p.b.Run("flush", "--timeout", "30s")

	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	comes(t, p.b.dir, "a large one", large)
	p.settled()
	p.clean()
}

func TestADiskThatIsReadOnlyForAWhile(t *testing.T) {
	t.Parallel()
	disk := ext4(t, "24M")
	p := withDisk(t, disk)
	world.Sh(t, "/", `sync -f "$DISK"; mount -o remount,ro "$DISK"`, "DISK="+disk)
	write(t, p.a.dir, "kept", "as it is now")
	write(t, p.a.dir, "new", "new")
	if err := os.Remove(filepath.Join(p.a.dir, "going")); err != nil {
		t.Fatal(err)
	}
	names(t, p.b, "docs", "read-only file system")
	if err := has(p.b.dir, "kept", "as it was"); err != nil {
		t.Error(err)
	}
	world.Sh(t, "/", `mount -o remount,rw "$DISK"`, "DISK="+disk)
	comes(t, p.b.dir, "kept", "as it is now")
	comes(t, p.b.dir, "new", "new")
	goes(t, p.b.dir, "going")
	p.settled()
	p.clean()
}

func TestADiskWithoutRoomForOneMoreFile(t *testing.T) {
	t.Parallel()
	disk := filepath.Join(t.TempDir(), "disk")
	world.Sh(t, "/", `mkdir "$DISK" && mount -t tmpfs -o size=32m,nr_inodes=60 none "$DISK"`, "DISK="+disk)
	t.Cleanup(func() { world.Sh(t, "/", `umount -l "$DISK"`, "DISK="+disk) })
	p := withDisk(t, disk)
	for i := range 80 {
		write(t, p.a.dir, fmt.Sprintf("one%d", i), fmt.Sprint(i))
	}
	write(t, p.a.dir, "kept", "as it is now")
	names(t, p.b, "one", "no space left")
	world.Sh(t, "/", `mount -o remount,nr_inodes=1000 "$DISK"`, "DISK="+disk)
	p.settled()
	p.clean()
}

// The whole machine is on the disk that is full: state, spool and folder.
func TestAMachineWhoseOnlyDiskIsFull(t *testing.T) {
	t.Parallel()
	disk := ext4(t, "128M")
	p := &pair{t: t, srv: world.NewServer(t, "")}
	p.a = first(t, p.srv, func(dir string) { write(t, dir, "kept", "as it was") })
	p.b = join(t, p.srv, machine{Home: world.NewHome(t, filepath.Join(disk, "home"))})
	p.settled()
	world.Sh(t, disk, `dd if=/dev/zero of=ballast bs=64k status=none || true; dd if=/dev/zero of=more bs=1k status=none || true`)
	large := noise(8 << 20)
	write(t, p.a.dir, "large", large)
	write(t, p.a.dir, "kept", "as it is now")
	names(t, p.b, "docs", "no space left")
	// Nobody hangs, and what is there can be read.
	if err := has(p.b.dir, "kept", "as it was"); err != nil {
		if err := has(p.b.dir, "kept", "as it is now"); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(p.b.dir, "large")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half of a file is visible: %v", err)
	}
	world.Sh(t, disk, `rm ballast more`)
	comes(t, p.b.dir, "large", large)
	comes(t, p.b.dir, "kept", "as it is now")
	write(t, p.b.dir, "mine", "of b")
	comes(t, p.a.dir, "mine", "of b")
	p.settled()
	p.clean()
}
