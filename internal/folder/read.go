package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

const (
	// tries is how often a file that moves while it is read is read at once.
	tries = 3
	// retryAfter is when what could not be taken is looked at again.
	retryAfter = time.Second
	// freshFor is how long after a change stores through a mapping may still be
	// on their way: such a file is synced before it is read.
	freshFor = 2 * time.Second
)

// job is one name, no directory, that a worker looks at.
type job struct {
	task       *task
	name, path string
	typ        uint32 // as far as known
	old        *child // recorded under this name
	origin     *child // recorded where it was renamed from: content that need not be read
	mark       *mark
	buries     bool // old is a directory
}

// look at one inode has one of these outcomes, or an error about the file.
var (
	errMoved   = errors.New("it changes while it is read")
	errWriting = errors.New("it is being written")
	errYoung   = errors.New("it has not rested")
)

// work takes what stands under one name.
func (b *build) work(ctx context.Context, j *job) {
	if b.rests(j) {
		b.wait(j.path, j.mark, 0)
		return
	}
	e, sig, err := b.taken(ctx, j)
	var seen *versions.Entry
	if err == nil {
		prev := j.old
		if prev == nil {
			prev = j.origin
		}
		if e, seen, err = b.carried(prev, e); err == nil && prev == nil {
			e, seen, err = b.lostAttributes(j.task, j.name, e)
		}
	}
	switch {
	case err == nil:
		b.f.well(j.path)
		if j.buries {
			b.bury(join(j.task.base, j.name), j.path)
		}
		b.become(j.task, j.old, e, seen, sig, b.racy(sig))
		if e.Unstable {
			b.unstable.Add(1)
			again := mark{self: true, touched: true, since: b.now, at: b.now}
			b.wait(j.path, &again, retryAfter)
		}
	case errors.Is(err, fs.ErrNotExist):
		b.absent(j.task, j.old, j.mark, j.path)
	case errors.Is(err, errYoung):
		after := b.f.o.Settle
		if age := b.age(j.mark, nil); age < after {
			after -= age
		}
		b.wait(j.path, j.mark, after)
	case errors.Is(err, errWriting), errors.Is(err, errMoved):
		b.wait(j.path, j.mark, retryAfter)
	case errors.Is(err, disk.ErrSubmount):
		b.f.troubled(j.path, errSubmount, true)
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EISDIR):
		b.wait(j.path, j.mark, 20*time.Millisecond) // it has become something else
	case ctx.Err() == nil && b.err() == nil:
		b.f.troubled(j.path, err, false)
	}
}

// racy flags what changed within the grain of the disk's clock: a change right
// after it was read could leave the same time.
func (b *build) racy(sig disk.Sig) byte {
	grain := 50 * time.Millisecond
	if sig.CTime%int64(time.Second) == 0 {
		grain = 2 * time.Second
	}
	if b.f.o.Now().Sub(time.Unix(0, sig.CTime)) < grain {
		return childRacy
	}
	return 0
}

// taken reads what stands under one name.
func (b *build) taken(ctx context.Context, j *job) (versions.Entry, disk.Sig, error) {
	if j.typ != disk.TypeFile {
		e, st, notes, err := j.task.dir.Entry(j.name, b.f.o.Owners)
		if err == nil && e.Kind == 0 {
			err = syscall.ENXIO
		}
		if err == nil && b.o.Rested && b.age(j.mark, &st.Sig) < b.f.o.Settle {
			err = errYoung
		}
		if err != nil {
			return versions.Entry{}, disk.Sig{}, err
		}
		b.noted(j.path, notes)
		b.group(j, &e, st)
		return e, st.Sig, e.Validate()
	}
	err := errMoved
	for range tries {
		var e versions.Entry
		var sig disk.Sig
		e, sig, err = b.file(ctx, j, false)
		if !errors.Is(err, errMoved) {
			return e, sig, err
		}
	}
	if b.must(j) {
		return b.file(ctx, j, true)
	}
	return versions.Entry{}, disk.Sig{}, err
}

// must tells whether a file is taken although it is being written.
func (b *build) must(j *job) bool {
	if b.o.Force {
		return true
	}
	since := b.now
	if j.mark != nil && !j.mark.since.IsZero() {
		since = j.mark.since
	}
	return !b.o.Before.IsZero() && !since.After(b.o.Before) || b.now.Sub(since) >= b.f.o.Bound
}

// file reads one file once. errMoved when it changed meanwhile; with torn it is
// taken all the same, flagged unstable.
func (b *build) file(ctx context.Context, j *job, torn bool) (versions.Entry, disk.Sig, error) {
	fail := func(err error) (versions.Entry, disk.Sig, error) { return versions.Entry{}, disk.Sig{}, err }
	file, err := j.task.dir.Open(j.name)
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	if e, sig, is, err := b.stub(j, file); is || err != nil {
		return e, sig, err
	}
	e, st, notes, err := file.Entry(b.f.o.Owners)
	if err != nil {
		return fail(err)
	}
	if !isFile(st.Sig) {
		return fail(syscall.ENXIO)
	}
	// What was only renamed need not rest: it would be nowhere for that long.
	if b.o.Rested && !b.must(j) && !j.renamed(st) && b.age(j.mark, &st.Sig) < b.f.o.Settle {
		return fail(errYoung)
	}
	quiet := file.Quiet()
	if !quiet {
		if !b.must(j) {
			return fail(errWriting)
		}
		if e, st, notes, err = b.settle(file, st); err != nil {
			return fail(err)
		}
		if j.old != nil && j.old.flags&childUnstable != 0 && j.old.sig.Same(st.Sig) {
			return fail(errWriting) // as it was taken last
		}
	}
	b.noted(j.path, notes)
	content, err := b.content(ctx, j, file, st)
	if err != nil {
		return fail(err)
	}
	e.Size, e.Pieces, e.List, e.Holes = content.Size, content.Pieces, content.List, content.Holes
	after, err := j.task.dir.Stat(j.name)
	if err != nil {
		return fail(err)
	}
	moved := !after.Same(st.Sig) || e.Size != st.Size
	if moved && !torn {
		return fail(errMoved)
	}
	e.Unstable = moved || !quiet
	b.group(j, &e, st)
	return e, st.Sig, e.Validate()
}

// renamed tells whether st is a file that was recorded elsewhere, as it was.
func (j *job) renamed(st disk.Stat) bool {
	return j.origin != nil && j.origin.sig.Ino == st.Ino && j.origin.sig.Size == st.Size && j.origin.sig.MTime == st.MTime
}

// settle prepares a file that is being written: stores through a mapping do not
// move its times until what is dirty of it was synced.
func (b *build) settle(file *disk.File, st disk.Stat) (versions.Entry, disk.Stat, []disk.Note, error) {
	if b.now.Sub(time.Unix(0, st.MTime)) < freshFor || b.now.Sub(time.Unix(0, st.CTime)) < freshFor {
		if err := file.Sync(); err != nil {
			return versions.Entry{}, disk.Stat{}, nil, err
		}
	}
	return file.Entry(b.f.o.Owners)
}

// content stores a file's bytes, unless they are known.
func (b *build) content(ctx context.Context, j *job, file *disk.File, st disk.Stat) (versions.Entry, error) {
	if j.renamed(st) {
		return j.origin.entry()
	}
	if st.Size == 0 {
		return versions.Entry{Kind: versions.File}, nil
	}
	var e versions.Entry
	var holes []versions.Range
	var err error
	if st.Blocks*512 < st.Size {
		if holes, err = file.Holes(st.Size); err != nil {
			return versions.Entry{}, err
		}
	}
	src := &source{file: file, left: st.Size}
	if len(holes) > 0 {
		e, err = b.contents.WriteSparse(ctx, src, st.Size, holes)
	} else {
		e, err = b.contents.Write(ctx, src)
	}
	switch {
	case src.short:
		return versions.Entry{}, errMoved
	case src.err != nil:
		return versions.Entry{}, src.err
	case err != nil:
		if ctx.Err() == nil {
			b.fatal(fmt.Errorf("%s: %w", j.path, err)) // the store's trouble, not the file's
		}
		return versions.Entry{}, err
	}
	b.files.Add(1)
	b.bytes.Add(st.Size)
	if b.o.Progress != nil {
		b.o.Progress(1, st.Size)
	}
	return e, nil
}

// source reads a file up to the size it had, and tells its errors from those
// of who reads it.
type source struct {
	file  *disk.File
	left  int64
	short bool // it ended before its size
	err   error
}

// Read is io.Reader. It says with the last bytes that they are the last.
func (s *source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.file.Read(p)
	s.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF):
		s.short = true
		return n, io.EOF
	case err != nil:
		s.err = err
		return n, err
	case s.left == 0:
		return n, io.EOF
	}
	return n, nil
}

// ReadAt is io.ReaderAt.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(p, off)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		s.short = true
	default:
		s.err = err
	}
	return n, err
}
