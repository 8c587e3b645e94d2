// Package atomicfile writes files that appear whole or not at all, also when
// the power fails: temporary name, write, sync, rename, sync the directory.
package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tempPrefix begins the name of every file that is not finished yet.
const tempPrefix = ".tmp-"

// IsTemp tells whether name (a base name) is one that an unfinished write left.
func IsTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// File is a file that is being written and has no lasting name yet. Exactly one
// of Commit, CommitNew and Abort must end it; Abort after a commit does nothing,
// so it may be deferred.
type File struct {
	*os.File
	temp     string
	path     string
	finished bool // synced and closed
	done     bool
}

// Create begins a file that will be path. The temporary file lies in the same
// directory.
func Create(path string, perm fs.FileMode) (*File, error) {
	return CreateIn(filepath.Dir(path), path, perm)
}

// CreateIn is Create with the temporary file in the directory temp, which must
// be on the same filesystem as path.
func CreateIn(temp, path string, perm fs.FileMode) (*File, error) {
	for range 100 {
		name := filepath.Join(temp, tempPrefix+randomName())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &File{File: f, temp: name, path: path}, nil
	}
	return nil, fmt.Errorf("%s: no free temporary name", temp)
}

func randomName() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Commit makes the file durable under its path, replacing what is there. When
// writing it fails nothing of the new file is left; when only its directory
// cannot be synced the file has its name, but may lose it with the power.
func (f *File) Commit() error {
	if err := f.Rename(); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(f.path))
}

// CommitNew is Commit that replaces nothing: io/fs.ErrExist when path is taken.
// When it fails nothing of the new file is left: a name that may go with the
// power must not be found and taken for durable.
func (f *File) CommitNew() error {
	if err := f.RenameNew(); err != nil {
		return err
	}
	err := SyncDir(filepath.Dir(f.path))
	if err != nil {
		os.Remove(f.path)
	}
	return err
}

// Finish syncs and closes the file: its content is durable, a name follows. When
// it fails nothing of the file is left.
func (f *File) Finish() error {
	if f.finished {
		return nil
	}
	if f.done {
		return fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	}
	err := f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		f.done = true
		os.Remove(f.temp)
		return err
	}
	f.finished = true
	return nil
}

// Rename is Commit without the sync of the directory, which is left to the
// caller: files that appear together can share one.
func (f *File) Rename() error { return f.rename(os.Rename) }

// RenameNew is CommitNew without the sync of the directory.
func (f *File) RenameNew() error { return f.rename(renameNew) }

func (f *File) rename(rename func(from, to string) error) error {
	if f.done {
		return fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	}
	if err := f.Finish(); err != nil {
		return err
	}
	f.done = true
	err := rename(f.temp, f.path)
	if err != nil {
		os.Remove(f.temp)
	}
	return err
}

// ErrDoubtful is a sync that failed. Another one of the same file proves
// nothing, since the kernel tells an error once: it has to be written anew.
var ErrDoubtful = errors.New("not known to be on the disk")

// Publish makes the file durable under path, replacing what is there, and leaves
// it open: the caller closes it. When it fails, other than with ErrDoubtful, the
// file is as it was and Publish may be tried again.
func (f *File) Publish(path string) error {
	if f.done {
		return fmt.Errorf("%s: %w", path, fs.ErrClosed)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrDoubtful, err)
	}
	if err := os.Rename(f.temp, path); err != nil {
		return err
	}
	f.temp = path
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", ErrDoubtful, err)
	}
	f.done = true
	return nil
}

// Abort gives the file up and removes it.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	if !f.finished {
		f.Close()
	}
	os.Remove(f.temp)
}

// WriteFile writes data to path atomically and durably, replacing what is there.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, (*File).Commit)
}

// WriteNew is WriteFile that replaces nothing: io/fs.ErrExist.
func WriteNew(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, (*File).CommitNew)
}

func write(path string, data []byte, perm fs.FileMode, commit func(*File) error) error {
	f, err := Create(path, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return commit(f)
}

// Remove removes path and makes that durable. What is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes a directory and its missing parents, durably.
func MkdirAll(path string, perm fs.FileMode) error {
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return nil
		}
		return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("is not a directory")}
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// Sweep removes what unfinished writes left in a directory. It must not run
// while another process writes there.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if IsTemp(e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
