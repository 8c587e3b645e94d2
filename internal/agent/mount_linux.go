package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	live "github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/syncer"
)

// mountOn mounts the folder over itself, or serves it as a plain directory.
func (h *host) mountOn(ctx context.Context, root *disk.Root, d *folder.Folder, s *syncer.Syncer) (mounting, error) {
	if h.folder.NoMount {
		return syncer.NewPlain(root, s.Check)
	}
	if err := checkFUSE(); err != nil {
		return nil, err
	}
	m, err := live.MountLive(context.WithoutCancel(ctx), live.LiveOptions{
		Root: root, MountPoint: h.folder.Path, Folder: "syncfs:" + h.folder.Name,
		Changes: d, Unwatched: d.Unwatched, Gate: s, Past: newSource(h.a, h.folder.ID),
		VersionsName: h.folder.VersionsName, Show: showOf(h.folder.Show),
		AllowOther: h.a.o.AllowOther, Passthrough: !h.a.o.NoPassthrough,
		Demand: h.liveDemand(), NoFetch: h.a.o.NoFetch,
		Exe: h.a.o.Exe, Logger: h.a.log,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMount, err)
	}
	return liveMount{m}, nil
}

// liveMount is a mount whose applier, when its process ends in the middle of a
// step, asks for another look.
type liveMount struct{ *live.Live }

// Do is syncer.Applier's.
func (m liveMount) Do(ctx context.Context, step disk.Step) error {
	err := m.Live.Do(ctx, step)
	if errors.Is(err, live.ErrApplierGone) {
		return fmt.Errorf("%w: %w", err, unix.EBUSY)
	}
	return err
}

func showOf(s string) live.Show {
	switch s {
	case "none":
		return live.ShowNone
	case "all":
		return live.ShowAll
	}
	return live.ShowRoot
}

// checkFUSE says what to install where mounting cannot work.
func checkFUSE() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("%w: there is no /dev/fuse: load the kernel's module (modprobe fuse), or give this container the device", ErrMount)
	}
	if os.Geteuid() == 0 {
		return nil
	}
	for _, name := range []string{"fusermount3", "fusermount"} {
		if _, err := exec.LookPath(name); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: fusermount3 is missing: install the package fuse3", ErrMount)
}

// cleanStale takes away a mount that an agent left when it was killed.
func cleanStale(path string, log *slog.Logger) error {
	cleaned, err := live.CleanStale(path)
	if cleaned {
		log.Info("a mount whose process is gone was taken away", "path", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the folder's directory is not there: %w", err)
	}
	return err
}

// fuseMagic is what statfs tells of a FUSE mount.
const fuseMagic = 0x65735546

// onFUSE tells whether a directory lies on a FUSE mount; an answer needs
// nobody who serves one.
func onFUSE(root *disk.Root) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(root.Fd(), &st) == nil && st.Type == fuseMagic
}
