//go:build linux

package fs

import (
	"context"
	"sort"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// pastDirHandle is an open directory: what it listed when it was opened, so
// that offsets stay what they were. In a mount of its own there is one for each
// request.
type pastDirHandle struct {
	node  *pastNode
	names []fuse.DirEntry // of .versions, and what a directory has besides list
	list  *listing        // of a directory of the past
}

// The offset of an entry is where the next one is found. Offsets are the same
// whenever a directory is listed, even if instants came or went meanwhile.
const (
	selfOff = iota + 1
	parentOff
	tagOff
	incompleteOff
	latestOff
	versionsOff
	listOff = 16 // entries of a listing follow
)

// instantOff grows with the instants.
func instantOff(at versions.Instant) uint64 {
	return listOff + uint64(max(at.Sec, 0))<<20 + uint64(min(at.Seq, 1<<20-1))
}

// OpenDir begins to list a directory; see Open.
func (h *History) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if h.own {
		return fuse.ENOSYS
	}
	n := h.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	d, status := h.readDir(requestContext(cancel), n)
	if status != fuse.OK {
		return status
	}
	h.prefetch(n, d.list)
	out.Fh = h.handles.add(d)
	if n.dir.frozen {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	}
	return fuse.OK
}

// readDir reads what a directory has.
func (h *History) readDir(ctx context.Context, n *pastNode) (*pastDirHandle, fuse.Status) {
	if n.dir == nil {
		return nil, fuse.ENOTDIR
	}
	d := &pastDirHandle{node: n, list: &listing{}, names: []fuse.DirEntry{
		{Name: ".", Mode: unix.S_IFDIR, Ino: n.ino, Off: selfOff},
		{Name: "..", Mode: unix.S_IFDIR, Off: parentOff},
	}}
	if n.kind == versionsNode {
		return d, h.listVersions(ctx, d)
	}
	tree, err := h.treeOf(ctx, n)
	if err != nil {
		return nil, h.failed("directory "+n.where(), err)
	}
	if d.list, err = h.listing(ctx, tree); err != nil {
		return nil, h.failed("listing of "+n.where(), err)
	}
	if n.kind == followDir && n.dir.path == "" {
		d.names = append(d.names, fuse.DirEntry{Name: h.o.VersionsName, Mode: unix.S_IFDIR,
			Ino: newIno(h.o.Folder, "", h.o.VersionsName), Off: versionsOff})
	}
	return d, fuse.OK
}

// listVersions lists .versions: names and kinds, no attributes.
func (h *History) listVersions(ctx context.Context, d *pastDirHandle) fuse.Status {
	n := d.node
	list, complete, err := h.momentsOf(ctx, n.dir.path)
	if err != nil {
		return h.failed("moments of "+n.dir.path, err)
	}
	add := func(name string, mode uint32, ino, off uint64) {
		d.names = append(d.names, fuse.DirEntry{Name: name, Mode: mode, Ino: ino, Off: off})
	}
	add(tagName, unix.S_IFREG, childIno(n.ino, tagName), tagOff)
	if !complete {
		add(incompleteName, unix.S_IFREG, childIno(n.ino, incompleteName), incompleteOff)
	}
	if len(list) > 0 {
		target := list[len(list)-1].Instant.String()
		add(latestName, unix.S_IFLNK, childIno(childIno(n.ino, latestName), target), latestOff)
	}
	for _, m := range list {
		name := m.Instant.String()
		add(name, unix.S_IFDIR, newIno(h.o.Folder, name, n.dir.path), instantOff(m.Instant))
	}
	return fuse.OK
}

// ReadDir lists names and kinds.
func (h *History) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d, status := h.dirAt(cancel, in)
	if status != fuse.OK {
		return status
	}
	for _, name := range d.namesFrom(in.Offset) {
		if !out.AddDirEntry(name) {
			return fuse.OK
		}
	}
	for i := d.placeFrom(in.Offset); i < len(d.list.entries); i++ {
		if !out.AddDirEntry(d.dirent(i)) {
			return fuse.OK
		}
	}
	return fuse.OK
}

// ReadDirPlus lists a directory of the past with attributes. In .versions there
// is a zero node id for each: the kernel asks for what is wanted of them.
func (h *History) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d, status := h.dirAt(cancel, in)
	if status != fuse.OK {
		return status
	}
	for _, name := range d.namesFrom(in.Offset) {
		if out.AddDirLookupEntry(name) == nil {
			return fuse.OK
		}
	}
	defer h.pruneSoon()
	h.nodes.mu.Lock()
	defer h.nodes.mu.Unlock()
	for i := d.placeFrom(in.Offset); i < len(d.list.entries); i++ {
		entry := out.AddDirLookupEntry(d.dirent(i))
		if entry == nil {
			return fuse.OK
		}
		e := &d.list.entries[i]
		id, ino := h.childLocked(d.node, e, h.placeIn(d.list, i))
		entryFound(d.node, id, ino, e, entry)
	}
	return fuse.OK
}

// dirAt is what a request lists; rewinding reads the directory again.
func (h *History) dirAt(cancel <-chan struct{}, in *fuse.ReadIn) (*pastDirHandle, fuse.Status) {
	if h.own {
		n := h.nodes.get(in.NodeId)
		if n == nil {
			return nil, fuse.Status(unix.ESTALE)
		}
		d, status := h.readDir(requestContext(cancel), n)
		if status == fuse.OK && in.Offset == 0 {
			h.prefetch(n, d.list)
		}
		return d, status
	}
	d, ok := h.handles.get(in.Fh).(*pastDirHandle)
	if !ok {
		return nil, fuse.EBADF
	}
	if in.Offset != 0 || d.node.dir.frozen {
		return d, fuse.OK
	}
	again, status := h.readDir(requestContext(cancel), d.node)
	if status == fuse.OK {
		h.handles.replace(in.Fh, again)
	}
	return again, status
}

// namesFrom are the names that come at an offset and after.
func (d *pastDirHandle) namesFrom(off uint64) []fuse.DirEntry {
	i := sort.Search(len(d.names), func(i int) bool { return d.names[i].Off > off })
	return d.names[i:]
}

// placeFrom is the first place in the listing at an offset and after.
func (d *pastDirHandle) placeFrom(off uint64) int {
	return int(min(max(off, listOff)-listOff, uint64(len(d.list.entries))))
}

func (d *pastDirHandle) dirent(i int) fuse.DirEntry {
	e := &d.list.entries[i]
	return fuse.DirEntry{Name: e.Name, Mode: typeBits(e.Kind), Ino: entryIno(d.node, e), Off: listOff + uint64(i) + 1}
}

// ReleaseDir ends a listing.
func (h *History) ReleaseDir(in *fuse.ReleaseIn) { h.handles.remove(in.Fh) }

// FsyncDir has nothing to do.
func (h *History) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }
