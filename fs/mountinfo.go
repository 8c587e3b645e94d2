//go:build linux

package fs

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mountEntry is a line of /proc/self/mountinfo.
type mountEntry struct {
	dev    string // major:minor
	point  string
	kind   string
	source string
}

// mountedAt is the topmost mount whose root is path. It looks at no filesystem.
func mountedAt(path string) (found mountEntry, ok bool, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return found, false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m, valid := parseMount(lines.Text())
		if valid && m.point == filepath.Clean(path) {
			found, ok = m, true
		}
	}
	return found, ok, lines.Err()
}

// parseMount reads "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw".
func parseMount(line string) (mountEntry, bool) {
	left, right, ok := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !ok || len(l) < 5 || len(r) < 2 {
		return mountEntry{}, false
	}
	return mountEntry{dev: l[2], point: unescape(l[4]), kind: r[0], source: unescape(r[1])}, true
}

// unescape undoes the kernel's \040.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Holder is a program that uses a mount.
type Holder struct {
	PID  int
	Name string
	What string // a path that it has open, or where it stands
}

// HeldError says that a mount was taken off the tree while programs used it.
type HeldError struct {
	MountPoint string
	Holders    []Holder
}

func (e *HeldError) Error() string {
	if len(e.Holders) == 0 {
		return e.MountPoint + " is unmounted, but was in use by a program that cannot be seen"
	}
	names := make([]string, 0, len(e.Holders))
	for _, h := range e.Holders {
		names = append(names, fmt.Sprintf("%s (%d, %s)", h.Name, h.PID, h.What))
	}
	return e.MountPoint + " is unmounted, but was still in use by " + strings.Join(names, ", ")
}

// holders finds who uses a mount, by the texts of links in /proc alone: the
// mount itself is not asked.
func holders(mountPoint string) []Holder {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []Holder
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if what, ok := heldBy(pid, mountPoint); ok {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			all = append(all, Holder{PID: pid, Name: strings.TrimSpace(string(name)), What: what})
		}
	}
	return all
}

func heldBy(pid int, mountPoint string) (string, bool) {
	base := fmt.Sprintf("/proc/%d/", pid)
	for _, name := range []string{"cwd", "root", "exe"} {
		if at, err := os.Readlink(base + name); err == nil && below(at, mountPoint) {
			return at, true
		}
	}
	fds, err := os.ReadDir(base + "fd")
	if err != nil {
		return "", false
	}
	for _, fd := range fds {
		if at, err := os.Readlink(base + "fd/" + fd.Name()); err == nil && below(at, mountPoint) {
			return at, true
		}
	}
	maps, err := os.ReadFile(base + "maps")
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(maps)) {
		if i := strings.IndexByte(line, '/'); i >= 0 && below(strings.TrimSpace(line[i:]), mountPoint) {
			return strings.TrimSpace(line[i:]), true
		}
	}
	return "", false
}

func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}
