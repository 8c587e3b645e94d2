package containerbackup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// walker reads a directory of the host, as it is, into a tree.
type walker struct {
	trees    *versions.Trees
	contents *versions.Contents
	owners   *disk.Owners
	sums     *sums
	top      string // of the snapshot's paths
	exclude  map[string]bool
	before   *past // the last backup; nil: none
	read     *atomic.Int64

	mu       sync.Mutex // guards all below
	links    map[[2]uint64][16]byte
	taken    map[[16]byte]bool // hard-link groups in use
	warnings []string
}

// past is what the last backup has of what is being read.
type past struct {
	root  versions.Entry
	sums  *sums
	since time.Time // when it was read, at the earliest
}

// readAll reads the directory at source.
func (w *walker) readAll(ctx context.Context, source string) (versions.Entry, error) {
	w.links, w.taken = map[[2]uint64][16]byte{}, map[[16]byte]bool{}
	root, err := disk.OpenRoot(source)
	if err != nil {
		return versions.Entry{}, fmt.Errorf("read %s: %w", source, err)
	}
	defer root.Close()
	d, err := root.OpenDir("")
	if err != nil {
		return versions.Entry{}, fmt.Errorf("read %s: %w", source, err)
	}
	defer d.Close()
	// Only what was synced moves a file's times at the next store through a
	// mapping, and by its times it is known next time.
	if err := d.SyncDisk(); err != nil {
		return versions.Entry{}, fmt.Errorf("sync %s: %w", source, err)
	}
	e, _, notes, err := d.SelfEntry(w.owners)
	if err != nil {
		return versions.Entry{}, fmt.Errorf("read %s: %w", source, err)
	}
	w.noted("", notes)
	var old versions.Entry
	if w.before != nil {
		old = w.before.root
	}
	if e, err = w.dir(ctx, d, "", owned(e), old); err != nil {
		return versions.Entry{}, fmt.Errorf("read %s: %w", source, err)
	}
	return e, nil
}

// dir reads what is in a directory, of which e says the rest.
func (w *walker) dir(ctx context.Context, d *disk.Dir, rel string, e, old versions.Entry) (versions.Entry, error) {
	names, err := d.List()
	if err != nil {
		return versions.Entry{}, &fs.PathError{Op: "list", Path: rel, Err: err}
	}
	was := map[string]versions.Entry{}
	if old.Kind == versions.Dir {
		list, err := w.trees.Read(ctx, old.Tree)
		if err != nil {
			return versions.Entry{}, err
		}
		for _, o := range list {
			was[o.Name] = o
		}
	}
	entries := make([]*versions.Entry, len(names))
	files, fctx := errgroup.WithContext(ctx)
	files.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i, n := range names {
		at := path.Join(rel, n.Name)
		if w.exclude[at] {
			continue
		}
		if n.Type == disk.TypeDir {
			continue
		}
		files.Go(func() (err error) {
			entries[i], err = w.name(fctx, d, at, n.Name, was[n.Name])
			return err
		})
	}
	err = files.Wait()
	for i, n := range names {
		at := path.Join(rel, n.Name)
		if err != nil || n.Type != disk.TypeDir || w.exclude[at] {
			continue
		}
		entries[i], err = w.name(ctx, d, at, n.Name, was[n.Name])
	}
	if err != nil {
		return versions.Entry{}, err
	}
	var list []versions.Entry
	for _, one := range entries {
		if one != nil {
			list = append(list, *one)
		}
	}
	err = listed(ctx, w.trees, &e, list)
	return e, err
}

// name reads what stands under one name; nil where it is gone, or nothing that
// can be kept.
func (w *walker) name(ctx context.Context, d *disk.Dir, rel, name string, old versions.Entry) (*versions.Entry, error) {
	e, st, notes, err := d.Entry(name, w.owners)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.warn(rel, "it went while it was read")
		return nil, nil
	case err != nil:
		return nil, &fs.PathError{Op: "read", Path: rel, Err: err}
	case e.Kind == 0:
		w.warn(rel, "it is a socket or a pipe")
		return nil, nil
	}
	w.noted(rel, notes)
	e = owned(e)
	switch e.Kind {
	case versions.Dir:
		below, err := d.OpenDir(name)
		if errors.Is(err, disk.ErrSubmount) {
			w.warn(rel, "something else is mounted there")
			err := listed(ctx, w.trees, &e, nil)
			return &e, err
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: rel, Err: err}
		}
		defer below.Close()
		e, err = w.dir(ctx, below, rel, e, old)
		return &e, err
	case versions.File:
		e, err = w.file(ctx, d, rel, name, old)
		if errors.Is(err, fs.ErrNotExist) {
			w.warn(rel, "it went while it was read")
			return nil, nil
		}
		if errors.Is(err, disk.ErrSubmount) {
			w.warn(rel, "something else is mounted there")
			return nil, nil
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: rel, Err: err}
		}
	}
	e.Link = w.group(e, st, old)
	if err := e.Validate(); err != nil {
		return nil, &fs.PathError{Op: "keep", Path: rel, Err: err}
	}
	return &e, nil
}

// group is the hard-link group of an inode with several names.
func (w *walker) group(e versions.Entry, st disk.Stat, old versions.Entry) (id [16]byte) {
	if st.Links < 2 || e.Kind == versions.Dir {
		return id
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	inode := [2]uint64{st.Dev, st.Ino}
	if known, ok := w.links[inode]; ok {
		return known
	}
	id = old.Link
	if id == ([16]byte{}) || w.taken[id] {
		rand.Read(id[:]) // never fails
	}
	w.links[inode], w.taken[id] = id, true
	return id
}

// tries is how often a file is read that moves while it is read.
const tries = 4

// file reads a regular file.
func (w *walker) file(ctx context.Context, d *disk.Dir, rel, name string, old versions.Entry) (versions.Entry, error) {
	f, err := d.Open(name)
	if err != nil {
		return versions.Entry{}, err
	}
	defer f.Close()
	for try := 1; ; try++ {
		e, st, _, err := f.Entry(w.owners)
		if err != nil {
			return versions.Entry{}, err
		}
		e = owned(e)
		if w.unchanged(rel, e, st, old) {
			e.Pieces, e.List, e.Holes = old.Pieces, old.List, old.Holes
			return e, nil
		}
		sum, err := w.content(ctx, f, st, &e)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return versions.Entry{}, err
		}
		after, serr := f.Stat()
		if serr != nil {
			return versions.Entry{}, serr
		}
		if err == nil && after.Same(st.Sig) {
			w.sums.set(path.Join(w.top, rel), sum)
			return e, nil
		}
		if try == tries && err == nil {
			w.warn(rel, "it was written while it was read")
			e.Unstable = true
			w.sums.set(path.Join(w.top, rel), sum)
			return e, nil
		}
		if try == 2*tries {
			return versions.Entry{}, fmt.Errorf("it shrinks whenever it is read: %w", err)
		}
	}
}

// unchanged tells whether the last backup has a file as it is: what an inode
// went through since that backup began shows in the time of its last change,
// which no program can set.
func (w *walker) unchanged(rel string, e versions.Entry, st disk.Stat, old versions.Entry) bool {
	if w.before == nil || old.Kind != versions.File || old.Unstable || old.Size != st.Size || old.MTime != e.MTime {
		return false
	}
	if !time.Unix(0, st.CTime).Before(w.before.since.Add(-2 * time.Second)) {
		return false
	}
	at := path.Join(w.top, rel)
	sum, ok := w.before.sums.get(at)
	if ok {
		w.sums.set(at, sum)
	}
	return ok
}

// content stores a file's bytes and returns their checksum.
func (w *walker) content(ctx context.Context, f *disk.File, st disk.Stat, e *versions.Entry) (sum [sha256.Size]byte, err error) {
	var holes []versions.Range
	if st.Blocks*512 < st.Size {
		if holes, err = f.Holes(st.Size); err != nil {
			return sum, err
		}
	}
	in := &hashed{f: f, size: st.Size, hash: sha256.New()}
	var got versions.Entry
	if len(holes) > 0 {
		got, err = w.contents.WriteSparse(ctx, in, st.Size, holes)
	} else {
		got, err = w.contents.Write(ctx, io.NewSectionReader(in, 0, st.Size))
	}
	if err == nil && in.short {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return sum, err
	}
	if err := in.zeros(st.Size); err != nil {
		return sum, err
	}
	w.read.Add(st.Size)
	e.Size, e.Pieces, e.List, e.Holes = got.Size, got.Pieces, got.List, got.Holes
	return [sha256.Size]byte(in.hash.Sum(nil)), nil
}

// hashed reads a file and sums up what is read, which comes in order; what is
// left out between are zeros.
type hashed struct {
	f     *disk.File
	size  int64
	hash  hash.Hash
	at    int64
	short bool // it ended before its size
}

// ReadAt is io.ReaderAt.
func (h *hashed) ReadAt(p []byte, off int64) (int, error) {
	n, err := h.f.ReadAt(p, off)
	if err == io.EOF && off+int64(n) < h.size {
		h.short, err = true, io.ErrUnexpectedEOF
	}
	if zerr := h.zeros(off); zerr != nil {
		return 0, zerr
	}
	h.hash.Write(p[:n])
	h.at += int64(n)
	return n, err
}

// zeros sums up a hole that ends at to.
func (h *hashed) zeros(to int64) error {
	if to < h.at {
		return fmt.Errorf("read at %d after %d: not in order", to, h.at)
	}
	var none [32 << 10]byte
	for h.at < to {
		n := min(to-h.at, int64(len(none)))
		h.hash.Write(none[:n])
		h.at += n
	}
	return nil
}

// maxWarnings bounds what is told of one volume.
const maxWarnings = 100

func (w *walker) warn(rel, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.warnings) < maxWarnings {
		w.warnings = append(w.warnings, path.Join(w.top, rel)+": "+text)
	}
}

func (w *walker) noted(rel string, notes []disk.Note) {
	for _, n := range notes {
		w.warn(rel, n.Error())
	}
}

// told are the warnings, in order.
func (w *walker) told() []string {
	slices.Sort(w.warnings)
	return w.warnings
}
