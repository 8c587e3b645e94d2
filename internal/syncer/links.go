package syncer

import (
	"context"
	"fmt"

	"github.com/syncfs/syncfs/versions"
)

// findLinks finds, for the hard-link groups that changes belong to, a path that
// holds the group already: the tree is walked only when one is needed.
func (a *applier) findLinks(ctx context.Context, to versions.Entry) error {
	changing := map[string]bool{}
	wanted := map[[16]byte]bool{}
	for _, c := range a.plan.changes {
		changing[c.Path] = true
		if c.New.Link != [16]byte{} && !onlyMeta(c) {
			wanted[c.New.Link] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	err := a.s.o.Trees.Walk(ctx, to, func(path string, e versions.Entry) error {
		if wanted[e.Link] && e.Link != [16]byte{} && !changing[path] {
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

// stageLink makes the staged name of a change as a hard link of its group.
func (a *applier) stageLink(c versions.Change, staged string) error {
	at := a.links[c.New.Link]
	if at == "" {
		return fmt.Errorf("%s: the file it is a hard link of could not be placed: %w", c.Path, errWait)
	}
	dir, name := split(at)
	d, err := a.s.o.Root.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Link(name, a.stage, staged)
}

func split(path string) (dir, name string) {
	if dir = parentOf(path); dir == "" {
		return "", path
	}
	return dir, path[len(dir)+1:]
}
