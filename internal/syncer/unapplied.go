package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// What cannot be put here (a full disk, a bad block, content that is damaged on
// the remote) stops nothing else: it is named, and tried again.

// maxNamed bounds the paths that status names.
const maxNamed = 1000

// retryHere is the longest wait before what could not be put here is tried
// again: room may be made in a moment.
const retryHere = 10 * time.Second

// unapplied are the paths of one apply that could not be made what they are to
// be.
type unapplied struct {
	paths []folder.Trouble // the first of them
	n     int
}

func (u *unapplied) Error() string {
	first := u.paths[0]
	if u.n == 1 {
		return first.Error()
	}
	return fmt.Sprintf("%d paths cannot be put here yet, such as %s", u.n, first.Error())
}

// Unwrap is why the first of them was not.
func (u *unapplied) Unwrap() error { return u.paths[0].Err }

// fail notes that path could not be made what it is to be.
func (a *applier) fail(path string, err error) {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err // its path is one of ours, in staging
	}
	if a.failed == nil {
		a.failed = &unapplied{}
	}
	a.failed.n++
	if len(a.failed.paths) < maxNamed {
		a.failed.paths = append(a.failed.paths, folder.Trouble{Path: path, Err: fmt.Errorf("it cannot be put here: %w", err)})
	}
}

// failure is what an apply could not do; nil when that is nothing.
func (a *applier) failure() error {
	if a.failed == nil {
		return nil
	}
	return a.failed
}

// about tells whether an error in staging one path is that path's alone: of this
// disk, or of its content. Others, such as a remote that does not answer, would
// meet the next path as well, and so would a disk that is read-only.
func about(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || offline(err) || errors.Is(err, syscall.EROFS) {
		return false
	}
	var p *fs.PathError
	return errors.As(err, &p) || errors.Is(err, store.ErrCorrupt) || errors.Is(err, versions.ErrCorrupt) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF)
}

// room is what may still be staged. What does not fit is not even fetched: it
// would be again with every attempt.
type room struct{ bytes, inodes int64 }

// room asks the disk; one that does not say has room.
func (a *applier) room() room {
	bytes, inodes, err := a.stage.Free()
	if err != nil {
		a.s.o.Logger.Debug("the disk does not tell its free space", "err", err)
		return room{math.MaxInt64, math.MaxInt64}
	}
	return room{bytes, inodes}
}

// take tells whether there is room for one more entry, and takes it.
func (r *room) take(e versions.Entry) bool {
	size := e.Size
	for _, h := range e.Holes {
		size -= h.Length
	}
	if e.Kind != versions.File {
		size = 0
	}
	if r.inodes < 1 || r.bytes < size {
		return false
	}
	r.inodes--
	r.bytes -= size
	return true
}

// tellUnapplied has status name the paths that an apply could not put here.
func (s *Syncer) tellUnapplied(err error) {
	var paths []folder.Trouble
	if u := (*unapplied)(nil); errors.As(err, &u) {
		paths = u.paths
	}
	s.mu.Lock()
	s.status.unapplied = paths
	s.mu.Unlock()
}
