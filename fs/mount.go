//go:build linux

package fs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// fsType is the type that /proc/mounts shows.
const fsType = "fuse.syncfs"

type mountFlags struct {
	source     string
	allowOther bool
	readOnly   bool
	maxRead    int
}

// mountFuse mounts a FUSE connection and returns its descriptor, which no child
// process inherits: who keeps one keeps a dead mount hanging.
func mountFuse(mountPoint string, f mountFlags) (fd int, err error) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return -1, fmt.Errorf("there is no /dev/fuse: load the kernel module (modprobe fuse), or give the container the device: %w", err)
	}
	if os.Geteuid() == 0 {
		fd, err = mountDirect(mountPoint, f)
		if !errors.Is(err, unix.EPERM) {
			return fd, err
		}
	}
	return mountHelper(mountPoint, f)
}

func mountDirect(mountPoint string, f mountFlags) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/dev/fuse", Err: err}
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,default_permissions,max_read=%d",
		fd, os.Geteuid(), os.Getegid(), f.maxRead)
	if f.allowOther {
		options += ",allow_other"
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if f.readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(f.source, mountPoint, fsType, flags, options); err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "mount", Path: mountPoint, Err: err}
	}
	return fd, nil
}

// mountHelper lets fusermount3 mount, which may where we may not.
func mountHelper(mountPoint string, f mountFlags) (int, error) {
	helper, err := fusermount()
	if err != nil {
		return -1, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := pair[0], os.NewFile(uintptr(pair[1]), "fusermount3")
	defer unix.Close(ours)
	defer theirs.Close()
	options := []string{"default_permissions", "nosuid", "nodev", "subtype=syncfs",
		"fsname=" + escapeOption(f.source), fmt.Sprintf("max_read=%d", f.maxRead)}
	if f.allowOther {
		options = append(options, "allow_other")
	}
	if f.readOnly {
		options = append(options, "ro")
	}
	cmd := exec.Command(helper, "-o", strings.Join(options, ","), "--", mountPoint)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	if out, err := cmd.CombinedOutput(); err != nil {
		return -1, helperError(helper, out, err)
	}
	return receiveFD(ours)
}

func escapeOption(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s)
}

func receiveFD(socket int) (int, error) {
	var data [4]byte
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("fusermount3 handed over no descriptor: %w", unix.EPROTO)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("fusermount3 handed over no descriptor: %w", unix.EPROTO)
	}
	return fds[0], nil
}

func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "/bin/fusermount3", "/usr/bin/fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no fusermount3, which mounts for users: install it (package fuse3): %w", os.ErrNotExist)
}

func helperError(helper string, out []byte, err error) error {
	text := strings.TrimSpace(string(out))
	text = strings.TrimPrefix(text, filepath.Base(helper)+": ")
	if strings.Contains(strings.ToLower(text), "busy") {
		err = fmt.Errorf("%w: %w", unix.EBUSY, err)
	}
	if text == "" {
		return fmt.Errorf("%s: %w", filepath.Base(helper), err)
	}
	return fmt.Errorf("%s: %s: %w", filepath.Base(helper), text, err)
}

// unmountFuse takes the mount off the tree. Not lazy, it is EBUSY while the
// mount is in use.
func unmountFuse(mountPoint string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(mountPoint, flags)
	if err != unix.EPERM {
		return err
	}
	helper, err := fusermount()
	if err != nil {
		return err
	}
	args := []string{"-u", "--", mountPoint}
	if lazy {
		args = []string{"-u", "-z", "--", mountPoint}
	}
	cmd := exec.Command(helper, args...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		return helperError(helper, out, err)
	}
	return nil
}

// Connection names the mount's connection as the kernel does; "" when that is
// not known. EndConnection takes it.
func (l *Live) Connection() string {
	_, minor, _ := strings.Cut(l.dev, ":")
	return minor
}

// abort ends the connection: every request under way fails at once, and so does
// every later one.
func (l *Live) abort() error {
	if l.Connection() == "" {
		return fmt.Errorf("abort the mount of %s: its device is not known: %w", l.o.MountPoint, unix.ENODEV)
	}
	if err := EndConnection(l.Connection()); err != nil {
		return fmt.Errorf("abort the mount of %s: %w", l.o.MountPoint, err)
	}
	return nil
}

// EndConnection ends a connection that may be another process's: whoever waits
// for an answer through it gets an error at once.
func EndConnection(name string) error {
	return os.WriteFile("/sys/fs/fuse/connections/"+name+"/abort", []byte("1"), 0)
}

// IsStale tells whether a mount of ours at mountPoint has lost its process.
func IsStale(mountPoint string) (bool, error) {
	m, ok, err := mountedAt(mountPoint)
	if err != nil || !ok || m.kind != fsType {
		return false, err
	}
	// A live mount answers, only a dead one says ENOTCONN. Not stat, which the
	// kernel answers itself from what it remembers of the dead.
	var st unix.Statfs_t
	err = unix.Statfs(mountPoint, &st)
	return err == unix.ENOTCONN || err == unix.ECONNABORTED, nil
}

// CleanStale takes a mount of ours off mountPoint whose process is gone
// ("Transport endpoint is not connected"). It tells whether there was one.
func CleanStale(mountPoint string) (bool, error) {
	if stale, err := IsStale(mountPoint); err != nil || !stale {
		return false, err
	}
	if err := unmountFuse(mountPoint, true); err != nil {
		return false, fmt.Errorf("unmount %s, whose process is gone: %w", mountPoint, err)
	}
	return true, nil
}
