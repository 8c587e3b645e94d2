package agent

import (
	"context"
	"errors"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

// roomyChunks are the chunks of a store whose spool is emptied by uploading when
// it is full: content larger than the spool can be taken while the remote keeps
// up.
type roomyChunks struct{ *store.Store }

// Put is store.Store.Put.
func (c *roomyChunks) Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	id, err := c.Store.Put(ctx, kind, data)
	if !errors.Is(err, store.ErrSpoolFull) {
		return id, err
	}
	if merr := c.makeRoom(ctx); merr != nil {
		return id, errors.Join(err, merr)
	}
	return c.Store.Put(ctx, kind, data)
}

// makeRoom brings what is complete to the remote, where it is durable, and takes
// it out of the spool.
func (c *roomyChunks) makeRoom(ctx context.Context) error {
	if err := c.Flush(ctx); err != nil && !errors.Is(err, store.ErrSpoolFull) {
		return err
	}
	names, _ := c.Pending()
	if len(names) == 0 {
		return nil
	}
	if err := c.Upload(ctx, func(int64) {}); err != nil {
		return err
	}
	return c.Committed(ctx, names)
}
