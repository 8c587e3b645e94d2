package syncer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// Rewound is what was brought back to an earlier state, or would be. Of
// directories only those that come and go are told.
type Rewound struct {
	Changes []versions.Change
	Left    []string // what could not be changed now: in use, or changed meanwhile
}

// Rewind makes what is at path ("" is the whole folder) what it was in the
// snapshot then: as a change like any other, on top of all that there is. Before
// anything is touched everything is in a snapshot on this machine, so what goes
// by it stays in the versions. Only what differs is touched. dry only tells what
// would be done.
func (s *Syncer) Rewind(ctx context.Context, then *versions.Snapshot, path string, dry bool) (r Rewound, err error) {
	if s.frozen.Load() {
		return r, ErrStopping
	}
	s.tree.Lock()
	defer s.tree.Unlock()
	if !dry {
		if err := s.secure(ctx); err != nil {
			return r, fmt.Errorf("nothing was changed: what is here could not be put into a version first: %w", err)
		}
	}
	for try := range adjustTries {
		_, local, err := s.lookOut(ctx)
		if err != nil {
			return r, err
		}
		edits, err := s.backTo(ctx, local, then.Root, path)
		if err != nil {
			return r, err
		}
		to, err := s.o.Trees.Apply(ctx, local, edits)
		if err != nil {
			return r, err
		}
		if try == 0 {
			if r.Changes, err = s.seen(ctx, local, to); err != nil || dry {
				return r, err
			}
		}
		p, err := s.makePlan(ctx, local, to)
		if err != nil {
			return r, err
		}
		if r.Left, err = s.apply(ctx, p, to, then.Instant); err != nil {
			return r, err
		}
		if len(r.Left) == 0 {
			break
		}
		if err := sleep(ctx, time.Duration(try)*adjustPause); err != nil {
			return r, err
		}
	}
	// The user was asked: this is no mass deletion.
	_, err = s.captureWith(ctx, folder.BuildOptions{}, word{nothing: true})
	kick(s.build)
	if err == nil && len(r.Changes) > 0 {
		s.o.Note(Operation{What: "undo", Instant: then.Instant, Path: path, Text: fmt.Sprintf("%s back to then: %d paths",
			strings.TrimSuffix(s.o.Name+":"+path, ":"), len(r.Changes)-len(r.Left))})
	}
	return r, err
}

// seen is what differs between two trees, as a user would tell it.
func (s *Syncer) seen(ctx context.Context, from, to versions.Entry) (list []versions.Change, err error) {
	err = s.o.Trees.Diff(ctx, from, to, func(c versions.Change) error {
		if c.Old != nil && c.New != nil && c.Old.Kind == versions.Dir && c.New.Kind == versions.Dir {
			return nil // its time has changed, mostly
		}
		list = append(list, c)
		return nil
	})
	return list, err
}

// backTo is what to edit in the tree of local so that path is as in root.
func (s *Syncer) backTo(ctx context.Context, local, root versions.Entry, path string) ([]versions.Edit, error) {
	if path == "" {
		return []versions.Edit{{Entry: &root, Whole: true}}, nil
	}
	old, err := s.o.Trees.Resolve(ctx, root, path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, versions.ErrNotDir) {
		if _, err := s.o.Trees.Resolve(ctx, local, path); errors.Is(err, fs.ErrNotExist) || errors.Is(err, versions.ErrNotDir) {
			return nil, nil // it was not there then, and is not now
		}
		return []versions.Edit{{Path: path}}, nil
	}
	if err != nil {
		return nil, err
	}
	edits := []versions.Edit{{Path: path, Entry: &old, Whole: old.Kind == versions.Dir}}
	for dir := parentOf(path); dir != ""; dir = parentOf(dir) {
		e, err := s.o.Trees.Resolve(ctx, local, dir)
		if err == nil && e.Kind == versions.Dir {
			break
		}
		if err == nil || errors.Is(err, versions.ErrNotDir) {
			return nil, fmt.Errorf("%s cannot come back: %s is no directory now: %w", path, dir, versions.ErrNotDir)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if e, err = s.o.Trees.Resolve(ctx, root, dir); err != nil {
			return nil, err
		}
		edits = append(edits, versions.Edit{Path: dir, Entry: &e})
	}
	return edits, nil
}
