package versions

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/syncfs/syncfs/internal/chunk"
)

// NameEdit is one change of a directory: what stands under Name afterwards,
// nothing when Entry is nil.
type NameEdit struct {
	Name  string
	Entry *Entry
}

// Update stores the listing old with edits (sorted by Name, unique) made in it,
// reading and writing only the pieces that they touch. The id is the one that
// Write gives for the same entries. Removing what is not there changes nothing.
func (t *Trees) Update(ctx context.Context, old chunk.ID, edits []NameEdit) (chunk.ID, error) {
	if len(edits) == 0 {
		return old, nil
	}
	changes := make([]elementEdit, 0, len(edits))
	for i, e := range edits {
		if i > 0 && edits[i-1].Name >= e.Name {
			return chunk.ID{}, fmt.Errorf("update a directory: name %q is out of order", e.Name)
		}
		c := elementEdit{name: e.Name}
		if e.Entry != nil {
			if e.Entry.Name != e.Name {
				return chunk.ID{}, fmt.Errorf("update a directory: entry %q under the name %q", e.Entry.Name, e.Name)
			}
			if err := checkListed(e.Entry); err != nil {
				return chunk.ID{}, fmt.Errorf("update a directory: %w", err)
			}
			c.raw = AppendEntry(nil, *e.Entry)
		}
		changes = append(changes, c)
	}
	u := &updater{ctx: ctx, t: t, nodes: map[chunk.ID]rawPiece{}}
	id, err := u.run(old, changes)
	if err != nil {
		return chunk.ID{}, fmt.Errorf("update a directory: %w", err)
	}
	return id, nil
}

// elementEdit is one change on one level: raw is the new element, nil: gone.
type elementEdit struct {
	name string
	raw  []byte
	id   chunk.ID // above level 0: what raw encodes
}

// updater holds what one Update has read: each piece on a path is needed once
// for every level.
type updater struct {
	ctx   context.Context
	t     *Trees
	root  chunk.ID
	level int // of the root
	nodes map[chunk.ID]rawPiece
}

type rawPiece struct {
	*node
	raw [][]byte
}

func (u *updater) node(id chunk.ID) (rawPiece, error) {
	if p, ok := u.nodes[id]; ok {
		return p, nil
	}
	n, raw, err := u.t.rawNode(u.ctx, id, true)
	if err != nil {
		return rawPiece{}, err
	}
	p := rawPiece{node: n, raw: raw}
	u.nodes[id] = p
	return p, nil
}

func (u *updater) run(old chunk.ID, edits []elementEdit) (chunk.ID, error) {
	if old.IsZero() {
		w := &levelWriter{ctx: u.ctx, t: u.t}
		for _, e := range edits {
			if e.raw != nil {
				if err := w.add(e.name, e.raw); err != nil {
					return chunk.ID{}, err
				}
			}
		}
		if err := w.flush(); err != nil {
			return chunk.ID{}, err
		}
		return u.t.top(u.ctx, 1, w.out)
	}
	root, err := u.node(old)
	if err != nil {
		return chunk.ID{}, err
	}
	u.root, u.level = old, root.level
	for level := 0; level <= u.level; level++ {
		if edits, err = u.updateLevel(level, edits); err != nil {
			return chunk.ID{}, err
		}
		if len(edits) == 0 {
			return old, nil
		}
	}
	// The old root was one piece; what it became are the elements above it.
	var items []item
	kept := true
	for _, e := range edits {
		if e.raw != nil {
			items = append(items, item{first: e.name, id: e.id})
		}
		kept = kept && e.name != root.first()
	}
	if kept {
		i := sort.Search(len(items), func(i int) bool { return items[i].first > root.first() })
		items = slices.Insert(items, i, item{first: root.first(), id: old})
	}
	id, err := u.t.top(u.ctx, u.level+1, items)
	if err != nil || len(items) != 1 {
		return id, err
	}
	// A listing that shrank has its top where a level is one piece.
	for {
		n, err := u.t.node(u.ctx, id)
		if err != nil || n.level == 0 || len(n.items) > 1 {
			return id, err
		}
		id = n.items[0].id
	}
}

// updateLevel makes edits on one level and returns what they change on the
// level above. It cuts again from the piece an edit falls in to where the cuts
// meet the old ones.
func (u *updater) updateLevel(level int, edits []elementEdit) ([]elementEdit, error) {
	above := map[string]chunk.ID{} // new items by first name; zero: gone
	was := map[string]chunk.ID{}   // the items that were read
	w := &levelWriter{ctx: u.ctx, t: u.t, level: level}
	for len(edits) > 0 {
		pos, err := u.seek(level, edits[0].name)
		if err != nil {
			return nil, err
		}
		for {
			it, next, more := pos.piece()
			above[it.first], was[it.first] = chunk.ID{}, it.id
			n := len(edits)
			if more {
				n = sort.Search(len(edits), func(i int) bool { return edits[i].name >= next })
			}
			p, err := u.node(it.id)
			if err != nil {
				return nil, err
			}
			if err := checkChild(p.node, level, it); err != nil {
				return nil, err
			}
			if err := merge(w, p, edits[:n]); err != nil {
				return nil, err
			}
			edits = edits[n:]
			if !more {
				if err := w.flush(); err != nil {
					return nil, err
				}
				break
			}
			if len(w.buf) == 0 {
				break // the cut meets the old one
			}
			if err := pos.advance(u); err != nil {
				return nil, err
			}
		}
	}
	for _, it := range w.out {
		above[it.first] = it.id
	}
	return editsAbove(above, was), nil
}

func editsAbove(above, was map[string]chunk.ID) []elementEdit {
	out := make([]elementEdit, 0, len(above))
	for name, id := range above {
		if id == was[name] {
			continue
		}
		e := elementEdit{name: name, id: id}
		if !id.IsZero() {
			e.raw = appendItem(nil, item{first: name, id: id})
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b elementEdit) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return out
}

// merge writes the elements of p with edits made.
func merge(w *levelWriter, p rawPiece, edits []elementEdit) error {
	put := func(e elementEdit) error {
		if e.raw == nil {
			return nil
		}
		return w.add(e.name, e.raw)
	}
	for i, raw := range p.raw {
		name := p.name(i)
		for len(edits) > 0 && edits[0].name < name {
			if err := put(edits[0]); err != nil {
				return err
			}
			edits = edits[1:]
		}
		if len(edits) > 0 && edits[0].name == name {
			if err := put(edits[0]); err != nil {
				return err
			}
			edits = edits[1:]
			continue
		}
		if err := w.add(name, raw); err != nil {
			return err
		}
	}
	for _, e := range edits {
		if err := put(e); err != nil {
			return err
		}
	}
	return nil
}

// name of the i-th element.
func (n *node) name(i int) string {
	if n.level == 0 {
		return n.entries[i].Name
	}
	return n.items[i].first
}

// position is a piece on one level, by the way that leads to it from the root.
type position struct {
	root  item // stands for the piece when the way is empty: it is the root
	level int
	way   []step
}

type step struct {
	items []item
	at    int
}

// seek finds the piece of a level in which name lies or belongs.
func (u *updater) seek(level int, name string) (*position, error) {
	root, err := u.node(u.root)
	if err != nil {
		return nil, err
	}
	pos := &position{root: item{first: root.first(), id: u.root}, level: level}
	for n := root; n.level > level; {
		s := step{items: n.items, at: n.child(name)}
		pos.way = append(pos.way, s)
		if n.level == level+1 {
			break
		}
		if n, err = u.child(n.level-1, s.items[s.at]); err != nil {
			return nil, err
		}
	}
	return pos, nil
}

func (u *updater) child(level int, it item) (rawPiece, error) {
	p, err := u.node(it.id)
	if err == nil {
		err = checkChild(p.node, level, it)
	}
	return p, err
}

// piece is the item at the position, and the first name of the next one on the
// same level.
func (p *position) piece() (it item, next string, more bool) {
	if len(p.way) == 0 {
		return p.root, "", false
	}
	last := p.way[len(p.way)-1]
	it = last.items[last.at]
	for i := len(p.way) - 1; i >= 0; i-- {
		if s := p.way[i]; s.at+1 < len(s.items) {
			return it, s.items[s.at+1].first, true
		}
	}
	return it, "", false
}

// advance goes to the next piece of the level, which must exist.
func (p *position) advance(u *updater) error {
	depth := len(p.way)
	for p.way[len(p.way)-1].at+1 == len(p.way[len(p.way)-1].items) {
		p.way = p.way[:len(p.way)-1]
	}
	p.way[len(p.way)-1].at++
	for len(p.way) < depth {
		s := p.way[len(p.way)-1]
		n, err := u.child(p.level+depth-len(p.way), s.items[s.at])
		if err != nil {
			return err
		}
		p.way = append(p.way, step{items: n.items})
	}
	return nil
}
