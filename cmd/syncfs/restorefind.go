package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/versions"
)

// lookAnywhere is look, but a name alone that is in no folder at hand is looked
// for in all folders.
func (e *env) lookAnywhere(ctx context.Context, r *agent.Reader, arg, at string) (seen, error) {
	s, err := e.look(ctx, r, arg, at)
	if err == nil || !errors.Is(err, agent.ErrOutside) && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	t, terr := e.parseTarget(arg, at)
	if terr != nil || strings.ContainsAny(t.path, `/\:`) || t.path == "." || t.path == ".." {
		return s, err
	}
	list, ferr := r.Folders(ctx)
	if ferr != nil {
		return seen{}, ferr
	}
	var found []seen
	for _, f := range list {
		here, err := e.named(ctx, r, f, t)
		if err != nil {
			return seen{}, err
		}
		found = append(found, here...)
	}
	if len(found) == 0 {
		return seen{}, fmt.Errorf("no folder has a file called %s: %w", t.path, fs.ErrNotExist)
	}
	// The one that changed last; of equal ones the newest version.
	slices.SortStableFunc(found, func(x, y seen) int {
		if x.Entry.MTime != y.Entry.MTime {
			if x.Entry.MTime > y.Entry.MTime {
				return -1
			}
			return 1
		}
		return y.Snapshot.Instant.Compare(x.Snapshot.Instant)
	})
	if len(found) > 1 {
		e.say("%d files are called %s:", len(found), t.path)
		for _, s := range found {
			e.say("  %s@%s (%s, changed %s)", clean(s.label()), s.Snapshot.Instant, size(s.Entry.Size), e.shortTime(time.Unix(0, s.Entry.MTime)))
		}
	}
	e.say("taking %s@%s", clean(found[0].label()), found[0].Snapshot.Instant)
	return found[0], nil
}

// named are all files of a name in one folder, at the time that t says or, where
// the newest version has none, in the newest that has.
func (e *env) named(ctx context.Context, r *agent.Reader, f agent.FolderInfo, t target) (found []seen, err error) {
	if f.Instant == "" {
		return nil, nil // nothing was ever in it
	}
	snapshots, err := r.Snapshots(ctx, f)
	if err != nil {
		return nil, err
	}
	newest := len(snapshots) - 1
	if t.when != nil {
		instants := make([]versions.Instant, len(snapshots))
		for i, s := range snapshots {
			instants[i] = s.Instant
		}
		i, ok := t.when.Pick(instants, e.now())
		if !ok {
			return nil, nil
		}
		newest = i
	}
	if newest < 0 {
		return nil, nil
	}
	add := func(snapshot agent.SnapshotInfo, p string, entry versions.Entry) {
		if entry.Kind != versions.Dir && path.Base(p) == t.path {
			found = append(found, seen{
				target: t, place: agent.Place{Folder: f, Rel: p}, Found: agent.Found{Entry: entry, Snapshot: snapshot},
			})
		}
	}
	err = r.Trees().Walk(ctx, snapshots[newest].Root, func(p string, entry versions.Entry) error {
		add(snapshots[newest], p, entry)
		return nil
	})
	// What was deleted later is in an older version, and differs from the next.
	for i := newest - 1; i >= 0 && len(found) == 0 && err == nil && t.when == nil; i-- {
		err = r.Trees().Diff(ctx, snapshots[i].Root, snapshots[i+1].Root, func(c versions.Change) error {
			if c.Old != nil {
				add(snapshots[i], c.Path, *c.Old)
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s in %s: %w", t.path, f.Name, err)
	}
	return found, nil
}
