//go:build !linux

package disk

import (
	"io"
	"os"

	"github.com/syncfs/syncfs/versions"
)

// File is a file open for reading.
type File struct {
	f    *os.File
	name string
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// Stat looks at the open inode.
func (f *File) Stat() (Stat, error) {
	info, err := f.f.Stat()
	if err != nil {
		return Stat{}, err
	}
	return statOf(info), nil
}

// Entry is Dir.Entry for a file that is open.
func (f *File) Entry(owners *Owners) (versions.Entry, Stat, []Note, error) {
	st, err := f.Stat()
	return entryOf(f.name, st, owners), st, nil, err
}

// Read is io.Reader.
func (f *File) Read(p []byte) (int, error) { return f.f.Read(p) }

// ReadAt is io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Sync makes the file's content durable, where a file open for reading can.
func (f *File) Sync() error { return nil }

// Rewind makes Read begin at the start.
func (f *File) Rewind() error {
	_, err := f.f.Seek(0, io.SeekStart)
	return err
}

// Ahead does nothing on this system.
func (f *File) Ahead() {}

// Holes knows of none on this system: they are read as the zeros they are.
func (f *File) Holes(int64) ([]versions.Range, error) { return nil, nil }

// Quiet is always true: this system does not let us know. What remains is that
// a file's size and times must be equal before and after it was read.
func (f *File) Quiet() bool { return true }

// Unused is always true: this system does not let us know.
func (f *File) Unused() bool { return true }
