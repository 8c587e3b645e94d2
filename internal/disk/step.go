package disk

import (
	"fmt"
	"strings"

	"github.com/syncfs/syncfs/versions"
)

// Do makes one visible step below root; staged names are in stage, a directory
// on the same disk. It decides nothing: the caller has checked that it may.
func (r *Root) Do(stage *Dir, s Step) ([]Note, error) {
	dir, name, err := r.parent(s.Path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	switch s.Op {
	case Place:
		return nil, stage.Rename(s.Staged, dir, name)
	case Replace:
		return nil, stage.Exchange(s.Staged, dir, name)
	case Remove:
		st, err := dir.Stat(name)
		if err != nil {
			return nil, err
		}
		if st.Type() == TypeDir {
			// Only an empty one goes: what it may hold is not ours to move away.
			return nil, dir.Rmdir(name)
		}
		return nil, dir.Rename(name, stage, s.Staged)
	case MakeDir:
		return r.makeDir(stage, dir, name, s)
	case SetMeta:
		_, notes, err := dir.SetMeta(name, s.Meta)
		return notes, err
	case Move, Swap:
		from, old, err := r.parent(s.From)
		if err != nil {
			return nil, err
		}
		defer from.Close()
		if s.Op == Swap {
			return nil, from.Exchange(old, dir, name)
		}
		return nil, from.Rename(old, dir, name)
	}
	return nil, fmt.Errorf("step %d on %s: there is no such step", s.Op, s.Path)
}

// makeDir makes the directory complete out of sight, so that nobody sees it
// with another mode.
func (r *Root) makeDir(stage, dir *Dir, name string, s Step) ([]Note, error) {
	staged := s.Staged
	if staged == "" {
		staged = "mkdir"
	}
	if err := stage.Mkdir(staged); err != nil {
		return nil, err
	}
	// Only a directory that its owner may write can be moved by him.
	open := s.Meta
	open.Mode |= 0o700
	_, notes, err := stage.SetMeta(staged, open)
	if err == nil {
		err = stage.Rename(staged, dir, name)
	}
	if err != nil {
		stage.undo(staged, versions.Dir)
		return nil, err
	}
	if open.Mode != s.Meta.Mode {
		_, notes, err = dir.SetMeta(name, s.Meta)
	}
	return notes, err
}

// parent opens the directory that holds rel.
func (r *Root) parent(rel string) (*Dir, string, error) {
	dir, name := "", rel
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		dir, name = rel[:i], rel[i+1:]
	}
	if name == "" {
		return nil, "", fmt.Errorf("%q: the root has no name", rel)
	}
	d, err := r.OpenDir(dir)
	return d, name, err
}
