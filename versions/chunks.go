package versions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Chunks keeps content-addressed pieces; internal/store does.
type Chunks interface {
	Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error)
	Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error)
}

// Prefetcher is implemented by Chunks that can fetch many at once.
type Prefetcher interface {
	Prefetch(ctx context.Context, kind chunk.Kind, ids []chunk.ID)
}

// get reads a chunk that something refers to. That it is missing is damage: it
// must not pass for the absence of a file.
func get(ctx context.Context, c Chunks, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	data, err := c.Get(ctx, kind, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %v chunk %s is missing (%v)", ErrCorrupt, kind, id.Short(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%v chunk %s: %w", kind, id.Short(), err)
	}
	return data, nil
}

// damaged wraps what a decoder said of a chunk.
func damaged(kind chunk.Kind, id chunk.ID, err error) error {
	return fmt.Errorf("%w: %v chunk %s: %w", ErrCorrupt, kind, id.Short(), err)
}

func prefetch(ctx context.Context, c Chunks, kind chunk.Kind, ids []chunk.ID) {
	if p, ok := c.(Prefetcher); ok && len(ids) > 1 {
		p.Prefetch(ctx, kind, ids)
	}
}
