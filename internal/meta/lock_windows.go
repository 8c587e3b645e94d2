package meta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// lockDir takes the directory for this process until it is closed or the
// process ends: others may read the lock file, but not open it for writing.
func lockDir(dir string) (io.Closer, error) {
	path := filepath.Join(dir, "LOCK")
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, fmt.Errorf("local database: %w", err)
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, windows.FILE_SHARE_READ,
		nil, windows.OPEN_ALWAYS, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		holder, _ := os.ReadFile(path)
		return nil, fmt.Errorf("%w by process %s: %s", ErrLocked, strings.TrimSpace(string(holder)), dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the local database %s: %w", dir, err)
	}
	file := os.NewFile(uintptr(h), path)
	if err := file.Truncate(0); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the local database %s: %w", dir, err)
	}
	if _, err := fmt.Fprintf(file, "%d\n", os.Getpid()); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the local database %s: %w", dir, err)
	}
	return file, nil
}

// roomFor refuses work when the disk is nearly full; see lock_unix.go.
func roomFor(dir string) error {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return nil
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return nil // no answer is no reason to stop
	}
	if free < 24<<20 {
		return fmt.Errorf("local database %s: less than 24 MiB left on its disk: %w", dir, windows.ERROR_DISK_FULL)
	}
	return nil
}
