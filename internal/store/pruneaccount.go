package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/syncfs/syncfs/internal/blob"
	"golang.org/x/sync/errgroup"
)

// account finds out what of each pack is in use. A chunk that lies in several
// counts for one of those that nobody may delete.
func (p *pruner) account(ctx context.Context) error {
	var orphans []int
	err := p.passes(ctx, func() {
		p.used.clear()
		orphans = nil
		for i := range p.packs {
			p.packs[i].live, p.packs[i].indexed = 0, false
		}
	}, func(ref packRef, e entry) error {
		i, listed := p.byName[ref.digest]
		if !listed {
			return p.unlisted(ctx, ref, e)
		}
		p.packs[i].indexed, p.packs[i].tree = true, ref.tree
		p.credit(i, e)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range p.packs {
		if k := &p.packs[i]; !k.indexed && (!k.young || k.marked) {
			orphans = append(orphans, i)
		}
	}
	if err := p.adopt(ctx, orphans); err != nil {
		return err
	}
	return p.complete()
}

// errLacking is content in use that is nowhere.
var errLacking = fmt.Errorf("%w: pieces that versions need are in no pack that the index knows", ErrCorrupt)

// complete refuses to go on when something that is in use is nowhere: the index
// may have lost a part, and what it told of is not to be judged without it.
func (p *pruner) complete() error {
	if n := p.used.lacking(inSafe | inDoomed); n > 0 {
		return fmt.Errorf("%w: %d", errLacking, n)
	}
	return nil
}

// credit counts one place of a chunk.
func (p *pruner) credit(i int, e entry) {
	f, used := p.used.flags(e.id)
	if !used {
		return
	}
	k := &p.packs[i]
	switch {
	case k.marked:
		p.used.flag(e.id, inDoomed)
		k.live += int64(e.length)
	case f&inSafe == 0:
		p.used.flag(e.id, inSafe)
		k.live += int64(e.length)
	}
}

// unlisted looks at a place in a pack that came after the listing, or is gone.
func (p *pruner) unlisted(ctx context.Context, ref packRef, e entry) error {
	if _, used := p.used.flags(e.id); !used {
		p.stale = p.stale || p.isMarked(ref.digest)
		return nil
	}
	there, err := p.exists(ctx, ref.digest)
	if err != nil {
		return err
	}
	switch {
	case !there:
		p.stale = p.stale || p.isMarked(ref.digest)
	case p.isMarked(ref.digest):
		p.used.flag(e.id, inDoomed)
	default:
		p.used.flag(e.id, inSafe)
	}
	return nil
}

// exists tells whether a pack is on the remote that was not listed.
func (p *pruner) exists(ctx context.Context, d digest) (bool, error) {
	if there, known := p.extra[d]; known {
		return there, nil
	}
	_, err := p.s.remote.Stat(ctx, packName(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	p.extra[d] = err == nil
	return err == nil, nil
}

// adopt reads what is in packs that the index does not name, after a crash
// between pack and index, from themselves. Those with something in use get
// their place in the index.
func (p *pruner) adopt(ctx context.Context, orphans []int) error {
	type content struct {
		ref    packRef
		frames []frame
		err    error
	}
	for part := range slices.Chunk(orphans, 64) {
		found := make([]content, len(part))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(pruneWorkers)
		for n, i := range part {
			g.Go(func() error {
				k := &p.packs[i]
				c := &found[n]
				c.ref, c.frames, c.err = p.s.remoteDirectory(gctx, blob.Info{Name: packName(k.digest), Size: k.size})
				if c.err != nil && !isMissing(c.err) {
					return c.err
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		var refs []packRef
		var entries []entry
		for n, i := range part {
			k := &p.packs[i]
			if found[n].err != nil {
				k.broken = true
				p.res.Unreadable++
				continue
			}
			k.tree = found[n].ref.tree
			for _, f := range found[n].frames {
				p.credit(i, entry{frame: f})
			}
			if k.live == 0 {
				continue
			}
			for _, f := range found[n].frames {
				entries = append(entries, entry{frame: f, pack: uint32(len(refs))})
			}
			refs = append(refs, found[n].ref)
		}
		if len(refs) == 0 || p.o.DryRun {
			continue
		}
		if err := p.s.putDelta(ctx, refs, entries); err != nil {
			return err
		}
	}
	return nil
}
