package versions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/chunk"
	"lukechampine.com/blake3"
)

// Edit is one change of a tree: what stands at Path afterwards.
type Edit struct {
	Path  string // "" is the root
	Entry *Entry // nil: nothing, nor anything below
	// Whole: a directory is replaced by Entry with all it lists. Otherwise only
	// its attributes are, and what is in it stays, but for other edits.
	Whole bool
}

// Apply makes edits in the tree of root, in any order, each path once, and
// returns the new root. Listings, sizes and counts of all directories on the
// way are made anew; what no edit touches is not read.
func (t *Trees) Apply(ctx context.Context, root Entry, edits []Edit) (Entry, error) {
	top := &editNode{}
	for i := range edits {
		n := top
		for rest := edits[i].Path; rest != ""; {
			var name string
			name, rest, _ = strings.Cut(rest, "/")
			n = n.below(name)
		}
		if n.edit != nil {
			return Entry{}, fmt.Errorf("edit %q: it is edited twice", edits[i].Path)
		}
		n.edit = &edits[i]
	}
	var cur *Entry
	if !root.IsZero() {
		cur = &root
	}
	out, err := t.apply(ctx, "", top, cur)
	if err != nil || out == nil {
		return Entry{}, err
	}
	return *out, nil
}

// editNode is a path with what shall be done there and below.
type editNode struct {
	edit     *Edit
	children map[string]*editNode
}

func (n *editNode) below(name string) *editNode {
	c := n.children[name]
	if c == nil {
		c = &editNode{}
		if n.children == nil {
			n.children = map[string]*editNode{}
		}
		n.children[name] = c
	}
	return c
}

func (t *Trees) apply(ctx context.Context, path string, n *editNode, cur *Entry) (*Entry, error) {
	out := cur
	if n.edit != nil {
		out = nil
		if e := n.edit.Entry; e != nil {
			made := *e
			if path != "" {
				made.Name = path[strings.LastIndexByte(path, '/')+1:]
			}
			if made.Kind == Dir && !n.edit.Whole {
				made.Tree, made.Size, made.Count = chunk.ID{}, 0, 0
				if cur != nil && cur.Kind == Dir {
					made.Tree, made.Size, made.Count = cur.Tree, cur.Size, cur.Count
				}
			}
			out = &made
		}
	}
	if len(n.children) == 0 {
		return out, nil
	}
	if out == nil || out.Kind != Dir {
		return nil, &fs.PathError{Op: "edit", Path: path, Err: ErrNotDir}
	}
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	old, err := t.lookupAll(ctx, out.Tree, names)
	if err != nil {
		return nil, fmt.Errorf("edit %q: %w", path, err)
	}
	dir := *out
	edits := make([]NameEdit, 0, len(names))
	for _, name := range names {
		e, err := t.apply(ctx, join(path, name), n.children[name], old[name])
		if err != nil {
			return nil, err
		}
		size, count := weight(e)
		oldSize, oldCount := weight(old[name])
		dir.Size += size - oldSize
		dir.Count += count - oldCount
		edits = append(edits, NameEdit{Name: name, Entry: e})
	}
	if dir.Tree, err = t.Update(ctx, dir.Tree, edits); err != nil {
		return nil, fmt.Errorf("edit %q: %w", path, err)
	}
	return &dir, nil
}

// weight is what an entry adds to its directory's Size and Count.
func weight(e *Entry) (size, count int64) {
	switch {
	case e == nil:
		return 0, 0
	case e.Kind == Dir:
		return e.Size, e.Count
	}
	return e.Size, 1
}

// lookupAll finds many names (sorted) of one directory; those that are not
// there are left out.
func (t *Trees) lookupAll(ctx context.Context, id chunk.ID, names []string) (map[string]*Entry, error) {
	const few = 8
	found := make(map[string]*Entry, len(names))
	if len(names) <= few {
		for _, name := range names {
			e, err := t.Lookup(ctx, id, name)
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
	rest := names
	err := t.List(ctx, id, names[0], func(e Entry) error {
		for len(rest) > 0 && rest[0] < e.Name {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return fs.SkipAll
		}
		if rest[0] == e.Name {
			found[e.Name] = &e
		}
		return nil
	})
	return found, err
}

// ContentHash tells contents apart by the entry alone: equal for what
// SameContent calls equal. It depends on the repository's keys, as chunk ids do.
func ContentHash(e Entry) [32]byte {
	bare := Entry{
		Kind: e.Kind, Size: e.Size, Count: e.Count, Pieces: e.Pieces, List: e.List,
		Tree: e.Tree, Target: e.Target, Device: e.Device, Holes: e.Holes,
	}
	return blake3.Sum256(AppendEntry(nil, bare))
}
