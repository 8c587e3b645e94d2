package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// Change is one path that a backup would save, or find gone.
type Change struct {
	Path string
	What string // "new", "changed", "gone"
	Kind versions.Kind
	Size int64
}

// Rehearse tells what Take would do, by names, sizes and times alone: nothing is
// read, stored or remembered.
func Rehearse(ctx context.Context, o Options, fn func(Change) error) (Report, error) {
	o.fill()
	src, err := openSource(o)
	if err != nil {
		return Report{}, err
	}
	defer src.close()
	lines := line.New(o.Remote, o.Keys)
	list, err := lines.Folders(ctx)
	if err != nil && !errors.Is(err, line.ErrDamaged) {
		return Report{}, err
	}
	head, err := find(list, o.Name, o.Kind)
	if err != nil && !errors.Is(err, line.ErrUnknown) {
		return Report{}, err
	}
	st, err := store.Open(ctx, o.Remote, o.Keys, store.Options{CacheDir: o.CacheDir, CacheLimit: o.CacheLimit, Logger: o.Logger, Now: o.Now})
	if err != nil {
		return Report{}, err
	}
	r := &rehearsal{src: src, trees: versions.NewTrees(st, o.Keys.NameSecret()), fn: fn}
	r.report.Folder, r.report.FolderID, r.report.Instant = o.Name, head.ID, head.Instant
	err = r.dir(ctx, "", head.Root)
	if err == nil && src.patterned && r.report.Files == 0 {
		err = fmt.Errorf("%s: %w", o.Path, ErrNothing)
	}
	return r.report, errors.Join(err, st.Close())
}

// rehearsal is one run of Rehearse.
type rehearsal struct {
	src    *source
	trees  *versions.Trees
	fn     func(Change) error
	report Report
}

// dir compares one directory with what was saved of it.
func (r *rehearsal) dir(ctx context.Context, path string, old versions.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, names, err := r.list(path)
	if err != nil {
		r.report.Problems = append(r.report.Problems, Problem{path, err})
		return nil // what was saved of it stays
	}
	defer dir.Close()
	var before []versions.Entry
	if old.Kind == versions.Dir {
		if before, err = r.trees.Read(ctx, old.Tree); err != nil {
			return err
		}
	}
	for _, n := range names {
		for len(before) > 0 && before[0].Name < n.Name {
			if err := r.gone(ctx, path, before[0]); err != nil {
				return err
			}
			before = before[1:]
		}
		var was versions.Entry
		if len(before) > 0 && before[0].Name == n.Name {
			was, before = before[0], before[1:]
		}
		if err := r.name(ctx, dir, path, n.Name, was); err != nil {
			return err
		}
	}
	for _, e := range before {
		if err := r.gone(ctx, path, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *rehearsal) list(path string) (*disk.Dir, []disk.Dirent, error) {
	dir, err := r.src.root.OpenDir(path)
	if err != nil {
		return nil, nil, err
	}
	names, err := dir.List()
	if err == nil {
		names, err = r.src.filter.Names(dir, path, names)
	}
	if err != nil {
		dir.Close()
		return nil, nil, err
	}
	slices.SortFunc(names, func(x, y disk.Dirent) int { return strings.Compare(x.Name, y.Name) })
	return dir, names, nil
}

// name compares one name with what was saved under it.
func (r *rehearsal) name(ctx context.Context, dir *disk.Dir, parent, name string, was versions.Entry) error {
	path := join(parent, name)
	st, err := dir.Stat(name)
	if err != nil {
		r.report.Problems = append(r.report.Problems, Problem{path, err})
		return nil
	}
	kind, kept := st.Kind()
	if !kept {
		return nil
	}
	c := Change{Path: path, Kind: kind, Size: st.Size}
	if kind == versions.Dir {
		c.Size = 0
	} else {
		r.report.Files++
		r.report.Bytes += st.Size
	}
	switch {
	case was.Kind != 0 && was.Kind != kind:
		if err := r.gone(ctx, parent, was); err != nil {
			return err
		}
		was = versions.Entry{}
		fallthrough
	case was.Kind == 0:
		c.What = "new"
		r.report.Added++
	case kind == versions.File && (st.Size != was.Size || st.MTime != was.MTime || st.Mode&^disk.TypeMask != was.Mode):
		c.What = "changed"
		r.report.Changed++
	}
	// A directory in which nothing matches is not saved.
	if c.What != "" && (kind != versions.Dir || !r.src.patterned) {
		if kind == versions.File {
			r.report.ReadFiles++
			r.report.ReadBytes += st.Size
		}
		if err := r.fn(c); err != nil {
			return err
		}
	}
	if kind == versions.Dir {
		return r.dir(ctx, path, was)
	}
	return nil
}

// gone tells of what was saved and is not there any more, with all below.
func (r *rehearsal) gone(ctx context.Context, parent string, e versions.Entry) error {
	top := join(parent, e.Name)
	return r.trees.Walk(ctx, e, func(path string, e versions.Entry) error {
		r.report.Removed++
		c := Change{Path: top, What: "gone", Kind: e.Kind, Size: e.Size}
		if path != "" {
			c.Path = join(top, path)
		}
		return r.fn(c)
	})
}
