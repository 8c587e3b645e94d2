//go:build linux

package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// openFlags are what an open of the mount keeps for the backing file. The
// kernel places appends itself and aligns direct reads and writes itself.
const openFlags = unix.O_ACCMODE | unix.O_TRUNC | unix.O_SYNC | unix.O_DSYNC | unix.O_NOATIME

// Open opens a file.
func (l *Live) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.Open(cancel, in, out)
	}
	n := l.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	flags := int(in.Flags) & openFlags
	for {
		if status := l.ready(cancel, n, flags, &in.Caller); status != fuse.OK {
			return status
		}
		if status, again := l.openReady(n, flags, in, out); !again {
			return status
		}
	}
}

// openReady opens a file; again: it must be made ready once more.
func (l *Live) openReady(n *node, flags int, in *fuse.OpenIn, out *fuse.OpenOut) (status fuse.Status, again bool) {
	l.tree.RLock()
	defer l.tree.RUnlock()
	var fd int
	open := func() (err error) { fd, err = l.openFile(n, flags); return err }
	var err error
	if flags&unix.O_TRUNC != 0 && (in.Mode&fuse.OPEN_KILL_SUIDGID != 0 || in.Uid != 0) {
		err = l.rights.modest(open)
	} else {
		err = open()
	}
	if err != nil {
		return l.status("open", err), false
	}
	if l.unready(fd, flags) {
		unix.Close(fd)
		return fuse.OK, true
	}
	l.attach(n, fd, flags, out)
	return fuse.OK, false
}

// openFile opens n; one without a name that somebody has open can be opened
// again, by /proc.
func (l *Live) openFile(n *node, flags int) (int, error) {
	fd, err := l.openNode(n, flags)
	if err != unix.ESTALE {
		return fd, err
	}
	if done, reopened := l.withHandle(n, func(have int) (err error) {
		fd, err = unix.Open(procPath(have), flags|unix.O_CLOEXEC, 0)
		return err
	}); done {
		return fd, reopened
	}
	return -1, err
}

// attach makes fd a handle of n and decides how it is read and written.
func (l *Live) attach(n *node, fd, flags int, out *fuse.OpenOut) {
	h := &handle{n: n, fd: fd, write: flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0}
	o := l.nodes.opening(n)
	h.o = o
	stub := l.isStub(fd)
	h.stub.Store(stub)
	o.mu.Lock()
	switch {
	case o.mode == undecided && stub:
		o.mode = served
	case o.mode == undecided:
		o.mode, o.backing = l.backing.open(fd)
	}
	h.pass = o.mode == passed
	o.handles = append(o.handles, h)
	out.OpenFlags = fuse.FOPEN_NOFLUSH
	if h.pass {
		out.OpenFlags |= fuse.FOPEN_PASSTHROUGH
		out.BackingID = o.backing
	} else if l.keepCache(n, fd) {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	o.mu.Unlock()
	out.Fh = l.handles.add(h)
	if h.pass {
		l.stats.passed.Add(1)
	} else {
		l.stats.served.Add(1)
	}
	if h.write {
		l.writers.opened(n)
	}
	if l.o.Demand != nil {
		l.o.Demand.Opened(fd, h.write)
	}
}

// keepCache tells whether the pages that the kernel may have of n are still
// right, and notes what it will read.
func (l *Live) keepCache(n *node, fd int) bool {
	var st unix.Statx_t
	if statFD(fd, &st) != nil {
		return false
	}
	now := contentOf(&st)
	l.nodes.mu.Lock()
	defer l.nodes.mu.Unlock()
	same := l.nodes.seen[n] == now
	l.nodes.seen[n] = now
	return same
}

// Create makes and opens a file.
func (l *Live) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	parent, dir, leave, status := l.enter(in.NodeId, &in.Caller, name)
	if status != fuse.OK {
		return status
	}
	defer leave()
	since := l.notify.now()
	flags := int(in.Flags)&(openFlags|unix.O_EXCL) | unix.O_CREAT
	mode, masked := l.newMode(parent, dir, in.Mode&0o7777, in.Umask)
	var fd int
	var st unix.Statx_t
	err := l.rights.as(&in.Caller, func() (err error) {
		if fd, err = openat(dir.fd, name, flags, mode); err != nil {
			return err
		}
		if err = statFD(fd, &st); err == nil && masked {
			err = widen(fd, mode, &st)
		}
		if err != nil {
			unix.Close(fd)
		}
		return err
	})
	if err != nil {
		return l.status("create", err)
	}
	n := l.fillEntry(&out.EntryOut, parent, name, &st, since)
	l.attach(n, fd, flags, &out.OpenOut)
	l.writers.told(n, &st)
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		l.changedAt(parent, name) // else the first open for writing tells it
	}
	return fuse.OK
}

// Tmpfile makes a file without a name.
func (l *Live) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	parent, dir, leave, status := l.enter(in.NodeId, &in.Caller, "")
	if status != fuse.OK {
		return status
	}
	defer leave()
	since := l.notify.now()
	flags := int(in.Flags)&(openFlags|unix.O_EXCL) | unix.O_TMPFILE
	mode, masked := l.newMode(parent, dir, in.Mode&0o7777, in.Umask)
	var fd int
	var st unix.Statx_t
	err := l.rights.as(&in.Caller, func() (err error) {
		if fd, err = openat(dir.fd, ".", flags, mode); err != nil {
			return err
		}
		if err = statFD(fd, &st); err == nil && masked {
			err = widen(fd, mode, &st)
		}
		if err != nil {
			unix.Close(fd)
		}
		return err
	})
	if err != nil {
		return l.status("tmpfile", err)
	}
	n := l.fillEntry(&out.EntryOut, nil, "", &st, since)
	l.attach(n, fd, flags, &out.OpenOut)
	return fuse.OK
}

// Release ends a handle.
func (l *Live) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	if isPast(in.NodeId) {
		l.past.Release(cancel, in)
		return
	}
	h := l.handles.remove(in.Fh)
	if h == nil {
		return
	}
	n := h.n
	if h.write && !h.pass {
		l.keepCache(n, h.fd) // what the kernel wrote through us is what it has
	}
	o := h.o
	o.mu.Lock()
	for i, have := range o.handles {
		if have == h {
			o.handles = append(o.handles[:i], o.handles[i+1:]...)
			break
		}
	}
	if len(o.handles) == 0 && o.mode != undecided {
		if o.mode == passed {
			l.backing.close(o.backing)
		}
		o.mode, o.backing = undecided, 0
	}
	o.mu.Unlock()
	unix.Close(h.fd)
	if h.write {
		l.tree.RLock()
		l.changed(n)
		l.writers.released(n)
		l.tree.RUnlock()
	}
	l.nodes.closed(n, o)
}

// Read serves a file that is not passed through.
func (l *Live) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if isPast(in.NodeId) {
		return l.past.Read(cancel, in, buf)
	}
	h := l.handles.get(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	if status := l.fetch(cancel, h, in.Offset, uint64(in.Size)); status != fuse.OK {
		return nil, status
	}
	return fuse.ReadResultFd(uintptr(h.fd), int64(in.Offset), int(in.Size)), fuse.OK
}

// Write serves a file that is not passed through.
func (l *Live) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if isPast(in.NodeId) {
		return 0, fuse.EROFS
	}
	h := l.handles.get(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	written := 0
	write := func() error {
		for written < len(data) {
			k, err := unix.Pwrite(h.fd, data[written:], int64(in.Offset)+int64(written))
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return err
			}
			written += k
		}
		return nil
	}
	var err error
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 || in.Uid != 0 {
		err = l.rights.modest(write)
	} else {
		err = write()
	}
	if written > 0 {
		return uint32(written), fuse.OK // the rest fails again, and is told then
	}
	return 0, l.status("write", err)
}

// Writev is Write with data in pieces; go-fuse puts them together.
func (l *Live) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

// Flush is not asked for (FOPEN_NOFLUSH) by files of the live tree.
func (l *Live) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.Flush(cancel, in)
	}
	return fuse.OK
}

// fsyncData is FSYNC_FDATASYNC of the protocol.
const fsyncData = 1

func (l *Live) sync(what string, in *fuse.FsyncIn) fuse.Status {
	h := l.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if h.fd < 0 {
		return fuse.OK
	}
	if in.FsyncFlags&fsyncData != 0 {
		return l.status(what, unix.Fdatasync(h.fd))
	}
	return l.status(what, unix.Fsync(h.fd))
}

// Fsync makes a file durable.
func (l *Live) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.Fsync(cancel, in)
	}
	return l.sync("fsync", in)
}

// Fallocate reserves, frees or zeroes a part of a file.
func (l *Live) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if isPast(in.NodeId) {
		return fuse.EROFS
	}
	h := l.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	return l.status("fallocate", l.changing(&in.Caller, func() error {
		return unix.Fallocate(h.fd, in.Mode, int64(in.Offset), int64(in.Length))
	}))
}

// changing runs a change of content that carries no word about set-id bits.
func (l *Live) changing(c *fuse.Caller, f func() error) error {
	if c.Uid != 0 {
		return l.rights.modest(f)
	}
	return f()
}

// Lseek finds data and holes.
func (l *Live) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.Lseek(cancel, in, out)
	}
	h := l.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if h.stub.Load() {
		var st unix.Statx_t
		if err := statFD(h.fd, &st); err != nil {
			return l.status("lseek", err)
		}
		return seekWhole(int64(st.Size), int64(in.Offset), in.Whence, out)
	}
	off, err := unix.Seek(h.fd, int64(in.Offset), int(in.Whence))
	if err != nil {
		return l.status("lseek", err)
	}
	out.Offset = uint64(off)
	return fuse.OK
}

// CopyFileRange copies inside the disk, by reflink where it can.
func (l *Live) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	if isPast(in.NodeIdOut) {
		return 0, fuse.EROFS
	}
	if isPast(in.NodeId) {
		return 0, fuse.EXDEV // the kernel copies through memory then
	}
	from, to := l.handles.get(in.FhIn), l.handles.get(in.FhOut)
	if from == nil || to == nil {
		return 0, fuse.EBADF
	}
	if from.stub.Load() {
		in.Len = min(in.Len, 8*maxIO)
		if status := l.fetch(cancel, from, in.OffIn, in.Len); status != fuse.OK {
			return 0, status
		}
	}
	offIn, offOut := int64(in.OffIn), int64(in.OffOut)
	var n int
	err := l.changing(&in.Caller, func() (err error) {
		n, err = unix.CopyFileRange(from.fd, &offIn, to.fd, &offOut, int(min(in.Len, 1<<30)), int(in.Flags))
		return err
	})
	return uint32(n), l.status("copy_file_range", err)
}

// Ioctl: none is handed to the disk, where some do harm.
func (l *Live) Ioctl(cancel <-chan struct{}, in *fuse.IoctlIn, inbuf []byte, out *fuse.IoctlOut, outbuf []byte) fuse.Status {
	return fuse.Status(unix.ENOTTY)
}

// GetLk is not asked for: locks are the kernel's.
func (l *Live) GetLk(cancel <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	return fuse.ENOSYS
}

// SetLk: see GetLk.
func (l *Live) SetLk(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status { return fuse.ENOSYS }

// SetLkw: see GetLk.
func (l *Live) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status { return fuse.ENOSYS }
