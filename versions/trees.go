package versions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Trees reads and writes directory listings. A listing is cut into pieces at
// entry boundaries by a keyed hash of the name, so that one change in a large
// directory costs one small piece; equal directories have equal ids. It is safe
// for use by many goroutines.
type Trees struct {
	chunks Chunks
	hasher *nameHasher
}

// NewTrees: nameSecret is seal.Keys.NameSecret.
func NewTrees(c Chunks, nameSecret [32]byte) *Trees {
	return &Trees{chunks: c, hasher: newNameHasher(nameSecret)}
}

// Write stores a listing; entries are sorted by Name (bytes) and unique. An
// empty listing is the zero ID.
func (t *Trees) Write(ctx context.Context, entries []Entry) (chunk.ID, error) {
	w := &levelWriter{ctx: ctx, t: t}
	var raw []byte
	for i := range entries {
		e := &entries[i]
		if err := checkListed(e); err != nil {
			return chunk.ID{}, fmt.Errorf("write a directory: %w", err)
		}
		if i > 0 && entries[i-1].Name >= e.Name {
			return chunk.ID{}, fmt.Errorf("write a directory: name %q is out of order", e.Name)
		}
		raw = AppendEntry(raw[:0], *e)
		if err := w.add(e.Name, raw); err != nil {
			return chunk.ID{}, fmt.Errorf("write a directory: %w", err)
		}
	}
	err := w.flush()
	if err != nil {
		return chunk.ID{}, fmt.Errorf("write a directory: %w", err)
	}
	id, err := t.top(ctx, 1, w.out)
	if err != nil {
		return chunk.ID{}, fmt.Errorf("write a directory: %w", err)
	}
	return id, nil
}

func checkListed(e *Entry) error {
	if err := ValidName(e.Name); err != nil {
		return err
	}
	return e.Validate()
}

// Read returns a whole directory, sorted.
func (t *Trees) Read(ctx context.Context, id chunk.ID) ([]Entry, error) {
	if id.IsZero() {
		return nil, nil
	}
	n, err := t.node(ctx, id)
	if err != nil || n.level == 0 {
		return n.leaf(), err
	}
	var entries []Entry
	err = t.list(ctx, n, "", func(e Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// List calls fn for the directory's entries in order, from the name from on
// ("" for all), reading no piece before that. fn ends it early, without an
// error, by returning io/fs.SkipAll.
func (t *Trees) List(ctx context.Context, id chunk.ID, from string, fn func(Entry) error) error {
	if id.IsZero() {
		return nil
	}
	n, err := t.node(ctx, id)
	if err == nil {
		err = t.list(ctx, n, from, fn)
	}
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

func (t *Trees) list(ctx context.Context, n *node, from string, fn func(Entry) error) error {
	if n.level == 0 {
		i := sort.Search(len(n.entries), func(i int) bool { return n.entries[i].Name >= from })
		for ; i < len(n.entries); i++ {
			if err := fn(n.entries[i]); err != nil {
				return err
			}
		}
		return nil
	}
	start := n.child(from)
	for i := start; i < len(n.items); i++ {
		if (i-start)%prefetchPieces == 0 {
			t.prefetchItems(ctx, n.items[i:])
		}
		child, err := t.childNode(ctx, n.level-1, n.items[i])
		if err != nil {
			return err
		}
		if err := t.list(ctx, child, from, fn); err != nil {
			return err
		}
	}
	return nil
}

// prefetchPieces is how many pieces of one listing are asked for at once.
const prefetchPieces = 64

func (t *Trees) prefetchItems(ctx context.Context, items []item) {
	if _, ok := t.chunks.(Prefetcher); !ok {
		return
	}
	ids := make([]chunk.ID, 0, prefetchPieces)
	for _, it := range items[:min(len(items), prefetchPieces)] {
		ids = append(ids, it.id)
	}
	prefetch(ctx, t.chunks, chunk.Tree, ids)
}

// Lookup finds one name, reading only the pieces that lead to it;
// io/fs.ErrNotExist.
func (t *Trees) Lookup(ctx context.Context, id chunk.ID, name string) (Entry, error) {
	if id.IsZero() || name == "" {
		return Entry{}, &fs.PathError{Op: "lookup", Path: name, Err: fs.ErrNotExist}
	}
	n, err := t.node(ctx, id)
	for err == nil && n.level > 0 {
		n, err = t.childNode(ctx, n.level-1, n.items[n.child(name)])
	}
	if err != nil {
		return Entry{}, fmt.Errorf("look up %q: %w", name, err)
	}
	i := sort.Search(len(n.entries), func(i int) bool { return n.entries[i].Name >= name })
	if i == len(n.entries) || n.entries[i].Name != name {
		return Entry{}, &fs.PathError{Op: "lookup", Path: name, Err: fs.ErrNotExist}
	}
	return n.entries[i], nil
}

// Resolve follows a slash-separated path ("" is root itself) from root.
// Symlinks are not followed. io/fs.ErrNotExist; ErrNotDir where a path goes
// through what is no directory.
func (t *Trees) Resolve(ctx context.Context, root Entry, path string) (Entry, error) {
	e := root
	for rest := path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if e.Kind != Dir {
			return Entry{}, &fs.PathError{Op: "resolve", Path: path, Err: ErrNotDir}
		}
		var err error
		e, err = t.Lookup(ctx, e.Tree, name)
		if errors.Is(err, fs.ErrNotExist) {
			return Entry{}, &fs.PathError{Op: "resolve", Path: path, Err: fs.ErrNotExist}
		}
		if err != nil {
			return Entry{}, fmt.Errorf("resolve %q: %w", path, err)
		}
	}
	return e, nil
}

// join is the path of name in dir ("" is the root).
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
