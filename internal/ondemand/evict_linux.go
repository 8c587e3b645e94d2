package ondemand

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// Reasons for which content stays here.
var (
	ErrPinned  = errors.New("it is pinned")
	ErrNotSafe = errors.New("it is not on the remote yet")
	ErrInUse   = errors.New("it is in use")
)

// Evict takes the content of one file off this disk and leaves a stub. It tells
// how many bytes that has freed; 0: there was nothing of it here.
func (d *Demand) Evict(ctx context.Context, path string) (freed int64, err error) {
	fail := func(err error) (int64, error) { return 0, fmt.Errorf("%s: %w", path, err) }
	if at, pinned := d.PinnedBy(path); pinned {
		return fail(fmt.Errorf("%w (%q is)", ErrPinned, at))
	}
	e, sig, stub, err := d.mayEvict(ctx, path)
	if err != nil || e.Size == 0 {
		return 0, err
	}
	// From here on nobody fills it.
	f := newFilling(disk.NewStub(e).Content)
	_ = f.sem.acquire(ctx) // it is new
	defer f.sem.release()
	err = d.o.Mount.Alone(path, func(fd int) error { return d.stubAgain(fd, path, sig, e, stub, f) })
	if errors.Is(err, unix.EBUSY) {
		return fail(fmt.Errorf("%w: %w", ErrInUse, err))
	}
	if err != nil {
		return fail(err)
	}
	fd, err := d.o.Root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fail(err) // renamed in this moment: it is a stub with its content, which does no harm
	}
	defer unix.Close(fd)
	if freed, err = d.free(fd, path, sig, f); err != nil {
		return fail(err)
	}
	return freed, nil
}

// mayEvict tells what stands at path, if its content may go.
func (d *Demand) mayEvict(ctx context.Context, path string) (e versions.Entry, sig disk.Sig, stub bool, err error) {
	e, _, err = d.o.Folder.Recorded(path)
	if err != nil {
		return e, sig, false, err
	}
	if e.Kind != versions.File {
		return e, sig, false, fmt.Errorf("%s: only files have content: %w", path, unix.EINVAL)
	}
	fd, err := d.o.Root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return e, sig, false, fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	s, stub, err := disk.StubOf(fd)
	if err != nil {
		return e, sig, false, fmt.Errorf("%s: %w", path, err)
	}
	st, err := disk.StatFD(fd)
	if err != nil {
		return e, sig, false, fmt.Errorf("%s: %w", path, err)
	}
	if stub { // what is in it is in no case anything but a copy
		if !partial(fd) {
			s.Content.Size = 0
		}
		return s.Content, st.Sig, true, nil
	}
	if err := d.o.Folder.Unchanged(path); err != nil {
		return e, sig, false, fmt.Errorf("%s: %w: %w", path, ErrNotSafe, err)
	}
	safe, err := d.o.Safe(ctx, path, e)
	if err == nil && !safe {
		err = fmt.Errorf("%s: %w", path, ErrNotSafe)
	}
	return e, st.Sig, false, err
}

// stubAgain marks a file as a stub of e; nobody has it open but us.
func (d *Demand) stubAgain(fd int, path string, sig disk.Sig, e versions.Entry, stub bool, f *filling) error {
	st, err := disk.StatFD(fd)
	if err != nil {
		return err
	}
	switch {
	case !disk.Unused(fd):
		return unix.EBUSY
	case st.Ino != sig.Ino, !stub && (!st.Same(sig) || d.o.Folder.Dirty(path)):
		return fmt.Errorf("it has changed: %w", unix.EBUSY)
	}
	d.o.Folder.Filling(path)
	if !stub {
		s := disk.NewStub(e)
		s.MTime = st.MTime
		if err := d.ours(fd, func() error { return disk.SetStub(fd, s) }); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.files[inode{st.Dev, st.Ino}] = f
	d.mu.Unlock()
	return nil
}

// free gives the blocks of a stub back, once its mark is durable.
func (d *Demand) free(fd int, path string, sig disk.Sig, f *filling) (int64, error) {
	if err := unix.Fsync(fd); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s, is, err := disk.StubOf(fd)
	if err != nil || !is || !versions.SameContent(s.Content, f.content) {
		return 0, err // a program has cut it to nothing
	}
	before, err := disk.StatFD(fd)
	if err != nil {
		return 0, err
	}
	if before.Ino != sig.Ino {
		return 0, fmt.Errorf("it has changed: %w", unix.EBUSY)
	}
	w, err := disk.OpenWritable(fd)
	if err != nil {
		return 0, err
	}
	defer unix.Close(w)
	d.o.Folder.Filling(path)
	mtime := before.MTime
	if s.MTime != 0 {
		mtime = s.MTime
	}
	if err := d.ours(fd, func() error { return disk.Free(w, before.Size, mtime) }); err != nil {
		return 0, err
	}
	after, err := disk.StatFD(fd)
	if err != nil {
		return 0, err
	}
	d.later(func() { _ = d.o.Folder.Refill(path, after.Sig) })
	return max(0, before.Blocks-after.Blocks) * 512, nil
}

// partial tells whether something of a stub is here.
func partial(fd int) bool {
	_, err := unix.Seek(fd, 0, unix.SEEK_DATA)
	return err == nil
}

// keepLimit evicts what was not used for longest when there is too much.
func (d *Demand) keepLimit(ctx context.Context) {
	if d.o.Limit == 0 {
		return
	}
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		d.trim(ctx)
		if !d.awaitGrowth(ctx, tick.C) {
			return
		}
	}
}

// awaitGrowth returns when there may be more than the limit, or content that
// trim has not counted; false when ctx ends.
func (d *Demand) awaitGrowth(ctx context.Context, tick <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-d.wake:
			// What has just come is recorded first.
			select {
			case <-ctx.Done():
				return false
			case <-time.After(time.Second):
				return true
			}
		case <-tick:
			d.mu.Lock()
			same := d.grown == 0 && d.total <= d.o.Limit
			d.mu.Unlock()
			if !same {
				return true
			}
		}
	}
}

// candidate is a file with content on this disk.
type candidate struct {
	path string
	size int64
	used time.Time
}

// trim looks at all that is here and brings it below nine tenths of the limit.
func (d *Demand) trim(ctx context.Context) {
	d.mu.Lock()
	d.grown = 0
	d.mu.Unlock()
	var list []candidate
	total := int64(0)
	err := d.walk(ctx, "", func(path string, st disk.Stat) error {
		if st.Type() != disk.TypeFile || st.Blocks == 0 {
			return nil
		}
		total += st.Blocks * 512
		if st.Blocks > 8 || !disk.IsStub(d.o.Root, path) { // a mark takes a block on some disks
			list = append(list, candidate{path, st.Blocks * 512, d.lastUse(st)})
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		d.o.Logger.Warn("not all that is here could be counted", "err", err)
	}
	if total > d.o.Limit {
		slices.SortFunc(list, func(a, b candidate) int { return a.used.Compare(b.used) })
		for _, c := range list {
			if ctx.Err() != nil || total <= d.o.Limit/10*9 {
				break
			}
			freed, err := d.Evict(ctx, c.path)
			total -= freed
			if err != nil {
				d.o.Logger.Debug("it stays here", "path", c.path, "err", err)
			}
		}
	}
	d.mu.Lock()
	d.total, d.looked = total, true
	d.mu.Unlock()
}

// lastUse is when a file was opened last, as far as is known.
func (d *Demand) lastUse(st disk.Stat) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.used[inode{st.Dev, st.Ino}]; ok {
		return at
	}
	return time.Unix(0, st.CTime)
}

// Kept is how much content is here, when that was last counted, with what has
// come since.
func (d *Demand) Kept() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total + d.grown
}
