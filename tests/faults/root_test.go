//go:build linux

package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syncfs/syncfs/tests/world"
)

// disk is a small filesystem of its own.
type disk struct {
	t         *testing.T
	image, at string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk.img"), at: filepath.Join(t.TempDir(), "disk")}
	if err := os.Mkdir(d.at, 0o755); err != nil {
		t.Fatal(err)
	}
	world.Sh(t, "/", fmt.Sprintf("truncate -s 64M %q && mkfs.ext4 -qF %q", d.image, d.image))
	t.Cleanup(func() { _ = syscall.Unmount(d.at, syscall.MNT_DETACH) })
	return d
}

func (d *disk) mount() {
	d.t.Helper()
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.at).CombinedOutput(); err != nil {
		d.t.Fatalf("mount: %v\n%s", err, out)
	}
}

// unmount takes the disk off, whoever uses it.
func (d *disk) unmount() {
	d.t.Helper()
	if err := syscall.Unmount(d.at, syscall.MNT_DETACH); err != nil {
		d.t.Fatal(err)
	}
}

// TestADiskThatIsAwayIsNoEmptyFolder: a folder whose disk is not mounted is
// absent. Nothing of it is deleted anywhere, and what is put in its place is not
// taken for it.
func TestADiskThatIsAwayIsNoEmptyFolder(t *testing.T) {
	for _, args := range [][]string{{"--no-mount"}, nil} {
		name := "mounted"
		if args != nil {
			name = "watched"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := newDisk(t)
			disk.mount()
			srv := world.NewServer(t, "")
			h := world.NewHome(t, "")
			h.Init(srv)
			h.StartAgent()
			for i := range 8 {
				write(t, disk.at, fmt.Sprint("f", i), fmt.Sprint("content ", i))
			}
			h.Run(append([]string{"add", disk.at, "--name", "docs"}, args...)...)
			h.Run("flush")
			all := map[string]string{"f0": "content 0", "f7": "content 7"}

			// While the agent is stopped.
			h.StopAgent()
			disk.unmount()
			h.StartAgent()
			says(t, h, 3, "its disk may be absent")
			write(t, disk.at, "stray", "beside the disk")
			elsewhere(t, srv, all)
			if out, _, code := h.Try("flush", "--timeout", "5s"); code == 0 {
				t.Errorf("flush of a folder that is away:\n%s", out)
			}
			disk.mount()
			safe(t, h)
			elsewhere(t, srv, all)

			// While it runs: of a folder that is mounted over itself the disk is
			// busy, so only a watched one can lose it.
			if args == nil {
				if err := syscall.Unmount(disk.at, 0); err == nil {
					t.Log("the mount of the folder itself was taken off")
				}
				return
			}
			disk.unmount()
			says(t, h, 3, "its disk may be absent")
			write(t, disk.at, "stray2", "beside the disk")
			elsewhere(t, srv, all)
			disk.mount()
			safe(t, h)
			write(t, disk.at, "after", "when it was back")
			h.Run("flush")
			all["after"] = "when it was back"
			elsewhere(t, srv, all)
			other := world.NewHome(t, "")
			other.Connect(srv)
			if out := other.Run("ls", "docs:"); strings.Contains(out, "stray") {
				t.Errorf("what was beside the disk is in the folder:\n%s", out)
			}
		})
	}
}

// TestADiskThatFailsDeletesNothing: every call fails, and nothing counts as
// gone.
func TestADiskThatFailsDeletesNothing(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("xfs_io"); err != nil {
		t.Fatal("xfs_io is missing (package xfsprogs)")
	}
	disk := newDisk(t)
	disk.mount()
	srv := world.NewServer(t, "")
	h := world.NewHome(t, "")
	h.Init(srv)
	h.StartAgent()
	for i := range 8 {
		write(t, disk.at, fmt.Sprint("f", i), fmt.Sprint("content ", i))
	}
	h.Run("add", disk.at, "--name", "docs", "--no-mount")
	h.Run("flush")
	if out, err := exec.Command("xfs_io", "-x", "-c", "shutdown", disk.at).CombinedOutput(); err != nil {
		t.Fatalf("shutdown: %v\n%s", err, out)
	}
	if _, err := os.ReadDir(disk.at); err == nil {
		if err := os.WriteFile(filepath.Join(disk.at, "new"), nil, 0o644); !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EROFS) {
			t.Fatalf("the disk does not fail: %v", err)
		}
	}
	_, _, _ = h.Try("flush", "--timeout", "5s") // a flush scans; how it ends is not what is asked
	elsewhere(t, srv, map[string]string{"f0": "content 0", "f3": "content 3", "f7": "content 7"})
}
