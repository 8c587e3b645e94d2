//go:build !linux

package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/syncfs/syncfs/versions"
)

// Create makes an inode under a name that must be free, with what this system
// can hold of the entry; the rest comes back as notes. After an error nothing
// is left under the name.
func (d *Dir) Create(ctx context.Context, name string, e versions.Entry, content Content, o CreateOptions) (Stat, []Note, error) {
	var err error
	switch e.Kind {
	case versions.File:
		err = d.createFile(ctx, name, e, content, o)
	case versions.Dir:
		err = d.root.Mkdir(name, 0o700)
	case versions.Symlink:
		err = d.root.Symlink(e.Target, name)
	default:
		return Stat{}, nil, fmt.Errorf("create %s: kind %v: %w", name, e.Kind, errors.ErrUnsupported)
	}
	if err != nil {
		return Stat{}, nil, err
	}
	st, notes, err := d.SetMeta(name, MetaOf(e, o))
	if err != nil {
		_ = d.root.Remove(name)
	}
	return st, notes, err
}

func (d *Dir) createFile(ctx context.Context, name string, e versions.Entry, content Content, o CreateOptions) (err error) {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = d.root.Remove(name)
		}
	}()
	switch {
	case e.Size == 0:
	case len(e.Holes) > 0:
		if err := f.Truncate(e.Size); err != nil {
			return err
		}
		if err := writeRanges(ctx, f, e, content); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	default:
		n, err := content.WriteTo(f)
		if err == nil && n != e.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if o.Sync {
		return f.Sync()
	}
	return nil
}

// SetMeta sets what this system can hold of m.
func (d *Dir) SetMeta(name string, m Meta) (Stat, []Note, error) {
	st, err := d.Stat(name)
	if err != nil {
		return Stat{}, nil, err
	}
	var notes []Note
	if m.SetOwner && (st.UID != m.UID || st.GID != m.GID) {
		if err := d.root.Lchown(name, int(m.UID), int(m.GID)); err != nil {
			notes = append(notes, Note{What: "owner", Err: err})
		}
	}
	if len(m.Xattrs) > 0 {
		notes = append(notes, Note{What: "extended attribute", Err: errors.ErrUnsupported})
	}
	if st.Type() == TypeLink {
		return st, notes, nil // neither mode nor times of symlinks can be set
	}
	mode := os.FileMode(m.Mode & 0o777)
	for bit, is := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if m.Mode&bit != 0 {
			mode |= is
		}
	}
	if err := d.root.Chmod(name, mode); err != nil {
		notes = append(notes, Note{What: "mode", Err: err})
	}
	if err := d.root.Chtimes(name, time.Time{}, time.Unix(0, m.MTime)); err != nil {
		notes = append(notes, Note{What: "times", Err: err})
	}
	st, err = d.Stat(name)
	return st, notes, err
}

// SetSelfMeta is SetMeta for the directory itself.
func (d *Dir) SetSelfMeta(m Meta) (Stat, []Note, error) { return d.SetMeta(".", m) }

func (d *Dir) undo(name string, _ versions.Kind) { _ = d.root.Remove(name) }

// Mark reads one of our own attributes of the directory: not on this system.
func (d *Dir) Mark(string) (string, error) { return "", errors.ErrUnsupported }

// SetMark sets one of our own attributes of the directory: not on this system.
func (d *Dir) SetMark(string, string) error { return errors.ErrUnsupported }
