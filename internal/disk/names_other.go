//go:build !linux

package disk

import (
	"errors"
	"math"
	"os"
	"path/filepath"
)

// Rename moves a name of d to to, where nothing may be. This system looks
// first, then renames.
func (d *Dir) Rename(name string, to *Dir, toName string) error {
	if _, err := to.root.Lstat(toName); err == nil {
		return &os.PathError{Op: "rename", Path: filepath.Join(to.path, toName), Err: os.ErrExist}
	}
	return d.Replace(name, to, toName)
}

// Replace renames a name of d over toName; what was there is gone.
func (d *Dir) Replace(name string, to *Dir, toName string) error {
	if d == to {
		return d.root.Rename(name, toName)
	}
	return os.Rename(filepath.Join(d.path, name), filepath.Join(to.path, toName))
}

// Exchange swaps two names; the name in to is gone for a moment.
func (d *Dir) Exchange(name string, to *Dir, toName string) error {
	aside := name + Aside
	if err := to.Replace(toName, d, aside); err != nil {
		return err
	}
	if err := d.Replace(name, to, toName); err != nil {
		return errors.Join(err, d.Replace(aside, to, toName))
	}
	return d.Replace(aside, d, name)
}

// Link makes toName another name of the file name of d.
func (d *Dir) Link(name string, to *Dir, toName string) error {
	if d == to {
		return d.root.Link(name, toName)
	}
	return os.Link(filepath.Join(d.path, name), filepath.Join(to.path, toName))
}

// Mkdir makes a directory that only its owner can enter.
func (d *Dir) Mkdir(name string) error { return d.root.Mkdir(name, 0o700) }

// Touch makes an empty file; that there is one already is fine.
func (d *Dir) Touch(name string) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Remove removes a name that is no directory.
func (d *Dir) Remove(name string) error { return d.root.Remove(name) }

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error { return d.root.Remove(name) }

// Sync does nothing: directories cannot be synced on every such system.
func (d *Dir) Sync() error { return nil }

// SyncDisk does nothing: there is no such call on every such system.
func (d *Dir) SyncDisk() error { return nil }

// Free knows no bound here: a disk that is full says so itself.
func (d *Dir) Free() (bytes, inodes int64, err error) { return math.MaxInt64, math.MaxInt64, nil }
