//go:build !linux

package disk

import (
	"runtime"
	"strings"
)

// Folds tells whether the disk may take two spellings of a name for one: macOS
// and Windows do by default.
func (d *Dir) Folds() bool { return true }

// Holds tells whether a name would be kept as it is, where it is not refused:
// Windows drops dots and spaces at its end.
func (d *Dir) Holds(name string) bool {
	return runtime.GOOS != "windows" || !strings.HasSuffix(name, ".") && !strings.HasSuffix(name, " ")
}
