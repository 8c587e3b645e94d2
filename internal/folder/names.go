package folder

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// errAbsent is told of a path that is in the tree and not on this disk.
var errAbsent = errors.New("is not on this disk, which cannot hold such a name or such a thing; it stays in the folder")

// setAbsent notes whether a path is in the tree but not on this disk. With mu
// held.
func (f *Folder) setAbsent(path string, absent bool) {
	switch {
	case absent && !f.absent[path] && len(f.absent) < maxTrouble:
		f.o.Logger.Warn("this disk cannot hold a path", "path", path)
		f.absent[path] = true
	case !absent:
		delete(f.absent, path)
	}
}

// Absent is the path, at or above path, that this disk cannot hold; "" where
// there is none.
func (f *Folder) Absent(path string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.absent) == 0 {
		return ""
	}
	for i := range len(path) {
		if path[i] == '/' && f.absent[path[:i]] {
			return path[:i]
		}
	}
	if f.absent[path] {
		return path
	}
	return ""
}

// Absents lists what is in the tree but not on this disk.
func (f *Folder) Absents() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]string, 0, len(f.absent))
	for path := range f.absent {
		list = append(list, path)
	}
	slices.Sort(list)
	return list
}

// Collides tells whether the name of path leads to something that is called
// otherwise: the disk takes two spellings for one.
func (f *Folder) Collides(path string) (bool, error) {
	dir, name := split(path)
	d, err := f.o.Root.OpenDir(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	if _, err := d.Stat(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	exact, err := d.Exact(name)
	return err == nil && !exact, err
}

// shadowed tells whether a recorded name that is not listed is one that the disk
// takes for another that is in the tree as well: then it was never deleted. One
// that is not in the tree is what it was renamed to.
func (t *task) shadowed(old *child, names []disk.Dirent) bool {
	if old.absent() {
		return false
	}
	if _, err := t.dir.Stat(old.name); err != nil {
		return false
	}
	fold := versions.FoldName(old.name)
	for _, n := range names {
		if versions.FoldName(n.Name) != fold {
			continue
		}
		other, err := t.record.find(n.Name)
		if err == nil && other != nil && !other.absent() {
			return true
		}
	}
	return false
}

// keepShadowed records that a name is not on this disk, and in the tree.
func (b *build) keepShadowed(t *task, old *child) {
	c := *old
	c.flags |= childAbsent
	if c.isDir() {
		c.flags |= childFolded
	}
	c.sig = disk.Sig{Mode: old.sig.Type()}
	t.put(edit{old.name, &c}, false, 0, 0)
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	b.f.setAbsent(join(t.path, old.name), true)
}

func absentFlags(e versions.Entry) byte {
	a := Applied{Entry: &e, Absent: true}
	return a.flags()
}

func typeOf(k versions.Kind) uint32 {
	switch k {
	case versions.Dir:
		return disk.TypeDir
	case versions.Symlink:
		return disk.TypeLink
	case versions.CharDev:
		return disk.TypeChar
	case versions.BlkDev:
		return disk.TypeBlock
	}
	return disk.TypeFile
}

// lookalikes finds names in one directory that differ in case or Unicode form
// only. Hashes come first: hardly any directory has one.
type lookalikes struct {
	seed  maphash.Seed
	seen  map[uint64]string
	twins [][2]string
}

func newLookalikes() *lookalikes {
	return &lookalikes{seed: maphash.MakeSeed(), seen: make(map[uint64]string)}
}

func (l *lookalikes) add(name string) {
	key := maphash.String(l.seed, versions.FoldName(name))
	other, ok := l.seen[key]
	if !ok {
		l.seen[key] = name
		return
	}
	if versions.FoldName(other) == versions.FoldName(name) {
		l.twins = append(l.twins, [2]string{other, name})
	}
}

// foundAlike notes what a directory has of them now.
func (f *Folder) foundAlike(dir string, l *lookalikes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.alike, dir)
	for _, t := range l.twins {
		if len(f.alike) < maxTrouble {
			err := fmt.Errorf("differs from %s in case or Unicode form only: other systems take the two for one", strings.ToValidUTF8(t[0], "?"))
			f.alike[dir] = append(f.alike[dir], Trouble{Path: join(dir, t[1]), Err: err, Note: true})
		}
	}
}

// hasAlike tells whether a directory had any.
func (f *Folder) hasAlike(dir string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.alike[dir]) > 0
}

// keepLost keeps what was in a directory whose record is lost and is not on this
// disk, which may never have held it.
func (b *build) keepLost(ctx context.Context, t *task, names []disk.Dirent) error {
	was, err := b.lostDir(t)
	if err != nil || was == nil {
		return err
	}
	listed := make(map[string]bool, len(names))
	for _, n := range names {
		listed[n.Name] = true
	}
	return b.trees.List(ctx, was.Tree, "", func(e versions.Entry) error {
		if listed[e.Name] {
			return nil
		}
		t.put(edit{e.Name, newChild(e, nil, disk.Sig{Mode: typeOf(e.Kind)}, absentFlags(e))}, true, e.Size, weight(e))
		b.f.mu.Lock()
		defer b.f.mu.Unlock()
		b.f.setAbsent(join(t.path, e.Name), true)
		return nil
	})
}
