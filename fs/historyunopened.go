//go:build linux

package fs

import (
	"context"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// unopened are the contents of files in a mount of its own, where nobody opens
// or closes: a content is opened when it is first read and closed once its end
// was read, or when it rests. A walk that reads small files so has one open at
// a time, and costs one request for each.
type unopened struct {
	mu     sync.Mutex
	byID   map[uint64]*unopenedFile // guarded by mu
	closed bool                     // guarded by mu
}

// unopenedFile is a content in use, or resting. unopened.mu guards it.
type unopenedFile struct {
	file  *pastFileHandle
	users int
	used  bool // since the last sweep
}

// restingContents are kept open besides those in use: each may hold some
// megabytes that were fetched ahead.
const restingContents = 4

func (u *unopened) init() { u.byID = map[uint64]*unopenedFile{} }

// get finds or opens the content of a node for one request, which calls done.
func (u *unopened) get(ctx context.Context, h *History, id uint64) (*pastFileHandle, func(), fuse.Status) {
	if o := u.use(id, nil); o != nil {
		return o.file, func() { u.done(h, id, o) }, fuse.OK
	}
	f, status := h.openFile(ctx, id)
	if status != fuse.OK {
		return nil, nil, status
	}
	o := u.use(id, f)
	if o == nil {
		f.content.Close()
		return nil, nil, fuse.EIO // the mount is over
	}
	if o.file != f { // another request was faster
		f.content.Close()
	}
	return o.file, func() { u.done(h, id, o) }, fuse.OK
}

// use is the open content of a node; if there is none, that of f, if given.
func (u *unopened) use(id uint64, f *pastFileHandle) *unopenedFile {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := u.byID[id]
	if o == nil {
		if f == nil || u.closed {
			return nil
		}
		o = &unopenedFile{file: f}
		u.byID[id] = o
	}
	o.users++
	o.used = true
	return o
}

// done ends one use.
func (u *unopened) done(h *History, id uint64, o *unopenedFile) {
	u.mu.Lock()
	var over []*unopenedFile
	if o.users--; o.users == 0 {
		if o.file.ended.Load() || u.closed {
			delete(u.byID, id)
			over = append(over, o)
		}
		over = append(over, u.crowded()...)
	}
	resting := len(u.byID) > 0
	u.mu.Unlock()
	for _, o := range over {
		o.file.content.Close()
	}
	if resting {
		h.sweepSoon()
	}
}

// crowded takes out what rests beyond the bound. u.mu is held.
func (u *unopened) crowded() (over []*unopenedFile) {
	resting := 0
	for id, o := range u.byID {
		if o.users > 0 {
			continue
		}
		if resting++; resting > restingContents {
			delete(u.byID, id)
			over = append(over, o)
		}
	}
	return over
}

// sweep closes what rested since the last sweep, and tells whether any is left.
func (u *unopened) sweep() (left bool) {
	u.mu.Lock()
	var over []*unopenedFile
	for id, o := range u.byID {
		if o.users == 0 && !o.used {
			delete(u.byID, id)
			over = append(over, o)
		}
		o.used = false
	}
	left = len(u.byID) > 0
	u.mu.Unlock()
	for _, o := range over {
		o.file.content.Close()
	}
	return left
}

// close closes what rests, and the others when they are done.
func (u *unopened) close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.sweep()
	u.sweep()
}

func (u *unopened) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.byID)
}

// sweepEvery is how long what may be large is kept without use, at least.
const sweepEvery = 5 * time.Second

// sweepSoon sees to it that what is not used any more is dropped.
func (h *History) sweepSoon() {
	if h.ctx.Err() == nil && !h.sweeping.Swap(true) {
		time.AfterFunc(sweepEvery, h.sweep)
	}
}

func (h *History) sweep() {
	h.sweeping.Store(false)
	listing, content := h.listings.sweep(), h.unopened.sweep()
	if listing || content {
		h.sweepSoon()
	}
}
