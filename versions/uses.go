package versions

import (
	"context"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Use is told of a chunk that something refers to. It answers whether what that
// refers to in turn shall be told of as well: not again, if it was.
type Use func(kind chunk.Kind, id chunk.ID) bool

// Uses calls use for every chunk that a snapshot refers to: its listings, the
// pieces of its files, and the chunks of its record. ErrCorrupt where one that
// must be read for it is missing or damaged.
func (s *Snapshot) Uses(ctx context.Context, c Chunks, use Use) error {
	if !s.DirsList.IsZero() && use(chunk.Dirs, s.DirsList) {
		data, err := get(ctx, c, chunk.Dirs, s.DirsList)
		if err != nil {
			return err
		}
		_, below, err := decodeDirsChunk(data)
		if err != nil {
			return damaged(chunk.Dirs, s.DirsList, err)
		}
		for _, id := range below {
			use(chunk.Dirs, id)
		}
	}
	return Uses(ctx, c, s.Root, use)
}

// Uses calls use for every chunk that an entry and everything below it refers
// to.
func Uses(ctx context.Context, c Chunks, e Entry, use Use) error {
	u := &user{ctx: ctx, c: c, t: &Trees{chunks: c}, use: use}
	return u.entry(&e)
}

// user is one call of Uses.
type user struct {
	ctx context.Context
	c   Chunks
	t   *Trees
	use Use
}

func (u *user) entry(e *Entry) error {
	switch e.Kind {
	case Dir:
		return u.listing(e.Tree)
	case File:
		for _, p := range e.Pieces {
			u.use(chunk.Data, p.ID)
		}
		return u.list(e.List)
	}
	return nil
}

// listing tells of a piece of a directory and of what is below.
func (u *user) listing(id chunk.ID) error {
	if id.IsZero() || !u.use(chunk.Tree, id) {
		return nil
	}
	n, err := u.t.node(u.ctx, id)
	if err != nil {
		return err
	}
	u.t.prefetchItems(u.ctx, n.items)
	for _, it := range n.items {
		if err := u.listing(it.id); err != nil {
			return err
		}
	}
	for i := range n.entries {
		if err := u.entry(&n.entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// list tells of the list of a long file and of its pieces.
func (u *user) list(id chunk.ID) error {
	if id.IsZero() || !u.use(chunk.List, id) {
		return nil
	}
	data, err := get(u.ctx, u.c, chunk.List, id)
	if err != nil {
		return err
	}
	n, err := decodeList(data)
	if err != nil {
		return damaged(chunk.List, id, err)
	}
	for _, e := range n.elements {
		if n.level == 0 {
			u.use(chunk.Data, e.id)
		} else if err := u.list(e.id); err != nil {
			return err
		}
	}
	return nil
}

// ListingUses calls fn for every piece of one directory's listing.
func ListingUses(ctx context.Context, c Chunks, id chunk.ID, fn func(chunk.Kind, chunk.ID) error) error {
	t := &Trees{chunks: c}
	if err := fn(chunk.Tree, id); err != nil {
		return err
	}
	n, err := t.node(ctx, id)
	if err != nil {
		return err
	}
	for _, it := range n.items {
		if err := ListingUses(ctx, c, it.id, fn); err != nil {
			return err
		}
	}
	return nil
}
