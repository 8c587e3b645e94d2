//go:build !linux

package atomicfile

import (
	"os"
	"runtime"
)

// renameNew renames without replacing.
func renameNew(from, to string) error { return linkNew(from, to) }

// SyncDir makes the names in a directory durable. Windows has no such call; its
// file systems journal names themselves.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
