package disk

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// Stub reads the mark of the directory; false: all that is in it is here.
func (d *Dir) Stub() (Stub, bool, error) { return StubOf(d.fd) }

// Stub reads the mark of the file; false: its content is here.
func (f *File) Stub() (Stub, bool, error) { return StubOf(f.fd) }

// SetStub marks the file.
func (f *File) SetStub(s Stub) error { return SetStub(f.fd, s) }

// StubOf reads the mark of an open inode (not one opened with O_PATH).
func StubOf(fd int) (Stub, bool, error) { return openInode(fd).stub() }

// StubAt reads the mark of a name in a directory, whose descriptor may be
// O_PATH; with name "" that of the directory itself.
func StubAt(dirfd int, name string) (Stub, bool, error) {
	i := pathInode(dirfd)
	if name != "" {
		i.proc += "/" + name
	}
	return i.stub()
}

// IsStubAt is StubAt without decoding.
func IsStubAt(dirfd int, name string) bool {
	proc := "/proc/self/fd/" + strconv.Itoa(dirfd)
	get := unix.Getxattr
	if name != "" {
		proc, get = proc+"/"+name, unix.Lgetxattr
	}
	_, err := get(proc, stubMark, nil)
	return err == nil
}

func (i inode) stub() (Stub, bool, error) {
	buf := make([]byte, maxStub+1)
	n, err := i.get(stubMark, buf)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPERM):
		return Stub{}, false, nil // EPERM: a symlink or device, which has no such attributes
	case err != nil:
		return Stub{}, false, fmt.Errorf("mark of a stub: %w", err)
	}
	s, err := decodeStub(buf[:n])
	return s, err == nil, err
}

// SetStub marks an open inode.
func SetStub(fd int, s Stub) error {
	value, err := s.encode()
	if err != nil {
		return err
	}
	return writable(fd, func() error { return setOwn(fd, stubMark, value) })
}

// ClearStub takes the mark away: what the inode holds is its content from now
// on.
func ClearStub(fd int) error {
	return writable(fd, func() error {
		err := openInode(fd).remove(stubMark)
		if errors.Is(err, unix.ENODATA) {
			return nil
		}
		return err
	})
}

func setOwn(fd int, name string, value []byte) error {
	if err := openInode(fd).set(name, value); err != nil {
		return fmt.Errorf("set the attribute %s: %w", name, err)
	}
	return nil
}

// writable runs f while the inode's owner may write it: without root, nobody
// can change the attributes of a file that is read-only, or put names into a
// directory that is.
func writable(fd int, f func() error) error {
	err := f()
	if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		return err
	}
	st, serr := openInode(fd).stat()
	need := uint32(0o200)
	if st.Type() == TypeDir {
		need = 0o700
	}
	if serr != nil || st.Mode&need == need || unix.Fchmod(fd, st.Mode&0o7777|need) != nil {
		return err
	}
	defer func() { _ = unix.Fchmod(fd, st.Mode&0o7777) }() // a mode that was ours to change is ours to give back
	return f()
}

// OpenWritable opens the inode of fd once more, for reading and writing.
func OpenWritable(fd int) (again int, err error) {
	err = writable(fd, func() (err error) {
		again, err = unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		return err
	})
	return again, err
}

// SetTimes gives an open inode its time of content.
func SetTimes(fd int, mtime int64) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(mtime)}
	return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
}

// StatFD looks at an open inode.
func StatFD(fd int) (Stat, error) { return openInode(fd).stat() }

// CreateStub makes a stub of e under a name that must be free: a sparse file
// with its mark, which gets its name when it is complete; a directory gets its
// mark while nobody but us looks into d. It is durable with d.
func (d *Dir) CreateStub(name string, e versions.Entry, o CreateOptions) (st Stat, notes []Note, err error) {
	if e.Kind == versions.Dir {
		return d.createFolded(name, e, o)
	}
	fd, err := openat2(d.fd, ".", unix.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return Stat{}, nil, d.fail("create", name, err)
	}
	defer unix.Close(fd)
	if err := SetStub(fd, NewStub(e)); err != nil {
		return Stat{}, nil, d.fail("create", name, err)
	}
	if err := unix.Ftruncate(fd, e.Size); err != nil {
		return Stat{}, nil, d.fail("truncate", name, err)
	}
	st, notes, err = d.apply(openInode(fd), name, MetaOf(e, o), d.inheritsNothing())
	if err != nil {
		return Stat{}, nil, err
	}
	proc := "/proc/self/fd/" + strconv.Itoa(fd)
	if err := unix.Linkat(unix.AT_FDCWD, proc, d.fd, name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return Stat{}, nil, d.fail("link", name, err)
	}
	// The link has moved the time of change.
	st, err = openInode(fd).stat()
	return st, notes, err
}

func (d *Dir) createFolded(name string, e versions.Entry, o CreateOptions) (Stat, []Note, error) {
	if err := d.Mkdir(name); err != nil {
		return Stat{}, nil, err
	}
	err := d.markFolded(name, e)
	var st Stat
	var notes []Note
	if err == nil {
		st, notes, err = d.setMeta(name, MetaOf(e, o), true)
	}
	if err != nil {
		d.undo(name, versions.Dir)
	}
	return st, notes, err
}

func (d *Dir) markFolded(name string, e versions.Entry) error {
	sub, err := d.OpenDir(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	if e.Tree.IsZero() {
		return nil // empty: there is nothing to leave out
	}
	return SetStub(sub.fd, NewStub(e))
}

// TryStubs tells whether the disk of d can hold stubs.
func (d *Dir) TryStubs() error {
	fd, err := openat2(d.fd, ".", unix.O_RDWR|unix.O_TMPFILE, 0o600)
	if err != nil {
		return d.fail("make a file without a name", "", err)
	}
	defer unix.Close(fd)
	if err := SetStub(fd, Stub{Content: versions.Entry{Kind: versions.File}}); err != nil {
		return d.fail("set", "", err)
	}
	return nil
}

// Fill writes p into a stub at off, and keeps the file's time.
func Fill(fd int, p []byte, off, mtime int64) error {
	for done := 0; done < len(p); {
		n, err := retry(func() (int, error) { return unix.Pwrite(fd, p[done:], off+int64(done)) })
		if err != nil {
			return err
		}
		done += n
	}
	return SetTimes(fd, mtime)
}

// Free gives the blocks of a file back to the disk; its size stays.
func Free(fd int, size, mtime int64) error {
	if size == 0 {
		return nil
	}
	// To the end of its last block, and beyond what was reserved after it.
	length := (size + 1<<20) &^ (1<<20 - 1)
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, length); err != nil {
		return err
	}
	return SetTimes(fd, mtime)
}

// Pinned tells whether an open inode is marked to stay here.
func Pinned(fd int) bool {
	_, err := openInode(fd).get(pinMark, nil)
	return err == nil
}

// SetPinned sets or takes that mark.
func SetPinned(fd int, pinned bool) error {
	return writable(fd, func() error {
		if pinned {
			return setOwn(fd, pinMark, []byte("1"))
		}
		err := openInode(fd).remove(pinMark)
		if errors.Is(err, unix.ENODATA) {
			return nil
		}
		return err
	})
}

// OpenDirAgain opens the directory of a descriptor, which may be O_PATH.
func OpenDirAgain(fd int) (*Dir, error) {
	again, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a directory: %w", err)
	}
	return &Dir{fd: again}, nil
}

// Writable runs f while the directory's owner may make names in it.
func (d *Dir) Writable(f func() error) error { return writable(d.fd, f) }

// IsStub tells whether the file at a path below root is a stub.
func IsStub(root *Root, path string) bool {
	fd, err := root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, err = openInode(fd).get(stubMark, nil)
	return err == nil
}

// StatBelow looks at a path below root.
func StatBelow(root *Root, path string) (Stat, error) {
	fd, err := root.Openat(path, unix.O_PATH, 0)
	if err != nil {
		return Stat{}, &os.PathError{Op: "stat", Path: join(root.path, path), Err: err}
	}
	defer unix.Close(fd)
	return StatFD(fd)
}

// IsStubFD is StubOf without decoding.
func IsStubFD(fd int) bool {
	_, err := openInode(fd).get(stubMark, nil)
	return err == nil
}

// SetStub marks the directory.
func (d *Dir) SetStub(s Stub) error { return SetStub(d.fd, s) }
