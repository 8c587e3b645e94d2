package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/ignore"
)

// Verdict is what the rules say of one path.
type Verdict struct {
	Path    string
	Dir     bool
	Tracked bool // it is in the tree, whatever the rules say
	Source  string
	Line    int    // in Source; 0 for a rule that is built in
	Rule    string // "" when no rule ignores it
}

// Ignored tells whether the path is kept out.
func (v Verdict) Ignored() bool { return v.Rule != "" && !v.Tracked }

func (v *Verdict) by(rule *ignore.Rule) {
	if rule != nil {
		v.Source, v.Line, v.Rule = rule.Source, rule.Line, rule.Text
		if v.Source == ignore.BuiltinSource {
			v.Line = 0
		}
	}
}

// Verdict says what the rules, as they lie on the disk, make of path. It need
// not be there.
func (f *Folder) Verdict(path string) (Verdict, error) {
	v := Verdict{Path: path}
	if path == "" {
		v.Dir, v.Tracked = true, true
		return v, nil
	}
	st, err := f.lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !isNotDir(err) {
		return v, err
	}
	v.Dir = err == nil && st.Type() == disk.TypeDir
	_, c, err := f.recorded(path)
	if err != nil {
		return v, err
	}
	v.Tracked = c != nil
	dir, name := split(path)
	rule, err := f.rulebook().rule(dir, name, v.Dir || c != nil && c.isDir())
	if err != nil {
		return v, err
	}
	v.by(rule)
	return v, nil
}

// Ignored calls fn for all that rules keep out of dir and below, in order of
// their paths; what is in an ignored directory is not looked at.
func (f *Folder) Ignored(ctx context.Context, dir string, fn func(Verdict) error) error {
	return f.ignored(ctx, f.rulebook(), dir, fn)
}

func (f *Folder) ignored(ctx context.Context, book *rulebook, dir string, fn func(Verdict) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := f.list(dir)
	if errors.Is(err, disk.ErrSubmount) {
		return nil
	}
	if err != nil {
		return err
	}
	record, err := f.recordOf(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		path := join(dir, n.Name)
		c, err := record.lookup(n.Name)
		if err != nil {
			return fmt.Errorf("record of directory %q: %w", dir, err)
		}
		isDir := n.Type == disk.TypeDir
		if c == nil {
			rule, err := book.rule(dir, n.Name, isDir)
			if err != nil {
				return err
			}
			if rule != nil {
				v := Verdict{Path: path, Dir: isDir}
				v.by(rule)
				if err := fn(v); err != nil {
					return err
				}
				continue
			}
		}
		if isDir {
			if err := f.ignored(ctx, book, path, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// list lists a directory in order, with the kind of each name, without what is
// ours.
func (f *Folder) list(dir string) ([]disk.Dirent, error) {
	d, err := f.o.Root.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.List()
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n disk.Dirent) bool { return dir == "" && f.hidden(n.Name) })
	for i := range names {
		if names[i].Type == 0 {
			if st, err := d.Stat(names[i].Name); err == nil {
				names[i].Type = st.Type()
			}
		}
	}
	slices.SortFunc(names, func(a, b disk.Dirent) int { return strings.Compare(a.Name, b.Name) })
	return names, nil
}

// recordOf is the record of a directory; nil when there is none.
func (f *Folder) recordOf(dir string) (*record, error) {
	data, err := f.o.Records.Get(dir)
	if err == nil && data == nil {
		return nil, nil
	}
	var r *record
	if err == nil {
		r, err = parseRecord(data)
	}
	if err != nil {
		return nil, fmt.Errorf("record of directory %q: %w", dir, err)
	}
	return r, nil
}

func (r *record) lookup(name string) (*child, error) {
	if r == nil {
		return nil, nil
	}
	return r.find(name)
}

// KeptOut tells whether rules keep out what stands at path: it is not in the
// tree, and either ignored itself or a directory with nothing else in it.
func (f *Folder) KeptOut(path string) (bool, error) {
	v, err := f.Verdict(path)
	switch {
	case err != nil || v.Tracked:
		return false, err
	case v.Dir && v.Rule == "":
		return f.Leftover(path)
	case v.Rule == "":
		return false, nil
	}
	_, err = f.lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Leftover tells whether something is in the directory, and all of it is what a
// folder never takes: ignored, or no file.
func (f *Folder) Leftover(dir string) (bool, error) {
	names, err := f.list(dir)
	if err != nil || len(names) == 0 {
		return false, err
	}
	record, err := f.recordOf(dir)
	if err != nil {
		return false, err
	}
	book := f.rulebook()
	for _, n := range names {
		c, err := record.lookup(n.Name)
		if err != nil || c != nil {
			return false, err
		}
		if n.Type == disk.TypeFifo || n.Type == disk.TypeSocket {
			continue
		}
		isDir := n.Type == disk.TypeDir
		rule, err := book.rule(dir, n.Name, isDir)
		if err != nil {
			return false, err
		}
		if rule != nil {
			continue
		}
		if !isDir {
			return false, nil
		}
		if ok, err := f.Leftover(join(dir, n.Name)); !ok {
			return false, err
		}
	}
	return true, nil
}

// Unwanted are the paths at or below path that are in the tree and would be
// ignored if they were new, without what is in a directory of the list.
func (f *Folder) Unwanted(ctx context.Context, path string) (list []Verdict, err error) {
	v, err := f.Verdict(path)
	if err != nil || !v.Tracked {
		return nil, err
	}
	if v.Rule != "" {
		return []Verdict{v}, nil
	}
	_, c, err := f.recorded(path)
	if err != nil || path != "" && !c.isDir() {
		return nil, err
	}
	err = f.unwanted(ctx, f.rulebook(), path, &list)
	return list, err
}

func (f *Folder) unwanted(ctx context.Context, book *rulebook, dir string, list *[]Verdict) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	record, err := f.recordOf(dir)
	if err != nil || record == nil {
		return err
	}
	return record.each(func(c child) error {
		rule, err := book.rule(dir, c.name, c.isDir())
		switch {
		case err != nil:
			return err
		case rule != nil:
			v := Verdict{Path: join(dir, c.name), Dir: c.isDir(), Tracked: true}
			v.by(rule)
			*list = append(*list, v)
		case c.isDir():
			return f.unwanted(ctx, book, join(dir, c.name), list)
		}
		return nil
	})
}
