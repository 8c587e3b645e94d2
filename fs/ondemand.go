//go:build linux

package fs

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
)

// Demand brings what is not on this disk yet: directories and files that are
// marked as stubs. It works on descriptors below the mount, never through it,
// and takes none over. Paths are where they were when the request came, for
// records and messages.
type Demand interface {
	// Unfold fills a directory; filled: it was not before.
	Unfold(ctx context.Context, dirfd int, path string) (filled bool, err error)
	// Fetch sees to it that a range of a file is here; whole: it is no stub.
	Fetch(ctx context.Context, fd int, path string, off, length int64) (whole bool, err error)
	// Whole makes a stub a file, Empty one without content.
	Whole(ctx context.Context, fd int, path string) error
	Empty(fd int, path string) error
	// Change runs a change of a stub's times.
	Change(fd int, change func() error) error
	// Shown is the time of change to show of a file that has ctime on the disk;
	// filling: its other times there may not be its own at this moment.
	Shown(dev, ino uint64, ctime int64) (shown int64, filling bool)
	// Touched says that a program has changed a file.
	Touched(dev, ino uint64)
	// Opened notes that a file is used.
	Opened(fd int, written bool)
	// State is the value of the attribute StateXattr.
	State(fd int, path string) string
}

// StateXattr tells of a file in an on-demand folder what of it is here. It is
// not stored: nobody lists, sets or copies it.
const StateXattr = disk.OwnXattr + "state"

// isOwn tells attributes that are ours, and nobody's content.
func isOwn(attr string) bool { return strings.HasPrefix(attr, disk.OwnXattr) }

// withoutOwn takes our own names out of a list of attributes, in place.
func withoutOwn(list []byte) int {
	kept := list[:0]
	for len(list) > 0 {
		end := bytes.IndexByte(list, 0) + 1
		if end == 0 {
			end = len(list)
		}
		if !isOwn(string(list[:end])) {
			kept = append(kept, list[:end]...)
		}
		list = list[end:]
	}
	return len(kept)
}

// ownXattr answers for an attribute of ours.
func (l *Live) ownXattr(id uint64, attr string, dest []byte) (uint32, fuse.Status) {
	n := l.nodes.get(id)
	if n == nil {
		return 0, fuse.Status(unix.ESTALE)
	}
	if l.o.Demand == nil || attr != StateXattr || n.kind != unix.S_IFREG && n.kind != unix.S_IFDIR {
		return 0, fuse.ENODATA
	}
	fd, path, err := l.reopen(n)
	if err != nil {
		return 0, l.status("getxattr", err)
	}
	defer unix.Close(fd)
	state := l.o.Demand.State(fd, path)
	if len(dest) > 0 && len(dest) < len(state) {
		return 0, fuse.ERANGE
	}
	copy(dest, state)
	return uint32(len(state)), fuse.OK
}

// reopen is a descriptor of n for reading, of its own, and where n is.
func (l *Live) reopen(n *node) (fd int, path string, err error) {
	l.tree.RLock()
	defer l.tree.RUnlock()
	if fd, err = l.openFile(n, unix.O_RDONLY|unix.O_NONBLOCK); err != nil {
		return -1, "", err
	}
	return fd, l.somePath(n), nil
}

// somePath is one path of n. The caller holds tree.
func (l *Live) somePath(n *node) string {
	if paths := l.nodes.paths(n); len(paths) > 0 {
		return paths[0]
	}
	return ""
}

// unfold fills directory n before anything in it is looked at. No lock is held.
func (l *Live) unfold(cancel <-chan struct{}, n *node) fuse.Status {
	if l.o.Demand == nil {
		return fuse.OK
	}
	l.nodes.mu.Lock()
	done := n.flags&unfolded != 0
	l.nodes.mu.Unlock()
	if done {
		return fuse.OK
	}
	l.tree.RLock()
	dir, err := l.nodes.dirfd(n)
	path := l.somePath(n)
	l.tree.RUnlock()
	if err != nil {
		return l.status("lookup", err)
	}
	defer l.nodes.put(dir)
	filled, err := l.o.Demand.Unfold(requestContext(cancel), dir.fd, path)
	if err != nil {
		return l.status("lookup", err)
	}
	l.nodes.mu.Lock()
	n.flags |= unfolded
	l.nodes.mu.Unlock()
	if filled {
		l.notify.add(notice{node: n.id}) // it has other links now
	}
	return fuse.OK
}

// ready prepares a file for being opened with these flags. No lock is held.
func (l *Live) ready(cancel <-chan struct{}, n *node, flags int, caller *fuse.Caller) fuse.Status {
	if l.o.Demand == nil || n.kind != unix.S_IFREG {
		return fuse.OK
	}
	fd, path, err := l.reopen(n)
	if err != nil {
		return fuse.OK // the open itself will say
	}
	defer unix.Close(fd)
	if !disk.IsStubFD(fd) {
		return fuse.OK
	}
	switch {
	case flags&unix.O_TRUNC != 0:
		err = l.o.Demand.Empty(fd, path)
	case l.isKeptOut(caller):
		return fuse.EACCES
	case flags&unix.O_ACCMODE != unix.O_RDONLY:
		err = l.o.Demand.Whole(requestContext(cancel), fd, path)
	}
	return l.status("open", err)
}

// isStub tells whether fd is open on a stub.
func (l *Live) isStub(fd int) bool { return l.o.Demand != nil && disk.IsStubFD(fd) }

// unready tells that what was opened for writing is a stub again.
func (l *Live) unready(fd, flags int) bool {
	return flags&unix.O_ACCMODE != unix.O_RDONLY && l.isStub(fd)
}

// fetch brings a range of what h is open on. No lock is held.
func (l *Live) fetch(cancel <-chan struct{}, h *handle, off uint64, size uint64) fuse.Status {
	if !h.stub.Load() {
		return fuse.OK
	}
	l.tree.RLock()
	path := l.somePath(h.n)
	l.tree.RUnlock()
	whole, err := l.o.Demand.Fetch(requestContext(cancel), h.fd, path, int64(off), int64(size))
	if whole {
		h.stub.Store(false)
	}
	return l.status("read", err)
}

// asWhole makes a stub look as the file that it stands for: with all its
// blocks, so that nobody takes it for a hole, and with its own time while it is
// being filled. dirfd and name lead to it.
func (l *Live) asWhole(dirfd int, name string, st *unix.Statx_t) {
	if l.o.Demand == nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	full := (st.Size + 511) / 512
	ctime, filling := l.o.Demand.Shown(unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, st.Ctime.Sec*1e9+int64(st.Ctime.Nsec))
	shown := unix.NsecToTimespec(ctime)
	st.Ctime.Sec, st.Ctime.Nsec = shown.Sec, uint32(shown.Nsec)
	if st.Blocks >= full && !filling {
		return
	}
	s, is, err := disk.StubAt(dirfd, name)
	if err != nil || !is {
		return
	}
	st.Blocks = full
	if s.MTime != 0 {
		ts := unix.NsecToTimespec(s.MTime)
		st.Mtime.Sec, st.Mtime.Nsec = ts.Sec, uint32(ts.Nsec)
	}
}

// seekWhole answers a search for data and holes in a stub, which has none.
func seekWhole(size, off int64, whence uint32, out *fuse.LseekOut) fuse.Status {
	const seekData, seekHole = 3, 4
	if off < 0 || off >= size {
		return fuse.Status(unix.ENXIO)
	}
	switch whence {
	case seekData:
		out.Offset = uint64(off)
	case seekHole:
		out.Offset = uint64(size)
	default:
		return fuse.EINVAL
	}
	return fuse.OK
}

// readySize prepares a file for a change of its size. No lock is held.
func (l *Live) readySize(cancel <-chan struct{}, n *node, in *fuse.SetAttrIn) fuse.Status {
	size, ok := in.GetSize()
	if !ok {
		return fuse.OK
	}
	flags := unix.O_WRONLY
	if size == 0 {
		flags |= unix.O_TRUNC
	}
	return l.ready(cancel, n, flags, &in.Caller)
}

// changeTimes runs a change of metadata, of a stub in step with who fills it.
// The caller holds tree.
func (l *Live) changeTimes(n *node, in *fuse.SetAttrIn, change func() error) error {
	if l.o.Demand == nil || in.Valid&fuse.FATTR_MTIME == 0 || n.kind != unix.S_IFREG {
		return change()
	}
	fd, err := l.openFile(n, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return change() // who cannot read it does not fill it either
	}
	defer unix.Close(fd)
	return l.o.Demand.Change(fd, change)
}

// Alone runs f with a descriptor of the file at path, while nobody has it open
// through the mount and nobody can open it; EBUSY when somebody has.
func (l *Live) Alone(path string, f func(fd int) error) error {
	l.tree.Lock()
	defer l.tree.Unlock()
	fd, err := l.o.Root.Openat(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := statFD(fd, &st); err != nil {
		return err
	}
	if n := l.nodes.find(&st); n != nil && l.nodes.openedOf(n) != nil {
		return unix.EBUSY
	}
	return f(fd)
}

// isKeptOut tells whether the caller is a program for which nothing is fetched,
// such as one that makes pictures of everything it sees.
func (l *Live) isKeptOut(c *fuse.Caller) bool {
	if len(l.o.NoFetch) == 0 || c.Pid == 0 {
		return false
	}
	for _, name := range programNames(int(c.Pid)) {
		if slices.Contains(l.o.NoFetch, name) {
			return true
		}
	}
	return false
}

// programNames are what the program of a thread may be called: its command line
// as it was started, its file, and what it calls itself (of which the kernel
// keeps 15 bytes).
func programNames(tid int) []string {
	dir := "/proc/" + strconv.Itoa(tid)
	var names []string
	if exe, err := os.Readlink(dir + "/exe"); err == nil {
		names = append(names, filepath.Base(strings.TrimSuffix(exe, " (deleted)")))
	}
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil {
		for i, arg := range bytes.SplitN(line, []byte{0}, 3) {
			if i < 2 && len(arg) > 0 { // of a script, its interpreter and itself
				names = append(names, filepath.Base(string(arg)))
			}
		}
	}
	if comm, err := os.ReadFile(dir + "/comm"); err == nil {
		names = append(names, strings.TrimSuffix(string(comm), "\n"))
	}
	return names
}

// touched says that a program has changed n.
func (l *Live) touched(n *node) {
	if l.o.Demand != nil {
		l.o.Demand.Touched(l.root.dev, n.ino)
	}
}

// isFolded tells whether a name is a directory that nobody has looked into: it
// is empty on the disk, and full for everybody else.
func (l *Live) isFolded(dirfd int, name string, st *unix.Statx_t) bool {
	return l.o.Demand != nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && disk.IsStubAt(dirfd, name)
}
