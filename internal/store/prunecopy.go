package store

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/syncfs/syncfs/internal/blob"
)

// rescue copies what is in use out of the doomed packs. Everything is on the
// remote, with its index, before a mark says that the old copies go.
func (p *pruner) rescue(ctx context.Context) error {
	var from []int
	total := int64(0)
	for i := range p.packs {
		if k := &p.packs[i]; k.doomed && k.live > 0 {
			from = append(from, i)
			total += k.size
		}
	}
	if len(from) == 0 {
		return nil
	}
	// In the order in which they came: what was written together stays together.
	slices.SortFunc(from, func(a, b int) int { return p.packs[a].modified.Compare(p.packs[b].modified) })
	err := p.passes(ctx, p.used.clear, func(ref packRef, e entry) error {
		i, listed := p.byName[ref.digest]
		switch {
		case !listed:
			return p.unlisted(ctx, ref, e)
		case !p.packs[i].doomed:
			p.used.flag(e.id, inSafe)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c := &packWriter{s: p.s, wrote: func(ref packRef) {
		p.res.Copied += ref.size
		p.extra[ref.digest] = true
	}}
	done := int64(0)
	for _, i := range from {
		k := &p.packs[i]
		if !k.doomed {
			continue // there is no room for its class
		}
		if err := p.roomFor(p.copyPack(ctx, c, k), from, k.tree); err != nil {
			return err
		}
		done += k.size
		p.o.Progress("merging packs", done, total)
	}
	for class := range c.open {
		if err := p.roomFor(c.finish(ctx, class), from, class == treeClass); err != nil {
			return err
		}
	}
	return c.flush(ctx)
}

// roomFor lets packs of a class be when there was no room for their copies: what
// is unused as a whole can still go.
func (p *pruner) roomFor(err error, from []int, tree bool) error {
	if !errors.Is(err, blob.ErrFull) {
		return err
	}
	p.res.FullAtMerge = true
	for _, i := range from {
		if k := &p.packs[i]; k.tree == tree {
			k.doomed = k.marked // that one stays while something in it is in use
		}
	}
	return nil
}

// copyPack copies what is in use of one pack and nowhere else. Where a frame cannot
// be opened the pack is left as it is.
func (p *pruner) copyPack(ctx context.Context, c *packWriter, k *prunePack) error {
	s := p.s
	data, err := readBlob(ctx, s.remote, packName(k.digest), maxPack)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another prune has deleted it, and copied what is in use
	}
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	var ref packRef
	var frames []frame
	if err == nil {
		ref, frames, err = readPack(s.keys, k.digest, int64(len(data)), func(buf []byte, offset int64) error {
			copy(buf, data[offset:])
			return nil
		})
	}
	if err != nil {
		p.leave(k)
		return nil
	}
	var plains [][]byte
	var wanted []frame
	for _, f := range frames {
		if flags, used := p.used.flags(f.id); !used || flags&inSafe != 0 {
			continue
		}
		plain, err := s.open(place{entry: entry{frame: f}, ref: ref}, f.kind, f.id, data[f.offset:int64(f.offset)+int64(f.length)])
		if err != nil {
			p.leave(k)
			return nil
		}
		plains, wanted = append(plains, plain), append(wanted, f)
	}
	for i, f := range wanted {
		if err := c.add(ctx, f.kind, f.id, plains[i]); err != nil {
			return err
		}
		p.used.flag(f.id, inSafe)
	}
	return nil
}

// leave lets a damaged pack be, for who can repair it.
func (p *pruner) leave(k *prunePack) {
	k.broken, k.doomed = true, false
	p.res.Unreadable++
}
