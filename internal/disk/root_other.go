//go:build !linux

package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Root is a directory on a disk that everything below is reached from, by
// handle: no symlink inside leads out of it.
type Root struct {
	root *os.Root
	path string
}

// OpenRoot opens the directory at path.
func OpenRoot(path string) (*Root, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Root{root: root, path: path}, nil
}

// OpenRootAcross is OpenRoot: what is mounted inside is entered in any case.
func OpenRootAcross(path string) (*Root, error) { return OpenRoot(path) }

// Path is where the directory was when it was opened: for messages only.
func (r *Root) Path() string { return r.path }

// Close closes the root.
func (r *Root) Close() error { return r.root.Close() }

// OpenDir opens the directory at a slash-separated path below the root. A path
// that leads through a symlink is refused.
func (r *Root) OpenDir(rel string) (*Dir, error) {
	if rel == "" {
		rel = "."
	}
	at := ""
	for _, name := range strings.Split(rel, "/") {
		at = filepath.Join(at, name)
		info, err := r.root.Lstat(at)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, &os.PathError{Op: "open", Path: filepath.Join(r.path, at), Err: fmt.Errorf("not a directory: %w", os.ErrInvalid)}
		}
	}
	sub, err := r.root.OpenRoot(at)
	if err != nil {
		return nil, err
	}
	return &Dir{root: sub, path: filepath.Join(r.path, at)}, nil
}
