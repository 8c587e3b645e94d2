//go:build unix

package meta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockDir takes the directory for this process until it is closed or the
// process ends.
func lockDir(dir string) (io.Closer, error) {
	file, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("local database: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the local database %s: %w", dir, err)
		}
		holder, _ := io.ReadAll(io.LimitReader(file, 32))
		return nil, fmt.Errorf("%w by process %s: %s", ErrLocked, strings.TrimSpace(string(holder)), dir)
	}
	if err := errors.Join(file.Truncate(0), writePID(file)); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the local database %s: %w", dir, err)
	}
	return file, nil
}

func writePID(file *os.File) error {
	_, err := fmt.Fprintf(file, "%d\n", os.Getpid())
	return err
}

// roomFor refuses work when the disk is nearly full: Badger writes through
// mapped files, and there a full disk ends the process.
func roomFor(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil // no answer is no reason to stop
	}
	if uint64(st.Bavail)*uint64(st.Bsize) < reserve {
		return fmt.Errorf("local database %s: less than %d MiB left on its disk: %w", dir, reserve>>20, unix.ENOSPC)
	}
	return nil
}

// reserve covers two logs, two memory tables on their way out and a compaction.
const reserve = 24 << 20
