package folder

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// linkNames are the names of the inodes that have several. Who writes through
// one name changes all of them, and neither a request nor the watch tells of
// the others. A name too many costs a look, one too few is found by a scan.
type linkNames struct {
	inode map[string]inode // by path
	paths map[inode][]string
}

func newLinkNames() *linkNames {
	return &linkNames{inode: make(map[string]inode), paths: make(map[inode][]string)}
}

// add notes that path is a name of key.
func (l *linkNames) add(path string, key inode) {
	if was, ok := l.inode[path]; ok {
		if was == key {
			return
		}
		l.remove(path)
	}
	l.inode[path] = key
	l.paths[key] = append(l.paths[key], path)
}

// remove notes that path is no name of any.
func (l *linkNames) remove(path string) {
	key, ok := l.inode[path]
	if !ok {
		return
	}
	delete(l.inode, path)
	rest := slices.DeleteFunc(l.paths[key], func(p string) bool { return p == path })
	if len(rest) == 0 {
		delete(l.paths, key)
	} else {
		l.paths[key] = rest
	}
}

// moved notes that from, and all below it, is at to now.
func (l *linkNames) moved(from, to string) {
	for _, path := range slices.Collect(maps.Keys(l.inode)) {
		rest, below := strings.CutPrefix(path, from)
		if below && (rest == "" || rest[0] == '/') {
			key := l.inode[path]
			l.remove(path)
			l.add(to+rest, key)
		}
	}
}

// markNames makes dirty all names of the inodes of which one is. With mu held.
func (f *Folder) markNames(now time.Time) {
	changed := make(map[inode]bool)
	for path, key := range f.names.inode {
		if len(f.names.paths[key]) > 1 && !changed[key] && f.dirty.has(path) {
			changed[key] = true
		}
	}
	for key := range changed {
		for _, path := range f.names.paths[key] {
			if !f.dirty.has(path) {
				f.mark(path, false, now)
			}
		}
	}
}
