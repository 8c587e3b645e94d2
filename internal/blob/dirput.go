package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"golang.org/x/sync/errgroup"
)

// Put is Store.Put.
func (d *Dir) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("put %s: a size of %d bytes", name, size)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.put(ctx, name, r, size); err != nil {
		return fmt.Errorf("put %s: %w", name, storeError(err))
	}
	return nil
}

func (d *Dir) put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	f, err := d.stage(ctx, name, r, size)
	if err != nil {
		return err
	}
	return d.publish(ctx, f, d.path(name))
}

// stage writes an object's content, durably, that publish gives its name to.
func (d *Dir) stage(ctx context.Context, name string, r io.ReaderAt, size int64) (*atomicfile.File, error) {
	path := d.path(name)
	if err := d.free(ctx, path); err != nil {
		return nil, err
	}
	if err := d.mkdir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := atomicfile.CreateIn(d.temp.path, path, 0o600)
	if err != nil {
		return nil, err
	}
	if err = copyRange(ctx, f, r, size); err == nil {
		err = f.Finish()
	}
	if err != nil {
		f.Abort()
		return nil, err
	}
	return f, nil
}

// free tells whether path can be given; io/fs.ErrExist when an object has it.
func (d *Dir) free(ctx context.Context, path string) error {
	unlock, err := d.names.lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	switch info, err := os.Lstat(path); {
	case err == nil && info.IsDir():
		return errors.New("other names begin with this one")
	case err == nil:
		return d.taken(path)
	}
	return nil
}

// taken is the answer for a name that an object has. That says that it is
// durable: its writer may have died, or another process's may be about, between
// the name and its sync.
func (d *Dir) taken(path string) error {
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return fs.ErrExist
}

// publish gives a staged object its name, durably. Whoever puts the same
// meanwhile waits for how that ends.
func (d *Dir) publish(ctx context.Context, f *atomicfile.File, path string) error {
	defer f.Abort()
	unlock, err := d.names.lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	err = f.RenameNew()
	switch {
	case errors.Is(err, fs.ErrExist):
		return d.taken(path)
	case errors.Is(err, fs.ErrNotExist): // somebody has removed the directory
		d.mu.Lock()
		delete(d.made, filepath.Dir(path))
		d.mu.Unlock()
		return err
	case err != nil:
		return err
	}
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		os.Remove(path) // else it would be found and taken for durable
		return err
	}
	return nil
}

// mkdir makes the directory of an object and those above it, durably, and
// remembers that. One that is there may have been made by a process that died
// before it synced.
func (d *Dir) mkdir(dir string) error {
	d.mu.Lock()
	_, made := d.made[dir]
	d.mu.Unlock()
	if made {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := d.mkdir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.syncDir(parent); err != nil {
		return err
	}
	d.mu.Lock()
	d.made[dir] = struct{}{}
	d.mu.Unlock()
	return nil
}

// putAll stores blobs of which some may be there already. Their content is
// written and synced at once; their names are given in order, but at once to
// those that follow each other in one directory of the root: packs before the
// index that names them.
func (d *Dir) putAll(ctx context.Context, blobs []Blob) error {
	staged := make([]*atomicfile.File, len(blobs))
	defer func() {
		for _, f := range staged {
			if f != nil {
				f.Abort()
			}
		}
	}()
	err := atOnce(ctx, len(blobs), func(ctx context.Context, i int) error {
		b, err := blobs[i], error(nil)
		staged[i], err = d.stage(ctx, b.Name, bytes.NewReader(b.Data), int64(len(b.Data)))
		return putError(b.Name, err)
	})
	for from := 0; err == nil && from < len(blobs); {
		to := from + 1
		for to < len(blobs) && topOf(blobs[to].Name) == topOf(blobs[from].Name) {
			to++
		}
		err = atOnce(ctx, to-from, func(ctx context.Context, i int) error {
			if staged[from+i] == nil {
				return nil // it was there
			}
			name := blobs[from+i].Name
			return putError(name, d.publish(ctx, staged[from+i], d.path(name)))
		})
		from = to
	}
	return err
}

// putError is err of a blob that may be there already.
func putError(name string, err error) error {
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fmt.Errorf("put %s: %w", name, storeError(err))
}

func topOf(name string) string {
	top, _, _ := strings.Cut(name, "/")
	return top
}

// atOnce calls fn for 0 to n-1, several at once.
func atOnce(ctx context.Context, n int, fn func(context.Context, int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return fn(ctx, i) })
	}
	return g.Wait()
}
