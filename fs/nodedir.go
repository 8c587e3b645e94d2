//go:build linux

package fs

import "golang.org/x/sys/unix"

// beneath is how one name is opened: never through a symlink, never into
// something mounted there.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// statMask asks for what an entry has, and for the birth time, which tells a
// reused inode number.
const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// dirFD is an O_PATH descriptor of a directory. What is done below a directory
// is done by it, so a path of any length works, a path costs no walk, and a
// rename of the directory changes nothing.
type dirFD struct {
	fd         int
	refs       int
	node       *node // nil once dropped: closed with the last reference
	prev, next *dirFD
}

// dirFDs is the list of the descriptors that are cached, most recently used
// first. nodeTable.mu guards it.
type dirFDs struct {
	head, tail *dirFD
	n, max     int
}

func (c *dirFDs) pushFront(d *dirFD) {
	d.prev, d.next = nil, c.head
	if c.head != nil {
		c.head.prev = d
	} else {
		c.tail = d
	}
	c.head = d
	c.n++
}

func (c *dirFDs) remove(d *dirFD) {
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		c.head = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	} else {
		c.tail = d.prev
	}
	d.prev, d.next = nil, nil
	c.n--
}

// drop takes d out of the cache and its node.
func (c *dirFDs) drop(d *dirFD) {
	c.remove(d)
	d.node.dir, d.node = nil, nil
	if d.refs == 0 {
		unix.Close(d.fd)
	}
}

// evict makes room: the least recently used of those that nobody uses go.
func (c *dirFDs) evict() {
	for d := c.tail; d != nil && c.n > c.max; {
		prev := d.prev
		if d.refs == 0 {
			c.drop(d)
		}
		d = prev
	}
}

// dirfd is a descriptor of directory n, valid until put. The caller holds
// Live.tree for reading or writing.
func (t *nodeTable) dirfd(n *node) (*dirFD, error) {
	t.mu.Lock()
	if d := n.dir; d != nil {
		t.use(d)
		t.mu.Unlock()
		return d, nil
	}
	l, sub := n.first, n.flags&submount != 0
	t.mu.Unlock()
	switch {
	case sub:
		return nil, unix.EXDEV
	case !n.isDir():
		return nil, unix.ENOTDIR
	case l.parent == nil:
		return nil, unix.ESTALE
	}
	parent, err := t.dirfd(l.parent)
	if err != nil {
		return nil, err
	}
	fd, err := openat(parent.fd, l.name, unix.O_PATH|unix.O_DIRECTORY, 0)
	t.put(parent)
	if err != nil {
		return nil, stale(err)
	}
	if err := t.verify(n, fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.dir != nil { // another request was faster
		unix.Close(fd)
		t.use(n.dir)
		return n.dir, nil
	}
	d := &dirFD{fd: fd, refs: 1, node: n}
	n.dir = d
	t.fds.pushFront(d)
	t.fds.evict()
	return d, nil
}

func (t *nodeTable) use(d *dirFD) {
	d.refs++
	if d.node != t.root && t.fds.head != d {
		t.fds.remove(d)
		t.fds.pushFront(d)
	}
}

// put gives back what dirfd returned.
func (t *nodeTable) put(d *dirFD) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.refs--; d.refs == 0 && d.node == nil {
		unix.Close(d.fd)
	}
}

// verify tells whether fd is n: names may have been changed behind our back.
func (t *nodeTable) verify(n *node, fd int) error {
	var st unix.Statx_t
	if err := statFD(fd, &st); err != nil {
		return err
	}
	if !n.is(&st) {
		return unix.ESTALE
	}
	return nil
}

// closeAll closes what is cached, at the end.
func (t *nodeTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.fds.head != nil {
		t.fds.drop(t.fds.head)
	}
	for n := range t.orphans {
		t.dropOrphan(n)
	}
}

// openat opens one name in a directory.
func openat(dirfd int, name string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: beneath,
	}
	if flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE {
		how.Mode = uint64(mode)
	}
	for {
		fd, err := unix.Openat2(dirfd, name, &how)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		return fd, err
	}
}

func statAt(dirfd int, name string, st *unix.Statx_t) error {
	return unix.Statx(dirfd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, statMask, st)
}

func statFD(fd int, st *unix.Statx_t) error {
	return unix.Statx(fd, "", unix.AT_EMPTY_PATH, statMask, st)
}

// stale turns "no such name" into what makes the kernel look the name up again:
// the request named a node, not a path.
func stale(err error) error {
	switch err {
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		return unix.ESTALE
	}
	return err
}
