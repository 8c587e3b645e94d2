package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/versions"
)

// reached is the tree to but for the paths in left, where it is as from: how far
// an apply came that could not do everything. What it did is no change of this
// machine's, and who edits or deletes that has seen what the line says.
func (s *Syncer) reached(ctx context.Context, from, to versions.Entry, left []string) (versions.Entry, error) {
	slices.Sort(left)
	var edits []versions.Edit
	none := "" // nothing is below this path
	for _, path := range slices.Compact(left) {
		if none != "" && strings.HasPrefix(path, none+"/") {
			continue
		}
		old, err := s.resolve(ctx, from, path)
		if err != nil {
			return versions.Entry{}, err
		}
		if old == nil || old.Kind != versions.Dir {
			// A directory may have been made, but not as it shall be.
			if e, _, err := s.o.Disk.Recorded(path); err == nil && e.Kind == versions.Dir {
				old = &e
			}
		}
		if old == nil || old.Kind != versions.Dir {
			none = path
		}
		edits = append(edits, versions.Edit{Path: path, Entry: old})
	}
	root, err := s.o.Trees.Apply(ctx, to, edits)
	if err != nil {
		return versions.Entry{}, fmt.Errorf("note how far an apply came: %w", err)
	}
	return root, nil
}

// resolve finds a path in a tree, which may be none; nil where nothing is.
func (s *Syncer) resolve(ctx context.Context, root versions.Entry, path string) (*versions.Entry, error) {
	if root.IsZero() {
		return nil, nil
	}
	e, err := s.o.Trees.Resolve(ctx, root, path)
	if missing(err) || errors.Is(err, versions.ErrNotDir) {
		return nil, nil
	}
	return &e, err
}
