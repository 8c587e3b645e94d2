package folder

import (
	"fmt"
	"io"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// inode names an inode on this machine. Dev is 0 on the disk of the root, so
// that names stay right when the disk gets another number.
type inode struct{ dev, ino uint64 }

func (f *Folder) inodeOf(sig disk.Sig) inode { return inode{f.shortDev(sig.Dev), sig.Ino} }

func (f *Folder) shortDev(dev uint64) uint64 {
	if dev == f.rootDev {
		return 0
	}
	return dev
}

func (f *Folder) longDev(dev uint64) uint64 {
	if dev == 0 {
		return f.rootDev
	}
	return dev
}

// group sets the hard-link group of an entry: that of its inode if it has one,
// else a new one, the same for all its names.
func (b *build) group(j *job, e *versions.Entry, st disk.Stat) {
	if e.Kind == versions.Dir {
		return
	}
	if st.Links < 2 {
		if j.old != nil && j.old.flags&childLinked != 0 {
			b.f.unnamed(j.path)
		}
		return
	}
	key := b.f.inodeOf(st.Sig)
	b.f.named(j.path, key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if id, ok := b.links[key]; ok {
		e.Link = id
		return
	}
	id, ok := b.f.linkOf(key)
	if !ok && j.old != nil && j.old.flags&childLinked != 0 && j.old.sig.Ino == st.Ino {
		if was, err := j.old.entry(); err == nil {
			id, ok = was.Link, true
		}
	}
	if !ok {
		if _, err := io.ReadFull(b.f.o.Random, id[:]); err != nil && b.failed == nil {
			b.failed = fmt.Errorf("hard-link group: %w", err)
		}
	}
	b.links[key] = id
	e.Link = id
}

func (f *Folder) linkOf(key inode) ([16]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	group, ok := f.links[key]
	return group, ok
}

func (f *Folder) named(path string, key inode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names.add(path, key)
}

func (f *Folder) unnamed(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names.remove(path)
}
