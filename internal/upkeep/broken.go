package upkeep

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// Finder goes through all versions and finds what of them is lost.
type Finder struct {
	Lines    *line.Lines
	Store    *store.Store
	Trees    *versions.Trees
	Contents *versions.Contents

	// Suspect are chunks that were found damaged at some place; others are not
	// read again.
	Suspect map[chunk.ID]error
	// Broken is told of each path of each version of which something is lost,
	// with the chunks that are.
	Broken func(Broken)
	// Progress may be nil.
	Progress func(versions int64)

	Versions    int64 // that were looked at
	Directories int64 // different ones
	Files       int64 // in those

	clean map[chunk.ID]bool // directories: nothing below is lost
	lost  map[chunk.ID]error
}

// Broken is one path of a version of which something is lost.
type Broken struct {
	Folder  line.Folder
	Version line.Recorded // zero where the record itself is lost
	Path    string        // "" is the root; a directory has a slash at its end
	Lost    []chunk.ID
	Err     error
}

// Newest tells whether the version is its folder's newest.
func (b Broken) Newest() bool { return b.Version.SnapshotID == b.Folder.Snapshot }

// Run looks at every version of every folder.
func (f *Finder) Run(ctx context.Context) error {
	f.clean, f.lost = map[chunk.ID]bool{}, map[chunk.ID]error{}
	folders, err := f.Lines.Folders(ctx)
	if err != nil && !errors.Is(err, line.ErrDamaged) {
		return err
	}
	if err != nil {
		f.Broken(Broken{Err: err})
	}
	for _, head := range folders {
		seen := map[chunk.ID]bool{}
		err := f.Lines.AllRecords(ctx, head.ID, func(rec line.Recorded) error {
			if seen[rec.SnapshotID] {
				return nil
			}
			seen[rec.SnapshotID] = true
			f.Versions++
			if f.Progress != nil {
				f.Progress(f.Versions)
			}
			v := &visit{f: f, head: head, rec: rec}
			if _, err := rec.ChangedDirs(ctx, f.Store); isDamage(err) {
				v.broken("", []chunk.ID{rec.DirsList}, err)
			} else if err != nil {
				return err
			}
			_, err := v.dir(ctx, "", rec.Root.Tree)
			return err
		})
		if errors.Is(err, line.ErrDamaged) {
			f.Broken(Broken{Folder: head, Err: err})
		} else if err != nil {
			return err
		}
	}
	return nil
}

// isDamage tells what is lost from a remote that does not answer.
func isDamage(err error) bool {
	return errors.Is(err, versions.ErrCorrupt) || errors.Is(err, store.ErrCorrupt)
}

// visit is one version.
type visit struct {
	f    *Finder
	head line.Folder
	rec  line.Recorded
}

func (v *visit) broken(path string, lost []chunk.ID, err error) {
	v.f.Broken(Broken{Folder: v.head, Version: v.rec, Path: path, Lost: lost, Err: err})
}

// dir looks below a directory, unless it is known to be whole.
func (v *visit) dir(ctx context.Context, path string, tree chunk.ID) (clean bool, err error) {
	if tree.IsZero() || v.f.clean[tree] {
		return true, nil
	}
	_, again := v.f.clean[tree]
	lost, err := v.listing(ctx, tree)
	if err != nil {
		return false, err
	}
	if lost != nil {
		v.f.clean[tree] = false
		v.broken(path+"/", lost, fmt.Errorf("%w: its listing is lost", store.ErrCorrupt))
		return false, nil
	}
	list, err := v.f.Trees.Read(ctx, tree)
	if isDamage(err) {
		v.f.clean[tree] = false
		v.broken(path+"/", nil, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !again {
		v.f.Directories++
	}
	clean = true
	for _, e := range list {
		at := path + "/" + e.Name
		ok := true
		switch e.Kind {
		case versions.Dir:
			ok, err = v.dir(ctx, at, e.Tree)
		case versions.File:
			if !again {
				v.f.Files++
			}
			ok, err = v.file(ctx, at, e)
		}
		if err != nil {
			return false, err
		}
		clean = clean && ok
	}
	v.f.clean[tree] = clean
	return clean, nil
}

// listing finds what is lost of the pieces of a directory's listing, which a
// cache may still have.
func (v *visit) listing(ctx context.Context, tree chunk.ID) (lost []chunk.ID, err error) {
	if len(v.f.Suspect) == 0 {
		return nil, nil
	}
	err = versions.ListingUses(ctx, v.f.Store, tree, func(kind chunk.Kind, id chunk.ID) error {
		whole, err := v.f.whole(ctx, kind, id)
		if err == nil && !whole {
			lost = append(lost, id)
		}
		return err
	})
	if isDamage(err) {
		err = nil // the reading of the directory tells
	}
	return lost, err
}

// file looks whether all pieces of a file are there.
func (v *visit) file(ctx context.Context, path string, e versions.Entry) (clean bool, err error) {
	if !e.List.IsZero() {
		if whole, err := v.f.whole(ctx, chunk.List, e.List); err != nil || !whole {
			if err == nil {
				v.broken(path, []chunk.ID{e.List}, v.f.lost[e.List])
			}
			return false, err
		}
	}
	pieces, err := v.f.Contents.Pieces(ctx, e)
	if isDamage(err) {
		v.broken(path, nil, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var lost []chunk.ID
	for _, p := range pieces {
		whole, err := v.f.whole(ctx, chunk.Data, p.ID)
		if err != nil {
			return false, err
		}
		if !whole {
			lost = append(lost, p.ID)
		}
	}
	if len(lost) > 0 {
		v.broken(path, lost, v.f.lost[lost[0]])
	}
	return len(lost) == 0, nil
}

// whole tells whether a chunk is good at some place on the remote.
func (f *Finder) whole(ctx context.Context, kind chunk.Kind, id chunk.ID) (bool, error) {
	if _, known := f.lost[id]; known {
		return false, nil
	}
	if _, suspect := f.Suspect[id]; !suspect {
		if has, err := f.Store.Has(ctx, kind, id); err != nil || has {
			return has, err
		}
	}
	err := f.Store.Verify(ctx, kind, id)
	if isDamage(err) {
		f.lost[id] = err
		return false, nil
	}
	return err == nil, err
}
