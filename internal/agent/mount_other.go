//go:build !linux

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/syncer"
)

// mountOn serves the folder as a plain directory: nothing is mounted here.
func (h *host) mountOn(_ context.Context, root *disk.Root, d *folder.Folder, s *syncer.Syncer) (mounting, error) {
	if h.folder.NoMount {
		return syncer.NewPlain(root, s.Check)
	}
	return nil, errNoMounts()
}

func errNoMounts() error {
	return fmt.Errorf("%w: mounting works on Linux only, not on %s: use --no-mount", ErrMount, runtime.GOOS)
}

func cleanStale(string, *slog.Logger) error { return nil }

func checkFUSE() error { return errNoMounts() }

func onFUSE(*disk.Root) bool { return false }

// lockRoot: the lock of the HOME keeps our own agents apart.
func lockRoot(*disk.Root) (unlock func(), err error) { return func() {}, nil }

func mountReadOnly(context.Context, ReadOnlyOptions) error { return errNoMounts() }
