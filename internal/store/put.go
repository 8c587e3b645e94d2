package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
)

// maxClosing is how many packs may wait for their sync before Put waits too.
const maxClosing = 3

// finishAgain is how long after a pack could not be finished it is tried again
// without being asked.
const finishAgain = time.Second

var errClosed = errors.New("the store is closed")

// frameBuffers are reused for what Put compresses and seals.
type frameBuffers struct{ pool sync.Pool }

func (b *frameBuffers) get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return nil
}

func (b *frameBuffers) put(buf []byte) {
	if cap(buf) <= 4<<20 {
		b.pool.Put(&buf)
	}
}

// Put stores a chunk unless it is there already (in an unmarked pack or the
// spool), and returns its id. data may be reused when Put returns.
func (s *Store) Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	if len(data) > MaxChunk {
		return chunk.ID{}, fmt.Errorf("a chunk of %d bytes is too long", len(data))
	}
	if kind < chunk.Data || kind > chunk.Dirs {
		return chunk.ID{}, fmt.Errorf("chunks of %s are not known", kind)
	}
	if s.o.SpoolDir == "" {
		return chunk.ID{}, errors.New("this store has no spool: it can only be read")
	}
	id := s.keys.ChunkID(kind, data)
	for {
		done, wait := s.claim(id)
		if done {
			return id, nil
		}
		if wait == nil {
			break
		}
		select {
		case <-wait: // somebody is putting the same
		case <-ctx.Done():
			return chunk.ID{}, ctx.Err()
		}
	}
	err := s.putClaimed(ctx, kind, id, data)
	s.mu.Lock()
	wait := s.storing[id]
	delete(s.storing, id)
	s.mu.Unlock()
	close(wait)
	if err != nil {
		return chunk.ID{}, err
	}
	return id, nil
}

// claim tells whether id is stored; if not, whom to wait for; if nobody, it is
// the caller's to store.
func (s *Store) claim(id chunk.ID) (done bool, wait chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index.has(id) {
		return true, nil
	}
	if wait, ok := s.storing[id]; ok {
		return false, wait
	}
	s.storing[id] = make(chan struct{})
	return false, nil
}

func (s *Store) putClaimed(ctx context.Context, kind chunk.Kind, id chunk.ID, data []byte) error {
	if stored, err := s.inRuns(ctx, id); err != nil || stored {
		return err
	}
	buf := s.buffers.get()
	inner := s.keys.Prepare(buf, data)
	p, offset, err := s.reserve(ctx, classOf(kind), seal.FrameSize(inner))
	if err != nil {
		s.buffers.put(inner)
		return err
	}
	sealed := p.sealer.Seal(offset, kind, id, inner)
	err = s.hook("frame")
	if err == nil {
		err = p.write(sealed, offset)
	}
	f := frame{id: id, kind: kind, offset: uint32(offset), length: uint32(len(sealed)), plain: uint32(len(data))}
	s.buffers.put(sealed)
	s.written(p, f, err)
	if err != nil {
		return fmt.Errorf("write to the spool: %w", spoolError(err))
	}
	return nil
}

// reserve finds room for n bytes in an open pack. The caller calls written.
func (s *Store) reserve(ctx context.Context, class, n int) (*openPack, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := s.putRefused(n); err != nil {
			return nil, 0, err
		}
		p := s.current[class]
		if p != nil && !p.fits(n) {
			s.closePack(p)
			continue
		}
		if p == nil {
			if len(s.closing) >= maxClosing {
				if err := s.waitFinished(ctx); err != nil {
					return nil, 0, err
				}
				continue
			}
			if err := s.newPack(class); err != nil {
				return nil, 0, fmt.Errorf("begin a pack in the spool: %w", spoolError(err))
			}
			continue
		}
		offset := p.size
		p.size += int64(n)
		p.writers++
		s.bytes += int64(n)
		return p, offset, nil
	}
}

// putRefused tells why nothing can be put just now. It needs mu.
func (s *Store) putRefused(n int) error {
	if s.closed {
		return errClosed
	}
	if s.o.SpoolLimit > 0 && s.bytes+int64(n) > s.o.SpoolLimit {
		return fmt.Errorf("%w: %d of %d bytes", ErrSpoolFull, s.bytes, s.o.SpoolLimit)
	}
	if s.full {
		return fmt.Errorf("%w: no space left on its disk", ErrSpoolFull)
	}
	for p := range s.closing {
		switch {
		case p.err == nil || p.running:
		case s.o.Now().Sub(p.failed) < finishAgain:
			return spoolError(p.err)
		default:
			s.retry(p) // who puts may never come to a Flush
		}
	}
	return nil
}

// waitFinished waits until some pack was finished. It needs mu and gives it up
// meanwhile.
func (s *Store) waitFinished(ctx context.Context) error {
	wait := s.finished
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newPack begins a pack. It needs mu.
func (s *Store) newPack(class int) error {
	sealer, err := s.keys.NewPack()
	if err != nil {
		return err
	}
	file, err := s.spool.create()
	if err != nil {
		return err
	}
	if _, err := file.Write(sealer.Header()); err != nil {
		file.Abort()
		return err
	}
	p := &openPack{class: class, sealer: sealer, file: file, size: int64(len(sealer.Header())), ordinal: uint32(len(s.index.packs))}
	ref := packRef{tree: class == treeClass}
	copy(ref.header[:], sealer.Header())
	s.index.packs = append(s.index.packs, packState{packRef: ref, open: p, pending: true})
	s.current[class] = p
	s.bytes += p.size
	return nil
}

// written ends what reserve began.
func (s *Store) written(p *openPack, f frame, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.writers--
	if err == nil {
		p.frames = append(p.frames, f)
		s.index.table.add(entry{frame: f, pack: p.ordinal})
	} else {
		// The place stays empty: its nonce is not used again. What a part of the
		// frame took is given back where nothing lies behind it.
		s.full = s.full || isFull(err)
		if p.size == int64(f.offset)+int64(f.length) && p.writers == 0 {
			p.file.Truncate(int64(f.offset))
		}
	}
	s.finishIfReady(p)
}

// closePack lets nothing more into a pack. It needs mu.
func (s *Store) closePack(p *openPack) {
	s.current[p.class] = nil
	s.closing[p] = struct{}{}
	s.finishIfReady(p)
}

// finishIfReady begins to finish a closed pack that nobody writes to. It needs
// mu.
func (s *Store) finishIfReady(p *openPack) {
	if _, closed := s.closing[p]; closed && p.writers == 0 && !p.running && p.err == nil && !s.closed {
		p.running = true
		s.background.Go(func() { s.finish(p) })
	}
}
