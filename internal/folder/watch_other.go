//go:build !linux

package folder

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"

	"github.com/syncfs/syncfs/internal/disk"
)

// notify watches through the system's own way, by path.
type notify struct {
	w    *fsnotify.Watcher
	root string
}

func newWatcher(root *disk.Root) (watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &notify{w: w, root: root.Path()}, nil
}

func (n *notify) add(_ *disk.Dir, path string) error {
	err := n.w.Add(filepath.Join(n.root, filepath.FromSlash(path)))
	if errors.Is(err, fsnotify.ErrClosed) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (n *notify) close() error { return n.w.Close() }

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (n *notify) next() ([]event, error) {
	select {
	case e, ok := <-n.w.Events:
		if !ok {
			return nil, os.ErrClosed
		}
		rel, err := filepath.Rel(n.root, e.Name)
		if err != nil {
			return nil, nil // not below the root: nothing of ours
		}
		path := filepath.ToSlash(rel)
		if path == "." {
			path = ""
		}
		deep := false
		if e.Has(fsnotify.Create) {
			info, err := os.Lstat(e.Name)
			deep = err == nil && info.IsDir()
		}
		return []event{{path: path, deep: deep, written: e.Has(fsnotify.Write)}}, nil
	case err, ok := <-n.w.Errors:
		if !ok {
			return nil, os.ErrClosed
		}
		if errors.Is(err, fsnotify.ErrEventOverflow) {
			return nil, errOverflow
		}
		return nil, err
	}
}
