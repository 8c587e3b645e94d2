package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// Dir is a store in a directory: one file an object, under its own name, and
// what is not an object below ".syncfs", which no name can reach. Several
// processes may use one directory at once.
type Dir struct {
	root string
	now  func() time.Time
	log  *slog.Logger
	hub  hub
	temp *tempDir

	// syncDir makes the names in a directory durable; tests let it fail.
	syncDir func(dir string) error

	mu       sync.Mutex          // guards made, durable, doubtful
	made     map[string]struct{} // directories known to exist durably
	durable  map[string]uint64   // by folder: the head's number that is known to be durable
	doubtful map[string]struct{} // folders whose head was replaced and could not be synced

	names     keyedMutex // by path: who gives an object its name
	headLocks keyedMutex // by folder: this process's turn before the file lock
}

var (
	_ Store   = (*Dir)(nil)
	_ Watcher = (*Dir)(nil)
)

// DirOptions of a Dir; the zero value is fine.
type DirOptions struct {
	Now    func() time.Time
	Logger *slog.Logger
}

// Where Dir keeps what is no object.
const (
	ownDir   = ".syncfs"
	headsDir = ownDir + "/heads"
	tempsDir = ownDir + "/tmp"
)

// OpenDir opens the store in the directory path and makes it when it is not
// there. What writes that never finished have left is removed.
func OpenDir(path string, o DirOptions) (*Dir, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{
		root: root, now: o.Now, log: o.Logger, syncDir: atomicfile.SyncDir,
		made: map[string]struct{}{root: {}}, durable: map[string]uint64{}, doubtful: map[string]struct{}{},
	}
	for _, dir := range []string{headsDir, tempsDir} {
		if err := atomicfile.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			return nil, fmt.Errorf("open store %s: %w", path, storeError(err))
		}
	}
	if d.temp, err = openTempDir(filepath.Join(root, tempsDir), o.Now, o.Logger); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, storeError(err))
	}
	if err := d.finishHeads(); err != nil {
		d.temp.close()
		return nil, fmt.Errorf("open store %s: %w", path, storeError(err))
	}
	return d, nil
}

// Close gives the directory for temporary files up. Nothing may use d after it.
func (d *Dir) Close() error { return d.temp.close() }

func (d *Dir) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// Get is Store.Get.
func (d *Dir) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, info, err := d.open(name)
	if err != nil {
		return nil, err
	}
	from, n := clip(offset, length, info.Size())
	return &section{SectionReader: io.NewSectionReader(f, from, n), file: f}, nil
}

type section struct {
	*io.SectionReader
	file *os.File
}

func (s *section) Close() error { return s.file.Close() }

func (d *Dir) open(name string) (*os.File, fs.FileInfo, error) {
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, storeError(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, info, nil
}

// Stat is Store.Stat.
func (d *Dir) Stat(ctx context.Context, name string) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	if err := checkName(name); err != nil {
		return Info{}, err
	}
	info, err := os.Lstat(d.path(name))
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", name, storeError(err))
	}
	return Info{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete is Store.Delete.
func (d *Dir) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	path := d.path(name)
	if info, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil
	}
	if err := atomicfile.Remove(path); err != nil {
		return fmt.Errorf("delete %s: %w", name, storeError(err))
	}
	return nil
}

// storeError gives a full disk, and a path that leads through a file, the names
// that callers branch on.
func storeError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), isQuota(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}
