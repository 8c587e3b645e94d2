package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// source is what is saved: a directory, or one file of it.
type source struct {
	root      *disk.Root
	only      string // the one name that is saved; "": all
	filter    *folder.Filter
	patterned bool
}

// openSource opens what is at o.Path.
func openSource(o Options) (*source, error) {
	info, err := os.Stat(o.Path)
	if err != nil {
		return nil, err
	}
	dir, only := o.Path, ""
	switch {
	case info.IsDir():
	case info.Mode().IsRegular():
		dir, only = filepath.Split(o.Path)
		dir = filepath.Clean(dir)
	default:
		return nil, fmt.Errorf("%s is neither a directory nor a file", o.Path)
	}
	openRoot := disk.OpenRootAcross
	if o.OneFileSystem {
		openRoot = disk.OpenRoot
	}
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &source{root: root, only: only, patterned: len(o.Select.Patterns) > 0}
	f := o.Select.filter(root, below(dir, o.Own))
	f.only = only
	s.filter = &folder.Filter{Names: f.names, NoEmpty: s.patterned}
	return s, nil
}

func (s *source) close() { s.root.Close() }

// below are the paths that lie below dir, relative to it with slashes.
func below(dir string, paths []string) map[string]bool {
	list := map[string]bool{}
	for _, p := range paths {
		rel, err := filepath.Rel(dir, p)
		if err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			list[filepath.ToSlash(rel)] = true
		}
	}
	return list
}

// again stores a file's content as it is now.
func (s *source) again(contents *versions.Contents) func(ctx context.Context, path string) error {
	return func(ctx context.Context, path string) error {
		dir, name := "", path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			dir, name = path[:i], path[i+1:]
		}
		d, err := s.root.OpenDir(dir)
		if err != nil {
			return err
		}
		defer d.Close()
		f, err := d.Open(name)
		if err != nil {
			return err
		}
		_, err = contents.Write(ctx, f)
		return errors.Join(err, f.Close())
	}
}
