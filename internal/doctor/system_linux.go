package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// System looks at the machine.
func System(o Options) []Check {
	checks := []Check{o.fuse(), o.kernel(), o.watches(), o.openFiles(), o.mountMax(), o.allowOther()}
	if c, ok := o.updatedb(); ok {
		checks = append(checks, c)
	}
	for _, dir := range o.State {
		checks = append(checks, space(dir))
	}
	return append(checks, o.entered()...)
}

// fuse looks for the device, and for the program that mounts for users.
func (o Options) fuse() Check {
	c := Check{Name: "fuse", Level: OK}
	device := o.Root + "/dev/fuse"
	if _, err := os.Stat(device); err != nil {
		c.Level, c.Text = Problem, "there is no /dev/fuse"
		c.Do = "load the kernel's module (modprobe fuse), or give this container the device"
		return c
	}
	if err := unix.Access(device, unix.R_OK|unix.W_OK); err != nil {
		c.Level, c.Text = Problem, "/dev/fuse cannot be opened by this user"
		c.Do = "chmod 666 /dev/fuse, as distributions have it"
		return c
	}
	for _, dir := range filepath.SplitList(o.Path) {
		for _, name := range []string{"fusermount3", "fusermount"} {
			if info, err := os.Stat(filepath.Join(o.Root+dir, name)); err == nil && info.Mode()&0o111 != 0 {
				c.Text = "/dev/fuse and " + name + " are there"
				return c
			}
		}
	}
	if o.UID == 0 {
		c.Text = "/dev/fuse is there; fusermount3 is not needed by root"
		return c
	}
	c.Level, c.Text, c.Do = Problem, "fusermount3 is missing", "install the package fuse3"
	return c
}

// kernel tells whether reads and writes can be passed through.
func (o Options) kernel() Check {
	c := Check{Name: "kernel", Level: Note}
	data, err := os.ReadFile(o.Root + "/proc/sys/kernel/osrelease")
	release := strings.TrimSpace(string(data))
	var major, minor int
	if _, serr := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || serr != nil {
		c.Text = "the kernel does not say its version"
		return c
	}
	switch {
	case major < 6 || major == 6 && minor < 9:
		c.Text = "Linux " + release + " cannot pass reads and writes through to the disk: they are slower"
		c.Do = "Linux 6.9 or later"
	case o.UID != 0:
		c.Text = "Linux " + release + " passes reads and writes through for root only: they are slower for this user"
	default:
		c.Level, c.Text = OK, "Linux "+release+" passes reads and writes through to the disk"
	}
	return c
}

// number reads a file with one number in it.
func (o Options) number(path string) (int64, bool) {
	data, err := os.ReadFile(o.Root + path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n, err == nil
}

const (
	enoughWatches = 131072
	enoughFiles   = 8192
)

// watchesFile keeps the limit over a restart of the machine.
const watchesFile = "/etc/sysctl.d/60-syncfs.conf"

// watches looks at how many directories may be watched.
func (o Options) watches() Check {
	const name = "/proc/sys/fs/inotify/max_user_watches"
	n, ok := o.number(name)
	c := Check{Name: "inotify", Level: OK, Text: fmt.Sprintf("%d directories can be watched", n)}
	if ok && n < enoughWatches {
		c.Level = Warning
		c.Text = fmt.Sprintf("only %d directories can be watched: what is changed past the mount in others is found later", n)
		c.Do = fmt.Sprintf("as root: echo fs.inotify.max_user_watches=%d > %s && sysctl --system", 4*enoughWatches, watchesFile)
		c.Fix = func(context.Context) error {
			text := fmt.Sprintf("fs.inotify.max_user_watches=%d\n", 4*enoughWatches)
			if err := atomicfile.WriteFile(o.Root+watchesFile, []byte(text), 0o644); err != nil {
				return err
			}
			return os.WriteFile(o.Root+name, []byte(strconv.Itoa(4*enoughWatches)), 0o644)
		}
	}
	return c
}

// openFiles looks at how many files a process may have open.
func (o Options) openFiles() Check {
	c := Check{Name: "open files", Level: OK}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		c.Level, c.Text = Note, fmt.Sprintf("the limit cannot be read: %v", err)
		return c
	}
	c.Text = fmt.Sprintf("%d may be open at once", l.Max)
	if l.Max < enoughFiles {
		c.Level, c.Do = Warning, fmt.Sprintf("raise the hard limit (ulimit -Hn, or LimitNOFILE= of the service) to %d", 8*enoughFiles)
	}
	return c
}

// fuseConf reads /etc/fuse.conf.
func (o Options) fuseConf() (mountMax int, allowOther bool) {
	mountMax = 1000
	f, err := os.Open(o.Root + "/etc/fuse.conf")
	if err != nil {
		return mountMax, false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "user_allow_other" {
			allowOther = true
		}
		if name, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == "mount_max" {
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				mountMax = n
			}
		}
	}
	return mountMax, allowOther
}

// mountMax counts against the limit of fusermount3.
func (o Options) mountMax() Check {
	limit, _ := o.fuseConf()
	n := 0
	for _, m := range o.mounts() {
		if strings.HasPrefix(m.kind, "fuse") && m.kind != "fusectl" {
			n++
		}
	}
	c := Check{Name: "mounts", Level: OK, Text: fmt.Sprintf("%d FUSE mounts, and users may have %d", n, limit)}
	if o.UID != 0 && n >= limit {
		c.Level, c.Do = Problem, "raise mount_max in /etc/fuse.conf"
	}
	return c
}

// allowOther tells who may enter mounts.
func (o Options) allowOther() Check {
	c := Check{Name: "other users", Level: OK, Text: "other users, such as root's backups, may enter mounts"}
	if _, allow := o.fuseConf(); o.UID != 0 && !allow {
		c.Level = Note
		c.Text = "nobody but this user may enter mounts: not root, whose backups then miss them, and not containers"
		c.Do = "where they should, write user_allow_other into /etc/fuse.conf and mount again"
	}
	return c
}

// mount is a line of /proc/self/mountinfo.
type mount struct{ dev, point, kind string }

func (o Options) mounts() (list []mount) {
	f, err := os.Open(o.Root + "/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		left, right, ok := strings.Cut(s.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if ok && len(l) > 4 && len(r) > 0 {
			list = append(list, mount{l[2], strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(l[4]), r[0]})
		}
	}
	return list
}

// space looks at the room that a directory's disk has.
func space(dir string) Check {
	c := Check{Name: "disk", Level: OK}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		c.Level, c.Text = Note, fmt.Sprintf("%s: %v", dir, err)
		if errors.Is(err, fs.ErrNotExist) {
			c.Text = dir + " is not there yet"
		}
		return c
	}
	free := st.Bavail * uint64(st.Bsize)
	c.Text = fmt.Sprintf("%s has %.1f GiB free", dir, float64(free)/(1<<30))
	switch {
	case free < 256<<20 || st.Files > 0 && st.Ffree < 100:
		c.Level, c.Do = Problem, "make room: without it changes are not captured any more"
	case free < 2<<30:
		c.Level, c.Do = Warning, "make room before it is full: what waits for the server is kept there"
	}
	return c
}

// entered finds processes that stand in a folder's directory from before it was
// mounted: what they write goes past the mount.
func (o Options) entered() []Check {
	var checks []Check
	for _, dir := range o.Folders {
		i := slices.IndexFunc(o.mounts(), func(m mount) bool { return m.point == dir && m.kind == "fuse.syncfs" })
		if i < 0 {
			continue // a plain directory
		}
		dev := o.mounts()[i].dev
		names := o.below(dir, dev)
		if len(names) == 0 {
			continue
		}
		checks = append(checks, Check{
			Name: "entered before", Level: Note,
			Text: dir + ": these stand in the directory below the mount: " + strings.Join(names, ", "),
			Do:   "what they write is found and kept all the same; to see .versions/ they must leave the directory and enter it again",
		})
	}
	return checks
}

// below lists the processes that stand in dir, but on another device than dev.
func (o Options) below(dir, dev string) (names []string) {
	procs, err := os.ReadDir(o.Root + "/proc")
	if err != nil {
		return nil
	}
	for _, p := range procs {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		cwd := o.Root + "/proc/" + p.Name() + "/cwd"
		at, err := os.Readlink(cwd)
		if err != nil || at != dir && !strings.HasPrefix(at, dir+"/") {
			continue
		}
		// What the kernel knows by itself: a mount need not answer.
		var st unix.Statx_t
		if unix.Statx(unix.AT_FDCWD, cwd, unix.AT_STATX_DONT_SYNC, 0, &st) != nil {
			continue
		}
		if fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor) == dev {
			continue
		}
		name, _ := os.ReadFile(o.Root + "/proc/" + p.Name() + "/comm")
		names = append(names, fmt.Sprintf("%s (%s)", strings.TrimSpace(string(name)), p.Name()))
	}
	return names
}
