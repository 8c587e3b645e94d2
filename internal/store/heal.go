package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Verify reads a chunk from the remote itself, not from the spool or a cache, at
// every place that the index names until one is good. ErrCorrupt where none is.
func (s *Store) Verify(ctx context.Context, kind chunk.Kind, id chunk.ID) error {
	places, err := s.places(ctx, id)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range places {
		if p.open != nil || p.spooled && !s.uploaded(p.ref.digest) {
			continue
		}
		sealed := make([]byte, p.length)
		err := readFull(ctx, s.remote, packName(p.ref.digest), sealed, int64(p.offset))
		if err == nil {
			if _, err = s.open(p, kind, id, sealed); err == nil {
				return nil
			}
		} else if !isMissing(err) {
			return err
		}
		errs = append(errs, fmt.Errorf("%s at %d: %w", packName(p.ref.digest), p.offset, err))
	}
	if len(errs) == 0 {
		return fmt.Errorf("%w: %s chunk %s is nowhere", ErrCorrupt, kind, id.Short())
	}
	return fmt.Errorf("%w: %s chunk %s: %v", ErrCorrupt, kind, id.Short(), errors.Join(errs...))
}

func (s *Store) uploaded(d digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.index.byName[d]
	return ok && s.index.packs[n].uploaded
}

// MarkDamaged marks those of the named packs that are on the remote and were not
// marked: what is in them counts as absent to writers, who store it again, and a
// prune copies what can be read. It returns the number that heads must be given,
// 0 where there is nothing to mark.
func (s *Store) MarkDamaged(ctx context.Context, names []string) (uint64, error) {
	var there []string
	for _, name := range names {
		d, err := parsePackName(name)
		if err != nil {
			continue // damage of the index
		}
		_, err = s.remote.Stat(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if !s.isMarked(d) && !slices.Contains(there, name) {
			there = append(there, name)
		}
	}
	if len(there) == 0 {
		return 0, nil
	}
	return s.Mark(ctx, there)
}

// Healer puts lost chunks on the remote again, in packs of their own. It keeps
// only what is wanted, so that whole files can be stored through it.
type Healer struct {
	w      packWriter
	wanted map[chunk.ID]struct{}
}

// NewHealer makes one that wants these chunks.
func (s *Store) NewHealer(lost []chunk.ID) *Healer {
	h := &Healer{w: packWriter{s: s}, wanted: map[chunk.ID]struct{}{}}
	for _, id := range lost {
		h.wanted[id] = struct{}{}
	}
	return h
}

// Get reads nothing: what is healed is written.
func (h *Healer) Get(context.Context, chunk.Kind, chunk.ID) ([]byte, error) {
	return nil, fs.ErrNotExist
}

// Put puts a chunk again if it is wanted. One goroutine at a time may call it.
func (h *Healer) Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	id := h.w.s.keys.ChunkID(kind, data)
	if _, ok := h.wanted[id]; !ok {
		return id, nil
	}
	if err := h.w.add(ctx, kind, id, data); err != nil {
		return id, err
	}
	delete(h.wanted, id)
	return id, nil
}

// Left is how many chunks are still wanted.
func (h *Healer) Left() int { return len(h.wanted) }

// Close makes what was put durable on the remote, and known here.
func (h *Healer) Close(ctx context.Context) error {
	if err := h.w.close(ctx); err != nil {
		return err
	}
	return h.w.s.Refresh(ctx)
}
