package syncer

import (
	"context"
	"errors"
	"io/fs"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

// Chunks are the chunks of a store as trees and contents are read and written.
// When the spool is full it is emptied by uploading, so that content larger than
// it can be taken while the remote keeps up. A chunk of which the index knows
// nothing is looked for once more in what other machines have added since.
type Chunks struct{ *store.Store }

// Get is store.Store.Get.
func (c *Chunks) Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	data, err := c.Store.Get(ctx, kind, id)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if rerr := c.Refresh(ctx); rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	return c.Store.Get(ctx, kind, id)
}

// Put is store.Store.Put.
func (c *Chunks) Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
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
func (c *Chunks) makeRoom(ctx context.Context) error {
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
