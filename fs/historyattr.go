//go:build linux

package fs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// entryOut completes the answer to a lookup; the attributes are there already.
func entryOut(out *fuse.EntryOut, id, entryValid, attrValid uint64) {
	out.NodeId = id
	out.Generation = 1
	out.EntryValid, out.EntryValidNsec = entryValid, 0
	out.AttrValid, out.AttrValidNsec = attrValid, 0
}

// fillAttr says of an entry all that it keeps.
func fillAttr(a *fuse.Attr, e *versions.Entry, ino uint64) {
	*a = fuse.Attr{Ino: ino, Mode: e.Mode&0o7777 | typeBits(e.Kind), Nlink: 1, Blksize: 4096}
	a.Uid, a.Gid = e.UID, e.GID
	setTimes(a, e.MTime)
	switch e.Kind {
	case versions.File:
		a.Size = uint64(e.Size)
		data := e.Size
		for _, hole := range e.Holes {
			data -= hole.Length
		}
		a.Blocks = uint64(max(data, 0)+4095) / 4096 * 8
		if e.Link != [16]byte{} {
			a.Nlink = 2 // how many there are only a walk over all could tell
		}
	case versions.Symlink:
		a.Size = uint64(len(e.Target))
	case versions.CharDev, versions.BlkDev:
		a.Rdev = kernelDev(e.Device)
	}
}

func typeBits(k versions.Kind) uint32 {
	switch k {
	case versions.Dir:
		return unix.S_IFDIR
	case versions.Symlink:
		return unix.S_IFLNK
	case versions.CharDev:
		return unix.S_IFCHR
	case versions.BlkDev:
		return unix.S_IFBLK
	}
	return unix.S_IFREG
}

// kernelDev is a device number as the protocol has it: 12 bits of major, 20 of
// minor around them.
func kernelDev(dev uint64) uint32 {
	major, minor := unix.Major(dev), unix.Minor(dev)
	return minor&0xff | major&0xfff<<8 | minor&^0xff<<12
}

func setTimes(a *fuse.Attr, ns int64) {
	sec, nsec := ns/1e9, ns%1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	a.Mtime, a.Mtimensec = uint64(sec), uint32(nsec)
	a.Ctime, a.Ctimensec = a.Mtime, a.Mtimensec
	a.Atime, a.Atimensec = a.Mtime, a.Mtimensec
}

// instantAttr is fillAttr for the directory of an instant: its time is the
// instant, so that ls -l shows when it was.
func instantAttr(a *fuse.Attr, e *versions.Entry, ino uint64, at versions.Instant) {
	fillAttr(a, e, ino)
	setTimes(a, at.Sec*1e9)
}

// versionsAttr are those of .versions: who may look into the directory may look
// into its past. Its time is the last instant.
func (h *History) versionsAttr(ctx context.Context, n *pastNode, a *fuse.Attr) fuse.Status {
	list, complete, err := h.momentsOf(ctx, n.dir.path)
	if err != nil {
		return h.failed("moments of "+n.dir.path, err)
	}
	*a = fuse.Attr{Ino: n.ino, Mode: unix.S_IFDIR | 0o555, Nlink: 1, Blksize: 4096}
	if !complete {
		a.Mtimensec = 1 // so that the time changes when that does
	}
	if len(list) == 0 {
		return fuse.OK
	}
	last := list[len(list)-1].Instant
	e, err := h.o.Source.Dir(ctx, n.dir.path, last)
	if err != nil {
		return h.failed("directory "+n.dir.path, err)
	}
	a.Mode = unix.S_IFDIR | e.Mode&0o555
	a.Uid, a.Gid = e.UID, e.GID
	setTimes(a, last.Sec*1e9+int64(a.Mtimensec)+int64(min(last.Seq, 1e6))*1000)
	return fuse.OK
}

// entryOf is what is kept of a node below an instant, and how long that holds.
func (h *History) entryOf(ctx context.Context, n *pastNode) (*versions.Entry, uint64, error) {
	switch {
	case n.kind == followDir:
		e, err := h.follow(ctx, n)
		return &e, listValid, err
	case n.dir != nil && n.dir.entry != nil:
		return n.dir.entry, frozenValid, nil
	case n.parent == nil || n.parent.dir == nil:
		return nil, 0, unix.ESTALE
	}
	tree, err := h.treeOf(ctx, n.parent)
	if err != nil {
		return nil, 0, err
	}
	if n.place > 0 {
		l, err := h.listing(ctx, tree)
		if err != nil {
			return nil, 0, err
		}
		if n.place > uint64(len(l.entries)) {
			return nil, 0, unix.ESTALE
		}
		return &l.entries[n.place-1], frozenValid, nil
	}
	e, _, err := h.lookup(ctx, n.parent.dir, tree, n.name)
	if err == nil && e == nil {
		err = unix.ESTALE // gone from a directory that follows
	}
	if !n.parent.dir.frozen {
		return e, listValid, err
	}
	return e, frozenValid, err
}

// treeOf is the listing of a directory.
func (h *History) treeOf(ctx context.Context, n *pastNode) (chunk.ID, error) {
	switch n.kind {
	case frozenDir:
		return n.dir.tree, nil
	case followDir:
		e, err := h.follow(ctx, n)
		return e.Tree, err
	}
	return chunk.ID{}, unix.ENOTDIR
}

// GetAttr answers stat.
func (h *History) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := h.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	ctx := requestContext(cancel)
	switch n.kind {
	case versionsNode:
		out.AttrValid = listValid
		return h.versionsAttr(ctx, n, &out.Attr)
	case tagNode, incompleteNode, aliasNode:
		specialAttr(&out.Attr, n)
		return fuse.OK
	}
	e, valid, err := h.entryOf(ctx, n)
	if err != nil {
		return h.failed("attributes of "+n.where(), err)
	}
	out.AttrValid = valid
	if n.place > 0 {
		n.ino = entryIno(n.parent, e)
	}
	if at, ok := n.instant(); ok {
		instantAttr(&out.Attr, e, n.ino, at)
	} else {
		fillAttr(&out.Attr, e, n.ino)
	}
	return fuse.OK
}

// instant is set for the directory of an instant itself.
func (n *pastNode) instant() (versions.Instant, bool) {
	if n.kind != frozenDir || n.parent == nil || n.parent.kind != versionsNode {
		return versions.Instant{}, false
	}
	at, err := versions.ParseInstant(n.name)
	return at, err == nil
}

const cacheDirTag = "Signature: 8a477f597d28d172789f06886806bc55\n" +
	"# The versions that syncfs keeps of this directory. Programs that make\n" +
	"# backups need not look here: see https://bford.info/cachedir/\n"

const incompleteText = "The list of versions is still being fetched; older ones will appear.\n"

// text is the content of a file that we make up.
func (n *pastNode) text() string {
	switch n.kind {
	case tagNode:
		return cacheDirTag
	case incompleteNode:
		return incompleteText
	}
	return ""
}

func specialAttr(a *fuse.Attr, n *pastNode) {
	*a = fuse.Attr{Ino: n.ino, Mode: unix.S_IFREG | 0o444, Nlink: 1, Blksize: 4096, Size: uint64(len(n.text())), Blocks: 8}
	if n.kind == aliasNode {
		a.Mode, a.Size, a.Blocks = unix.S_IFLNK|0o777, uint64(len(n.name)), 0
		if at, err := versions.ParseInstant(n.name); err == nil {
			setTimes(a, at.Sec*1e9)
		}
	}
}

// Readlink answers where a symlink points.
func (h *History) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n := h.nodes.get(in.NodeId)
	if n == nil {
		return nil, fuse.Status(unix.ESTALE)
	}
	if n.kind == aliasNode {
		return []byte(n.name), fuse.OK
	}
	e, status := h.entryFor(cancel, in.NodeId)
	if status != fuse.OK {
		return nil, status
	}
	if e.Kind != versions.Symlink {
		return nil, fuse.EINVAL
	}
	return []byte(e.Target), fuse.OK
}

// entryFor is entryOf for a request; what we make up has an empty entry.
func (h *History) entryFor(cancel <-chan struct{}, id uint64) (*versions.Entry, fuse.Status) {
	n := h.nodes.get(id)
	if n == nil {
		return nil, fuse.Status(unix.ESTALE)
	}
	if n.kind != frozenDir && n.kind != frozenFile && n.kind != followDir {
		return &versions.Entry{}, fuse.OK
	}
	e, _, err := h.entryOf(requestContext(cancel), n)
	if err != nil {
		return nil, h.failed("entry "+n.where(), err)
	}
	return e, fuse.OK
}

// GetXAttr reads one extended attribute.
func (h *History) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	e, status := h.entryFor(cancel, in.NodeId)
	if status != fuse.OK {
		return 0, status
	}
	i := slices.IndexFunc(e.Xattrs, func(x versions.Xattr) bool { return x.Name == name })
	if i < 0 {
		return 0, fuse.ENODATA
	}
	return fillDest(dest, e.Xattrs[i].Value)
}

// ListXAttr lists the names of extended attributes.
func (h *History) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	e, status := h.entryFor(cancel, in.NodeId)
	if status != fuse.OK {
		return 0, status
	}
	var names strings.Builder
	for _, x := range e.Xattrs {
		names.WriteString(x.Name)
		names.WriteByte(0)
	}
	return fillDest(dest, []byte(names.String()))
}

func fillDest(dest, value []byte) (uint32, fuse.Status) {
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

// StatFs says that there is nothing free.
func (h *History) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Bsize: 4096, Frsize: 4096, NameLen: 255}
	return fuse.OK
}

// Access is not asked: the kernel checks modes itself.
func (h *History) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

// failures keeps one broken remote from filling the log: what comes within the
// same second is only counted.
type failures struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

// failed is what the kernel is told of an error. Only a few conditions have
// an errno of their own; a refused connection is not one that read may return.
func (h *History) failed(what string, err error) fuse.Status {
	switch {
	case errors.Is(err, context.Canceled):
		return fuse.EINTR
	case errors.Is(err, unix.ESTALE), errors.Is(err, unix.ENOTDIR):
		return toStatus(h.log, what, err)
	}
	h.failures.mu.Lock()
	defer h.failures.mu.Unlock()
	now := h.o.Now()
	if since := now.Sub(h.failures.last); since >= 0 && since < time.Second {
		h.failures.skipped++
		return fuse.EIO
	}
	h.log.Error("the past cannot be read", "folder", h.o.Folder, "of", what, "error", err, "more", h.failures.skipped)
	h.failures.last, h.failures.skipped = now, 0
	return fuse.EIO
}
