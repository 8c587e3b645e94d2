package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncfs/syncfs/versions"
)

// findLinks finds, for the hard-link groups that changes belong to, a path that
// holds the group already: the tree is walked only when one is needed.
func (a *applier) findLinks(ctx context.Context, to versions.Entry) error {
	changing := map[string]bool{}
	wanted := map[[16]byte]bool{}
	for _, c := range a.plan.changes {
		// Where only attributes change the inode stays: it is in place.
		changing[c.Path] = !onlyMeta(c)
		if c.New.Link != [16]byte{} && !onlyMeta(c) {
			wanted[c.New.Link] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	err := a.s.o.Trees.Walk(ctx, to, func(path string, e versions.Entry) error {
		if wanted[e.Link] && e.Link != [16]byte{} && !changing[path] && a.s.o.Disk.Absent(path) == "" {
			a.links[e.Link] = path
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for hard links: %w", err)
	}
	return nil
}

// isLink tells whether a change is one more name of an inode that is in place,
// or will be when its turn comes.
func (a *applier) isLink(c versions.Change) bool {
	if c.New == nil || c.New.Kind == versions.Dir || c.New.Link == [16]byte{} {
		return false
	}
	at, ok := a.links[c.New.Link]
	if !ok {
		a.links[c.New.Link] = "" // this one brings the inode, the next are links
		return false
	}
	return at != c.Path
}

// stageLink makes the staged name of a change as a hard link of its group,
// unless a program has put something else where the group was.
func (a *applier) stageLink(c *stagedChange) error {
	at := a.links[c.New.Link]
	if at == "" {
		return fmt.Errorf("%s: the file it is a hard link of could not be placed: %w", c.Path, errWait)
	}
	want, ours := a.linkSig[c.New.Link]
	if !ours {
		e, sig, err := a.s.o.Disk.Recorded(at)
		if err != nil {
			return err
		}
		if e.Link != c.New.Link || !versions.SameContent(e, *c.New) {
			return fmt.Errorf("%s: %s is not what it is a hard link of: %w", c.Path, at, errWait)
		}
		// A name more moves the inode's time of change, and the step that is to set
		// its attributes would wait for that: what it still has by then would pass
		// for a change made here.
		if a.setsMeta(at) {
			return fmt.Errorf("%s: the attributes of %s are not set yet: %w", c.Path, at, errWait)
		}
		want = sig
	}
	dir, name := split(at)
	d, err := a.s.o.Root.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Link(name, a.stage, c.name); err != nil {
		return err
	}
	st, err := a.stage.Stat(c.name)
	if err == nil && (st.Ino != want.Ino || st.Size != want.Size || st.MTime != want.MTime) {
		err = fmt.Errorf("%s: %s has changed: %w", c.Path, at, errWait)
	}
	if err != nil {
		return errors.Join(err, a.unstage(c.name))
	}
	c.sig = st.Sig
	return nil
}

// setsMeta tells whether this apply has a change of nothing but attributes for a
// path.
func (a *applier) setsMeta(path string) bool {
	return slices.ContainsFunc(a.plan.changes, func(c versions.Change) bool { return c.Path == path && onlyMeta(c) })
}

func split(path string) (dir, name string) {
	if dir = parentOf(path); dir == "" {
		return "", path
	}
	return dir, path[len(dir)+1:]
}
