package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// A prune marks packs, then gives every head a new epoch, then deletes. What
// was captured before its marks were known may rely on a pack that goes, so a
// head of a later epoch makes us decide again, before the commit: read the
// marks, then look at every chunk of what waits, and store again what lies in
// marked packs alone. The commit fails if yet another epoch comes meanwhile.

// decide brings what is queued in step with the marks of head's epoch. The head
// of an empty folder may be younger than a mark, and then nobody gives it that
// epoch: on such a one the marks are read in any case.
func (s *Syncer) decide(ctx context.Context, head line.Folder) error {
	s.mu.Lock()
	known := s.epoch
	entries := slices.Clone(s.queue.entries)
	s.mu.Unlock()
	if known < head.Epoch || head.Snapshot.IsZero() {
		if err := s.o.Store.Refresh(ctx); err != nil {
			return fmt.Errorf("read the marks of a prune: %w", err)
		}
		known = max(known, head.Epoch, s.o.Store.LastMark())
		s.mu.Lock()
		s.epoch = known
		s.mu.Unlock()
	}
	for _, e := range entries {
		if e.epoch >= known {
			continue
		}
		if err := s.keep(ctx, head, e.snapshot); err != nil {
			return fmt.Errorf("keep what snapshot %s needs: %w", e.snapshot.Instant, err)
		}
		if err := s.o.Store.Flush(ctx); err != nil {
			return err
		}
		s.decided(e.id, known)
	}
	return nil
}

// undecided tells whether a queued snapshot may rely on what a prune has marked.
func (s *Syncer) undecided(e queued, head line.Folder) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.epoch < max(s.epoch, head.Epoch)
}

// decided notes that a queued snapshot relies on nothing that a prune up to
// epoch deletes, and on what has been stored again for it.
func (s *Syncer) decided(id chunk.ID, epoch uint64) {
	packs, _ := s.o.Store.Pending()
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.queue.index(id)
	if i < 0 {
		return
	}
	e := &s.queue.entries[i]
	e.epoch = epoch
	packs = slices.DeleteFunc(packs, func(p string) bool { return slices.Contains(e.packs, p) })
	e.packs = append(slices.Clone(e.packs), packs...)
	s.o.Packs.add(packs)
}

// keep stores again what a snapshot has beyond the head and what no unmarked
// pack holds. The head is a root that no prune takes anything from; the base may
// have been forgotten.
func (s *Syncer) keep(ctx context.Context, head line.Folder, snap *versions.Snapshot) error {
	chunks := &keeper{Chunks{Store: s.o.Store}}
	// What is read through chunks is stored; no secret is needed for reading.
	if _, err := snap.ChangedDirs(ctx, chunks); err != nil {
		return err
	}
	return Preserve(ctx, s.o.Store, head.Root, snap.Root, s.readAgain)
}

// Preserve stores again what the tree of root has beyond base, whose chunks are
// safe, and what no unmarked pack holds. Where a file's content cannot be read
// any more, again is asked to store it from the file as it is now.
func Preserve(ctx context.Context, st *store.Store, base, root versions.Entry, again func(ctx context.Context, path string) error) error {
	chunks := &keeper{Chunks{Store: st}}
	return versions.NewTrees(chunks, [32]byte{}).Diff(ctx, base, root, func(c versions.Change) error {
		return keepFile(ctx, chunks, c, again)
	})
}

// keepFile is Preserve for one change.
func keepFile(ctx context.Context, chunks *keeper, c versions.Change, again func(ctx context.Context, path string) error) error {
	if c.New == nil || c.New.Kind != versions.File {
		return nil
	}
	err := keepContent(ctx, chunks, *c.New)
	if !errors.Is(err, versions.ErrCorrupt) {
		return err
	}
	// Deleted already, or damaged. The live file may have it.
	if herr := again(ctx, c.Path); herr != nil {
		return fmt.Errorf("%s: %w", c.Path, errors.Join(err, herr))
	}
	return keepContent(ctx, chunks, *c.New)
}

// keepContent goes through the pieces of a file.
func keepContent(ctx context.Context, chunks *keeper, e versions.Entry) error {
	if e.List.IsZero() {
		for _, p := range e.Pieces {
			if has, err := chunks.Has(ctx, chunk.Data, p.ID); err != nil || has {
				if err != nil {
					return err
				}
				continue
			}
			if _, err := chunks.Get(ctx, chunk.Data, p.ID); errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrCorrupt) {
				return fmt.Errorf("%w: %w", versions.ErrCorrupt, err)
			} else if err != nil {
				return err
			}
		}
		return nil
	}
	r, err := versions.NewContents(chunks, [32]byte{}).Open(ctx, e)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.WriteTo(io.Discard)
	return err
}

// readAgain stores the pieces of a file as it is now.
func (s *Syncer) readAgain(ctx context.Context, path string) error {
	dir, name := split(path)
	d, err := s.o.Root.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, stub, err := f.Stub(); err != nil || stub {
		return errors.Join(err, fmt.Errorf("%s is not here either: %w", path, fs.ErrNotExist))
	}
	_, err = s.o.Contents.Write(ctx, f)
	return err
}

// keeper stores what is read through it, unless an unmarked pack has it.
type keeper struct{ Chunks }

// Get is Chunks.Get.
func (k *keeper) Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	data, err := k.Chunks.Get(ctx, kind, id)
	if err != nil {
		return nil, err
	}
	_, err = k.Put(ctx, kind, data)
	return data, err
}
