package blob

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// List is Store.List. It reads one directory at a time, so memory does not grow
// with the store.
func (d *Dir) List(ctx context.Context, prefix, after string, fn func(Info) error) error {
	// Only what lies below the last whole directory of prefix can match.
	dir := ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		dir = prefix[:i+1]
		if !ValidName(prefix[:i]) {
			return nil
		}
	}
	return d.list(ctx, dir, prefix, after, fn)
}

// list walks dir, which is "" or ends in a slash.
func (d *Dir) list(ctx context.Context, dir, prefix, after string, fn func(Info) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(d.root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storeError(err)
	}
	// A directory sorts where the names in it do: with its slash.
	keys := make([]string, 0, len(entries))
	byKey := make(map[string]fs.DirEntry, len(entries))
	for _, e := range entries {
		if !ValidName(e.Name()) || atomicfile.IsTemp(e.Name()) {
			continue
		}
		key := dir + e.Name()
		if e.IsDir() {
			key += "/"
		}
		keys = append(keys, key)
		byKey[key] = e
	}
	slices.Sort(keys)
	for _, key := range keys {
		e := byKey[key]
		switch {
		case e.IsDir():
			overlaps := strings.HasPrefix(key, prefix) || strings.HasPrefix(prefix, key)
			passed := after > key && !strings.HasPrefix(after, key)
			if !overlaps || passed {
				continue
			}
			if err := d.list(ctx, key, prefix, after, fn); err != nil {
				return err
			}
		case e.Type().IsRegular() && strings.HasPrefix(key, prefix) && key > after:
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return storeError(err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(Info{Name: key, Size: info.Size(), Modified: info.ModTime()}); err != nil {
				return err
			}
		}
	}
	return nil
}
