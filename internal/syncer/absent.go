package syncer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"syscall"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// What this disk cannot hold - a name that it refuses or takes for another, a
// symlink on vfat - is not put here, and is in the folder's tree all the same:
// the records have it with all that the line says of it. So it is never taken
// for deleted, and waits for nothing.

// unholdable tells whether an error says that this disk can hold no such name or
// no such thing.
func unholdable(err error) bool {
	for _, e := range []error{syscall.EINVAL, syscall.EILSEQ, syscall.ENAMETOOLONG, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// unmakable is unholdable for an error in making the inode of e: links and
// devices are refused with EPERM where a disk or a user has none.
func unmakable(e *versions.Entry, err error) bool {
	return unholdable(err) || e.Kind != versions.File && e.Kind != versions.Dir && errors.Is(err, syscall.EPERM)
}

// cannotHold tells whether c, which is new and could not be placed because of
// err, never can be as things are.
func (a *applier) cannotHold(c *stagedChange, err error) bool {
	if c.Old != nil || c.Path == "" {
		return false
	}
	if unholdable(err) {
		return true
	}
	if missing(err) { // some disks say so of a name that they refuse
		d, derr := a.s.o.Root.OpenDir(parentOf(c.Path))
		if derr != nil {
			return false
		}
		d.Close()
		_, serr := a.stage.Stat(c.name)
		return c.New.Kind == versions.Dir || serr == nil
	}
	if !inTheWay(err) {
		return false
	}
	collides, cerr := a.s.o.Disk.Collides(c.Path)
	return cerr == nil && collides
}

// lack notes that a path is not put here, with all below it.
func (a *applier) lack(p string) {
	if a.lacking == nil {
		a.lacking = map[string]bool{}
	}
	a.lacking[p] = true
}

// lacks tells whether a path is not put here, or lies in what is not.
func (a *applier) lacks(p string) bool { return within(a.lacking, p) }

// recordLacking records what is not put here as it is in the tree to.
func (a *applier) recordLacking(ctx context.Context, to versions.Entry) error {
	var list []folder.Applied
	for p := range a.lacking {
		e, err := a.s.o.Trees.Resolve(ctx, to, p)
		switch {
		case missing(err) || errors.Is(err, versions.ErrNotDir):
			list = append(list, folder.Applied{Path: p})
		case err != nil:
			return err
		default:
			list = append(list, folder.Applied{Path: p, Entry: &e, Absent: true})
		}
	}
	return a.s.o.Disk.Applied(list)
}

// retryLittle is how many bytes are staged at every apply for what this disk
// could not hold so far, and a hundredth of it what one path counts at least.
const retryLittle = 16 << 20

// planAbsent changes a plan for what is recorded and not on this disk: it is
// never removed or written over, since its name may lead to something else, and
// what changed of it is tried again. So is what did not change: as long as it is
// little, at every apply, else at the first of a run and where something made
// room.
func (s *Syncer) planAbsent(ctx context.Context, p *plan, to versions.Entry) error {
	absents := s.o.Disk.Absents()
	if len(absents) == 0 {
		return nil
	}
	again := map[string]bool{}
	room := map[string]bool{}
	for _, list := range []*[]versions.Change{&p.giveWay, &p.gone} {
		var rest []versions.Change
		for _, c := range *list {
			if top := s.o.Disk.Absent(c.Path); top != "" {
				again[top] = true
				continue
			}
			room[parentOf(c.Path)] = true
			rest = append(rest, c)
		}
		*list = rest
	}
	var rest []versions.Change
	for _, c := range p.changes {
		if top := s.o.Disk.Absent(c.Path); top != "" {
			again[top] = true
			continue
		}
		rest = append(rest, c)
	}
	p.changes = rest
	var dirs []dirMeta
	for _, d := range p.dirs {
		if s.o.Disk.Absent(d.path) == "" {
			dirs = append(dirs, d)
		}
	}
	p.dirs = dirs
	s.mu.Lock()
	first := !s.absentTried
	s.absentTried = true
	s.mu.Unlock()
	little := int64(retryLittle)
	for _, top := range absents {
		e, err := s.o.Trees.Resolve(ctx, to, top)
		if missing(err) || errors.Is(err, versions.ErrNotDir) {
			p.absent = append(p.absent, top)
			continue // recordLacking takes it out
		}
		if err != nil {
			return err
		}
		little -= e.Size + retryLittle/100
		if !first && !again[top] && !room[parentOf(top)] && little < 0 {
			continue
		}
		p.absent = append(p.absent, top)
		err = s.o.Trees.Walk(ctx, e, func(below string, e versions.Entry) error {
			one := e
			at := top
			if below != "" {
				at = path.Join(top, below)
			} else {
				one.Name = path.Base(top)
			}
			if one.Kind == versions.Dir {
				p.dirs = append([]dirMeta{{at, one}}, p.dirs...)
			}
			p.again = append(p.again, versions.Change{Path: at, New: &one})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// linkless tells whether an error says that this disk has no hard links.
func linkless(err error) bool {
	return unholdable(err) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.EXDEV)
}

// stageCopy makes a file of its own of what should have been a hard link.
func (a *applier) stageCopy(ctx context.Context, c *stagedChange) error {
	c.link = false
	if err := a.create(ctx, c); err != nil {
		return err
	}
	return a.s.syncStage(a.stage)
}

// errName is a name that this disk would change.
var errName = fmt.Errorf("this disk cannot hold such a name: %w", syscall.EINVAL)

// checkName refuses names that the disk would change without a word.
func (a *applier) checkName(c *stagedChange) error {
	if c.Old == nil && c.Path != "" && !a.stage.Holds(path.Base(c.Path)) {
		return errName
	}
	return nil
}

// restoredTime tells whether a file has the time that it was given, as exactly
// as the disk keeps it: FAT to two seconds.
func restoredTime(st disk.Stat, e versions.Entry) bool {
	const coarsest = 2e9
	late := e.MTime - st.MTime
	return late == 0 || late > 0 && late < coarsest && st.MTime%100 == 0
}

// restorable tells whether a path that could not be restored may be another
// time.
func (s *Syncer) restorable(ctx context.Context, root versions.Entry, f disk.PathError) bool {
	e, err := s.o.Trees.Resolve(ctx, root, f.Path)
	return err != nil || !unmakable(&e, f.Err)
}
