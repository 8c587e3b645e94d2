//go:build linux

package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// enter begins a change of an entry in a directory: the checks that all have in
// common, the locks, and a descriptor of the directory.
func (l *Live) enter(id uint64, c *fuse.Caller, name string) (parent *node, dir *dirFD, leave func(), status fuse.Status) {
	if isPast(id) {
		return nil, nil, nil, fuse.EROFS
	}
	if parent = l.nodes.get(id); parent == nil {
		return nil, nil, nil, fuse.Status(unix.ESTALE)
	}
	if l.isVersions(name) {
		return nil, nil, nil, fuse.Status(unix.EEXIST)
	}
	if hidden(parent, name) {
		return nil, nil, nil, fuse.EPERM
	}
	l.tree.RLock()
	dir, err := l.nodes.dirfd(parent)
	if err != nil {
		l.tree.RUnlock()
		return nil, nil, nil, l.status("enter", err)
	}
	return parent, dir, func() { l.nodes.put(dir); l.tree.RUnlock() }, fuse.OK
}

// newMode is the mode to give to the disk for a new entry. The kernel left the
// umask to us, since a default ACL takes its place; masked tells that there is
// none.
func (l *Live) newMode(parent *node, dir *dirFD, mode, umask uint32) (m uint32, masked bool) {
	if l.hasDefaultACL(parent, dir) {
		return mode, false // the disk applies the ACL
	}
	return mode &^ (umask & 0o777), true
}

func (l *Live) hasDefaultACL(n *node, dir *dirFD) bool {
	l.nodes.mu.Lock()
	flags := n.flags
	l.nodes.mu.Unlock()
	if flags&aclAsked != 0 {
		return flags&aclDefault != 0
	}
	_, err := unix.Getxattr(procPath(dir.fd), xattrDefaultACL, nil)
	l.nodes.mu.Lock()
	defer l.nodes.mu.Unlock()
	n.flags |= aclAsked
	if err == nil {
		n.flags |= aclDefault
	}
	return err == nil
}

// forgetACL makes the next creation in n ask again.
func (t *nodeTable) forgetACL(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.flags &^= aclAsked | aclDefault
}

// widen gives a new entry the permissions that this process's own umask took.
func widen(fd int, mode uint32, st *unix.Statx_t) error {
	missing := mode &^ uint32(st.Mode) & 0o777
	if missing == 0 {
		return nil
	}
	if err := chmod(fd, uint32(st.Mode)&0o7777|missing); err != nil {
		return err
	}
	return statFD(fd, st)
}

// make makes an entry with f and tells the kernel of it.
func (l *Live) make(what string, in *fuse.InHeader, name string, mode, umask uint32, out *fuse.EntryOut, f func(dirfd int, mode uint32) error) fuse.Status {
	parent, dir, leave, status := l.enter(in.NodeId, &in.Caller, name)
	if status != fuse.OK {
		return status
	}
	defer leave()
	since := l.notify.now()
	masked := false
	if what != "symlink" {
		mode, masked = l.newMode(parent, dir, mode, umask)
	}
	var st unix.Statx_t
	err := l.rights.as(&in.Caller, func() error {
		if err := f(dir.fd, mode); err != nil {
			return err
		}
		if err := statAt(dir.fd, name, &st); err != nil {
			return err
		}
		if !masked || mode&^uint32(st.Mode)&0o777 == 0 {
			return nil
		}
		fd, err := openat(dir.fd, name, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return widen(fd, mode, &st)
	})
	if err != nil {
		return l.status(what, err)
	}
	l.fillEntry(out, parent, name, &st, since)
	if !l.fromApplier(&in.Caller) {
		l.changedAt(parent, name)
	}
	return fuse.OK
}

// Mkdir makes a directory.
func (l *Live) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if l.fromApplier(&in.Caller) {
		return l.applier.mkdir(in, name, out)
	}
	return l.make("mkdir", &in.InHeader, name, in.Mode&0o7777, in.Umask, out, func(dirfd int, mode uint32) error {
		return unix.Mkdirat(dirfd, name, mode)
	})
}

// Mknod makes a fifo, a socket, a device, or an empty file.
func (l *Live) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	// The kernel's 32-bit encoding of a device number.
	dev := unix.Mkdev(in.Rdev>>8&0xfff, in.Rdev&0xff|in.Rdev>>12&0xfff00)
	return l.make("mknod", &in.InHeader, name, in.Mode&^uint32(unix.S_IFMT), in.Umask, out, func(dirfd int, mode uint32) error {
		return unix.Mknodat(dirfd, name, mode|in.Mode&unix.S_IFMT, int(dev))
	})
}

// Symlink makes a symbolic link.
func (l *Live) Symlink(cancel <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return l.make("symlink", h, name, 0, 0, out, func(dirfd int, _ uint32) error {
		return unix.Symlinkat(target, dirfd, name)
	})
}

// Readlink tells where a symbolic link leads.
func (l *Live) Readlink(cancel <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	if isPast(h.NodeId) {
		return l.past.Readlink(cancel, h)
	}
	n := l.nodes.get(h.NodeId)
	if n == nil {
		return nil, fuse.Status(unix.ESTALE)
	}
	l.tree.RLock()
	defer l.tree.RUnlock()
	buf := make([]byte, unix.PathMax)
	var k int
	err := l.with(n, func(fd int) (err error) { k, err = unix.Readlinkat(fd, "", buf); return err })
	if err != nil {
		return nil, l.status("readlink", err)
	}
	return buf[:k], fuse.OK
}

// Unlink removes a file's name.
func (l *Live) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return l.remove(h, name, 0)
}

// Rmdir removes an empty directory.
func (l *Live) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return l.remove(h, name, unix.AT_REMOVEDIR)
}

func (l *Live) remove(h *fuse.InHeader, name string, flags int) fuse.Status {
	if l.isVersions(name) {
		return fuse.EROFS
	}
	parent, dir, leave, status := l.enter(h.NodeId, &h.Caller, name)
	if status != fuse.OK {
		return status
	}
	defer leave()
	var st unix.Statx_t
	if err := statAt(dir.fd, name, &st); err != nil {
		return l.status("unlink", err)
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return fuse.EBUSY
	}
	if l.isFolded(dir.fd, name, &st) {
		return fuse.Status(unix.ENOTEMPTY)
	}
	n, orphan := l.nodes.find(&st), -1
	if n != nil && flags == unix.AT_REMOVEDIR {
		// Who has it open or stands in it may still ask what it is.
		orphan, _ = openat(dir.fd, name, unix.O_PATH, 0)
	}
	if err := unix.Unlinkat(dir.fd, name, flags); err != nil {
		if orphan >= 0 {
			unix.Close(orphan)
		}
		return l.status("unlink", err)
	}
	if n != nil {
		l.nodes.replaced(n, parent, name, orphan)
		if st.Nlink > 1 && !n.isDir() {
			l.changed(n) // its other names
		}
	}
	l.changedAt(parent, name)
	return fuse.OK
}

// Link gives a file a further name.
func (l *Live) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if isPast(in.Oldnodeid) && !isPast(in.NodeId) {
		return fuse.EXDEV
	}
	parent, dir, leave, status := l.enter(in.NodeId, &in.Caller, name)
	if status != fuse.OK {
		return status
	}
	defer leave()
	since := l.notify.now()
	n := l.nodes.get(in.Oldnodeid)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	err := l.with(n, func(fd int) error {
		// By the descriptor, so that it is this inode, and also one without a name.
		return unix.Linkat(unix.AT_FDCWD, procPath(fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW)
	})
	if err != nil {
		return l.status("link", err)
	}
	var st unix.Statx_t
	if err := statAt(dir.fd, name, &st); err != nil {
		return l.status("link", err)
	}
	l.nodes.attach(n)
	l.fillEntry(out, parent, name, &st, since)
	l.changed(n)
	return fuse.OK
}

// attach makes a node that had lost its last name found by its number again.
func (t *nodeTable) attach(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.flags&detached != 0 && t.byIno[n.ino] == nil {
		n.flags &^= detached
		t.byIno[n.ino] = n
	}
}

// Rename moves an entry, or exchanges two.
func (l *Live) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if isPast(in.NodeId) || isPast(in.Newdir) || l.isVersions(from) || l.isVersions(to) {
		return fuse.EROFS
	}
	a, b := l.nodes.get(in.NodeId), l.nodes.get(in.Newdir)
	if a == nil || b == nil {
		return fuse.Status(unix.ESTALE)
	}
	if hidden(a, from) || hidden(b, to) {
		return fuse.EPERM
	}
	l.tree.Lock()
	defer l.tree.Unlock()
	var check func(old, new string) error
	applier := l.fromApplier(&in.Caller)
	if applier {
		check = l.applier.checkRename
	}
	if err := l.rename(link{a, from}, link{b, to}, uint(in.Flags), check); err != nil {
		return l.status("rename", err)
	}
	if !applier {
		l.renamed(link{a, from}, link{b, to}, in.Flags)
	}
	return fuse.OK
}

// rename does it on the disk and in the table. The caller holds tree for
// writing.
func (l *Live) rename(from, to link, flags uint, check func(from, to string) error) error {
	dirA, err := l.nodes.dirfd(from.parent)
	if err != nil {
		return err
	}
	defer l.nodes.put(dirA)
	dirB, err := l.nodes.dirfd(to.parent)
	if err != nil {
		return err
	}
	defer l.nodes.put(dirB)
	if check != nil {
		old, _ := l.nodes.path(from.parent, from.name)
		new, _ := l.nodes.path(to.parent, to.name)
		if err := check(old, new); err != nil {
			return err
		}
	}
	var stA, stB unix.Statx_t
	if err := statAt(dirA.fd, from.name, &stA); err != nil {
		return err
	}
	errB := statAt(dirB.fd, to.name, &stB)
	if (stA.Attributes|stB.Attributes)&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return unix.EBUSY
	}
	if errB == nil && flags&unix.RENAME_EXCHANGE == 0 && l.isFolded(dirB.fd, to.name, &stB) {
		return unix.ENOTEMPTY
	}
	a := l.nodes.find(&stA)
	var b *node
	if errB == nil {
		b = l.nodes.find(&stB)
	}
	orphan := -1
	if b != nil && flags == 0 {
		orphan, _ = openat(dirB.fd, to.name, unix.O_PATH, 0)
	}
	err = unix.Renameat2(dirA.fd, from.name, dirB.fd, to.name, flags)
	if err != nil || a != nil && a == b { // two names of one file: nothing happens
		if orphan >= 0 {
			unix.Close(orphan)
		}
		return err
	}
	if flags&unix.RENAME_EXCHANGE != 0 {
		l.nodes.exchanged(a, b, from, to)
		return nil
	}
	if b != nil {
		l.nodes.replaced(b, to.parent, to.name, orphan)
		if stB.Nlink > 1 && !b.isDir() {
			l.changed(b) // its other names
		}
	}
	if a != nil {
		l.nodes.moved(a, from, to)
	}
	return nil
}

func (t *nodeTable) exchanged(a, b *node, from, to link) {
	if a != nil {
		t.moved(a, from, to)
	}
	if b != nil {
		t.moved(b, to, from)
	}
}

// renamed tells what a request of a program did.
func (l *Live) renamed(from, to link, flags uint32) {
	old, okA := l.nodes.path(from.parent, from.name)
	new, okB := l.nodes.path(to.parent, to.name)
	if !okA || !okB || old == new {
		return
	}
	if flags&unix.RENAME_EXCHANGE != 0 {
		l.changedPath(old)
		l.changedPath(new)
		return
	}
	l.o.Changes.Renamed(old, new)
	if flags&unix.RENAME_WHITEOUT != 0 {
		l.changedPath(old)
	}
}
