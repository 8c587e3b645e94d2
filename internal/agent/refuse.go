package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/syncfs/syncfs/internal/config"
)

// checkPath refuses a directory that cannot be a folder: one that holds what we
// keep ourselves or lies in it, and one that holds another folder or lies in it.
// id is that of the folder itself.
func (a *Agent) checkPath(path, id string) error {
	if path == string(filepath.Separator) {
		return fmt.Errorf("%w: it is the root of the whole system", ErrRefused)
	}
	for _, own := range a.ours() {
		real, err := ownPath(own.dir)
		if err != nil {
			return err
		}
		switch {
		case config.Below(path, real):
			return fmt.Errorf("%w: %s lies in %s, which is %s", ErrRefused, path, real, own.what)
		case config.Below(real, path):
			return fmt.Errorf("%w: %s holds %s, which is %s: choose a directory below it", ErrRefused, path, real, own.what)
		}
	}
	for _, h := range a.allHosts() {
		f := h.folder
		switch {
		case f.ID == id:
		case path == f.Path:
			return fmt.Errorf("%w: %s is the folder %q already", ErrRefused, path, f.Name)
		case config.Below(path, f.Path):
			return fmt.Errorf("%w: %s lies in the folder %q (%s)", ErrRefused, path, f.Name, f.Path)
		case config.Below(f.Path, path):
			return fmt.Errorf("%w: %s holds the folder %q (%s)", ErrRefused, path, f.Name, f.Path)
		}
	}
	return nil
}

// ownDir is a directory that we keep ourselves.
type ownDir struct{ dir, what string }

// ours are in the order in which they are worth telling of: one may lie in
// another.
func (a *Agent) ours() []ownDir {
	var list []ownDir
	if url := a.repo.Setup.URL; !isURL(url) {
		list = append(list, ownDir{url, "the repository"})
	}
	return append(list,
		ownDir{a.o.Dirs.State, "the state of syncfs"}, ownDir{a.o.Dirs.Cache, "the cache of syncfs"},
		ownDir{a.o.Dirs.Config, "the configuration of syncfs"}, ownDir{a.o.Dirs.Runtime, "the sockets of syncfs"},
	)
}

// checkVersionsName refuses a tree that has entries of the name under which the
// versions would appear: they would be masked.
func checkVersionsName(path, name string) error {
	if name == "" {
		name = ".versions"
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
				return nil // the scan says so
			}
			return err
		}
		if d.Name() == name && p != path {
			return fmt.Errorf("%w: there is a %s of its own: choose another name for the versions with --versions-name", ErrRefused, p)
		}
		return nil
	})
}

// isEmptyDir tells whether nothing but our own staging is in a directory.
func isEmptyDir(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(16)
		for _, n := range names {
			if !hidden(n) {
				return false, nil
			}
		}
		if err != nil {
			return true, nil
		}
	}
}

func tempDir(d config.Dirs) string { return d.State }
