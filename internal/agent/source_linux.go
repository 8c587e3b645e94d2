package agent

import (
	"context"
	"errors"
	"io/fs"

	live "github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/versions"
)

// source is the past of one folder, for mounts (fs.Source).
type source struct {
	past     past
	trees    *versions.Trees
	contents *versions.Contents
}

func newSource(a *Agent, id string) *source {
	return &source{past: databasePast{a.db.Folder(id)}, trees: a.trees, contents: a.contents}
}

// Moments lists the instants at which a directory differed from the one before.
func (s *source) Moments(ctx context.Context, dir string) ([]live.Moment, bool, error) {
	list, complete, err := s.past.moments(ctx, dir)
	if err != nil {
		return nil, false, err
	}
	moments := make([]live.Moment, 0, len(list))
	for _, m := range list {
		if !m.Gone {
			moments = append(moments, live.Moment{Instant: m.Instant, Tree: m.Tree})
		}
	}
	return moments, complete, nil
}

// Dir is a directory as of an instant.
func (s *source) Dir(ctx context.Context, dir string, at versions.Instant) (versions.Entry, error) {
	snap, err := s.past.snapshotAt(ctx, at)
	if err != nil {
		return versions.Entry{}, err
	}
	e, err := s.trees.Resolve(ctx, snap.Record.Root, dir)
	if errors.Is(err, versions.ErrNotDir) || err == nil && e.Kind != versions.Dir {
		return versions.Entry{}, fs.ErrNotExist
	}
	return e, err
}

// Read lists a directory.
func (s *source) Read(ctx context.Context, tree chunk.ID) ([]versions.Entry, error) {
	return s.trees.Read(ctx, tree)
}

// Lookup finds one name.
func (s *source) Lookup(ctx context.Context, tree chunk.ID, name string) (versions.Entry, error) {
	return s.trees.Lookup(ctx, tree, name)
}

// Open opens a file's content.
func (s *source) Open(ctx context.Context, e versions.Entry) (live.Content, error) {
	r, err := s.contents.Open(ctx, e)
	if err != nil {
		return nil, err
	}
	return r, nil
}

var _ live.Source = (*source)(nil)

var _ past = databasePast{(*meta.Folder)(nil)}
