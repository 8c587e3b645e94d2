package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/upkeep"
	"github.com/syncfs/syncfs/versions"
)

// TakeOutOfUse marks damaged packs, so that nobody relies on what they hold, and
// lets every writer decide anew.
func (r *Reader) TakeOutOfUse(ctx context.Context, packs []string) error {
	epoch, err := r.store.MarkDamaged(ctx, packs)
	if err != nil || epoch == 0 {
		return err
	}
	return r.lines.BumpAll(ctx, epoch)
}

// Heal sends lost chunks again that this machine still has: in caches, in the
// agent's spool, or in the files at the broken paths as they are now. It returns
// how many are still lost.
func (r *Reader) Heal(ctx context.Context, lost []chunk.ID, broken []upkeep.Broken) (left int, err error) {
	h := r.store.NewHealer(lost)
	chunks := &readChunks{Store: r.store, client: r.client}
	for _, id := range lost {
		for _, kind := range []chunk.Kind{chunk.Data, chunk.List, chunk.Tree, chunk.Dirs} {
			data, err := chunks.Get(ctx, kind, id)
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if err != nil {
				continue // it is not here as one of this kind
			}
			if _, err := h.Put(ctx, kind, data); err != nil {
				return 0, err
			}
			break
		}
	}
	tried := map[string]bool{}
	for _, b := range broken {
		path, here := r.pathOf(b)
		if h.Left() == 0 || !here || tried[path] {
			continue
		}
		tried[path] = true
		if err := r.healFrom(ctx, h, path); err != nil {
			return 0, err
		}
	}
	return h.Left(), h.Close(ctx)
}

// pathOf is where a broken path's file is on this machine.
func (r *Reader) pathOf(b upkeep.Broken) (string, bool) {
	if strings.HasSuffix(b.Path, "/") {
		return "", false
	}
	for _, f := range r.local {
		if f.ID == b.Folder.ID {
			return filepath.Join(f.Path, filepath.FromSlash(b.Path)), true
		}
	}
	return "", false
}

// healFrom cuts a file as it is now; what is lost of it is sent again.
func (r *Reader) healFrom(ctx context.Context, h *store.Healer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil // it is not here
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	_, err = versions.NewContents(&oneByOne{h: h, turn: make(chan struct{}, 1)}, r.repo.Keys.GearSecret()).Write(ctx, f)
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		r.log.Warn("a file could not be read", "path", path, "err", err)
		return nil
	}
	return err
}

// oneByOne lets the many goroutines that cut a file put in turn.
type oneByOne struct {
	h    *store.Healer
	turn chan struct{}
}

func (o *oneByOne) Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	return o.h.Get(ctx, kind, id)
}

func (o *oneByOne) Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	return o.h.Put(ctx, kind, data)
}
