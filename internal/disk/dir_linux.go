package disk

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// ErrSubmount is met where something else is mounted: it is not entered.
var ErrSubmount = error(unix.EXDEV)

// Dir is one open directory. Names are single names in it; no method follows a
// symlink or leaves the directory.
type Dir struct {
	fd   int
	path string // for messages
}

// OpenDir opens the directory at a slash-separated path below the root.
func (r *Root) OpenDir(rel string) (*Dir, error) {
	fd, err := r.Openat(rel, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: join(r.path, rel), Err: err}
	}
	return &Dir{fd: fd, path: join(r.path, rel)}, nil
}

// DirOf wraps a directory's descriptor, which stays the caller's: Close must
// not be called.
func DirOf(f *os.File) *Dir { return &Dir{fd: int(f.Fd()), path: f.Name()} }

// Fd is the descriptor, valid until Close.
func (d *Dir) Fd() int { return d.fd }

// Close closes the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

func (d *Dir) fail(op, name string, err error) error {
	return &os.PathError{Op: op, Path: join(d.path, name), Err: err}
}

func join(dir, name string) string {
	if name == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + "/" + name
}

// List returns the names in the directory, unsorted.
func (d *Dir) List() ([]Dirent, error) {
	if _, err := unix.Seek(d.fd, 0, 0); err != nil {
		return nil, d.fail("readdir", "", err)
	}
	var list []Dirent
	buf := make([]byte, 4<<10) // enough for most directories
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(d.fd, buf) })
		if err != nil {
			return nil, d.fail("readdir", "", err)
		}
		if n == 0 {
			return list, nil
		}
		list = appendDirents(list, buf[:n])
		if n > len(buf)/2 && len(buf) < 64<<10 {
			buf = make([]byte, 64<<10)
		}
	}
}

// appendDirents reads struct linux_dirent64: ino, off, reclen, type, name.
func appendDirents(list []Dirent, buf []byte) []Dirent {
	const header = 8 + 8 + 2 + 1
	for len(buf) >= header {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size < header || size > len(buf) {
			break // cannot happen: the kernel writes whole records
		}
		name := buf[header:size]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		if s := string(name); s != "." && s != ".." {
			list = append(list, Dirent{Name: s, Type: uint32(buf[18]) << 12})
		}
		buf = buf[size:]
	}
	return list
}

// Stat looks at one name.
func (d *Dir) Stat(name string) (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT); err != nil {
		return Stat{}, d.fail("stat", name, err)
	}
	return statOf(&st), nil
}

// Self looks at the directory itself.
func (d *Dir) Self() (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return Stat{}, d.fail("stat", "", err)
	}
	return statOf(&st), nil
}

func statOf(st *unix.Stat_t) Stat {
	return Stat{
		Sig: Sig{
			Dev: uint64(st.Dev), Ino: st.Ino, Mode: st.Mode, Size: st.Size,
			MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
		},
		UID: st.Uid, GID: st.Gid, Links: uint32(st.Nlink), Device: uint64(st.Rdev), Blocks: st.Blocks,
	}
}

// Open opens a file for reading; it leaves the time of access alone where the
// user may. ErrSubmount where a file is mounted over.
func (d *Dir) Open(name string) (*File, error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK
	fd, err := openat2(d.fd, name, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		fd, err = openat2(d.fd, name, flags, 0)
	}
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return &File{fd: fd, dir: d, name: name}, nil
}

// OpenDir opens a directory in this one. ErrSubmount where something is
// mounted.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	fd, err := openat2(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return &Dir{fd: fd, path: join(d.path, name)}, nil
}

// Readlink returns the target of a symlink.
func (d *Dir) Readlink(name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(d.fd, name, buf)
		if err != nil {
			return "", d.fail("readlink", name, err)
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// Entry reads all that an entry keeps of what has this name, but its content:
// of a directory no listing, of a file neither pieces nor holes. An Entry of a
// socket or fifo has no Kind.
func (d *Dir) Entry(name string, owners *Owners) (versions.Entry, Stat, []Note, error) {
	st, err := d.Stat(name)
	if err != nil {
		return versions.Entry{}, Stat{}, nil, err
	}
	e := entryOf(name, st, owners)
	if e.Kind == versions.Symlink {
		if e.Target, err = d.Readlink(name); err != nil {
			return versions.Entry{}, Stat{}, nil, err
		}
		e.Size = int64(len(e.Target))
	}
	if e.Kind == 0 {
		return e, st, nil, nil
	}
	fd, err := openat2(d.fd, name, unix.O_PATH, 0)
	if err != nil {
		return versions.Entry{}, Stat{}, nil, d.fail("open", name, err)
	}
	defer unix.Close(fd)
	var notes []Note
	e.Xattrs, notes = pathInode(fd).xattrs()
	return e, st, notes, nil
}

// SelfEntry is Entry for the directory itself, without a name.
func (d *Dir) SelfEntry(owners *Owners) (versions.Entry, Stat, []Note, error) {
	st, err := d.Self()
	if err != nil {
		return versions.Entry{}, Stat{}, nil, err
	}
	e := entryOf("", st, owners)
	var notes []Note
	e.Xattrs, notes = openInode(d.fd).xattrs()
	return e, st, notes, nil
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR { //nolint:errorlint // a bare errno from a system call
			return n, err
		}
	}
}

// File opens a directory in this one as an *os.File.
func (d *Dir) File(name string) (*os.File, error) {
	sub, err := d.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(sub.fd), sub.path), nil
}
