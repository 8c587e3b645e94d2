//go:build unix

package containerbackup

import (
	"os"
	"syscall"
)

// groupOf is the group that a file belongs to.
func groupOf(path string) (int, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Gid), true
}
