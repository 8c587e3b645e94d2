package syncer

import (
	"context"
	"sort"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// dirChanges gathers the directories whose listing changed, by path.
type dirChanges map[string]versions.DirChange

func (d dirChanges) set(path string, tree chunk.ID, gone bool) {
	d[path] = versions.DirChange{Path: path, Tree: tree, Gone: gone}
}

func (d dirChanges) sorted() []versions.DirChange {
	list := make([]versions.DirChange, 0, len(d))
	for _, c := range d {
		list = append(list, c)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Path < list[j].Path })
	return list
}

// changedDirs adds to out every directory below dir (itself included) whose
// listing differs between the entries old and new. One that is not a directory
// counts as absent. Equal subtrees are not read.
func changedDirs(ctx context.Context, trees *versions.Trees, old, new versions.Entry, dir string, out dirChanges) error {
	was, is := old.Kind == versions.Dir, new.Kind == versions.Dir
	switch {
	case !was && !is, was && is && old.Tree == new.Tree:
		return nil
	case is:
		out.set(dir, new.Tree, false)
	default:
		out.set(dir, chunk.ID{}, true)
	}
	none := versions.Entry{}
	return trees.DiffDir(ctx, listing(old), listing(new), func(a, b *versions.Entry) error {
		if a == nil {
			a = &none
		}
		if b == nil {
			b = &none
		}
		name := a.Name
		if b.Kind != 0 {
			name = b.Name
		}
		return changedDirs(ctx, trees, *a, *b, join(dir, name), out)
	})
}

// listing is the listing of a directory; what is none has an empty one.
func listing(e versions.Entry) chunk.ID {
	if e.Kind != versions.Dir {
		return chunk.ID{}
	}
	return e.Tree
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
