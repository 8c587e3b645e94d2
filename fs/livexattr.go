//go:build linux

package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	xattrAccessACL  = "system.posix_acl_access"
	xattrDefaultACL = "system.posix_acl_default"
)

// onPath runs f with a path that names n's inode and nothing else.
func (l *Live) onPath(id uint64, f func(path string) error) error {
	n := l.nodes.get(id)
	if n == nil {
		return unix.ESTALE
	}
	l.tree.RLock()
	defer l.tree.RUnlock()
	return l.with(n, func(fd int) error { return f(procPath(fd)) })
}

// GetXAttr reads an extended attribute.
func (l *Live) GetXAttr(cancel <-chan struct{}, h *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	if isPast(h.NodeId) {
		return l.past.GetXAttr(cancel, h, attr, dest)
	}
	if isOwn(attr) {
		return l.ownXattr(h.NodeId, attr, dest)
	}
	var k int
	err := l.onPath(h.NodeId, func(path string) (err error) { k, err = unix.Getxattr(path, attr, dest); return err })
	return uint32(max(k, 0)), l.status("getxattr", err)
}

// ListXAttr lists the names of extended attributes.
func (l *Live) ListXAttr(cancel <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	if isPast(h.NodeId) {
		return l.past.ListXAttr(cancel, h, dest)
	}
	var k int
	err := l.onPath(h.NodeId, func(path string) (err error) { k, err = unix.Listxattr(path, dest); return err })
	if err == nil && len(dest) > 0 {
		k = withoutOwn(dest[:k])
	}
	return uint32(max(k, 0)), l.status("listxattr", err)
}

// SetXAttr writes an extended attribute.
func (l *Live) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	return l.changeXattr(&in.InHeader, attr, func(path string) error {
		if err := unix.Setxattr(path, attr, data, int(in.Flags)); err != nil {
			return err
		}
		if attr == xattrAccessACL && in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0 {
			return dropSetGID(path)
		}
		return nil
	})
}

// dropSetGID clears the bit, as the disk does when one sets an ACL who is not
// in the file's group.
func dropSetGID(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_ISGID == 0 {
		return err
	}
	return unix.Chmod(path, st.Mode&0o7777&^unix.S_ISGID)
}

// RemoveXAttr removes an extended attribute.
func (l *Live) RemoveXAttr(cancel <-chan struct{}, h *fuse.InHeader, attr string) fuse.Status {
	return l.changeXattr(h, attr, func(path string) error { return unix.Removexattr(path, attr) })
}

func (l *Live) changeXattr(h *fuse.InHeader, attr string, f func(path string) error) fuse.Status {
	if isPast(h.NodeId) {
		return fuse.EROFS
	}
	if isOwn(attr) {
		return fuse.EPERM
	}
	n := l.nodes.get(h.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	unlock, err := l.mayChange(&h.Caller, n)
	if err != nil {
		return l.status("setxattr", err)
	}
	defer unlock()
	if err := l.with(n, func(fd int) error { return f(procPath(fd)) }); err != nil {
		return l.status("setxattr", err)
	}
	if attr == xattrDefaultACL {
		l.nodes.forgetACL(n)
	}
	if !l.fromApplier(&h.Caller) {
		l.changed(n)
	}
	return fuse.OK
}
