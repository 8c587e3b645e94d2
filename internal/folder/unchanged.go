package folder

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncfs/syncfs/internal/disk"
)

// Reasons for which a step must not be made.
var (
	ErrDirty   = errors.New("it has changes that are not recorded")
	ErrChanged = errors.New("it is not as it was recorded")
	ErrInUse   = errors.New("somebody has it open for writing")
)

// Unchanged is the check before a visible step: nil when path is not dirty, its
// inode has the recorded signature (or is absent, when nothing is recorded) and
// nobody has it open for writing. Of a directory that is the same inode, its
// times may have moved.
func (f *Folder) Unchanged(path string) error {
	if f.Dirty(path) {
		return fmt.Errorf("%s: %w", path, ErrDirty)
	}
	if path == "" {
		return nil // the root is always itself
	}
	_, c, err := f.recorded(path)
	if err != nil {
		return err
	}
	if c.absent() {
		c = nil // on this disk there is nothing
	}
	dir, name := split(path)
	d, err := f.o.Root.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) && c == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrChanged, err)
	}
	defer d.Close()
	st, err := d.Stat(name)
	absent := errors.Is(err, fs.ErrNotExist)
	switch {
	case absent && c == nil:
		return nil
	case absent, c == nil && err == nil:
		return fmt.Errorf("%s: %w", path, ErrChanged)
	case err != nil:
		return err
	case c.isDir() && st.Type() == disk.TypeDir && c.sig.Ino == st.Ino:
		return nil
	case !c.sig.Same(st.Sig):
		return fmt.Errorf("%s: %w", path, ErrChanged)
	case c.flags&(childRacy|childUnstable) != 0:
		// Its signature proves nothing: the next build reads it again.
		f.doubt(path)
		return fmt.Errorf("%s: %w", path, ErrDirty)
	case !isFile(st.Sig):
		return nil
	}
	file, err := d.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil // not even ours to read: its signature is all there is
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrChanged, err)
	}
	defer file.Close()
	if !file.Quiet() {
		return fmt.Errorf("%s: %w", path, ErrInUse)
	}
	// Whoever was there until now may have written.
	if st, err := d.Stat(name); err != nil || !c.sig.Same(st.Sig) {
		return fmt.Errorf("%s: %w", path, ErrChanged)
	}
	return nil
}

// doubt makes dirty what is recorded without certainty.
func (f *Folder) doubt(path string) { f.markFresh(path, false) }
