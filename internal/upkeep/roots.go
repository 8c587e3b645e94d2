// Package upkeep keeps a repository well over the years: it forgets versions by
// rule, says what a prune must spare, mends what was damaged and tells how a
// repository grows.
package upkeep

import (
	"context"
	"fmt"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
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
			return fmt.Errorf("folder %q, newest version %v: %w", h.Name, h.Instant, err)
		}
		err := r.Lines.AllRecords(ctx, h.ID, func(rec line.Recorded) error {
			if err := rec.Uses(ctx, r.Chunks, use); err != nil {
				return fmt.Errorf("folder %q, version %v: %w", h.Name, rec.Instant, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Bump is store.Roots.
func (r Roots) Bump(ctx context.Context, n uint64) error { return r.Lines.BumpAll(ctx, n) }
