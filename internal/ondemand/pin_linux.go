package ondemand

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/ignore"
	"github.com/syncfs/syncfs/versions"
)

// The pin is an attribute of the file or directory itself: it moves with it.

// PinnedBy is the pinned file or directory that path is, or is in. Rules for
// what is ignored count as pinned: nothing new could be judged without them.
func (d *Demand) PinnedBy(path string) (at string, pinned bool) {
	if isRules(path) {
		return path, true
	}
	for at = path; ; {
		if d.pinnedAt(at) {
			return at, true
		}
		if at == "" {
			return "", false
		}
		at = at[:max(0, strings.LastIndexByte(at, '/'))]
	}
}

func isRules(path string) bool { return path[strings.LastIndexByte(path, '/')+1:] == ignore.Name }

func (d *Demand) pinnedAt(path string) bool {
	fd, err := d.o.Root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return disk.Pinned(fd)
}

// SetPinned pins a file or directory, or takes the pin away; what is pinned by
// a directory above is not unpinned by itself.
func (d *Demand) SetPinned(ctx context.Context, path string, pinned bool) error {
	if err := d.reach(ctx, path); err != nil {
		return err
	}
	fd, err := d.o.Root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return &fs.PathError{Op: "pin", Path: path, Err: err}
	}
	defer unix.Close(fd)
	d.o.Folder.Filling(path)
	if err := disk.SetPinned(fd, pinned); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if st, err := disk.StatFD(fd); err == nil {
		d.later(func() { _ = d.o.Folder.Refill(path, st.Sig) })
	}
	if at, still := d.PinnedBy(path); !pinned && still {
		return fmt.Errorf("%s is in the directory %q: %w", path, at, ErrPinned)
	}
	return nil
}

// reach fills the directories that lead to path.
func (d *Demand) reach(ctx context.Context, path string) error {
	for i := range path {
		if path[i] != '/' {
			continue
		}
		if err := d.unfoldAt(ctx, path[:i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Demand) unfoldAt(ctx context.Context, path string) error {
	dir, err := d.o.Root.OpenDir(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = d.Unfold(ctx, dir.Fd(), path)
	return err
}

// Wanted tells whether what is at path is to be here with its content.
func (d *Demand) Wanted(path string) bool {
	_, pinned := d.PinnedBy(path)
	return pinned
}

// Here tells whether there is a file at path with its content.
func (d *Demand) Here(path string) bool {
	fd, err := d.o.Root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, is, err := disk.StubOf(fd)
	return err == nil && !is
}

// bringers is how many files are brought at once.
const bringers = 4

// Bring fetches everything at path and below. What fails is joined into the
// error, and the rest goes on. progress is told what was done since the last
// call, by several goroutines at once.
func (d *Demand) Bring(ctx context.Context, path string, progress func(files, bytes int64)) error {
	var mu sync.Mutex
	var failed []error
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if len(failed) < 10 {
			failed = append(failed, err)
		}
	}
	var g errgroup.Group
	g.SetLimit(bringers)
	err := d.visit(ctx, path, true, func(path string, st disk.Stat) error {
		if st.Type() != disk.TypeFile {
			return nil
		}
		g.Go(func() error {
			err := d.bringOne(ctx, path)
			if err != nil {
				note(err)
				return nil
			}
			progress(1, st.Size)
			return nil
		})
		return nil
	})
	_ = g.Wait() // every error was noted
	return errors.Join(append(failed, err)...)
}

func (d *Demand) bringOne(ctx context.Context, path string) error {
	fd, err := d.o.Root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed meanwhile
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	return d.Whole(ctx, fd, path)
}

// EvictAll evicts everything at path and below.
func (d *Demand) EvictAll(ctx context.Context, path string) (Report, error) {
	var r Report
	if err := d.reach(ctx, path); err != nil {
		return r, err
	}
	d.Settle()
	err := d.visit(ctx, path, false, func(path string, st disk.Stat) error {
		if st.Type() == disk.TypeDir && d.pinnedAt(path) {
			r.stays(fmt.Errorf("%s: %w", path, ErrPinned))
			return errSkip
		}
		if st.Type() != disk.TypeFile {
			return nil
		}
		freed, err := d.Evict(ctx, path)
		switch {
		case err != nil:
			r.stays(err)
		case freed > 0:
			r.Files++
			r.Bytes += freed
		}
		return ctx.Err()
	})
	return r, err
}

// errSkip leaves out what is in a directory.
var errSkip = errors.New("not this directory")

// visit calls fn for path and, if it is a directory, for everything in it;
// unfold: also where nobody has looked yet.
func (d *Demand) visit(ctx context.Context, path string, unfold bool, fn func(path string, st disk.Stat) error) error {
	st, err := disk.StatBelow(d.o.Root, path)
	if err != nil {
		return err
	}
	err = fn(path, st)
	if errors.Is(err, errSkip) {
		return nil
	}
	if err != nil || st.Type() != disk.TypeDir {
		return err
	}
	return d.walkWith(ctx, path, unfold, fn)
}

// walk calls fn for everything in a directory that is here.
func (d *Demand) walk(ctx context.Context, path string, fn func(path string, st disk.Stat) error) error {
	return d.walkWith(ctx, path, false, fn)
}

func (d *Demand) walkWith(ctx context.Context, path string, unfold bool, fn func(path string, st disk.Stat) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := d.o.Root.OpenDir(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if unfold {
		if _, err := d.Unfold(ctx, dir.Fd(), path); err != nil {
			return err
		}
	}
	names, err := dir.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		if path == "" && d.o.Hidden(n.Name) {
			continue
		}
		st, err := dir.Stat(n.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		below := n.Name
		if path != "" {
			below = path + "/" + n.Name
		}
		if err == nil {
			err = fn(below, st)
		}
		if err == nil && st.Type() == disk.TypeDir {
			err = d.walkWith(ctx, below, unfold, fn)
		}
		if errors.Is(err, errSkip) || errors.Is(err, disk.ErrSubmount) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// State of what fd is open on, which is at path.
func (d *Demand) State(fd int, path string) string {
	switch s, is, err := disk.StubOf(fd); {
	case err == nil && !is:
		if d.Wanted(path) {
			return Pinned
		}
		return Local
	case s.Content.Kind == versions.File && partial(fd):
		return Partial
	}
	return Absent
}

// Staged makes the pin of the file at path hold for what replaces it.
func (d *Demand) Staged(path string, stage *disk.Dir, name string) error {
	if !d.pinnedAt(path) {
		return nil
	}
	f, err := stage.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return disk.SetPinned(f.Fd(), true)
}
