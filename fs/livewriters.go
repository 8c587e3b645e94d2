//go:build linux

package fs

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// glance is how often a file that is being written is looked at.
const glance = time.Second

// writers are the files that count as being written: from the first open for
// writing until a read lease on the file is granted, since a mapping outlives
// the handle that it was made with. Nothing tells of a store to a mapping, or
// of a write that is passed through, so such files are looked at.
type writers struct {
	l    *Live
	mu   sync.Mutex // guards all below
	all  map[*node]*writing
	wake chan struct{} // of capacity 1
}

type writing struct {
	handles int
	fd      int  // held for reading while no handle is open and a lease is refused; -1: none
	last    look // what the kernel was told last
	known   bool // last is right
}

// look is what tells that a file moved.
type look struct {
	content
	ctime int64
}

func lookOf(st *unix.Statx_t) look {
	return look{contentOf(st), st.Ctime.Sec*1e9 + int64(st.Ctime.Nsec)}
}

func (w *writers) init(l *Live) {
	w.l, w.all, w.wake = l, map[*node]*writing{}, make(chan struct{}, 1)
}

// opened says that a handle of n may write.
func (w *writers) opened(n *node) {
	w.mu.Lock()
	b := w.all[n]
	first := b == nil
	if first {
		b = &writing{fd: -1}
		w.all[n] = b
	}
	b.handles++
	w.mu.Unlock()
	// Each time: it may have been taken since the last one, and a close is told
	// to us only after the program went on.
	w.l.changed(n)
	if first {
		w.l.nodes.pin(n) // its names must stay right
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// told notes what the kernel is told of a file: while that is what the disk
// has, nothing need be invalidated.
func (w *writers) told(n *node, st *unix.Statx_t) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b := w.all[n]; b != nil {
		b.last, b.known = lookOf(st), true
	}
}

// released says that a handle that might write is gone.
func (w *writers) released(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b := w.all[n]; b != nil {
		b.handles--
	}
}

func (w *writers) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

// watch looks at the files that are being written, while there are any.
func (w *writers) watch(ctx context.Context) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		for w.len() > 0 {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, n := range w.nodes() {
				w.glance(n)
			}
		}
	}
}

func (w *writers) nodes() []*node {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*node, 0, len(w.all))
	for n := range w.all {
		all = append(all, n)
	}
	return all
}

// glance looks at one file: tells of it when it moved, and lets go of it when
// nobody can write to it any more.
func (w *writers) glance(n *node) {
	l := w.l
	l.tree.RLock()
	defer l.tree.RUnlock()
	w.mu.Lock()
	b := w.all[n]
	handles, fd := b.handles, b.fd
	w.mu.Unlock()

	var st unix.Statx_t
	idle := false
	if handles > 0 {
		if done, err := l.withHandle(n, func(fd int) error { return statFD(fd, &st) }); !done || err != nil {
			return // being released; next time
		}
	} else {
		if fd < 0 {
			var err error
			if fd, err = l.openNode(n, unix.O_RDONLY|unix.O_NONBLOCK); err != nil {
				// Unlinked, or unreadable even to us: nothing more can be learnt of it.
				w.letGo(n, -1)
				return
			}
		}
		idle = leased(fd)
		if err := statFD(fd, &st); err != nil {
			idle = true
		}
	}
	now := lookOf(&st)
	w.mu.Lock()
	moved := !b.known || b.last != now
	b.last, b.known, b.fd = now, true, fd
	w.mu.Unlock()
	if moved {
		l.changed(n)
		l.notify.add(notice{node: n.id})
	}
	if idle {
		w.letGo(n, fd)
	}
}

// leased tells whether nobody has the file open for writing or mapped so. A
// lease is given back at once; where there are none, the handles decide.
func leased(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return err != unix.EAGAIN
}

// letGo forgets n, unless it was opened for writing again.
func (w *writers) letGo(n *node, fd int) {
	w.mu.Lock()
	b := w.all[n]
	again := b.handles > 0
	if again {
		b.fd = -1
	} else {
		delete(w.all, n)
	}
	w.mu.Unlock()
	if fd >= 0 {
		unix.Close(fd)
	}
	if !again {
		w.l.nodes.release(n)
	}
}

func (w *writers) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.all {
		if b.fd >= 0 {
			unix.Close(b.fd)
		}
	}
	clear(w.all)
}
