package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"golang.org/x/sync/errgroup"
)

// ErrRootsMoved is a root that was forgotten while it was read.
var ErrRootsMoved = errors.New("a version was forgotten meanwhile")

// Roots are what a prune must not take anything from.
type Roots interface {
	// Uses calls use for every chunk that any root refers to; use tells whether
	// what that chunk refers to is wanted as well. It must fail when it cannot
	// read a root whole; with ErrRootsMoved where that is none any more.
	Uses(ctx context.Context, use func(kind chunk.Kind, id chunk.ID) bool) error
	// Bump replaces every head whose epoch is below n by itself with epoch n.
	Bump(ctx context.Context, n uint64) error
}

// PruneOptions say how a prune is made.
type PruneOptions struct {
	Grace    time.Duration // packs younger than that are left alone: an upload may be running
	DryRun   bool          // only count
	Progress func(stage string, done, total int64)
}

// PruneResult is what a prune did, or, as a rehearsal, would do.
type PruneResult struct {
	Packs       int64 // on the remote before
	Bytes       int64
	UsedChunks  int64 // that roots refer to
	Deleted     int64 // packs
	Freed       int64 // bytes of them
	Merged      int64 // of the deleted, packs whose chunks were partly in use, or that were small
	Copied      int64 // bytes written for those
	Young       int64 // packs that were left alone because of their age
	Kept        int64 // packs that came into use again meanwhile: the next prune frees them
	Unreadable  int64 // packs whose content nothing tells: `repair` looks after them
	FullAtMerge bool  // there was no room on the remote to merge packs
}

const (
	sparse       = 2  // a pack is copied when less than one in so many bytes is in use
	smallPart    = 4  // a pack is small below this part of a full one
	manySmall    = 8  // small packs of a class that are worth merging
	pruneWorkers = 8  // requests at once
	lackTries    = 3  // before what is missing counts as lost
	pruneTries   = 20 // of a pass over an index that is compacted meanwhile
)

// prunePack is a pack as a prune sees it.
type prunePack struct {
	digest   digest
	size     int64
	modified time.Time
	live     int64 // bytes of chunks in use that count as lying here
	young    bool
	tree     bool
	indexed  bool // the index names it
	marked   bool // by an earlier mark
	broken   bool // nothing tells what is in it
	doomed   bool // to be deleted
	rescued  bool // doomed, and in use again
}

// pruner is one prune.
type pruner struct {
	s      *Store
	roots  Roots
	o      PruneOptions
	res    PruneResult
	used   idSet
	packs  []prunePack
	byName map[digest]int
	extra  map[digest]bool // whether packs exist that the listing has not
	stale  bool            // the index names packs that are gone
}

// Prune deletes packs that hold nothing that a root refers to, after it has
// copied what is in use out of those that are mostly unused or small. Writers
// and other prunes may go on meanwhile, and it may end at any point: the next
// one goes on. The protocol is in docs/format.md, its model in
// prunemodel_test.go.
func (s *Store) Prune(ctx context.Context, roots Roots, o PruneOptions) (PruneResult, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	p := &pruner{s: s, roots: roots, o: o}
	err := p.run(ctx)
	if err != nil {
		err = fmt.Errorf("prune: %w", err)
	}
	return p.res, err
}

func (p *pruner) run(ctx context.Context) error {
	if err := p.survey(ctx); err != nil {
		return err
	}
	p.choose()
	if p.o.DryRun {
		p.rehearse()
		return nil
	}
	if err := p.rescue(ctx); err != nil {
		return err
	}
	if p.anyDoomed() {
		if err := p.mark(ctx); err != nil {
			return err
		}
		if err := p.lookAgain(ctx); err != nil {
			return err
		}
		if err := p.delete(ctx); err != nil {
			return err
		}
	}
	return p.tidyIndex(ctx)
}

// survey finds out what there is and what of it is in use: first the packs, so
// that one which comes later is not looked at. What is missing may have been
// forgotten, and deleted by another prune, since the versions were read: then it
// looks again.
func (p *pruner) survey(ctx context.Context) error {
	for try := 1; ; try++ {
		p.packs, p.byName, p.extra, p.res = nil, map[digest]int{}, map[digest]bool{}, PruneResult{}
		err := p.list(ctx)
		if err == nil {
			err = p.readRoots(ctx)
		}
		if err == nil {
			err = p.account(ctx)
		}
		if !errors.Is(err, errLacking) || try == lackTries {
			return err
		}
	}
}

// lookAgain reads all roots once more, after the mark, and decides.
func (p *pruner) lookAgain(ctx context.Context) error {
	for try := 1; ; try++ {
		err := p.readRoots(ctx)
		if err == nil {
			err = p.decide(ctx)
		}
		if !errors.Is(err, errLacking) || try == lackTries {
			return err
		}
		maps.DeleteFunc(p.extra, func(_ digest, there bool) bool { return !there })
		for i := range p.packs {
			p.packs[i].rescued = false
		}
		p.res.Kept = 0
		if err := p.refresh(ctx); err != nil {
			return err
		}
	}
}

// list notes the packs that there are, and the marks.
func (p *pruner) list(ctx context.Context) error {
	infos, err := p.s.listPacks(ctx)
	if err != nil {
		return fmt.Errorf("list packs: %w", err)
	}
	if err := p.refresh(ctx); err != nil {
		return err
	}
	now := p.s.o.Now()
	for _, i := range infos {
		d, err := parsePackName(i.Name)
		if err != nil {
			continue // not ours
		}
		k := prunePack{digest: d, size: i.Size, modified: i.Modified, marked: p.isMarked(d)}
		if k.young = p.o.Grace > 0 && now.Sub(i.Modified) < p.o.Grace; k.young {
			p.res.Young++
		}
		p.byName[d] = len(p.packs)
		p.packs = append(p.packs, k)
		p.res.Packs++
		p.res.Bytes += i.Size
	}
	return nil
}

// refresh reads the index and all marks. What another prune has marked must be
// known.
func (p *pruner) refresh(ctx context.Context) error {
	if err := p.s.Refresh(ctx); err != nil {
		return err
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if !p.s.index.vouched {
		return fmt.Errorf("%w: a mark of another prune cannot be read", ErrCorrupt)
	}
	return nil
}

func (p *pruner) isMarked(d digest) bool { return p.s.isMarked(d) }

// readRoots notes what is in use now. Every attempt begins with an empty set:
// what a failed one has seen it may not have gone into.
func (p *pruner) readRoots(ctx context.Context) error {
	err := ErrRootsMoved
	for try := 0; try < pruneTries && errors.Is(err, ErrRootsMoved); try++ {
		p.used = idSet{}
		p.o.Progress("reading versions", 0, 0)
		err = p.roots.Uses(ctx, func(_ chunk.Kind, id chunk.ID) bool {
			isNew := p.used.add(id)
			if isNew && p.used.n%4096 == 0 {
				p.o.Progress("reading versions", p.used.n, 0)
			}
			return isNew
		})
	}
	p.res.UsedChunks = p.used.n
	if err != nil {
		return fmt.Errorf("read what is in use: %w", err)
	}
	return nil
}

// choose dooms packs: those of which nothing is in use, those that a mark has
// taken from writers already, those of which little is in use, and small ones
// where there are many, or little of them is in use.
func (p *pruner) choose() {
	small := [2][]int{}
	for i := range p.packs {
		k := &p.packs[i]
		full := int64(dataPackSize)
		if k.tree {
			full = treePackSize
		}
		switch {
		case k.broken || k.young && !k.marked:
		case k.marked || k.live == 0 || sparse*k.live < k.size && k.size > full/smallPart:
			k.doomed = true
		case k.size <= full/smallPart:
			class := dataClass
			if k.tree {
				class = treeClass
			}
			small[class] = append(small[class], i)
		}
	}
	for _, list := range small {
		size, live := int64(0), int64(0)
		for _, i := range list {
			size, live = size+p.packs[i].size, live+p.packs[i].live
		}
		if len(list) < manySmall && sparse*live >= size {
			continue
		}
		for _, i := range list {
			p.packs[i].doomed = true
		}
	}
}

func (p *pruner) anyDoomed() bool {
	return slices.ContainsFunc(p.packs, func(k prunePack) bool { return k.doomed })
}

// rehearse counts what would be done.
func (p *pruner) rehearse() {
	for _, k := range p.packs {
		if !k.doomed {
			continue
		}
		p.res.Deleted++
		p.res.Freed += k.size
		if k.live > 0 {
			p.res.Merged++
			p.res.Copied += k.live
		}
	}
}

// mark names the doomed packs in a mark and gives it to every head. What an
// earlier mark names, of a prune that was cut off, need not be named again, but
// its heads may be still to come.
func (p *pruner) mark(ctx context.Context) error {
	var names []string
	for _, k := range p.packs {
		if k.doomed && !k.marked {
			names = append(names, packName(k.digest))
		}
	}
	var n uint64
	var err error
	if len(names) > 0 {
		n, err = p.s.Mark(ctx, names)
	} else {
		n, err = p.s.lastMark(ctx)
	}
	if err != nil {
		return err
	}
	if err := p.s.hook("marked"); err != nil {
		return err
	}
	if err := p.roots.Bump(ctx, n); err != nil {
		return err
	}
	if err := p.s.hook("bumped"); err != nil {
		return err
	}
	// Another prune may have marked what we rely on: of two that mark before
	// they look, one sees the other.
	return p.refresh(ctx)
}

// decide finds the doomed packs that hold the only copy of something in use: a
// writer took it before it heard of the mark, or another prune is about to
// delete the other copy.
func (p *pruner) decide(ctx context.Context) error {
	err := p.passes(ctx, p.used.clear, func(ref packRef, e entry) error {
		if _, used := p.used.flags(e.id); !used {
			return nil
		}
		i, listed := p.byName[ref.digest]
		switch {
		case !listed:
			return p.unlisted(ctx, ref, e)
		case p.packs[i].doomed || p.isMarked(ref.digest):
			p.used.flag(e.id, inDoomed)
		default:
			p.used.flag(e.id, inSafe)
		}
		return nil
	})
	if err == nil {
		err = p.complete()
	}
	if err != nil || p.used.lacking(inSafe) == 0 {
		return err
	}
	return p.passes(ctx, func() {}, func(ref packRef, e entry) error {
		i, listed := p.byName[ref.digest]
		if !listed || !p.packs[i].doomed || p.packs[i].rescued {
			return nil
		}
		if f, used := p.used.flags(e.id); used && f&inSafe == 0 {
			p.packs[i].rescued = true
			p.res.Kept++
		}
		return nil
	})
}

// delete deletes what is doomed and was not rescued.
func (p *pruner) delete(ctx context.Context) error {
	var gone []int
	total := int64(0)
	for i := range p.packs {
		if k := &p.packs[i]; k.doomed && !k.rescued {
			gone = append(gone, i)
			total += k.size
		}
	}
	var mu sync.Mutex // guards the result and progress
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pruneWorkers)
	for _, i := range gone {
		g.Go(func() error {
			k := &p.packs[i]
			if err := p.s.hook("delete pack"); err != nil {
				return err
			}
			if err := p.s.remote.Delete(ctx, packName(k.digest)); err != nil {
				return fmt.Errorf("delete %s: %w", packName(k.digest), err)
			}
			mu.Lock()
			defer mu.Unlock()
			p.res.Deleted++
			p.res.Freed += k.size
			if k.live > 0 {
				p.res.Merged++
			}
			p.stale = true
			p.o.Progress("deleting", p.res.Freed, total)
			return nil
		})
	}
	return g.Wait()
}
