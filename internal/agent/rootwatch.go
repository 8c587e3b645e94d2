package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
)

// rootLook is how often it is looked whether a folder's path still leads to its
// directory.
const rootLook = 5 * time.Second

// watchRoot ends with an error when the path of a folder that is not mounted
// leads elsewhere: its disk was unmounted, or another is mounted over it. What
// we have open is still the folder, but what users see is not. (A folder that is
// mounted over itself keeps its disk busy, and its path is never opened.)
func (h *host) watchRoot(ctx context.Context, root *disk.Root) error {
	if !h.folder.NoMount {
		return nil
	}
	tick := time.NewTicker(rootLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if same, err := leadsTo(h.folder.Path, root); !same {
			return fmt.Errorf("%s: %w%s", h.folder.Path, folder.ErrRootMissing, because(err))
		}
	}
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// leadsTo tells whether path is the directory that is open as root.
func leadsTo(path string, root *disk.Root) (bool, error) {
	now, err := disk.OpenRoot(path)
	if err != nil {
		return false, err
	}
	defer now.Close()
	there, err := selfOf(now)
	if err != nil {
		return false, err
	}
	ours, err := selfOf(root)
	return err == nil && there.Dev == ours.Dev && there.Ino == ours.Ino, err
}

func selfOf(root *disk.Root) (disk.Sig, error) {
	dir, err := root.OpenDir("")
	if err != nil {
		return disk.Sig{}, err
	}
	defer dir.Close()
	st, err := dir.Self()
	return st.Sig, err
}
