package agent

import (
	"errors"
	"io/fs"
	"log/slog"

	"github.com/syncfs/syncfs/internal/config"
)

// CleanMounts takes away what an agent that was killed has left mounted: its
// folders are plain directories then. An agent that runs keeps its mounts.
func CleanMounts(dirs config.Dirs, log *slog.Logger) error {
	lock, err := takeLock(lockFile(dirs))
	if errors.Is(err, ErrRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	folders, err := readFolders(dirs)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range folders {
		if err := cleanStale(f.Path, log); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
