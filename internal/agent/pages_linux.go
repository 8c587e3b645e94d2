package agent

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unmapFiles takes pages of files out of this process: the program's own, and
// the database's tables. They stay in the page cache, and come back one by one
// when they are used; while they are mapped the kernel counts them as ours and
// keeps them when it needs room for others.
func unmapFiles() error {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer f.Close()
	list, err := cleanMappings(f)
	if err != nil {
		return err
	}
	for _, m := range list {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return os.NewSyscallError("madvise", errno)
		}
	}
	return nil
}

type mapping struct{ start, end uintptr }

// cleanMappings are those of files that cannot be written and have no page that
// was: so nothing is in them that is not in the file.
func cleanMappings(smaps io.Reader) (list []mapping, err error) {
	var m mapping // the one that the lines are about
	var file bool
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		line := lines.Text()
		var next mapping
		var permissions, offset, device string
		var inode uint64
		n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %d", &next.start, &next.end, &permissions, &offset, &device, &inode)
		if n == 6 {
			m, file = next, inode != 0 && !strings.Contains(permissions, "w")
			continue
		}
		var kB int
		if n, _ := fmt.Sscanf(line, "Anonymous: %d kB", &kB); n == 1 && kB == 0 && file {
			list = append(list, m)
		}
	}
	return list, lines.Err()
}
