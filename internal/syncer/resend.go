package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// resend stores again, durably, everything of the folder's tree local and of
// queued snapshots that the remote has not: the tree from the folder itself, the
// snapshots from the spool and the caches. Where only the remote had a part of
// one of these, what the folder has there takes its place, so that all that was
// captured here goes to the remote and nothing refers to what is lost. base is
// what the first of them is compared with.
func (s *Syncer) resend(ctx context.Context, local, base versions.Entry) error {
	s.mu.Lock()
	old := slices.Clone(s.queue.entries)
	s.mu.Unlock()
	if err := s.sendLive(ctx, local); err != nil {
		return err
	}
	lost := func(path string, err error) {
		s.o.Logger.Error("only the remote had this content", "path", path, "err", err)
		s.o.Note(Operation{What: "error", Path: path, Text: path + ": only the remote had its content"})
	}
	if err := s.healSnapshot(ctx, versions.Entry{}, &versions.Snapshot{Root: local}, lost); err != nil {
		return err
	}
	m := mender{s: s, trees: versions.NewTrees(&keeper{Chunks{Store: s.o.Store}}, [32]byte{}), tip: local}
	roots := make([]versions.Entry, len(old))
	mended := false
	for i, e := range old {
		edits, err := m.dir(ctx, "", e.snapshot.Root)
		if err != nil {
			return fmt.Errorf("send version %s again: %w", e.snapshot.Instant, err)
		}
		if roots[i], err = s.o.Trees.Apply(ctx, e.snapshot.Root, edits); err != nil {
			return fmt.Errorf("send version %s again: %w", e.snapshot.Instant, err)
		}
		mended = mended || len(edits) > 0
	}
	if mended {
		return s.requeue(ctx, old, roots, base)
	}
	if err := s.o.Store.Flush(ctx); err != nil {
		return err
	}
	for _, e := range old {
		s.decided(e.id, e.epoch)
	}
	return nil
}

// requeue puts snapshots with other roots in place of queued ones.
func (s *Syncer) requeue(ctx context.Context, old []queued, roots []versions.Entry, before versions.Entry) error {
	var parents []chunk.ID
	for i, e := range old {
		snap := *e.snapshot
		snap.Root, snap.Parents, snap.Dirs = roots[i], parents, nil
		if err := s.compare(ctx, before, &snap); err != nil {
			return err
		}
		if err := snap.StoreDirs(ctx, s.o.Store); err != nil {
			return err
		}
		if err := s.o.Store.Flush(ctx); err != nil {
			return err
		}
		packs, _ := s.o.Store.Pending()
		s.mu.Lock()
		put, err := s.queue.put(&snap, packs, e.epoch)
		if err == nil {
			s.o.Packs.add(packs)
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
		before, parents = snap.Root, []chunk.ID{put.id}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range old {
		s.o.Packs.drop(e.packs) // the new ones need them as well
	}
	_, err := s.queue.dropThrough(old[len(old)-1].id)
	return err
}

// mender finds what is missing of a tree.
type mender struct {
	s     *Syncer
	trees *versions.Trees // what is read through it is stored again
	tip   versions.Entry  // root of a tree that is whole
}

// dir is what to edit in a directory of which something is missing.
func (m *mender) dir(ctx context.Context, path string, e versions.Entry) (edits []versions.Edit, err error) {
	whole, err := m.instead(ctx, path)
	if err != nil {
		return nil, err
	}
	if whole.Entry != nil && whole.Entry.Kind == versions.Dir && whole.Entry.Tree == e.Tree {
		return nil, nil
	}
	chunks := &keeper{Chunks{Store: m.s.o.Store}}
	err = m.trees.List(ctx, e.Tree, "", func(c versions.Entry) error {
		at := join(path, c.Name)
		if c.Kind == versions.Dir {
			below, err := m.dir(ctx, at, c)
			edits = append(edits, below...)
			return err
		}
		err := keepFile(ctx, chunks, versions.Change{Path: at, New: &c}, m.s.readAgain)
		if !damaged(err) {
			return err
		}
		one, err := m.instead(ctx, at)
		edits = append(edits, one)
		return err
	})
	if damaged(err) {
		return []versions.Edit{whole}, nil
	}
	return edits, err
}

// instead puts what the tip has at a path in place of what is missing.
func (m *mender) instead(ctx context.Context, path string) (versions.Edit, error) {
	e, err := m.s.o.Trees.Resolve(ctx, m.tip, path)
	if missing(err) || errors.Is(err, versions.ErrNotDir) {
		return versions.Edit{Path: path}, nil
	}
	return versions.Edit{Path: path, Entry: &e, Whole: true}, err
}

// sendLive stores again the files of the folder's tree root that the remote has
// not, as they are now: quicker than to look for each piece in every cache.
func (s *Syncer) sendLive(ctx context.Context, root versions.Entry) error {
	done := newCounter(s, Activity{Stage: "read", TotalFiles: root.Count, TotalBytes: root.Size})
	defer s.activity(Activity{})
	return s.o.Trees.Walk(ctx, root, func(path string, e versions.Entry) error {
		if e.Kind != versions.File {
			return nil
		}
		done.add(1, e.Size)
		whole, err := s.hasContent(ctx, e)
		if err != nil || whole {
			return err
		}
		if err := s.readAgain(ctx, path); err != nil {
			s.o.Logger.Debug("a file is not here as it was", "path", path, "err", err)
		}
		return ctx.Err()
	})
}

func (s *Syncer) hasContent(ctx context.Context, e versions.Entry) (bool, error) {
	if !e.List.IsZero() {
		return s.o.Store.Has(ctx, chunk.List, e.List)
	}
	for _, p := range e.Pieces {
		if has, err := s.o.Store.Has(ctx, chunk.Data, p.ID); err != nil || !has {
			return false, err
		}
	}
	return true, nil
}
