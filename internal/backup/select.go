package backup

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/ignore"
)

// Select says what of a directory is saved. Patterns and rules are those of
// gitignore, relative to what is saved.
type Select struct {
	Patterns []string // only files that one of them matches; none: all
	Excludes []string // rules: what they match is not saved, nor what is in it
	Caches   bool     // of a directory with a valid CACHEDIR.TAG only that is saved
	Larger   int64    // files that are larger are not saved; 0: all are
}

// cacheTag is the name that marks a directory as one that need not be saved,
// and what it begins with.
const (
	cacheTag       = "CACHEDIR.TAG"
	cacheSignature = "Signature: 8a477f597d28d172789f06886806bc55"
)

// versionsDir is the name under which a mount shows the past.
const versionsDir = ".versions"

// filter is Select on one directory tree.
type filter struct {
	Select
	root     *disk.Root
	only     string          // in the root, this name alone
	own      map[string]bool // paths that are ours
	excludes *ignore.Rules
	patterns *ignore.File
}

func (s Select) filter(root *disk.Root, own map[string]bool) *filter {
	f := &filter{Select: s, root: root, own: own}
	if len(s.Excludes) > 0 {
		f.excludes = ignore.In(nil, ignore.Parse("--exclude", []byte(strings.Join(s.Excludes, "\n"))))
	}
	if len(s.Patterns) > 0 {
		f.patterns = ignore.Parse("--pattern", []byte(strings.Join(s.Patterns, "\n")))
	}
	return f
}

// names is folder.Filter.Names.
func (f *filter) names(dir *disk.Dir, path string, names []disk.Dirent) ([]disk.Dirent, error) {
	if path == "" && f.only != "" {
		return slices.DeleteFunc(names, func(n disk.Dirent) bool { return n.Name != f.only }), nil
	}
	if f.Caches && slices.ContainsFunc(names, func(n disk.Dirent) bool { return n.Name == cacheTag }) && isCache(dir, cacheSignature) {
		return slices.DeleteFunc(names, func(n disk.Dirent) bool { return n.Name != cacheTag }), nil
	}
	excludes := f.excludes
	patterns := (*ignore.Rules)(nil)
	if f.patterns != nil {
		patterns = ignore.In(nil, f.patterns)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			break
		}
		if excludes != nil {
			excludes = excludes.Below(part)
		}
		if patterns != nil {
			patterns = patterns.Below(part)
		}
	}
	return slices.DeleteFunc(names, func(n disk.Dirent) bool {
		kind, size := n.Type, int64(0)
		if kind == 0 || f.Larger > 0 && kind == disk.TypeFile {
			st, err := dir.Stat(n.Name)
			if err != nil {
				return false // gone, or the build tells what is wrong
			}
			kind, size = st.Type(), st.Size
		}
		isDir := kind == disk.TypeDir
		switch {
		case f.own[join(path, n.Name)], isDir && n.Name == versionsDir && f.isPast(path):
			return true
		case excludes != nil && excludes.Ignored(n.Name, isDir) != nil:
			return true
		case f.Larger > 0 && kind == disk.TypeFile && size > f.Larger:
			return true
		}
		return patterns != nil && !isDir && patterns.Ignored(n.Name, false) == nil
	}), nil
}

// isPast tells whether the directory of that name in path is the past of a
// mount of ours, which is in the repository already.
func (f *filter) isPast(path string) bool {
	dir, err := f.root.OpenDir(join(path, versionsDir))
	if err != nil {
		return false
	}
	defer dir.Close()
	return isCache(dir, cacheSignature+"\n# The versions that syncfs keeps")
}

// isCache tells whether a directory has a CACHEDIR.TAG that begins so.
func isCache(dir *disk.Dir, signature string) bool {
	file, err := dir.Open(cacheTag)
	if err != nil {
		return false
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || st.Type() != disk.TypeFile {
		return false
	}
	head := make([]byte, len(signature))
	n, err := file.ReadAt(head, 0)
	return (err == nil || errors.Is(err, io.EOF)) && bytes.Equal(head[:n], []byte(signature))
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
