//go:build linux

package fs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// pastDirHandle is an open directory: what it listed when it was opened, so
// that offsets stay what they were.
type pastDirHandle struct {
	node  *pastNode
	list  *listing        // of a directory of the past
	names []fuse.DirEntry // of .versions, and what a directory has besides list
}

// OpenDir begins to list a directory.
func (h *History) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := h.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	d := &pastDirHandle{node: n}
	if status := h.fillDir(requestContext(cancel), d); status != fuse.OK {
		return status
	}
	out.Fh = h.handles.add(d)
	if n.dir.frozen {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	}
	return fuse.OK
}

// fillDir reads what a directory has.
func (h *History) fillDir(ctx context.Context, d *pastDirHandle) fuse.Status {
	n := d.node
	d.names = append(d.names[:0],
		fuse.DirEntry{Name: ".", Mode: unix.S_IFDIR, Ino: n.ino},
		fuse.DirEntry{Name: "..", Mode: unix.S_IFDIR})
	if n.kind == versionsNode {
		return h.listVersions(ctx, d)
	}
	if n.dir == nil {
		return fuse.ENOTDIR
	}
	tree, err := h.treeOf(ctx, n)
	if err != nil {
		return h.failed("directory "+n.where(), err)
	}
	if d.list, err = h.listing(ctx, tree); err != nil {
		return h.failed("listing of "+n.where(), err)
	}
	if n.kind == followDir && n.dir.path == "" {
		d.names = append(d.names, fuse.DirEntry{Name: h.o.VersionsName, Mode: unix.S_IFDIR,
			Ino: newIno(h.o.Folder, "", h.o.VersionsName)})
	}
	h.prefetch(n, d.list)
	n.dir.listed.Store(true)
	return fuse.OK
}

// listVersions lists .versions: names and kinds, no attributes.
func (h *History) listVersions(ctx context.Context, d *pastDirHandle) fuse.Status {
	n := d.node
	list, complete, err := h.momentsOf(ctx, n.dir.path)
	if err != nil {
		return h.failed("moments of "+n.dir.path, err)
	}
	d.list = &listing{}
	d.names = append(d.names, fuse.DirEntry{Name: tagName, Mode: unix.S_IFREG, Ino: childIno(n.ino, tagName)})
	if !complete {
		d.names = append(d.names, fuse.DirEntry{Name: incompleteName, Mode: unix.S_IFREG, Ino: childIno(n.ino, incompleteName)})
	}
	for _, m := range list {
		name := m.Instant.String()
		d.names = append(d.names, fuse.DirEntry{Name: name, Mode: unix.S_IFDIR, Ino: newIno(h.o.Folder, name, n.dir.path)})
	}
	if len(list) > 0 {
		target := list[len(list)-1].Instant.String()
		d.names = append(d.names, fuse.DirEntry{Name: latestName, Mode: unix.S_IFLNK, Ino: childIno(childIno(n.ino, latestName), target)})
	}
	return fuse.OK
}

// ReadDir lists names and kinds.
func (h *History) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d, status := h.dirAt(cancel, in)
	if status != fuse.OK {
		return status
	}
	for i := in.Offset; i < d.len(); i++ {
		if !out.AddDirEntry(d.at(i)) {
			break
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
	h.nodes.mu.Lock()
	defer h.nodes.mu.Unlock()
	for i := in.Offset; i < d.len(); i++ {
		entry := out.AddDirLookupEntry(d.at(i))
		if entry == nil {
			break
		}
		if e := d.entry(i); e != nil {
			id, ino := h.childLocked(d.node, e, int(i)-len(d.names))
			entryFound(d.node, id, ino, e, entry)
		}
	}
	return fuse.OK
}

// dirAt is the handle of a request; rewinding reads the directory again.
func (h *History) dirAt(cancel <-chan struct{}, in *fuse.ReadIn) (*pastDirHandle, fuse.Status) {
	d, ok := h.handles.get(in.Fh).(*pastDirHandle)
	if !ok {
		return nil, fuse.EBADF
	}
	if in.Offset != 0 || d.node.dir.frozen {
		return d, fuse.OK
	}
	again := &pastDirHandle{node: d.node}
	if status := h.fillDir(requestContext(cancel), again); status != fuse.OK {
		return nil, status
	}
	h.handles.replace(in.Fh, again)
	return again, fuse.OK
}

func (d *pastDirHandle) len() uint64 { return uint64(len(d.names) + len(d.list.entries)) }

// entry is nil for what is no entry of the past.
func (d *pastDirHandle) entry(i uint64) *versions.Entry {
	if i < uint64(len(d.names)) {
		return nil
	}
	return &d.list.entries[i-uint64(len(d.names))]
}

// at is what is listed at offset i; the offset of an entry is that of the next.
func (d *pastDirHandle) at(i uint64) fuse.DirEntry {
	e := d.entry(i)
	if e == nil {
		name := d.names[i]
		name.Off = i + 1
		return name
	}
	return fuse.DirEntry{Name: e.Name, Mode: typeBits(e.Kind), Ino: entryIno(d.node, e), Off: i + 1}
}

// ReleaseDir ends a listing.
func (h *History) ReleaseDir(in *fuse.ReleaseIn) { h.handles.remove(in.Fh) }

// FsyncDir has nothing to do.
func (h *History) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }
