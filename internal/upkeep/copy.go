package upkeep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/store"
)

// ErrDiverged is a copy that was written to by others since it was made.
var ErrDiverged = errors.New("the copy has gone on by itself")

// ErrForeign is a place to copy to that holds something else.
var ErrForeign = errors.New("it holds another repository, or something else")

// copiers is how many objects are copied at once; each is in memory.
const copiers = 3

// CopyResult is what a copy of a repository did.
type CopyResult struct {
	Objects int64
	Bytes   int64
	Folders int
}

// Copy brings everything of a repository to another remote, as it is: sealed by
// the same keys, under the same names. What is there already is not sent again,
// so one that was cut off goes on, and one that is made again brings what is
// new. Writers may go on meanwhile; the copy has all that the heads had when it
// began. ErrDiverged where somebody has committed to the copy.
func Copy(ctx context.Context, from, to blob.Store, progress func(objects, bytes int64)) (CopyResult, error) {
	c := &copying{from: from, to: to, progress: progress}
	err := c.run(ctx)
	if err != nil {
		err = fmt.Errorf("copy the repository: %w", err)
	}
	return c.res, err
}

type copying struct {
	from, to blob.Store
	progress func(objects, bytes int64)

	mu  sync.Mutex // guards res and progress
	res CopyResult
}

func (c *copying) run(ctx context.Context) error {
	if err := c.same(ctx); err != nil {
		return err
	}
	heads, err := c.from.ListHeads(ctx)
	if err != nil {
		return err
	}
	for _, h := range heads { // before anything is copied
		if _, err := c.behind(ctx, h); err != nil {
			return err
		}
	}
	// Records before what they refer to, since that stays as long as they do;
	// packs before and after the index, since a prune may move what is in them.
	for _, prefix := range []string{"config", "keys/"} {
		if err := c.prefix(ctx, prefix); err != nil {
			return err
		}
	}
	if err := c.mirror(ctx); err != nil {
		return err
	}
	for _, prefix := range []string{"packs/", "index/", "packs/", "marks/"} {
		if err := c.prefix(ctx, prefix); err != nil {
			return err
		}
	}
	for _, h := range heads {
		if err := c.head(ctx, h); err != nil {
			return err
		}
		c.res.Folders++
	}
	return nil
}

// same refuses to touch what is no copy of this repository.
func (c *copying) same(ctx context.Context) error {
	id, err := store.RepositoryID(ctx, c.from)
	if err != nil {
		return err
	}
	there, err := store.RepositoryID(ctx, c.to)
	switch {
	case err == nil && there != id:
		return fmt.Errorf("%w: repository %.8s, not %.8s", ErrForeign, there, id)
	case !errors.Is(err, store.ErrNoRepository):
		return err
	}
	err = c.to.List(ctx, "", "", func(i blob.Info) error { return fmt.Errorf("%w: %s", ErrForeign, i.Name) })
	if err != nil {
		return err
	}
	heads, err := c.to.ListHeads(ctx)
	if err == nil && len(heads) > 0 {
		err = fmt.Errorf("%w: folder %s", ErrForeign, heads[0].Folder)
	}
	return err
}

// content is what is named by its content or for ever: it is only added to.
func content(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	switch top {
	case "config", "keys", "packs", "index", "marks":
		return true
	}
	return false
}

func list(ctx context.Context, s blob.Store, prefix string, want func(string) bool) (map[string]int64, error) {
	names := map[string]int64{}
	err := s.List(ctx, prefix, "", func(i blob.Info) error {
		if want == nil || want(i.Name) {
			names[i.Name] = i.Size
		}
		return nil
	})
	return names, err
}

// prefix copies what the other side lacks; again where something was moved
// meanwhile.
func (c *copying) prefix(ctx context.Context, prefix string) error {
	for range 20 {
		source, err := list(ctx, c.from, prefix, nil)
		if err != nil {
			return err
		}
		moved, err := c.missing(ctx, prefix, source, nil)
		if err != nil || !moved {
			return err
		}
	}
	return nil // what was there when it began is there now
}

// mirror makes all that may be replaced or removed as it is: records, log
// segments, rules, pins, bases.
func (c *copying) mirror(ctx context.Context) error {
	other := func(name string) bool { return !content(name) }
	for range 20 {
		source, err := list(ctx, c.from, "", other)
		if err != nil {
			return err
		}
		moved, err := c.missing(ctx, "", source, other)
		if err != nil {
			return err
		}
		if moved {
			continue
		}
		target, err := list(ctx, c.to, "", other)
		if err != nil {
			return err
		}
		for name := range target {
			if _, ok := source[name]; !ok {
				if err := c.to.Delete(ctx, name); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return errors.New("others change its records all the time")
}

// missing copies those of source that the target has not. moved tells that some
// were gone when they were read.
func (c *copying) missing(ctx context.Context, prefix string, source map[string]int64, want func(string) bool) (moved bool, err error) {
	target, err := list(ctx, c.to, prefix, want)
	if err != nil {
		return false, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(copiers)
	for name, size := range source {
		if have, ok := target[name]; ok && have == size {
			continue
		}
		g.Go(func() error {
			err := c.object(ctx, name)
			if errors.Is(err, fs.ErrNotExist) {
				c.mu.Lock()
				moved = true
				c.mu.Unlock()
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	err = g.Wait()
	return moved, err
}

func (c *copying) object(ctx context.Context, name string) error {
	r, err := c.from.Get(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if err := c.to.Put(ctx, name, bytes.NewReader(data), int64(len(data))); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.res.Objects++
	c.res.Bytes += int64(len(data))
	if c.progress != nil {
		c.progress(c.res.Objects, c.res.Bytes)
	}
	return nil
}

// behind is the head of a copy that this head comes after, or is.
func (c *copying) behind(ctx context.Context, h blob.Head) (blob.Head, error) {
	there, err := c.to.Head(ctx, h.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return blob.Head{}, nil
	}
	if err != nil {
		return there, err
	}
	if there.Number > h.Number || there.Number == h.Number && !bytes.Equal(there.Sealed, h.Sealed) {
		return there, fmt.Errorf("folder %s: %w", h.Folder, ErrDiverged)
	}
	return there, nil
}

// head counts the copy's head up to the number that this one is sealed for.
func (c *copying) head(ctx context.Context, h blob.Head) error {
	there, err := c.behind(ctx, h)
	for err == nil && there.Number < h.Number {
		there, err = c.to.Commit(ctx, h.Folder, blob.Commit{Expect: there.Number, Sealed: h.Sealed})
	}
	if errors.Is(err, blob.ErrMoved) {
		err = fmt.Errorf("folder %s: %w", h.Folder, ErrDiverged)
	}
	return err
}
