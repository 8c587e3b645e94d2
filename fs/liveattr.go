//go:build linux

package fs

import (
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func isPast(id uint64) bool { return id&pastBit != 0 }

func fillStat(a *fuse.Attr, st *unix.Statx_t) {
	a.Ino = st.Ino
	a.Size = st.Size
	a.Blocks = st.Blocks
	a.Atime, a.Atimensec = uint64(st.Atime.Sec), st.Atime.Nsec
	a.Mtime, a.Mtimensec = uint64(st.Mtime.Sec), st.Mtime.Nsec
	a.Ctime, a.Ctimensec = uint64(st.Ctime.Sec), st.Ctime.Nsec
	a.Mode = uint32(st.Mode)
	a.Nlink = st.Nlink
	a.Uid, a.Gid = st.Uid, st.Gid
	// The kernel's 32-bit encoding of a device number.
	a.Rdev = st.Rdev_minor&0xff | st.Rdev_major<<8 | (st.Rdev_minor&^0xff)<<12
	a.Blksize = st.Blksize
}

// fillEntry tells the kernel of the node that name in parent leads to. since is
// notify.now() from before st was taken: what was invalidated meanwhile must
// not be cached.
func (l *Live) fillEntry(out *fuse.EntryOut, parent *node, name string, st *unix.Statx_t, since uint64) *node {
	return l.fillEntryFor(out, parent, name, st, since, l.validity(parent, name))
}

// validity is how long the kernel may keep what name in a directory is, or the
// directory itself. The caller holds tree.
func (l *Live) validity(dir *node, name string) uint64 {
	if l.o.Unwatched != nil && dir != nil && l.o.Unwatched(func() (string, bool) { return l.nodes.path(dir, name) }) {
		return briefly
	}
	return forever
}

// fillEntryFor is fillEntry where the validity is known.
func (l *Live) fillEntryFor(out *fuse.EntryOut, parent *node, name string, st *unix.Statx_t, since, valid uint64) *node {
	n := l.nodes.learn(parent, name, st)
	l.writers.told(n, st)
	out.NodeId, out.Generation = n.id, 1
	fillStat(&out.Attr, st)
	out.EntryValid, out.AttrValid = valid, valid
	if since != l.notify.now() {
		out.EntryValid, out.AttrValid = 0, 0
	}
	if parent != nil && (l.nodes.isStage(parent) || l.nodes.isStage(n)) {
		out.EntryValid, out.AttrValid = 0, 0
	}
	return n
}

// Lookup finds a name in a directory.
func (l *Live) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if isPast(h.NodeId) {
		return l.past.Lookup(cancel, h, name, out)
	}
	parent := l.nodes.get(h.NodeId)
	if parent == nil {
		return fuse.Status(unix.ESTALE)
	}
	if l.isVersions(name) {
		return l.lookupVersions(cancel, parent, out)
	}
	if hidden(parent, name) && !(name == l.stage.name && l.fromApplier(&h.Caller)) {
		return fuse.ENOENT // not remembered
	}
	if l.isSubmount(parent) {
		return fuse.ENOENT
	}
	if status := l.unfold(cancel, parent); status != fuse.OK {
		return status
	}
	l.tree.RLock()
	defer l.tree.RUnlock()
	since := l.notify.now()
	dir, err := l.nodes.dirfd(parent)
	if err != nil {
		return l.status("lookup", err)
	}
	defer l.nodes.put(dir)
	var st unix.Statx_t
	switch err := statAt(dir.fd, name, &st); {
	case err == unix.ENOENT && since == l.notify.now() && !l.nodes.isStage(parent):
		out.EntryValid = l.validity(parent, name) // no node: that there is none is remembered
		return fuse.OK
	case err != nil:
		return l.status("lookup", err)
	}
	l.asWhole(dir.fd, name, &st)
	l.fillEntry(out, parent, name, &st, since)
	return fuse.OK
}

func (l *Live) lookupVersions(cancel <-chan struct{}, parent *node, out *fuse.EntryOut) fuse.Status {
	l.tree.RLock()
	path, ok := l.nodes.path(parent, "")
	l.tree.RUnlock()
	if !ok || staged(path) {
		return fuse.ENOENT
	}
	return l.past.EnterDir(cancel, path, out)
}

// Forget is the kernel's word that it dropped lookups of a node.
func (l *Live) Forget(id, lookups uint64) {
	if isPast(id) {
		l.past.Forget(id, lookups)
		return
	}
	l.nodes.forget(id, lookups)
}

func (l *Live) status(what string, err error) fuse.Status { return toStatus(l.log, what, err) }

// GetAttr tells what stat tells.
func (l *Live) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.GetAttr(cancel, in, out)
	}
	n := l.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	l.tree.RLock()
	defer l.tree.RUnlock()
	since := l.notify.now()
	var st unix.Statx_t
	if err := l.stat(n, &st); err != nil {
		return l.status("getattr", err)
	}
	l.fillAttrOut(out, n, &st, since)
	return fuse.OK
}

func (l *Live) fillAttrOut(out *fuse.AttrOut, n *node, st *unix.Statx_t, since uint64) {
	fillStat(&out.Attr, st)
	l.writers.told(n, st)
	if since == l.notify.now() && !l.nodes.isStage(n) {
		dir, name := n, ""
		if !n.isDir() {
			lk := l.nodes.linkOf(n)
			dir, name = lk.parent, lk.name
		}
		out.AttrValid = l.validity(dir, name)
	}
}

// stat is the state of n: by a handle, else by a name. The caller holds tree.
func (l *Live) stat(n *node, st *unix.Statx_t) error {
	err := l.statNode(n, st)
	if err == nil && l.o.Demand != nil {
		_ = l.with(n, func(fd int) error { l.asWhole(fd, "", st); return nil }) // gone meanwhile: it is as it was
	}
	return err
}

func (l *Live) statNode(n *node, st *unix.Statx_t) error {
	if n.isDir() && n != l.nodes.root {
		lk := l.nodes.linkOf(n)
		if lk.parent != nil && l.isSubmount(n) {
			return l.statLink(n, lk, st)
		}
		if fd, ok := l.nodes.orphan(n); ok {
			defer unix.Close(fd)
			return statFD(fd, st)
		}
		dir, err := l.nodes.dirfd(n)
		if err != nil {
			return err
		}
		defer l.nodes.put(dir)
		return statFD(dir.fd, st)
	}
	if n == l.nodes.root {
		return statFD(l.root.fd, st)
	}
	if done, err := l.withHandle(n, func(fd int) error { return statFD(fd, st) }); done {
		return err
	}
	if fd, ok := l.nodes.orphan(n); ok {
		defer unix.Close(fd)
		return statFD(fd, st)
	}
	err := error(unix.ESTALE)
	for _, lk := range l.nodes.links(n) {
		if err = l.statLink(n, lk, st); err == nil {
			return nil
		}
	}
	return err
}

func (l *Live) isSubmount(n *node) bool {
	l.nodes.mu.Lock()
	defer l.nodes.mu.Unlock()
	return n.flags&submount != 0
}

func (l *Live) statLink(n *node, lk link, st *unix.Statx_t) error {
	dir, err := l.nodes.dirfd(lk.parent)
	if err != nil {
		return err
	}
	defer l.nodes.put(dir)
	if err := statAt(dir.fd, lk.name, st); err != nil {
		return stale(err)
	}
	if !n.is(st) {
		return unix.ESTALE
	}
	return nil
}

// withHandle runs f with the descriptor of an open handle of n, if there is one.
func (l *Live) withHandle(n *node, f func(fd int) error) (done bool, err error) {
	o := l.nodes.openedOf(n)
	if o == nil {
		return false, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.handles) == 0 {
		return false, nil
	}
	return true, f(o.handles[0].fd)
}

// with runs f with a descriptor of n, which may be an O_PATH one. The caller
// holds tree.
func (l *Live) with(n *node, f func(fd int) error) error {
	if n.isDir() {
		dir, err := l.nodes.dirfd(n)
		if err != nil {
			return err
		}
		defer l.nodes.put(dir)
		return f(dir.fd)
	}
	if done, err := l.withHandle(n, f); done {
		return err
	}
	fd, err := l.openNode(n, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f(fd)
}

// openNode opens n by one of its names, and makes sure that it is n. The caller
// holds tree.
func (l *Live) openNode(n *node, flags int) (int, error) {
	err := error(unix.ESTALE)
	if fd, ok := l.nodes.orphan(n); ok {
		if flags == unix.O_PATH {
			return fd, nil
		}
		defer unix.Close(fd)
		return unix.Open(procPath(fd), flags|unix.O_CLOEXEC, 0)
	}
	for _, lk := range l.nodes.links(n) {
		var fd int
		if fd, err = l.openLink(n, lk, flags); err == nil {
			return fd, nil
		}
	}
	return -1, err
}

func (l *Live) openLink(n *node, lk link, flags int) (int, error) {
	dir, err := l.nodes.dirfd(lk.parent)
	if err != nil {
		return -1, err
	}
	defer l.nodes.put(dir)
	fd, err := openat(dir.fd, lk.name, flags, 0)
	if err != nil {
		return -1, stale(err)
	}
	if err := l.nodes.verify(n, fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// procPath names a descriptor for calls that have no form for O_PATH ones.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// SetAttr changes mode, owner, size, times.
func (l *Live) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if isPast(in.NodeId) {
		return fuse.EROFS
	}
	n := l.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	if status := l.readySize(cancel, n, in); status != fuse.OK {
		return status
	}
	unlock, err := l.mayChange(&in.Caller, n)
	if err != nil {
		return l.status("setattr", err)
	}
	defer unlock()
	since := l.notify.now()
	if err := l.changeTimes(n, in, func() error { return l.setAttr(n, in) }); err != nil {
		return l.status("setattr", err)
	}
	var st unix.Statx_t
	if err := l.stat(n, &st); err != nil {
		return l.status("setattr", err)
	}
	l.fillAttrOut(out, n, &st, since)
	if !l.fromApplier(&in.Caller) {
		l.changed(n)
	}
	return fuse.OK
}

func (l *Live) setAttr(n *node, in *fuse.SetAttrIn) error {
	if size, ok := in.GetSize(); ok {
		if err := l.truncate(n, in, int64(size)); err != nil {
			return err
		}
	}
	const other = fuse.FATTR_MODE | fuse.FATTR_UID | fuse.FATTR_GID | fuse.FATTR_ATIME | fuse.FATTR_MTIME
	if in.Valid&other == 0 {
		return nil
	}
	return l.with(n, func(fd int) error {
		uid, setUID := in.GetUID()
		gid, setGID := in.GetGID()
		if setUID || setGID {
			// Set-id bits fall with the owner: chown(2) sees to it.
			if err := unix.Fchownat(fd, "", int(int32(uid)), int(int32(gid)), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
		}
		if mode, ok := in.GetMode(); ok {
			if err := chmod(fd, mode); err != nil {
				return err
			}
		}
		if in.Valid&(fuse.FATTR_ATIME|fuse.FATTR_MTIME) == 0 {
			return nil
		}
		times := []unix.Timespec{
			setTime(in.Valid, fuse.FATTR_ATIME, fuse.FATTR_ATIME_NOW, in.Atime, in.Atimensec),
			setTime(in.Valid, fuse.FATTR_MTIME, fuse.FATTR_MTIME_NOW, in.Mtime, in.Mtimensec),
		}
		return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
	})
}

func chmod(fd int, mode uint32) error {
	err := unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH)
	if err == unix.EOPNOTSUPP { // before Linux 6.6
		return unix.Chmod(procPath(fd), mode)
	}
	return err
}

func setTime(valid, set, now uint32, sec uint64, nsec uint32) unix.Timespec {
	switch {
	case valid&set == 0:
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	case valid&now != 0:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	}
	return unix.Timespec{Sec: int64(sec), Nsec: int64(nsec)}
}

func (l *Live) truncate(n *node, in *fuse.SetAttrIn, size int64) error {
	cut := func(fd int) error { return unix.Ftruncate(fd, size) }
	if in.Valid&fuse.FATTR_KILL_SUIDGID != 0 || in.Uid != 0 {
		plain := cut
		cut = func(fd int) error { return l.rights.modest(func() error { return plain(fd) }) }
	}
	if fh, ok := in.GetFh(); ok {
		if h := l.handles.get(fh); h != nil && h.write {
			return cut(h.fd)
		}
	}
	fd, err := l.openNode(n, unix.O_WRONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return cut(fd)
}

// StatFs tells of the disk below.
func (l *Live) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.StatFs(cancel, in, out)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(l.root.fd, &st); err != nil {
		return l.status("statfs", err)
	}
	out.Blocks, out.Bfree, out.Bavail = st.Blocks, st.Bfree, st.Bavail
	out.Files, out.Ffree = st.Files, st.Ffree
	out.Bsize, out.Frsize = uint32(st.Bsize), uint32(st.Frsize)
	out.NameLen = uint32(st.Namelen)
	return fuse.OK
}

// Access is decided by the kernel, from modes and ACLs.
func (l *Live) Access(cancel <-chan struct{}, in *fuse.AccessIn) fuse.Status { return fuse.OK }

// Statx beyond what GetAttr tells is not answered.
func (l *Live) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	return fuse.ENOSYS
}
