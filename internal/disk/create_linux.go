package disk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// Create makes an inode under a name that must be free, with all that the entry
// says; of a directory an empty one. content is needed for files of more than
// nothing. What the disk or the user cannot hold comes back as notes. After an
// error nothing is left under the name.
func (d *Dir) Create(ctx context.Context, name string, e versions.Entry, content Content, o CreateOptions) (Stat, []Note, error) {
	switch e.Kind {
	case versions.File:
		return d.createFile(ctx, name, e, content, o)
	case versions.Dir:
		if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
			return Stat{}, nil, d.fail("mkdir", name, err)
		}
	case versions.Symlink:
		if err := unix.Symlinkat(e.Target, d.fd, name); err != nil {
			return Stat{}, nil, d.fail("symlink", name, err)
		}
	case versions.CharDev, versions.BlkDev:
		mode := uint32(TypeChar)
		if e.Kind == versions.BlkDev {
			mode = TypeBlock
		}
		if err := unix.Mknodat(d.fd, name, mode|0o600, int(e.Device)); err != nil {
			return Stat{}, nil, d.fail("mknod", name, err)
		}
	default:
		return Stat{}, nil, d.fail("create", name, fmt.Errorf("kind %v: %w", e.Kind, errors.ErrUnsupported))
	}
	st, notes, err := d.setMeta(name, MetaOf(e, o), true)
	if err != nil {
		d.undo(name, e.Kind)
		return Stat{}, nil, err
	}
	return st, notes, nil
}

// undo removes what an unfinished Create has made.
func (d *Dir) undo(name string, kind versions.Kind) {
	flags := 0
	if kind == versions.Dir {
		flags = unix.AT_REMOVEDIR
	}
	_ = unix.Unlinkat(d.fd, name, flags) // the error that led here says more
}

func (d *Dir) createFile(ctx context.Context, name string, e versions.Entry, content Content, o CreateOptions) (st Stat, notes []Note, err error) {
	// Nobody but the owner can open it while it is incomplete.
	fd, err := openat2(d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, e.Mode&0o700|0o600)
	if err != nil {
		return Stat{}, nil, d.fail("create", name, err)
	}
	defer func() {
		if cerr := unix.Close(fd); cerr != nil && err == nil {
			err = d.fail("close", name, cerr)
		}
		if err != nil {
			d.undo(name, versions.File)
		}
	}()
	if err := d.fill(ctx, fd, name, e, content); err != nil {
		return Stat{}, nil, err
	}
	st, notes, err = d.apply(openInode(fd), name, MetaOf(e, o), d.inheritsNothing())
	if err != nil {
		return Stat{}, nil, err
	}
	if o.Sync {
		if _, err := retry(func() (int, error) { return 0, unix.Fsync(fd) }); err != nil {
			return Stat{}, nil, d.fail("sync", name, err)
		}
	}
	return st, notes, nil
}

// fill writes a file's content, leaving its holes out.
func (d *Dir) fill(ctx context.Context, fd int, name string, e versions.Entry, content Content) error {
	if e.Size == 0 {
		return nil
	}
	w := &writer{dir: d, fd: fd, name: name}
	if len(e.Holes) > 0 {
		if err := unix.Ftruncate(fd, e.Size); err != nil {
			return d.fail("truncate", name, err)
		}
		if err := writeRanges(ctx, w, e, content); err != nil {
			return fmt.Errorf("write %s: %w", join(d.path, name), err)
		}
		return nil
	}
	n, err := content.WriteTo(w)
	if err == nil && n != e.Size {
		err = fmt.Errorf("content of %d bytes has %d: %w", e.Size, n, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", join(d.path, name), err)
	}
	return nil
}

// inheritsNothing tells that new files get no attributes from the directory (a
// default ACL), so none have to be removed.
func (d *Dir) inheritsNothing() bool {
	_, err := openInode(d.fd).get(aclDefault, nil)
	return err != nil
}

// writer writes to a descriptor.
type writer struct {
	dir  *Dir
	fd   int
	name string
}

func (w *writer) Write(p []byte) (int, error) {
	return w.all(p, func(p []byte, _ int) (int, error) { return unix.Write(w.fd, p) })
}

// WriteAt is io.WriterAt.
func (w *writer) WriteAt(p []byte, off int64) (int, error) {
	return w.all(p, func(p []byte, done int) (int, error) { return unix.Pwrite(w.fd, p, off+int64(done)) })
}

func (w *writer) all(p []byte, write func(p []byte, done int) (int, error)) (int, error) {
	done := 0
	for done < len(p) {
		n, err := retry(func() (int, error) { return write(p[done:], done) })
		if err != nil {
			return done, w.dir.fail("write", w.name, err)
		}
		done += n
	}
	return done, nil
}
