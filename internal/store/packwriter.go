package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
)

// packWriter puts chunks straight onto the remote, in packs that it writes in
// memory, one of each class at a time: for what needs no spool, since its only
// reader waits for it.
type packWriter struct {
	s     *Store
	wrote func(packRef) // may be nil

	open    [2]*packBuilder
	refs    []packRef // on the remote, not in an index blob yet
	entries []entry
}

// packBuilder is a pack that is written in memory.
type packBuilder struct {
	sealer *seal.Pack
	data   []byte
	frames []frame
}

// add puts a chunk into a pack of its class.
func (w *packWriter) add(ctx context.Context, kind chunk.Kind, id chunk.ID, plain []byte) error {
	class := classOf(kind)
	inner := w.s.keys.Prepare(nil, plain)
	size := seal.FrameSize(inner)
	limit := dataPackSize
	if class == treeClass {
		limit = treePackSize
	}
	if b := w.open[class]; b != nil && (len(b.data)+size > limit || len(b.frames) >= maxFrames) {
		if err := w.finish(ctx, class); err != nil {
			return err
		}
	}
	b := w.open[class]
	if b == nil {
		sealer, err := w.s.keys.NewPack()
		if err != nil {
			return err
		}
		b = &packBuilder{sealer: sealer, data: append(make([]byte, 0, limit+limit/16), sealer.Header()...)}
		w.open[class] = b
	}
	offset := len(b.data)
	b.data = append(b.data, b.sealer.Seal(int64(offset), kind, id, inner)...)
	b.frames = append(b.frames, frame{
		id: id, kind: kind, offset: uint32(offset), length: uint32(len(b.data) - offset), plain: uint32(len(plain)),
	})
	return nil
}

// finish puts the open pack of a class on the remote.
func (w *packWriter) finish(ctx context.Context, class int) error {
	b, s := w.open[class], w.s
	if b == nil {
		return nil
	}
	w.open[class] = nil
	b.data = append(b.data, sealDirectory(s.keys, b.sealer, int64(len(b.data)), b.frames)...)
	ref := packRef{digest: hashOf(b.data), size: int64(len(b.data)), tree: class == treeClass}
	copy(ref.header[:], b.sealer.Header())
	if err := s.hook("copy pack"); err != nil {
		return err
	}
	if err := s.remote.Put(ctx, packName(ref.digest), bytes.NewReader(b.data), ref.size); err != nil {
		return fmt.Errorf("put %s: %w", packName(ref.digest), err)
	}
	if w.wrote != nil {
		w.wrote(ref)
	}
	for _, f := range b.frames {
		w.entries = append(w.entries, entry{frame: f, pack: uint32(len(w.refs))})
	}
	w.refs = append(w.refs, ref)
	if len(w.entries) < deltaEntries {
		return nil
	}
	return w.flush(ctx)
}

func (w *packWriter) flush(ctx context.Context) error {
	if len(w.refs) == 0 {
		return nil
	}
	refs, entries := w.refs, w.entries
	w.refs, w.entries = nil, nil
	return w.s.putDelta(ctx, refs, entries)
}

// close puts what is open on the remote.
func (w *packWriter) close(ctx context.Context) error {
	for class := range w.open {
		if err := w.finish(ctx, class); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}

// putDelta puts an index blob for packs that are on the remote.
func (s *Store) putDelta(ctx context.Context, refs []packRef, entries []entry) error {
	name, sealed, err := s.sealSection(deltasPrefix, refs, entries)
	if err != nil {
		return err
	}
	return s.putIndex(ctx, name, sealed)
}
