package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// Bounds of one batch: what is staged, and not visible yet, at one time.
const (
	batchSteps = 512
	batchBytes = 256 << 20
	stagers    = 4 // files that are fetched at once
)

// applier is one apply under way.
type applier struct {
	s     *Syncer
	plan  *plan
	stage *disk.Dir

	stageName string // of the staging directory

	links   map[[16]byte]string // hard-link groups and a path that holds each
	options disk.CreateOptions
	linkSig map[[16]byte]disk.Sig // what each of them is, as far as we put it there
	left    []string              // what could not be done now: changed or open here
	failed  *unapplied            // what could not be done at all; nil: nothing
	lacking map[string]bool       // what this disk cannot hold
	done    Activity
	news    news
}

// apply brings the folder's tree to to by plan p, as far as programs here let
// it: the paths that are left are being written or have just been changed.
// Content is staged, made durable, and then made visible step by step. at is
// the version of to.
func (s *Syncer) apply(ctx context.Context, p *plan, to versions.Entry, at versions.Instant) (left []string, err error) {
	if p.empty() {
		return nil, nil
	}
	a := s.newApplier(p)
	defer s.tidyStage()
	defer func() { s.tellArrived(a.news, at) }()
	s.gateDirs(p)
	defer s.gateDirs(nil)
	defer s.activity(Activity{})
	for _, p := range p.absent {
		if _, err := s.o.Trees.Resolve(ctx, to, p); missing(err) {
			a.lack(p) // gone from the tree: so recorded
		}
	}
	if err := a.findLinks(ctx, to); err != nil {
		return nil, err
	}
	if err := a.remove(ctx, p.giveWay); err != nil {
		return nil, err
	}
	if err := a.move(ctx); err != nil {
		return nil, err
	}
	if err := a.refold(ctx, to); err != nil {
		return nil, err
	}
	if err := a.make(ctx, p.changes); err != nil {
		return nil, err
	}
	if err := a.remove(ctx, p.gone); err != nil {
		return nil, err
	}
	if err := a.make(ctx, p.again); err != nil {
		return nil, err
	}
	if err := a.dirs(ctx); err != nil {
		return nil, err
	}
	if err := a.recordLacking(ctx, to); err != nil {
		return nil, err
	}
	if a.done.Files > 0 {
		// What the base will say must be so after a power cut as well: an old
		// content that comes back would count as an edit of it.
		if err := s.syncStage(a.stage); err != nil {
			return nil, err
		}
	}
	return a.left, a.failure()
}

// newApplier makes the staging directory, which tidyStage lets go.
func (s *Syncer) newApplier(p *plan) *applier {
	stage := s.openStage()
	return &applier{
		s: s, plan: p, stage: disk.DirOf(stage), stageName: filepath.Base(stage.Name()),
		links: map[[16]byte]string{}, linkSig: map[[16]byte]disk.Sig{},
		options: disk.CreateOptions{Owner: os.Geteuid() == 0, Owners: s.o.Owners},
		done: Activity{
			Stage: "apply", TotalBytes: p.bytes,
			TotalFiles: int64(len(p.parents) + len(p.moves) + len(p.changes) + len(p.gone) + len(p.giveWay)),
		},
	}
}

// stagedChange is a change on its way: what is staged for it, if anything.
type stagedChange struct {
	versions.Change
	name string   // in staging
	sig  disk.Sig // of what is staged
	link bool     // it is made as a hard link when its turn comes
	stub bool     // it comes without its content
	err  error    // why it could not be staged
}

// batch stages the content of some changes, makes it durable, and makes the
// changes visible.
func (a *applier) batch(ctx context.Context, changes []versions.Change) (err error) {
	if len(changes) == 0 {
		return nil
	}
	list := a.prepare(changes)
	defer func() {
		// What is staged for a new name and has not got it is ours alone. Of
		// the others the sweep decides: it may be what a program wrote.
		for _, c := range list {
			if c.name != "" && c.Old == nil {
				err = errors.Join(err, a.unstage(c.name))
			}
		}
	}()
	a.prefetch(ctx, list)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(stagers)
	for i := range list {
		c := &list[i]
		if c.name == "" || c.link {
			continue // made when what it links to is in place
		}
		g.Go(func() error {
			if c.err = a.create(gctx, c); about(c.err) {
				return nil
			}
			return c.err
		})
	}
	err = g.Wait()
	list = slices.DeleteFunc(list, func(c stagedChange) bool {
		if !about(c.err) {
			return false
		}
		if c.Old == nil && unmakable(c.New, c.err) {
			a.lack(c.Path)
		} else {
			a.fail(c.Path, c.err)
		}
		a.count(c.Change)
		return true
	})
	if err == nil {
		err = a.s.syncStage(a.stage)
	}
	if err == nil {
		err = a.s.displacing(a.stageName, list)
	}
	if err != nil {
		for _, c := range list {
			if c.name != "" {
				err = errors.Join(err, a.unstage(c.name))
			}
		}
		return err
	}
	a.s.o.Hook("staged")
	// Directories come first and are recorded before anything is put into them:
	// what the watch tells of them must be explained by then.
	isDir := func(c stagedChange) bool { return c.New.Kind == versions.Dir }
	if err := a.show(ctx, list, isDir); err != nil {
		return err
	}
	return a.show(ctx, list, func(c stagedChange) bool { return !isDir(c) })
}

// prepare names what has to be staged for changes, as far as there is room.
func (a *applier) prepare(changes []versions.Change) []stagedChange {
	list := make([]stagedChange, 0, len(changes))
	room := a.room()
	for _, c := range changes {
		if a.lacks(c.Path) {
			a.count(c)
			continue
		}
		s := stagedChange{Change: c}
		s.stub = !onlyMeta(c) && a.asStub(c)
		if s.stub || !onlyMeta(c) && c.New.Kind != versions.Dir {
			s.name = a.s.stageName()
			s.link = a.isLink(c)
			if !s.link && !s.stub && !room.take(*c.New) {
				a.fail(c.Path, syscall.ENOSPC)
				a.count(c)
				continue
			}
		}
		list = append(list, s)
	}
	return list
}

// show makes those changes of a batch visible that which picks, and records
// them.
func (a *applier) show(ctx context.Context, list []stagedChange, which func(stagedChange) bool) (err error) {
	var applied []folder.Applied
	fresh := map[string]bool{} // directories that are made and not recorded
	record := func() error {
		list := applied
		applied, fresh = nil, map[string]bool{}
		if len(list) == 0 {
			return nil
		}
		return a.s.o.Disk.Applied(list)
	}
	defer func() { err = errors.Join(err, record()) }() // also what was done before an error
	for i := range list {
		c := &list[i]
		if !which(*c) || a.lacks(c.Path) {
			continue
		}
		if fresh[parentOf(c.Path)] {
			if err := record(); err != nil {
				return err
			}
		}
		err := a.visible(ctx, c)
		if err != nil && a.cannotHold(c, err) {
			a.lack(c.Path)
			a.count(c.Change)
			continue
		}
		if c.Old == nil && inTheWay(err) {
			err = a.makeRoom(ctx, c, err)
		}
		if err == nil {
			var sig disk.Sig
			if sig, err = a.s.readBack(*c); err == nil {
				applied = append(applied, folder.Applied{Path: c.Path, Entry: c.New, Sig: sig, Folded: a.plan.folds.is(c.Path)})
				a.news.add(c.Change)
				fresh[c.Path] = c.New.Kind == versions.Dir
				if c.New.Link != [16]byte{} {
					a.links[c.New.Link], a.linkSig[c.New.Link] = c.Path, sig
				}
			}
		}
		if err != nil {
			if err := a.note(c.Path, err); err != nil {
				return err
			}
		}
		a.count(c.Change)
		a.s.o.Hook("step")
	}
	return nil
}

// create makes the staged inode of a change.
func (a *applier) create(ctx context.Context, c *stagedChange) (err error) {
	if c.Old != nil && a.s.o.Stubs != nil {
		defer func() {
			if err == nil {
				err = a.s.o.Stubs.Staged(c.Path, a.stage, c.name)
			}
		}()
	}
	if c.stub {
		if done, err := a.createStub(c); done {
			return err
		}
	}
	if c.New.Kind != versions.File || c.New.Size == 0 {
		st, notes, err := a.stage.Create(ctx, c.name, *c.New, nil, a.options)
		a.s.noted(c.Path, notes)
		c.sig = st.Sig
		return err
	}
	r, err := a.s.o.Contents.Open(ctx, *c.New)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	defer r.Close()
	st, notes, err := a.stage.Create(ctx, c.name, *c.New, r, a.options)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	a.s.noted(c.Path, notes)
	c.sig = st.Sig
	return nil
}

// visible makes one change visible.
func (a *applier) visible(ctx context.Context, c *stagedChange) error {
	if err := a.checkName(c); err != nil {
		return err
	}
	step := disk.Step{Path: c.Path, Staged: c.name}
	switch {
	case c.Path == "":
		return nil // the root's attributes come with the directories
	case c.New.Kind == versions.Dir && c.Old == nil && !c.stub:
		step.Op, step.Meta = disk.MakeDir, disk.MetaOf(*c.New, a.options)
		step.Staged = a.s.stageName()
		step.Meta.Mode |= 0o700 // until everything is in it
	case c.New.Kind == versions.Dir && !c.stub:
		return nil
	case onlyMeta(c.Change):
		step.Op, step.Meta = disk.SetMeta, disk.MetaOf(*c.New, a.options)
		_, sig, err := a.s.o.Disk.Recorded(c.Path)
		if err != nil {
			return err
		}
		c.sig = sig
	default:
		if c.link {
			err := a.stageLink(c)
			if linkless(err) {
				err = a.stageCopy(ctx, c)
			}
			if err != nil {
				return err
			}
		}
		step.Op = disk.Place
		if c.Old != nil {
			step.Op = disk.Replace
		}
	}
	return a.s.o.Applier.Do(ctx, step)
}

// remove takes away what is gone, children first.
func (a *applier) remove(ctx context.Context, list []versions.Change) error {
	for len(list) > 0 {
		n := min(len(list), batchSteps)
		staged := make([]stagedChange, n)
		for i, c := range list[:n] {
			staged[i] = stagedChange{Change: c, name: a.s.stageName()}
		}
		if err := a.s.displacing(a.stageName, staged); err != nil {
			return err
		}
		applied := make([]folder.Applied, 0, n)
		for _, c := range staged {
			var err error
			if !a.stays(c.Path) {
				err = a.take(ctx, c)
			}
			if c.Old.Kind == versions.Dir && inTheWay(err) {
				err = a.leave(c, applied, err)
				applied = nil
			}
			if err == nil || missing(err) {
				applied = append(applied, folder.Applied{Path: c.Path})
				a.news.add(c.Change)
			} else if err := a.note(c.Path, err); err != nil {
				return err
			}
			a.count(c.Change)
			a.s.o.Hook("step")
		}
		if err := a.s.o.Disk.Applied(applied); err != nil {
			return err
		}
		for _, c := range staged {
			if a.stays(c.Path) {
				a.s.o.Disk.Changed(c.Path)
			}
		}
		list = list[n:]
	}
	return nil
}

// take moves what is gone into staging. A directory must be empty: what a
// program has just put into it goes back with it.
func (a *applier) take(ctx context.Context, c stagedChange) error {
	err := a.s.o.Applier.Do(ctx, disk.Step{Op: disk.Remove, Path: c.Path, Staged: c.name})
	if err != nil || c.Old.Kind != versions.Dir {
		return err
	}
	err = a.stage.Rmdir(c.name)
	if err == nil || missing(err) {
		return nil
	}
	return errors.Join(err, a.s.o.Applier.Do(ctx, disk.Step{Op: disk.Place, Path: c.Path, Staged: c.name}))
}

// dirs sets the attributes of directories, last of all.
func (a *applier) dirs(ctx context.Context) error {
	applied := make([]folder.Applied, 0, len(a.plan.dirs))
	for _, d := range a.plan.dirs {
		if a.lacks(d.path) {
			continue
		}
		err := a.s.o.Applier.Do(ctx, disk.Step{Op: disk.SetMeta, Path: d.path, Meta: disk.MetaOf(d.entry, a.options)})
		var sig disk.Sig
		if err == nil {
			sig, err = a.s.readBack(stagedChange{Change: versions.Change{Path: d.path, New: &d.entry}})
		}
		if err != nil {
			if err := a.note(d.path, err); err != nil {
				return err
			}
			continue
		}
		applied = append(applied, folder.Applied{Path: d.path, Entry: &d.entry, Sig: sig, Folded: a.plan.folds.is(d.path)})
	}
	return a.s.o.Disk.Applied(applied)
}

// note decides what an error of one path means: nil when the rest goes on.
func (a *applier) note(path string, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s: %w", path, err)
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.ENOTEMPTY), missing(err):
		a.s.o.Logger.Debug("a path waits", "path", path, "err", err)
		a.left = append(a.left, path)
		a.s.o.Disk.Changed(path) // so that the next look says how it is now
	default:
		a.fail(path, err)
	}
	return nil
}

func (a *applier) count(c versions.Change) {
	a.done.Files++
	if needsContent(c) {
		a.done.Bytes += c.New.Size
	}
	a.s.activity(a.done)
}

// prefetch asks for the chunks of a batch in few requests.
func (a *applier) prefetch(ctx context.Context, list []stagedChange) {
	var ids []chunk.ID
	for _, c := range list {
		if needsContent(c.Change) && !c.link && !c.stub {
			for _, p := range c.New.Pieces {
				ids = append(ids, p.ID)
			}
		}
	}
	if len(ids) > 1 {
		a.s.o.Store.Prefetch(ctx, chunk.Data, ids)
	}
}

func (a *applier) unstage(name string) error {
	err := a.stage.Remove(name)
	if errors.Is(err, syscall.EISDIR) {
		err = a.stage.Rmdir(name)
	}
	if err != nil && !missing(err) {
		return err
	}
	return nil
}
