// Package upkeep keeps a repository well over the years: it forgets versions by
// rule, says what a prune must spare, mends what was damaged and tells how a
// repository grows.
package upkeep

import (
	"context"
	"fmt"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// Roots are all versions of all folders that were not forgotten: what a prune
// takes nothing from.
type Roots struct {
	Lines  *line.Lines
	Chunks versions.Chunks
}

// Uses is store.Roots. It fails when a head, a record or a listing cannot be
// read: then it is not known what is in use.
func (r Roots) Uses(ctx context.Context, use func(chunk.Kind, chunk.ID) bool) error {
	heads, err := r.Lines.Folders(ctx)
	if err != nil {
		return err
	}
	for _, h := range heads {
		if err := versions.Uses(ctx, r.Chunks, h.Root, use); err != nil {
			return r.why(ctx, h, h.Snapshot, h.Instant, err)
		}
		err := r.Lines.AllRecords(ctx, h.ID, func(rec line.Recorded) error {
			if err := rec.Uses(ctx, r.Chunks, use); err != nil {
				return r.why(ctx, h, rec.SnapshotID, rec.Instant, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// why tells a version that is damaged from one that was forgotten, and pruned by
// another, while it was read.
func (r Roots) why(ctx context.Context, h line.Folder, id chunk.ID, at versions.Instant, err error) error {
	err = fmt.Errorf("folder %q, version %v: %w", h.Name, at, err)
	if !isDamage(err) {
		return err
	}
	there := false
	lerr := r.Lines.AllRecords(ctx, h.ID, func(rec line.Recorded) error {
		there = there || rec.SnapshotID == id
		return nil
	})
	if lerr == nil && !there {
		return fmt.Errorf("%w: %w", store.ErrRootsMoved, err)
	}
	return err
}

// Bump is store.Roots.
func (r Roots) Bump(ctx context.Context, n uint64) error { return r.Lines.BumpAll(ctx, n) }
