package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
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
	c := &copier{p: p}
	done := int64(0)
	for n, i := range from {
		err := c.pack(ctx, &p.packs[i])
		if errors.Is(err, blob.ErrFull) {
			// No room for a copy: what is unused as a whole can still go.
			p.res.FullAtMerge = true
			p.spare(from[n:])
			break
		}
		if err != nil {
			return err
		}
		done += p.packs[i].size
		p.o.Progress("merging packs", done, total)
	}
	err = c.close(ctx)
	if errors.Is(err, blob.ErrFull) {
		p.res.FullAtMerge = true
		p.spare(from)
		err = nil
	}
	return err
}

// spare lets packs be that could not be copied.
func (p *pruner) spare(list []int) {
	for _, i := range list {
		k := &p.packs[i]
		k.doomed = k.marked // that one stays while something in it is in use
	}
}

// copier writes packs in memory, one of each class at a time.
type copier struct {
	p       *pruner
	open    [2]*packBuilder
	refs    []packRef // on the remote, not in an index blob yet
	entries []entry
}

// packBuilder is a pack that is written in memory.
type packBuilder struct {
	sealer *seal.Pack
	data   []byte
	frames []frame
}

// pack copies what is in use of one pack and nowhere else. Where a frame cannot
// be opened the pack is left as it is.
func (c *copier) pack(ctx context.Context, k *prunePack) error {
	s := c.p.s
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
		c.p.leave(k)
		return nil
	}
	var plains [][]byte
	var wanted []frame
	for _, f := range frames {
		if flags, used := c.p.used.flags(f.id); !used || flags&inSafe != 0 {
			continue
		}
		plain, err := s.open(place{entry: entry{frame: f}, ref: ref}, f.kind, f.id, data[f.offset:int64(f.offset)+int64(f.length)])
		if err != nil {
			c.p.leave(k)
			return nil
		}
		plains, wanted = append(plains, plain), append(wanted, f)
	}
	for i, f := range wanted {
		if err := c.add(ctx, f.kind, f.id, plains[i]); err != nil {
			return err
		}
		c.p.used.flag(f.id, inSafe)
	}
	return nil
}

// leave lets a damaged pack be, for who can repair it.
func (p *pruner) leave(k *prunePack) {
	k.broken, k.doomed = true, false
	p.res.Unreadable++
}

// add puts a chunk into a pack of its class.
func (c *copier) add(ctx context.Context, kind chunk.Kind, id chunk.ID, plain []byte) error {
	class := classOf(kind)
	inner := c.p.s.keys.Prepare(nil, plain)
	size := seal.FrameSize(inner)
	limit := dataPackSize
	if class == treeClass {
		limit = treePackSize
	}
	if b := c.open[class]; b != nil && (len(b.data)+size > limit || len(b.frames) >= maxFrames) {
		if err := c.finish(ctx, class); err != nil {
			return err
		}
	}
	b := c.open[class]
	if b == nil {
		sealer, err := c.p.s.keys.NewPack()
		if err != nil {
			return err
		}
		b = &packBuilder{sealer: sealer, data: append(make([]byte, 0, limit+limit/16), sealer.Header()...)}
		c.open[class] = b
	}
	offset := len(b.data)
	b.data = append(b.data, b.sealer.Seal(int64(offset), kind, id, inner)...)
	b.frames = append(b.frames, frame{
		id: id, kind: kind, offset: uint32(offset), length: uint32(len(b.data) - offset), plain: uint32(len(plain)),
	})
	return nil
}

// finish puts the open pack of a class on the remote.
func (c *copier) finish(ctx context.Context, class int) error {
	b, s := c.open[class], c.p.s
	if b == nil {
		return nil
	}
	c.open[class] = nil
	b.data = append(b.data, sealDirectory(s.keys, b.sealer, int64(len(b.data)), b.frames)...)
	ref := packRef{digest: hashOf(b.data), size: int64(len(b.data)), tree: class == treeClass}
	copy(ref.header[:], b.sealer.Header())
	if err := s.hook("copy pack"); err != nil {
		return err
	}
	if err := s.remote.Put(ctx, packName(ref.digest), bytes.NewReader(b.data), ref.size); err != nil {
		return fmt.Errorf("put %s: %w", packName(ref.digest), err)
	}
	c.p.res.Copied += ref.size
	c.p.extra[ref.digest] = true
	for _, f := range b.frames {
		c.entries = append(c.entries, entry{frame: f, pack: uint32(len(c.refs))})
	}
	c.refs = append(c.refs, ref)
	if len(c.entries) < deltaEntries {
		return nil
	}
	return c.flush(ctx)
}

func (c *copier) flush(ctx context.Context) error {
	if len(c.refs) == 0 {
		return nil
	}
	refs, entries := c.refs, c.entries
	c.refs, c.entries = nil, nil
	return c.p.putDelta(ctx, refs, entries)
}

// close puts what is open on the remote.
func (c *copier) close(ctx context.Context) error {
	for class := range c.open {
		if err := c.finish(ctx, class); err != nil {
			return err
		}
	}
	return c.flush(ctx)
}
