//go:build linux

package fs

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// endOfVersions is the offset after the .versions that the listing of a
// directory ends with. No disk uses it: ext4's hashes end one above, where its
// own end is, and others count from 0.
const endOfVersions = 1<<63 - 2

// dirStream reads a directory in the disk's own order and with its own offsets,
// so a position stays right while entries come and go.
type dirStream struct {
	mu   sync.Mutex // guards all below
	fd   int
	buf  []byte // what of the last getdents is not handed out yet
	next uint64 // the offset of what comes next; fd stands after buf
	mem  []byte
}

// dirent is one entry as getdents64 gives it.
type dirent struct {
	ino  uint64
	off  uint64
	kind uint32 // S_IFMT bits, 0 when the disk does not tell
	name []byte
}

// peek is the entry at off, nil at the end.
func (s *dirStream) peek(off uint64) (*dirent, int, error) {
	if off != s.next {
		if _, err := unix.Seek(s.fd, int64(off), 0); err != nil {
			return nil, 0, err
		}
		s.next, s.buf = off, nil
	}
	if len(s.buf) == 0 {
		if s.mem == nil {
			s.mem = make([]byte, 32<<10)
		}
		n, err := unix.Getdents(s.fd, s.mem)
		if err == unix.ENOENT {
			n, err = 0, nil // the directory was removed
		}
		if err != nil || n == 0 {
			return nil, 0, err
		}
		s.buf = s.mem[:n]
	}
	size := int(binary.NativeEndian.Uint16(s.buf[16:]))
	name := s.buf[19:size]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return &dirent{
		ino:  binary.NativeEndian.Uint64(s.buf),
		off:  binary.NativeEndian.Uint64(s.buf[8:]),
		kind: uint32(s.buf[18]) << 12,
		name: name,
	}, size, nil
}

func (s *dirStream) take(e *dirent, size int) {
	s.buf = s.buf[size:]
	s.next = e.off
}

// OpenDir opens a directory for listing.
func (l *Live) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.OpenDir(cancel, in, out)
	}
	n := l.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	h := &handle{n: n, fd: -1}
	if !l.isSubmount(n) {
		if status := l.unfold(cancel, n); status != fuse.OK {
			return status
		}
		l.tree.RLock()
		defer l.tree.RUnlock()
		dir, err := l.nodes.dirfd(n)
		if err != nil {
			return l.status("opendir", err)
		}
		h.fd, err = openat(dir.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		l.nodes.put(dir)
		if err != nil {
			return l.status("opendir", err)
		}
		h.dir = &dirStream{fd: h.fd}
	}
	out.Fh = l.handles.add(h)
	if !l.nodes.isStage(n) && l.validity(n, "") == forever {
		out.OpenFlags = fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	}
	return fuse.OK
}

// ReleaseDir ends a listing.
func (l *Live) ReleaseDir(in *fuse.ReleaseIn) {
	if isPast(in.NodeId) {
		l.past.ReleaseDir(in)
		return
	}
	if h := l.handles.remove(in.Fh); h != nil && h.fd >= 0 {
		unix.Close(h.fd)
	}
}

// FsyncDir makes a directory's entries durable.
func (l *Live) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.FsyncDir(cancel, in)
	}
	return l.sync("fsyncdir", in)
}

// ReadDir lists names.
func (l *Live) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.ReadDir(cancel, in, out)
	}
	return l.readDir(in, func(h *handle, e *dirent, _ uint64) bool {
		return out.AddDirEntry(fuse.DirEntry{Name: string(e.name), Ino: e.ino, Mode: e.kind, Off: e.off})
	})
}

// ReadDirPlus lists names with what stat tells of each.
func (l *Live) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if isPast(in.NodeId) {
		return l.past.ReadDirPlus(cancel, in, out)
	}
	valid := uint64(0)
	return l.readDir(in, func(h *handle, e *dirent, since uint64) bool {
		if valid == 0 {
			valid = l.validity(h.n, "")
		}
		name := string(e.name)
		entry := out.AddDirLookupEntry(fuse.DirEntry{Name: name, Ino: e.ino, Mode: e.kind, Off: e.off})
		if entry == nil {
			return false
		}
		if name == "." || name == ".." || l.isVersions(name) || h.fd < 0 {
			return true // only the name
		}
		var st unix.Statx_t
		if statAt(h.fd, name, &st) != nil {
			return true // gone meanwhile, or not to be seen: a lookup will tell
		}
		l.asWhole(h.fd, name, &st)
		of := valid
		if of == forever && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			of = l.validity(h.n, name)
		}
		l.fillEntryFor(entry, h.n, name, &st, since, of)
		out.FixMode(uint32(st.Mode))
		return true
	})
}

// readDir hands entries to add until it has no room for one.
func (l *Live) readDir(in *fuse.ReadIn, add func(h *handle, e *dirent, since uint64) bool) fuse.Status {
	h := l.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	l.tree.RLock()
	defer l.tree.RUnlock()
	since := l.notify.now()
	if h.fd < 0 {
		listEmpty(in.Offset, h.n.ino, func(e *dirent) bool { return add(h, e, since) })
		return fuse.OK
	}
	s := h.dir
	s.mu.Lock()
	defer s.mu.Unlock()
	for off := in.Offset; off != endOfVersions; {
		e, size, err := s.peek(off)
		if err != nil {
			return l.status("readdir", err)
		}
		if e == nil {
			l.listVersions(h, off, since, add)
			break
		}
		// A real entry of the versions' name was made below the mount: it is
		// answered as ours, and must not be listed twice.
		name := string(e.name)
		if !hidden(h.n, name) && !l.isVersions(name) && !add(h, e, since) {
			break
		}
		s.take(e, size)
		off = e.off
	}
	return fuse.OK
}

func (l *Live) listVersions(h *handle, off, since uint64, add func(h *handle, e *dirent, since uint64) bool) {
	if l.past == nil || l.o.Show == ShowNone || l.o.Show == ShowRoot && h.n != l.nodes.root {
		return
	}
	add(h, &dirent{off: endOfVersions, kind: unix.S_IFDIR, name: []byte(l.o.VersionsName)}, since)
}

func listEmpty(off, ino uint64, add func(e *dirent) bool) {
	for i, name := range []string{".", ".."} {
		if uint64(i) < off {
			continue
		}
		if !add(&dirent{ino: ino, off: uint64(i + 1), kind: unix.S_IFDIR, name: []byte(name)}) {
			return
		}
	}
}
