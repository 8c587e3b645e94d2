package ondemand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

const (
	blockSize = 256 << 10 // content is put in place by such blocks
	stepSize  = 1 << 20   // and asked for by so much at a time
)

// filling is a stub of which something was asked for. Its mark decides what it
// is; what is in place is known as long as this lives, and is asked for again
// after that.
type filling struct {
	content versions.Entry
	sem     semaphore // who fetches or evicts; held over the network
	last    time.Time // when it was asked for last; Demand.mu guards it

	mu      sync.Mutex // guards what follows, and every change of the inode: nothing waits under it
	have    []bool
	missing int

	reader *versions.Reader // of content; whoever holds sem
}

func newFilling(content versions.Entry) *filling {
	have := make([]bool, (content.Size+blockSize-1)/blockSize)
	return &filling{sem: make(semaphore, 1), content: content, have: have, missing: len(have)}
}

// lacks is the first run of blocks within a range that are not in place.
func (f *filling) lacks(off, end int64) (from, to int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, last := off/blockSize, min((end+blockSize-1)/blockSize, int64(len(f.have)))
	for i := first; i < last; i++ {
		if f.have[i] {
			continue
		}
		j := i + 1
		for j < last && !f.have[j] && (j-i)*blockSize < stepSize {
			j++
		}
		return i * blockSize, min(j*blockSize, f.content.Size), true
	}
	return 0, 0, false
}

// filling is the state of the stub that fd is open on; nil: it is none.
func (d *Demand) filling(fd int) (*filling, error) {
	s, is, err := disk.StubOf(fd)
	if err != nil || !is {
		return nil, err
	}
	st, err := disk.StatFD(fd)
	if err != nil {
		return nil, err
	}
	key := inode{st.Dev, st.Ino}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[key]
	if f != nil && !versions.SameContent(f.content, s.Content) {
		f = nil // that was another file with this inode number
	}
	if f == nil {
		f = newFilling(s.Content)
		d.files[key] = f
	}
	f.last = d.o.Now()
	return f, nil
}

// Fetch sees to it that a range of the file that fd is open on is in place.
// whole: the file is no stub, or none any more. path is for records and
// messages.
func (d *Demand) Fetch(ctx context.Context, fd int, path string, off, length int64) (whole bool, err error) {
	f, err := d.filling(fd)
	if err != nil {
		return false, d.unreachable(path, err)
	}
	if f == nil {
		return true, nil
	}
	for {
		from, to, more := f.lacks(off, off+length)
		if !more {
			return false, nil
		}
		if err := f.sem.acquire(ctx); err != nil {
			return false, err
		}
		err := d.fetch(ctx, f, fd, path, from, to)
		f.sem.release()
		switch {
		case errors.Is(err, errNoStub):
			return true, nil
		case err != nil:
			return false, d.unreachable(path, err)
		}
	}
}

// errNoStub is a file that became whole meanwhile.
var errNoStub = errors.New("it is no stub any more")

// fetch brings one run of blocks; with the file's semaphore.
func (d *Demand) fetch(ctx context.Context, f *filling, fd int, path string, from, to int64) (err error) {
	from, to, more := f.lacks(from, to)
	if !more {
		return nil // somebody else was faster
	}
	if f.reader == nil {
		if f.reader, err = d.o.Contents.Open(ctx, f.content); err != nil {
			return err
		}
	}
	bounded, done := d.patient(ctx)
	defer done()
	buf := make([]byte, to-from)
	n, err := f.reader.ReadAtContext(bounded, buf, from)
	if err != nil && (err != io.EOF || n < len(buf)) { //nolint:errorlint // io.EOF is never wrapped by a Reader
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if err := d.place(f, fd, path, buf, from); err != nil {
		return err
	}
	if _, _, more := f.lacks(0, f.content.Size); !more {
		err, f.reader = f.reader.Close(), nil
	}
	return err
}

// place puts what was fetched into the file.
func (d *Demand) place(f *filling, fd int, path string, buf []byte, from int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, is, err := disk.StubOf(fd)
	if err != nil {
		return err
	}
	if !is || !versions.SameContent(s.Content, f.content) {
		return errNoStub // truncated by a program, or made whole
	}
	w, err := disk.OpenWritable(fd)
	if err != nil {
		return fmt.Errorf("open it for filling: %w", err)
	}
	defer unix.Close(w)
	d.o.Folder.Filling(path)
	if err := d.ours(fd, func() error { return f.put(fd, w, s, buf, from) }); err != nil {
		return err
	}
	end := from + int64(len(buf))
	for i := from / blockSize; i*blockSize < end; i++ {
		if !f.have[i] {
			f.have[i] = true
			f.missing--
		}
	}
	d.came(int64(len(buf)))
	if f.missing == 0 {
		d.later(func() { d.finishAgain(path, f) })
	}
	return nil
}

// put writes what was fetched through w, but where the file has holes.
func (f *filling) put(fd, w int, s disk.Stub, buf []byte, from int64) error {
	if s.MTime == 0 {
		// Before anything moves it: what a crash leaves has its own time still.
		st, err := disk.StatFD(fd)
		if err != nil {
			return err
		}
		s.MTime = st.MTime
		if err := disk.SetStub(fd, s); err != nil {
			return err
		}
	}
	end := from + int64(len(buf))
	for _, r := range f.content.DataRanges() {
		lo, hi := max(r.Offset, from), min(r.Offset+r.Length, end)
		if lo >= hi {
			continue
		}
		if err := disk.Fill(w, buf[lo-from:hi-from], lo, s.MTime); err != nil {
			return err
		}
	}
	return nil
}

// finishAgain makes a file whole of which everything is in place, unless its
// name leads elsewhere now.
func (d *Demand) finishAgain(path string, f *filling) {
	fd, err := d.o.Root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return // renamed: whoever reads or opens it next makes it whole
	}
	defer unix.Close(fd)
	if g, err := d.filling(fd); err != nil || g != f {
		return
	}
	if err := d.finish(f, fd, path); err != nil {
		d.o.Logger.Warn("a file that is here stays marked as not here", "path", path, "err", err)
	}
}

// finish takes the mark away when all of the content is durable.
func (d *Demand) finish(f *filling, fd int, path string) error {
	if err := unix.Fsync(fd); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s, is, err := disk.StubOf(fd)
	if err != nil || !is || f.missing > 0 || !versions.SameContent(s.Content, f.content) {
		return err
	}
	d.o.Folder.Filling(path)
	if err := d.ours(fd, func() error { return d.unmark(fd, s) }); err != nil {
		return err
	}
	st, err := disk.StatFD(fd)
	if err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.files, inode{st.Dev, st.Ino})
	d.mu.Unlock()
	d.later(func() { _ = d.o.Folder.Refill(path, st.Sig) }) // else the next build looks at it
	return nil
}

// unmark makes a stub of which all is in place a file.
func (d *Demand) unmark(fd int, s disk.Stub) error {
	st, err := disk.StatFD(fd)
	if err != nil {
		return err
	}
	if st.Size != s.Content.Size { // a crash cut a truncation
		if err := d.resize(fd, s.Content.Size); err != nil {
			return err
		}
	}
	if s.MTime != 0 {
		if err := disk.SetTimes(fd, s.MTime); err != nil {
			return err
		}
	}
	return disk.ClearStub(fd)
}

func (d *Demand) resize(fd int, size int64) error {
	w, err := disk.OpenWritable(fd)
	if err != nil {
		return err
	}
	defer unix.Close(w)
	return unix.Ftruncate(w, size)
}

// Whole brings all of a file: it is no stub afterwards.
func (d *Demand) Whole(ctx context.Context, fd int, path string) error {
	for {
		f, err := d.filling(fd)
		if err != nil {
			return d.unreachable(path, err)
		}
		if f == nil {
			return nil
		}
		if whole, err := d.Fetch(ctx, fd, path, 0, f.content.Size); whole || err != nil {
			return err
		}
		if err := d.finish(f, fd, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}

// Empty is Whole for a file that is cut to nothing: nothing need come.
func (d *Demand) Empty(fd int, path string) error {
	f, err := d.filling(fd)
	if err != nil || f == nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, is, err := disk.StubOf(fd); err != nil || !is {
		return err
	}
	// First the mark says so: a crash in between leaves an empty file.
	if err := disk.SetStub(fd, disk.Stub{Content: versions.Entry{Kind: versions.File}}); err != nil {
		return err
	}
	if err := d.resize(fd, 0); err != nil {
		return err
	}
	return disk.ClearStub(fd)
}

// Change runs what sets the times of a file, which may be being filled.
func (d *Demand) Change(fd int, change func() error) error {
	f, err := d.filling(fd)
	if err != nil || f == nil {
		return errors.Join(err, change())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := change(); err != nil {
		return err
	}
	s, is, err := disk.StubOf(fd)
	if err != nil || !is || s.MTime == 0 {
		return err
	}
	st, err := disk.StatFD(fd)
	if err != nil {
		return err
	}
	s.MTime = st.MTime
	return disk.SetStub(fd, s)
}

// came counts what was brought, and wakes the trimmer where it is too much.
func (d *Demand) came(n int64) {
	d.mu.Lock()
	d.grown += n
	full := d.o.Limit > 0 && d.looked && d.total+d.grown > d.o.Limit
	d.mu.Unlock()
	if full {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}
