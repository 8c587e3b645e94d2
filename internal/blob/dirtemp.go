package blob

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// tempDir is this process's directory for files that are not finished. It is
// locked as long as the process lives, so that another one, which sweeps at its
// start, tells abandoned files from those being written.
type tempDir struct {
	path string
	lock *fileLock
}

// abandonedAfter is when a directory of temporary files is taken for abandoned
// where no lock can tell.
const abandonedAfter = 24 * time.Hour

// openTempDir sweeps what ended processes left in parent and makes a directory
// of its own there.
func openTempDir(parent string, now func() time.Time, log *slog.Logger) (*tempDir, error) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() {
			sweepTempDir(filepath.Join(parent, e.Name()), now(), log)
		}
	}
	for {
		path, err := os.MkdirTemp(parent, "p")
		if err != nil {
			return nil, err
		}
		lock, err := tryLockFile(filepath.Join(path, "lock"))
		if err == nil {
			// A sweep may have come between the two: then the directory is gone.
			if _, err := os.Lstat(filepath.Join(path, "lock")); err == nil {
				return &tempDir{path: path, lock: lock}, nil
			}
			lock.unlock()
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errLocked) {
			return nil, err
		}
	}
}

// sweepTempDir removes path if its process has ended.
func sweepTempDir(path string, now time.Time, log *slog.Logger) {
	lockPath := filepath.Join(path, "lock")
	lock, err := tryLockFile(lockPath)
	if err != nil {
		return // in use, or gone
	}
	defer lock.unlock()
	if !locksWork {
		if info, err := os.Lstat(path); err != nil || now.Sub(info.ModTime()) < abandonedAfter {
			return
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return
	}
	for _, e := range entries {
		if atomicfile.IsTemp(e.Name()) {
			log.Info("removing an unfinished object", "file", filepath.Join(path, e.Name()))
			os.Remove(filepath.Join(path, e.Name()))
		}
	}
	os.Remove(lockPath)
	os.Remove(path)
}

func (t *tempDir) close() error {
	defer t.lock.unlock()
	if err := atomicfile.Sweep(t.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	os.Remove(filepath.Join(t.path, "lock"))
	os.Remove(t.path)
	return nil
}
