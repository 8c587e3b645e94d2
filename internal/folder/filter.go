package folder

import (
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
)

// Filter says what of a directory tree is content at all, where that is not
// decided by files of rules in it: what is left out is as if it was not there,
// also when it was taken before.
type Filter struct {
	// Names returns those of the names in a directory that are content, in any
	// order; it may change the slice.
	Names func(dir *disk.Dir, path string, names []disk.Dirent) ([]disk.Dirent, error)
	// NoEmpty leaves out directories in which nothing is content.
	NoEmpty bool
}

// listing lists what of a directory is content, sorted.
func (f *Folder) listing(dir *disk.Dir, path string) ([]disk.Dirent, error) {
	names, err := dir.List()
	if err == nil && f.o.Filter != nil {
		names, err = f.o.Filter.Names(dir, path, names)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(x, y disk.Dirent) int { return strings.Compare(x.Name, y.Name) })
	return names, nil
}

// leavesOut tells whether a whole directory is no content for having none in it.
func (b *build) leavesOut(t *task) bool {
	return !t.root && b.f.o.Filter != nil && b.f.o.Filter.NoEmpty && t.entry.Tree.IsZero()
}
