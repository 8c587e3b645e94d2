package ondemand

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// Unfold fills the directory that dirfd (which may be O_PATH) is open on with
// the stubs of what it holds; filled: it was not before. path is where it is,
// for records and messages.
//
// The mark of the directory goes last, after all in it is durable: a crash
// before leaves the directory as it was, and what is in it already is used.
func (d *Demand) Unfold(ctx context.Context, dirfd int, path string) (filled bool, err error) {
	if !disk.IsStubAt(dirfd, "") {
		return false, nil
	}
	for {
		s, is, err := disk.StubAt(dirfd, "")
		if err != nil {
			return false, d.unreachable(path, err)
		}
		if !is {
			return false, nil
		}
		bounded, done := d.patient(ctx)
		entries, err := d.o.Trees.Read(bounded, s.Content.Tree)
		done()
		if err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			return false, d.unreachable(path, err)
		}
		filled, err := d.unfold(ctx, dirfd, path, s, entries)
		if !errors.Is(err, errRefolded) {
			if err != nil {
				return false, d.unreachable(path, err)
			}
			return filled, nil
		}
	}
}

// errRefolded is a directory of which the mark has changed meanwhile.
var errRefolded = errors.New("another version of it has come")

func (d *Demand) unfold(ctx context.Context, dirfd int, path string, s disk.Stub, entries []versions.Entry) (bool, error) {
	dir, err := disk.OpenDirAgain(dirfd)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	before, err := dir.Self()
	if err != nil {
		return false, err
	}
	lock := &d.marks[before.Ino%uint64(len(d.marks))]
	lock.Lock()
	defer lock.Unlock()
	now, is, err := dir.Stub()
	if err != nil || !is {
		return false, err
	}
	if now.Content.Tree != s.Content.Tree {
		return false, errRefolded
	}
	d.o.Folder.Filling(path)
	if before, err = dir.Self(); err != nil {
		return false, err
	}
	u := &unfolding{d: d, dir: dir, path: path, links: map[[16]byte]string{}}
	if err := dir.Writable(func() error { return u.fill(ctx, entries) }); err != nil {
		return false, err
	}
	if err := dir.Sync(); err != nil {
		return false, err
	}
	if err := disk.SetTimes(dir.Fd(), before.MTime); err != nil {
		return false, err
	}
	if err := disk.ClearStub(dir.Fd()); err != nil {
		return false, err
	}
	after, err := dir.Self()
	if err != nil {
		return false, err
	}
	d.o.Folder.Watching(path)
	root, _, _, err := dir.SelfEntry(d.o.Owners) // the mark does not say whose it is
	if err != nil {
		return false, err
	}
	root.Tree, root.Size, root.Count = s.Content.Tree, s.Content.Size, s.Content.Count
	root.MTime, root.Mode = before.MTime, before.Mode&0o7777
	d.later(func() {
		if err := d.o.Folder.Unfolded(path, root, after.Sig, u.children); err != nil {
			d.o.Logger.Warn("a directory is looked at again", "path", path, "err", err)
		}
		if u.foreign {
			d.o.Folder.Changed(path)
		}
	})
	return true, nil
}

// unfolding is one directory being filled.
type unfolding struct {
	d        *Demand
	dir      *disk.Dir
	path     string
	links    map[[16]byte]string // hard-link groups by the first name in this directory
	children []folder.Applied
	foreign  bool // something was there that is not of the tree
}

func (u *unfolding) fill(ctx context.Context, entries []versions.Entry) error {
	u.children = u.children[:0]
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		st, err := u.one(ctx, e)
		if errors.Is(err, fs.ErrExist) {
			if st, err = u.existing(e); err == nil && st == nil {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		entry := e
		path := e.Name
		if u.path != "" {
			path = u.path + "/" + e.Name
		}
		folded := e.Kind == versions.Dir && !e.Tree.IsZero()
		u.children = append(u.children, folder.Applied{Path: path, Entry: &entry, Sig: st.Sig, Folded: folded})
	}
	return nil
}

// one makes the stub of one entry.
func (u *unfolding) one(ctx context.Context, e versions.Entry) (*disk.Stat, error) {
	o := disk.CreateOptions{Owner: u.d.o.Owner, Owners: u.d.o.Owners}
	if e.Link != [16]byte{} && e.Kind != versions.Dir {
		if first, ok := u.links[e.Link]; ok {
			if err := u.dir.Link(first, u.dir, e.Name); err != nil {
				return nil, err
			}
			st, err := u.dir.Stat(e.Name)
			return &st, err
		}
		u.links[e.Link] = e.Name
	}
	var st disk.Stat
	var notes []disk.Note
	var err error
	if e.Kind == versions.File && isRules(e.Name) {
		// They are needed as soon as something is new here. Where they cannot be
		// fetched now nothing new is taken until they were read.
		if st, notes, err = u.content(ctx, e, o); err == nil {
			u.tell(e.Name, notes)
			return &st, nil
		}
	}
	if e.Kind == versions.Dir || e.Kind == versions.File && e.Size > 0 {
		st, notes, err = u.dir.CreateStub(e.Name, e, o)
		if errors.Is(err, disk.ErrStubTooLong) {
			st, notes, err = u.content(ctx, e, o)
		}
	} else {
		st, notes, err = u.dir.Create(ctx, e.Name, e, nil, o)
	}
	u.tell(e.Name, notes)
	return &st, err
}

// tell writes into the log what a disk does not hold of a name.
func (u *unfolding) tell(name string, notes []disk.Note) {
	for _, n := range notes {
		u.d.o.Logger.Debug("this disk does not hold all of it", "path", u.path, "name", name, "err", n)
	}
}

// content makes a file that cannot be a stub.
func (u *unfolding) content(ctx context.Context, e versions.Entry, o disk.CreateOptions) (disk.Stat, []disk.Note, error) {
	r, err := u.d.o.Contents.Open(ctx, e)
	if err != nil {
		return disk.Stat{}, nil, err
	}
	defer r.Close()
	return u.dir.Create(ctx, e.Name, e, r, o)
}

// existing is what stands under a name already: what an attempt that was cut has
// left is right, or made right; anything else somebody put there, and it stays.
func (u *unfolding) existing(e versions.Entry) (*disk.Stat, error) {
	st, err := u.dir.Stat(e.Name)
	if err != nil {
		return nil, err
	}
	kind, _ := st.Kind()
	if kind != e.Kind {
		u.foreign = true
		return nil, nil
	}
	if kind != versions.File && kind != versions.Dir || e.Size == 0 && kind == versions.File {
		return &st, nil
	}
	s, is, err := disk.StubAt(u.dir.Fd(), e.Name)
	switch {
	case err != nil:
		return nil, err
	case is && versions.SameContent(s.Content, disk.NewStub(e).Content):
		return &st, nil
	case kind == versions.Dir && !e.Tree.IsZero():
		return u.existingDir(e)
	case kind == versions.Dir:
		return &st, nil
	}
	u.foreign = true
	return nil, nil
}

// existingDir marks a directory that was made and not marked: one with anything
// in it is somebody's.
func (u *unfolding) existingDir(e versions.Entry) (*disk.Stat, error) {
	sub, err := u.dir.OpenDir(e.Name)
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	names, err := sub.List()
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		u.foreign = true
		return nil, nil
	}
	if err := disk.SetStub(sub.Fd(), disk.NewStub(e)); err != nil {
		return nil, err
	}
	o := disk.CreateOptions{Owner: u.d.o.Owner, Owners: u.d.o.Owners}
	st, _, err := sub.SetSelfMeta(disk.MetaOf(e, o))
	return &st, err
}

// Refold makes a directory of which nothing is here stand for another tree:
// EBUSY when it was filled meanwhile.
func (d *Demand) Refold(path string, from, to versions.Entry) (disk.Sig, error) {
	dir, err := d.o.Root.OpenDir(path)
	if err != nil {
		return disk.Sig{}, err
	}
	defer dir.Close()
	st, err := dir.Self()
	if err != nil {
		return disk.Sig{}, err
	}
	lock := &d.marks[st.Ino%uint64(len(d.marks))]
	lock.Lock()
	defer lock.Unlock()
	s, is, err := dir.Stub()
	if err != nil {
		return disk.Sig{}, err
	}
	if !is || s.Content.Tree != from.Tree && s.Content.Tree != to.Tree {
		return disk.Sig{}, fmt.Errorf("%s has been looked into: %w", strconv.Quote(path), unix.EBUSY)
	}
	d.o.Folder.Filling(path)
	if to.Tree.IsZero() {
		err = disk.ClearStub(dir.Fd())
	} else {
		err = disk.SetStub(dir.Fd(), disk.NewStub(to))
	}
	if err != nil {
		return disk.Sig{}, err
	}
	st, err = dir.Self()
	return st.Sig, err
}
