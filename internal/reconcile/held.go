package reconcile

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// Held is a set of deletions that wait for the user's word. Of two trees one
// has what is held and the other lacks it: of what was deleted here, the line
// has it and this disk lacks it; of what was deleted elsewhere, this disk has
// it and the line lacks it. Over and Without bring a tree of the one kind to the
// other, so that all else in it is compared and merged as if nothing was held.
//
// The zero Held holds nothing.
type Held struct{ top heldNode }

// heldNode is a name. Without an entry it is a directory that both trees have,
// of which something below is held; a directory with an entry and nothing below
// is held with all it lists.
type heldNode struct {
	entry *versions.Entry
	below map[string]*heldNode
}

// HeldItem is one part of a Held: a file, or a directory (Whole: with all it
// lists, else only its name and attributes).
type HeldItem struct {
	Path  string
	Entry versions.Entry
	Whole bool
}

// NewHeld makes a set of items, in any order.
func NewHeld(items []HeldItem) Held { return Held{}.With(items) }

// With is h with more items; a directory comes before what is in it.
func (h Held) With(items []HeldItem) Held {
	out := Held{top: h.top.clone()}
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b HeldItem) int { return strings.Compare(a.Path, b.Path) })
	for _, it := range items {
		n := &out.top
		covered := false
		for rest := it.Path; rest != ""; {
			var name string
			name, rest, _ = strings.Cut(rest, "/")
			if n.whole() {
				covered = true
				break
			}
			next := n.below[name]
			if next == nil {
				next = &heldNode{}
				n.set(name, next)
			}
			n = next
		}
		if covered || it.Path == "" {
			continue
		}
		e := it.Entry
		n.entry = &e
		if e.Kind == versions.Dir && !it.Whole && n.below == nil {
			n.below = map[string]*heldNode{}
		}
		if it.Whole {
			n.below = nil
		}
	}
	return out
}

func (n *heldNode) set(name string, b *heldNode) {
	if n.below == nil {
		n.below = map[string]*heldNode{}
	}
	n.below[name] = b
}

func (n *heldNode) clone() heldNode {
	out := heldNode{entry: n.entry}
	if n.below != nil {
		out.below = make(map[string]*heldNode, len(n.below))
		for name, b := range n.below {
			c := b.clone()
			out.below[name] = &c
		}
	}
	return out
}

// whole tells a directory that is held with all it lists.
func (n *heldNode) whole() bool {
	return n.entry != nil && n.entry.Kind == versions.Dir && n.below == nil
}

// names below, in order.
func (n *heldNode) names() []string { return slices.Sorted(maps.Keys(n.below)) }

// Empty tells that nothing is held.
func (h Held) Empty() bool { return len(h.top.below) == 0 }

// Items lists what is held, a directory before what is in it.
func (h Held) Items() (list []HeldItem) {
	h.top.each("", func(path string, n *heldNode) {
		if n.entry != nil {
			list = append(list, HeldItem{Path: path, Entry: *n.entry, Whole: n.whole()})
		}
	})
	return list
}

func (n *heldNode) each(path string, fn func(path string, n *heldNode)) {
	for _, name := range n.names() {
		b := n.below[name]
		p := dir{path: path}.join(name)
		fn(p, b)
		b.each(p, fn)
	}
}

// Files counts what is held and is no directory.
func (h Held) Files() (n int64) {
	h.top.each("", func(_ string, b *heldNode) {
		switch {
		case b.entry == nil:
		case b.whole():
			n += b.entry.Count
		case b.entry.Kind != versions.Dir:
			n++
		}
	})
	return n
}

// Examples names some of what is held: directories, with a slash at the end,
// before single files.
func (h Held) Examples(most int) []string {
	var dirs, files []string
	h.top.each("", func(path string, b *heldNode) {
		switch {
		case b.whole():
			dirs = append(dirs, path+"/")
		case b.entry != nil && b.entry.Kind != versions.Dir:
			files = append(files, path)
		}
	})
	list := append(dirs, files...)
	return list[:min(most, len(list))]
}

// Has tells whether path is held, or in a directory that is held whole.
func (h Held) Has(path string) bool {
	n := &h.top
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if n = n.below[name]; n == nil {
			return false
		}
		if n.whole() {
			return true
		}
	}
	return n.entry != nil
}

// Over is what to edit in the tree that lacks what is held to have it there. h
// must be as Settle gave it for that tree.
func (h Held) Over() (edits []versions.Edit) {
	h.top.each("", func(path string, b *heldNode) {
		if b.entry != nil {
			e := *b.entry
			edits = append(edits, versions.Edit{Path: path, Entry: &e, Whole: b.whole()})
		}
	})
	return edits
}

// Without is what to edit in the tree that has what is held to have it no more.
// h must be as Settle gave it for that tree. A directory in which anything else
// stands stays.
func (h Held) Without() (edits []versions.Edit) {
	h.top.each("", func(path string, b *heldNode) {
		if b.whole() || b.entry != nil && b.entry.Kind != versions.Dir {
			edits = append(edits, versions.Edit{Path: path})
		}
	})
	return edits
}

// Settle is what is still held, of two trees one of which should have it and the
// other lack it. What the one has in another content was edited, and what the
// other has again was made anew: an edit beats a delete, so that neither is held
// any more; nor is what both lack. Attributes are taken from the tree that has it.
//
// Where a file took a directory's place nothing below it can be kept, and the
// deletion goes on; the versions have it.
func (h Held) Settle(ctx context.Context, r Reader, have, lack versions.Entry) (Held, error) {
	if h.Empty() {
		return h, nil
	}
	s := settler{ctx: ctx, r: r}
	top, err := s.node(&h.top, &have, &lack)
	if err != nil || top == nil {
		return Held{}, err
	}
	return Held{top: heldNode{below: top.below}}, nil
}

type settler struct {
	ctx context.Context
	r   Reader
}

// node settles one name; nil: nothing is held there any more.
func (s settler) node(n *heldNode, have, lack *versions.Entry) (*heldNode, error) {
	if have == nil {
		return nil, nil
	}
	if n.entry != nil && n.entry.Kind != versions.Dir {
		if lack != nil || have.Kind != n.entry.Kind || !versions.SameContent(*have, *n.entry) {
			return nil, nil
		}
		return &heldNode{entry: have}, nil
	}
	if !isDir(have) || lack != nil && !isDir(lack) {
		return nil, nil
	}
	if lack == nil && n.whole() && n.entry.Tree == have.Tree {
		return &heldNode{entry: have}, nil
	}
	return s.dir(n, have, lack)
}

// dir settles what is in a directory that one tree has, and maybe the other.
func (s settler) dir(n *heldNode, have, lack *versions.Entry) (*heldNode, error) {
	below := n.below
	if n.whole() {
		var err error
		if below, err = s.expand(n.entry.Tree); err != nil {
			return nil, err
		}
	}
	out := &heldNode{below: map[string]*heldNode{}}
	if lack == nil {
		out.entry = have
	}
	haves, err := s.lookup(have.Tree, below)
	if err != nil {
		return nil, err
	}
	lacks, err := s.lookup(listing(lack), below)
	if err != nil {
		return nil, err
	}
	for name, b := range below {
		kept, err := s.node(b, haves[name], lacks[name])
		if err != nil {
			return nil, err
		}
		if kept != nil {
			out.below[name] = kept
		}
	}
	if lack != nil {
		if len(out.below) == 0 {
			return nil, nil
		}
		return out, nil
	}
	all, err := s.holdsAll(out, have.Tree)
	if err != nil {
		return nil, err
	}
	switch {
	case all:
		return &heldNode{entry: have}, nil
	case len(out.below) == 0:
		return nil, nil // something else stands in it alone
	}
	return out, nil
}

// expand lists a directory that was held whole.
func (s settler) expand(tree chunk.ID) (map[string]*heldNode, error) {
	out := map[string]*heldNode{}
	err := s.r.List(s.ctx, tree, "", func(e versions.Entry) error {
		out[e.Name] = &heldNode{entry: &e}
		return nil
	})
	return out, err
}

// holdsAll tells whether everything that a directory lists is held whole.
func (s settler) holdsAll(n *heldNode, tree chunk.ID) (bool, error) {
	all := true
	err := s.r.List(s.ctx, tree, "", func(e versions.Entry) error {
		b := n.below[e.Name]
		if b == nil || b.entry == nil || b.entry.Kind == versions.Dir && !b.whole() {
			all = false
			return fs.SkipAll
		}
		return nil
	})
	return all, err
}

// fewNames is how many names are looked up one by one; for more the directory is
// listed.
const fewNames = 8

// lookup finds the names of below in a listing.
func (s settler) lookup(tree chunk.ID, below map[string]*heldNode) (map[string]*versions.Entry, error) {
	found := make(map[string]*versions.Entry, len(below))
	if tree.IsZero() {
		return found, nil
	}
	if len(below) <= fewNames {
		for name := range below {
			e, err := s.r.Lookup(s.ctx, tree, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			found[name] = &e
		}
		return found, nil
	}
	err := s.r.List(s.ctx, tree, "", func(e versions.Entry) error {
		if _, ok := below[e.Name]; ok {
			found[e.Name] = &e
		}
		return nil
	})
	return found, err
}
