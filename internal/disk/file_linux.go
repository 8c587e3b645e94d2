package disk

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// File is a file open for reading.
type File struct {
	fd   int
	dir  *Dir // for messages: it may be closed
	name string
}

// Fd is the descriptor, valid until Close.
func (f *File) Fd() int { return f.fd }

// Close closes the file.
func (f *File) Close() error { return unix.Close(f.fd) }

func (f *File) fail(op string, err error) error { return f.dir.fail(op, f.name, err) }

// Stat looks at the open inode.
func (f *File) Stat() (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return Stat{}, f.fail("stat", err)
	}
	return statOf(&st), nil
}

// Entry is Dir.Entry for a file that is open.
func (f *File) Entry(owners *Owners) (versions.Entry, Stat, []Note, error) {
	st, err := f.Stat()
	if err != nil {
		return versions.Entry{}, Stat{}, nil, err
	}
	e := entryOf(f.name, st, owners)
	var notes []Note
	e.Xattrs, notes = openInode(f.fd).xattrs()
	return e, st, notes, nil
}

// Read is io.Reader.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) { return unix.Read(f.fd, p) })
	if err != nil {
		return 0, f.fail("read", err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// ReadAt is io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := retry(func() (int, error) { return unix.Pread(f.fd, p[done:], off+int64(done)) })
		if err != nil {
			return done, f.fail("read", err)
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// Sync makes the file's content durable. Only then does the next store through
// a mapping move the file's times.
func (f *File) Sync() error {
	if _, err := retry(func() (int, error) { return 0, unix.Fdatasync(f.fd) }); err != nil {
		return f.fail("sync", err)
	}
	return nil
}

// Rewind makes Read begin at the start.
func (f *File) Rewind() error {
	if _, err := unix.Seek(f.fd, 0, io.SeekStart); err != nil {
		return f.fail("seek", err)
	}
	return nil
}

// Ahead tells the kernel that all of the file will be read soon.
func (f *File) Ahead() { _ = unix.Fadvise(f.fd, 0, 0, unix.FADV_SEQUENTIAL) }

// Holes lists the holes of an open file of this size; it moves the offset. Nil
// when the disk knows of none.
func Holes(fd int, size int64) ([]versions.Range, error) {
	var holes []versions.Range
	for off := int64(0); off < size; {
		hole, err := unix.Seek(fd, off, unix.SEEK_HOLE)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EOPNOTSUPP) {
			break // not known here, or the file has become shorter
		}
		if err != nil {
			return nil, err
		}
		if hole >= size {
			break
		}
		data, err := unix.Seek(fd, hole, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data = size // nothing but hole up to the end
		} else if err != nil {
			return nil, err
		}
		data = min(data, size)
		holes = append(holes, versions.Range{Offset: hole, Length: data - hole})
		off = data
	}
	return holes, nil
}

// Holes lists the file's holes, and rewinds.
func (f *File) Holes(size int64) ([]versions.Range, error) {
	holes, err := Holes(f.fd, size)
	if err != nil {
		return nil, f.fail("seek", err)
	}
	return holes, f.Rewind()
}

// Quiet tells whether nobody has the file of this descriptor, which must be
// open for reading alone, open or mapped for writing. Where the system does
// not let us know (another user's file, a network disk) the answer is true:
// then only the file's times tell of a change.
//
// It takes a read lease and gives it back at once. Who opens the file for
// writing in between waits for those microseconds; the SIGIO that the kernel
// then sends to this process is one that the Go runtime lets pass.
func Quiet(fd int) bool { return lease(fd, unix.F_RDLCK) }

// Unused tells whether nobody but us has the file of this descriptor open at
// all. As Quiet, it is true where the system does not let us know.
func Unused(fd int) bool { return lease(fd, unix.F_WRLCK) }

func lease(fd, kind int) bool {
	_, err := retry(func() (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, kind) })
	if err != nil {
		return !errors.Is(err, unix.EAGAIN)
	}
	// The lease is ours alone; giving it back cannot be refused, and closing
	// the file would do it as well.
	_, _ = retry(func() (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK) })
	return true
}

// Quiet: see the function Quiet.
func (f *File) Quiet() bool { return Quiet(f.fd) }

// Unused: see the function Unused.
func (f *File) Unused() bool { return Unused(f.fd) }
