package disk

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/syncfs/syncfs/versions"
)

// partPrefix begins the names of incomplete files.
const partPrefix = ".syncfs-part-"

// partName begins the names of incomplete files of one restore. It tells the
// process, so that another knows whether somebody still writes them.
func partName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return partPrefix + strconv.Itoa(os.Getpid()) + "-" + hex.EncodeToString(b[:]) + "-"
}

// sweepParts removes what a restore that was killed has left in a directory. What
// cannot be removed stays: it is in nobody's way.
func sweepParts(dir *Dir) {
	names, err := dir.List()
	if err != nil {
		return
	}
	for _, n := range names {
		if pid, ok := partOf(n.Name); ok && !runs(pid) {
			if st, err := dir.Stat(n.Name); err == nil && st.Type() == TypeFile {
				_ = dir.Remove(n.Name)
			}
		}
	}
}

// partOf is the process that a name of an incomplete file tells.
func partOf(name string) (pid int, ok bool) {
	parts := strings.Split(strings.TrimPrefix(name, partPrefix), "-")
	if !strings.HasPrefix(name, partPrefix) || len(parts) != 3 || len(parts[1]) != 16 {
		return 0, false
	}
	pid, err := strconv.Atoi(parts[0])
	_, nerr := strconv.Atoi(parts[2])
	return pid, err == nil && nerr == nil && pid > 0
}

// runs tells whether a process runs, as far as the system lets us know.
func runs(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH)
}

// batch writes some entries of one directory.
func (r *restorer) batch(ctx context.Context, n *node, entries []versions.Entry) {
	dir, err := r.at.OpenDir(n.path)
	if err != nil {
		for _, e := range entries {
			r.fail(relative(n.path, e.Name), err)
		}
		return
	}
	defer dir.Close()
	var files, size int64
	for i := range entries {
		if ctx.Err() != nil {
			return
		}
		e := &entries[i]
		path := relative(n.path, e.Name)
		if err := r.one(ctx, n, dir, path, e); err != nil && ctx.Err() == nil {
			r.fail(path, err)
		}
		files, size = files+1, size+e.Size
	}
	if r.o.Progress != nil {
		r.o.Progress(files, size)
	}
}

// one writes one entry that is no directory.
func (r *restorer) one(ctx context.Context, n *node, dir *Dir, path string, e *versions.Entry) error {
	if !n.made {
		st, err := dir.Stat(e.Name)
		if err == nil {
			if exact, err := dir.Exact(e.Name); !exact {
				r.refuse(path) // another file's name leads to the same
				return err
			}
			if done, err := r.met(ctx, dir, path, e, st); done || err != nil {
				return err
			}
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if e.Link == [16]byte{} {
		return r.write(ctx, dir, path, e)
	}
	other, wait := r.claim(n, e)
	switch {
	case wait:
		return nil
	case other != "":
		err := r.link(dir, path, e, other)
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EMLINK) {
			err = r.write(ctx, dir, path, e) // this disk has no hard links
		}
		return err
	}
	err := r.write(ctx, dir, path, e)
	if err == nil {
		r.stands(e, path)
	}
	return err
}

// claim returns the path of the group's file that stands already. While
// another worker is writing that, the entry is put off until all else is done.
func (r *restorer) claim(n *node, e *versions.Entry) (path string, wait bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g, known := r.groups[e.Link]
	if !known {
		r.groups[e.Link] = first{}
		return "", false
	}
	if g.path == "" && !r.finishing {
		n.left.Add(1)
		r.later = append(r.later, later{n, *e})
		return "", true
	}
	if g.path != "" && !versions.SameContent(g.entry, *e) {
		return "", false // no two names of one file: nothing may be lost by a wrong group
	}
	return g.path, false
}

// stands notes that path holds the group's file, complete.
func (r *restorer) stands(e *versions.Entry, path string) {
	if e.Link == [16]byte{} {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups[e.Link].path == "" {
		r.groups[e.Link] = first{path, *e}
	}
}

// write makes the file complete under a name of its own, then gives it its own.
func (r *restorer) write(ctx context.Context, dir *Dir, path string, e *versions.Entry) error {
	var content Content
	if e.Kind == versions.File && e.Size > 0 {
		reader, err := r.contents.Open(ctx, *e)
		if err != nil {
			return err
		}
		defer reader.Close()
		content = reader
	}
	part := r.part()
	_, notes, err := dir.Create(ctx, part, *e, content, r.create)
	if err != nil {
		return err
	}
	if err := r.name(dir, part, path, e); err != nil {
		return err
	}
	r.note(path, notes)
	r.files.Add(1)
	if e.Kind == versions.File {
		r.bytes.Add(e.Size)
	}
	return nil
}

func (r *restorer) part() string {
	return r.prefix + strconv.FormatInt(r.parts.Add(1), 10)
}

// name gives a complete file its name.
func (r *restorer) name(dir *Dir, part, path string, e *versions.Entry) error {
	err := error(&os.PathError{Op: "rename", Path: e.Name, Err: syscall.EINVAL})
	if dir.Holds(e.Name) {
		err = dir.Rename(part, dir, e.Name)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrExist) && r.o.Existing != KeepExisting {
		if err = dir.Replace(part, dir, e.Name); err == nil {
			return nil
		}
	}
	if rerr := dir.Remove(part); rerr != nil {
		err = errors.Join(err, rerr)
	}
	if errors.Is(err, os.ErrExist) && r.o.Existing == KeepExisting {
		r.refuse(path) // it came while we wrote
		return nil
	}
	return err
}

// link makes path another name of the file at other.
func (r *restorer) link(dir *Dir, path string, e *versions.Entry, other string) error {
	from, name, err := r.at.parent(other)
	if err != nil {
		return err
	}
	defer from.Close()
	part := r.part()
	if err := from.Link(name, dir, part); err != nil {
		return err
	}
	if err := r.name(dir, part, path, e); err != nil {
		return err
	}
	r.files.Add(1)
	return nil
}

// met decides about what has the entry's name already; done means that nothing
// is to be written.
func (r *restorer) met(ctx context.Context, dir *Dir, path string, e *versions.Entry, st Stat) (done bool, err error) {
	same, err := r.same(ctx, dir, e, st)
	if err != nil {
		return true, err
	}
	switch {
	case same:
		r.equal.Add(1)
		r.stands(e, path)
		if r.o.Existing == ReplaceExisting {
			_, notes, err := dir.SetMeta(e.Name, MetaOf(*e, r.create))
			r.note(path, notes)
			return true, err
		}
		return true, nil
	case st.Type() == TypeDir || r.o.Existing == KeepExisting:
		r.refuse(path)
		return true, nil
	case r.o.Existing == ReplaceOlder && st.MTime >= e.MTime:
		r.leave(path)
		return true, nil
	}
	return false, nil
}

// same tells whether what is there is what the entry says. A file of equal size
// and time is taken for equal unless the caller wants it compared.
func (r *restorer) same(ctx context.Context, dir *Dir, e *versions.Entry, st Stat) (bool, error) {
	if kind, _ := st.Kind(); kind != e.Kind {
		return false, nil
	}
	switch e.Kind {
	case versions.Symlink:
		target, err := dir.Readlink(e.Name)
		return target == e.Target, err
	case versions.CharDev, versions.BlkDev:
		return st.Device == e.Device, nil
	}
	if st.Size != e.Size {
		return false, nil
	}
	if st.MTime == e.MTime && !r.o.Compare {
		return true, nil
	}
	file, err := dir.Open(e.Name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	content, err := r.contents.Open(ctx, *e)
	if err != nil {
		return false, err
	}
	defer content.Close()
	return equalContent(ctx, file, content, e.Size)
}

// equalContent compares size bytes.
func equalContent(ctx context.Context, file io.ReaderAt, content Content, size int64) (bool, error) {
	a, b := make([]byte, 256<<10), make([]byte, 256<<10)
	for off := int64(0); off < size; {
		n := int(min(int64(len(a)), size-off))
		if _, err := file.ReadAt(a[:n], off); err == io.EOF { //nolint:errorlint // never wrapped
			return false, nil // it has become shorter
		} else if err != nil {
			return false, err
		}
		if m, err := content.ReadAtContext(ctx, b[:n], off); m < n {
			return false, err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
		off += int64(n)
	}
	return true, nil
}
