//go:build linux

package fs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// handle is one open file or directory of the kernel.
type handle struct {
	n     *node
	o     *opened // files
	fd    int     // -1: nothing is behind it (a submount's empty directory)
	write bool
	pass  bool        // reads and writes go to the backing file without us
	stub  atomic.Bool // what is read of it may have to be fetched first
	dir   *dirStream  // directories
}

// handleTable numbers handles.
type handleTable struct {
	mu   sync.Mutex // guards all below
	all  []*handle
	free []uint64
}

func (t *handleTable) init() { t.all = make([]*handle, 1) } // 0 is never a handle

func (t *handleTable) add(h *handle) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := len(t.free); k > 0 {
		fh := t.free[k-1]
		t.free = t.free[:k-1]
		t.all[fh] = h
		return fh
	}
	t.all = append(t.all, h)
	return uint64(len(t.all) - 1)
}

func (t *handleTable) get(fh uint64) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fh >= uint64(len(t.all)) {
		return nil
	}
	return t.all[fh]
}

func (t *handleTable) remove(fh uint64) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fh >= uint64(len(t.all)) || t.all[fh] == nil {
		return nil
	}
	h := t.all[fh]
	t.all[fh] = nil
	t.free = append(t.free, fh)
	return h
}

func (t *handleTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all) - 1 - len(t.free)
}

func (t *handleTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.all {
		if h != nil && h.fd >= 0 {
			unix.Close(h.fd)
		}
	}
	t.all, t.free = t.all[:1], nil
}

// opened is what a node has while handles of it are open.
type opened struct {
	refs int // handles, also those still being made; nodeTable.mu guards it

	mu      sync.Mutex // guards all below
	handles []*handle
	mode    ioMode // of all of them: the kernel refuses a mix
	backing int32  // passed
}

type ioMode int

const (
	undecided ioMode = iota
	served           // reads and writes are requests, the kernel's page cache is ours
	passed           // the kernel reads and writes the backing file
)

// content is what a file was when its pages were last known to be right in the
// kernel's cache.
type content struct{ mtime, size int64 }

func contentOf(st *unix.Statx_t) content {
	return content{st.Mtime.Sec*1e9 + int64(st.Mtime.Nsec), int64(st.Size)}
}

// opening is the opened of n, made when there is none.
func (t *nodeTable) opening(n *node) *opened {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.open[n]
	if o == nil {
		o = &opened{}
		t.open[n] = o
	}
	o.refs++
	n.pins++
	return o
}

// closed undoes opening, with the last of them for good.
func (t *nodeTable) closed(n *node, o *opened) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.refs--; o.refs == 0 {
		delete(t.open, n)
	}
	t.unpin(n)
}

func (t *nodeTable) openedOf(n *node) *opened {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[n]
}
