package folder

import (
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// watchApplied watches a directory that the applier has made or moved here, and
// finds what a program has put into it before: nothing else tells of that. From
// here on the event of its coming says nothing new.
func (f *Folder) watchApplied(path string) {
	d, err := f.o.Root.OpenDir(path)
	if err != nil {
		return // it went again: its own event tells
	}
	defer d.Close()
	f.watchDir(d, path)
	names, err := d.List()
	if err != nil {
		f.markFresh(path, true)
		return
	}
	data, err := f.readRecord(path)
	if err != nil {
		f.markFresh(path, true)
		return
	}
	known := map[string]bool{}
	if r, err := parseRecord(data); err == nil {
		_ = r.each(func(c child) error { known[c.name] = true; return nil }) // what is damaged is not known
	}
	for _, n := range names {
		if !known[n.Name] {
			f.markFresh(join(path, n.Name), true)
		}
	}
}

// markFresh makes path dirty and wakes who builds.
func (f *Folder) markFresh(path string, deep bool) {
	f.mu.Lock()
	fresh := f.mark(path, deep, f.o.Now())
	f.mu.Unlock()
	if fresh {
		f.poke()
	}
}

// came tells whether the event of a directory's coming is about the one that
// the applier has put there, which is watched since. Its times may have moved by
// further steps.
func (f *Folder) came(e event, c Applied) bool {
	if !e.deep || c.Entry == nil || c.Entry.Kind != versions.Dir {
		return false
	}
	st, err := f.lstat(c.Path)
	return err == nil && st.Ino == c.Sig.Ino && st.Type() == disk.TypeDir
}
