//go:build linux

package fs

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
	"golang.org/x/sys/unix"
)

// ApplierMain is the child process that makes visible steps through the mount.
// It ends with its socket, so with the agent, however that ends.
func ApplierMain(ctx context.Context, conn *os.File, mountPoint string) error {
	runtime.LockOSThread() // requests carry the thread's id: it is always this one
	defer runtime.UnlockOSThread()
	in, out := gob.NewDecoder(conn), gob.NewEncoder(conn)
	root, err := disk.OpenRoot(mountPoint)
	if err != nil {
		return errors.Join(err, out.Encode(fromChild{Text: err.Error()}))
	}
	defer root.Close()
	if err := out.Encode(fromChild{TID: unix.Gettid()}); err != nil {
		return fmt.Errorf("answer the agent: %w", err)
	}
	stage := -1
	for ctx.Err() == nil {
		var m toChild
		if err := in.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
				return nil
			}
			return fmt.Errorf("read from the agent: %w", err)
		}
		if stage < 0 {
			stage, err = root.Openat(m.Stage, unix.O_PATH|unix.O_DIRECTORY, 0)
		}
		if err == nil {
			err = takeStep(root, stage, m.Step)
		}
		if err := out.Encode(answerOf(err)); err != nil {
			return fmt.Errorf("answer the agent: %w", err)
		}
		err = nil
	}
	return ctx.Err()
}

func answerOf(err error) fromChild {
	var errno unix.Errno
	switch {
	case err == nil:
		return fromChild{}
	case errors.As(err, &errno):
		return fromChild{Errno: int(errno), Text: err.Error()}
	}
	return fromChild{Text: err.Error()}
}

// takeStep makes one step below root, which is the mount.
func takeStep(root *disk.Root, stage int, s disk.Step) error {
	parent, name, err := root.Parent(s.Path)
	if s.Path == "" && s.Op == disk.SetMeta {
		parent, name, err = root.Fd(), ".", nil
	} else if err == nil {
		defer unix.Close(parent)
	}
	if err != nil {
		return err
	}
	switch s.Op {
	case disk.Place:
		return unix.Renameat2(stage, s.Staged, parent, name, unix.RENAME_NOREPLACE)
	case disk.Replace:
		return unix.Renameat2(stage, s.Staged, parent, name, unix.RENAME_EXCHANGE)
	case disk.Remove:
		return unix.Renameat2(parent, name, stage, s.Staged, unix.RENAME_NOREPLACE)
	case disk.Move, disk.Swap:
		from, old, err := root.Parent(s.From)
		if err != nil {
			return err
		}
		defer unix.Close(from)
		flags := uint(unix.RENAME_NOREPLACE)
		if s.Op == disk.Swap {
			flags = unix.RENAME_EXCHANGE
		}
		return unix.Renameat2(from, old, parent, name, flags)
	case disk.MakeDir:
		if err := unix.Mkdirat(parent, name, s.Meta.Mode&0o777); err != nil {
			return err
		}
		return setMeta(parent, name, s.Meta)
	case disk.SetMeta:
		return setMeta(parent, name, s.Meta)
	}
	return fmt.Errorf("no such step: %d", s.Op)
}

// setMeta gives an entry its metadata; times last, since all else moves them.
func setMeta(parent int, name string, m disk.Meta) error {
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if m.SetOwner && (st.Uid != m.UID || st.Gid != m.GID) {
		if err := unix.Fchownat(fd, "", int(m.UID), int(m.GID), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
	}
	path := procPath(fd)
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(path, m.Mode&0o7777); err != nil {
			return err
		}
	}
	if err := makeXattrs(path, m.Xattrs); err != nil {
		return err
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(m.MTime)}
	return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
}

// makeXattrs makes the attributes that an entry keeps exactly these.
func makeXattrs(path string, want map[string][]byte) error {
	names, err := listXattrs(path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, stays := want[name]; stays || !disk.KeepsXattr(name) {
			continue
		}
		// What this user may not remove, or somebody else just did, is read back.
		err := unix.Removexattr(path, name)
		if err != nil && err != unix.ENODATA && err != unix.EPERM && err != unix.EOPNOTSUPP {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	for name, value := range want {
		have := make([]byte, len(value)+1)
		if n, err := unix.Getxattr(path, name, have); err == nil && string(have[:n]) == string(value) {
			continue
		}
		if err := unix.Setxattr(path, name, value, 0); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

func listXattrs(path string) ([]string, error) {
	for {
		n, err := unix.Listxattr(path, nil)
		if err == unix.EOPNOTSUPP || err == nil && n == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list the attributes: %w", err)
		}
		buf := make([]byte, n)
		if n, err = unix.Listxattr(path, buf); err == unix.ERANGE {
			continue // there are more since
		}
		if err != nil {
			return nil, fmt.Errorf("list the attributes: %w", err)
		}
		return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
	}
}
