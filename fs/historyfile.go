//go:build linux

package fs

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// pastHandles are open files and directories.
type pastHandles struct {
	mu   sync.Mutex
	last uint64
	byFh map[uint64]any // *pastDirHandle or *pastFileHandle
}

func (t *pastHandles) init() { t.byFh = map[uint64]any{} }

func (t *pastHandles) add(handle any) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.byFh[t.last] = handle
	return t.last
}

func (t *pastHandles) get(fh uint64) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byFh[fh]
}

func (t *pastHandles) replace(fh uint64, handle any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.byFh[fh]; ok {
		t.byFh[fh] = handle
	}
}

func (t *pastHandles) remove(fh uint64) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	handle := t.byFh[fh]
	delete(t.byFh, fh)
	return handle
}

func (t *pastHandles) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byFh)
}

func (t *pastHandles) closeAll() {
	t.mu.Lock()
	open := t.byFh
	t.byFh = map[uint64]any{}
	t.mu.Unlock()
	for _, handle := range open {
		if f, ok := handle.(*pastFileHandle); ok {
			f.content.Close()
		}
	}
}

// pastFileHandle is an open file.
type pastFileHandle struct {
	name    string
	size    int64
	holes   []versions.Range
	content Content
	ended   atomic.Bool // its last byte was read, or nothing can be
}

// textContent is a file that we make up.
type textContent string

func (t textContent) ReadAtContext(_ context.Context, p []byte, off int64) (int, error) {
	if off >= int64(len(t)) {
		return 0, io.EOF
	}
	return copy(p, t[off:]), nil
}

func (t textContent) Close() error { return nil }

// Open opens a file for reading. In a mount of its own there is no need to: the
// kernel is told so once, and then reads without opening.
func (h *History) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&unix.O_ACCMODE != unix.O_RDONLY || in.Flags&(unix.O_TRUNC|unix.O_CREAT) != 0 {
		return fuse.EROFS
	}
	if h.own {
		return fuse.ENOSYS
	}
	f, status := h.openFile(requestContext(cancel), in.NodeId)
	if status != fuse.OK {
		return status
	}
	out.Fh = h.handles.add(f)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	return fuse.OK
}

func (h *History) openFile(ctx context.Context, id uint64) (*pastFileHandle, fuse.Status) {
	n := h.nodes.get(id)
	if n == nil {
		return nil, fuse.Status(unix.ESTALE)
	}
	if text := n.text(); text != "" {
		return &pastFileHandle{name: n.name, size: int64(len(text)), content: textContent(text)}, fuse.OK
	}
	e, _, err := h.entryOf(ctx, n)
	if err != nil {
		return nil, h.failed("entry "+n.where(), err)
	}
	if e.Kind != versions.File {
		return nil, fuse.Status(unix.ENXIO)
	}
	content, err := h.o.Source.Open(ctx, *e)
	if err != nil {
		return nil, h.failed("content of "+n.where(), err)
	}
	return &pastFileHandle{name: e.Name, size: e.Size, holes: e.Holes, content: content}, fuse.OK
}

// file is the open file of a request; done must be called after.
func (h *History) file(ctx context.Context, id, fh uint64) (f *pastFileHandle, done func(), status fuse.Status) {
	if h.own {
		return h.unopened.get(ctx, h, id)
	}
	f, ok := h.handles.get(fh).(*pastFileHandle)
	if !ok {
		return nil, nil, fuse.EBADF
	}
	return f, func() {}, fuse.OK
}

// Read reads a file's content.
func (h *History) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	ctx := requestContext(cancel)
	f, done, status := h.file(ctx, in.NodeId, in.Fh)
	if status != fuse.OK {
		return nil, status
	}
	defer done()
	off := int64(in.Offset)
	want := min(int64(len(buf)), max(f.size-off, 0))
	if want == 0 {
		return fuse.ReadResultData(nil), fuse.OK
	}
	n, err := f.content.ReadAtContext(ctx, buf[:want], off)
	if err != nil && (!errors.Is(err, io.EOF) || int64(n) < want) {
		f.ended.Store(true) // the next read begins anew
		return nil, h.failed("content of "+f.name, err)
	}
	if off+want == f.size {
		f.ended.Store(true)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Lseek finds data and holes.
func (h *History) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	f, done, status := h.file(requestContext(cancel), in.NodeId, in.Fh)
	if status != fuse.OK {
		return status
	}
	defer done()
	off := int64(in.Offset)
	if off < 0 || off >= f.size {
		return fuse.Status(unix.ENXIO)
	}
	switch in.Whence {
	case unix.SEEK_DATA:
		off = seekData(f.holes, off)
		if off >= f.size {
			return fuse.Status(unix.ENXIO)
		}
	case unix.SEEK_HOLE:
		off = seekHole(f.holes, off, f.size)
	default:
		return fuse.EINVAL
	}
	out.Offset = uint64(off)
	return fuse.OK
}

// seekData is the first offset from off that is in no hole.
func seekData(holes []versions.Range, off int64) int64 {
	for _, hole := range holes {
		if hole.Offset <= off && off < hole.Offset+hole.Length {
			off = hole.Offset + hole.Length
		}
	}
	return off
}

// seekHole is the first offset from off that is in a hole, or the end.
func seekHole(holes []versions.Range, off, size int64) int64 {
	for _, hole := range holes {
		if off < hole.Offset+hole.Length {
			return min(max(off, hole.Offset), size)
		}
	}
	return size
}

// Release closes a file.
func (h *History) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if f, ok := h.handles.remove(in.Fh).(*pastFileHandle); ok {
		if err := f.content.Close(); err != nil {
			h.failed("close of "+f.name, err)
		}
	}
}

// Flush has nothing to do; the kernel need not ask again.
func (h *History) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status {
	if h.own {
		return fuse.ENOSYS
	}
	return fuse.OK
}

// Fsync has nothing to do.
func (h *History) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }
