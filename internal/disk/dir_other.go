//go:build !linux

package disk

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/syncfs/syncfs/versions"
)

// ErrSubmount is met where something else is mounted; here nothing tells.
var ErrSubmount = errors.New("something else is mounted here")

// Dir is one open directory. Names are single names in it.
type Dir struct {
	root *os.Root
	path string // for messages
}

// DirOf wraps a directory by its name.
func DirOf(f *os.File) *Dir {
	root, err := os.OpenRoot(f.Name())
	if err != nil {
		return &Dir{path: f.Name()}
	}
	return &Dir{root: root, path: f.Name()}
}

// Close closes the directory.
func (d *Dir) Close() error { return d.root.Close() }

// List returns the names in the directory, unsorted.
func (d *Dir) List() ([]Dirent, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	infos, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	list := make([]Dirent, 0, len(infos))
	for _, info := range infos {
		list = append(list, Dirent{Name: info.Name(), Type: typeBits(info.Type())})
	}
	return list, nil
}

// Stat looks at one name.
func (d *Dir) Stat(name string) (Stat, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return Stat{}, err
	}
	return statOf(info), nil
}

// Self looks at the directory itself.
func (d *Dir) Self() (Stat, error) { return d.Stat(".") }

// Open opens a file for reading.
func (d *Dir) Open(name string) (*File, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(d.path, name), Err: os.ErrInvalid}
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	return &File{f: f, name: name}, nil
}

// OpenDir opens a directory in this one.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	sub := &Root{root: d.root, path: d.path}
	return sub.OpenDir(name)
}

// Readlink returns the target of a symlink.
func (d *Dir) Readlink(name string) (string, error) { return d.root.Readlink(name) }

// Entry reads all that an entry keeps of what has this name, but its content.
// Extended attributes are not read on this system.
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
	return e, st, nil, nil
}

// SelfEntry is Entry for the directory itself, without a name.
func (d *Dir) SelfEntry(owners *Owners) (versions.Entry, Stat, []Note, error) {
	st, err := d.Self()
	return entryOf("", st, owners), st, nil, err
}

func statOf(info os.FileInfo) Stat {
	st := Stat{Sig: Sig{
		Mode: uint32(info.Mode().Perm()) | typeBits(info.Mode()), Size: info.Size(), MTime: info.ModTime().UnixNano(),
	}, Links: 1, Blocks: (info.Size() + 511) / 512}
	addSystem(&st, info)
	return st
}

func typeBits(mode os.FileMode) uint32 {
	switch {
	case mode.IsRegular():
		return TypeFile
	case mode.IsDir():
		return TypeDir
	case mode&os.ModeSymlink != 0:
		return TypeLink
	case mode&os.ModeNamedPipe != 0:
		return TypeFifo
	}
	return TypeSocket // devices as well: they are not kept here
}

// File opens a directory in this one as an *os.File.
func (d *Dir) File(name string) (*os.File, error) { return os.Open(filepath.Join(d.path, name)) }
