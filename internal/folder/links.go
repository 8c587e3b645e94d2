package folder

import (
	"fmt"
	"io"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// inode names an inode on this machine.
type inode struct{ dev, ino uint64 }

// linked is a hard-link group that has been recorded.
type linked struct{ group [16]byte }

// group sets the hard-link group of an entry: that of its inode if it has one,
// else a new one, the same for all its names.
func (b *build) group(j *job, e *versions.Entry, st disk.Stat) {
	if st.Links < 2 || e.Kind == versions.Dir {
		return
	}
	key := inode{st.Dev, st.Ino}
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
	l, ok := f.links[key]
	if !ok {
		return [16]byte{}, false
	}
	return l.group, true
}
