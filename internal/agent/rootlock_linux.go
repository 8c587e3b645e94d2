package agent

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
)

// lockRoot keeps agents of other HOMEs off the same directory: a lock on the
// directory itself, which ends with the process. A mount over it is seen as
// such.
func lockRoot(root *disk.Root) (unlock func(), err error) {
	if onFUSE(root) {
		return nil, fmt.Errorf("%w: %s is a mounted filesystem of a program (FUSE)%s", ErrRefused, root.Path(), servedBy(root))
	}
	err = unix.Flock(root.Fd(), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: another agent serves %s%s", ErrBusy, root.Path(), servedBy(root))
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", root.Path(), err)
	}
	// The end of the descriptor ends the lock.
	return func() { _ = unix.Flock(root.Fd(), unix.LOCK_UN) }, nil
}

// servedBy names the process that holds the lock on a directory, as far as
// /proc/locks tells: mounts of ours show the inode numbers of what lies below.
func servedBy(root *disk.Root) string {
	var st unix.Stat_t
	if unix.Fstat(root.Fd(), &st) != nil {
		return ""
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer f.Close()
	suffix := fmt.Sprintf(":%d", st.Ino)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
		fields := strings.Fields(sc.Text())
		if len(fields) >= 6 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], suffix) {
			return fmt.Sprintf(" (pid %s)", fields[4])
		}
	}
	return ""
}
