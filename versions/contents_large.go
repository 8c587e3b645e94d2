package versions

import (
	"context"
	"io"
	"runtime"
	"sync"

	"github.com/syncfs/syncfs/internal/chunk"
	"golang.org/x/sync/errgroup"
)

// slab is a buffer that holds several pieces of a file while they are stored.
type slab struct {
	data  []byte
	users sync.WaitGroup // pieces in it that are being stored
}

// slab takes a buffer, waiting for one if need be; nil when wait is false and
// there is none.
func (c *Contents) slab(ctx context.Context, wait bool) (*slab, error) {
	select {
	case c.tokens <- struct{}{}:
		return c.slabs.Get().(*slab), nil
	default:
	}
	if !wait {
		return nil, nil
	}
	select {
	case c.tokens <- struct{}{}:
		return c.slabs.Get().(*slab), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// release gives a slab back once nobody uses it.
func (c *Contents) release(s *slab) {
	s.users.Wait()
	c.slabs.Put(s)
	<-c.tokens
}

// writeLarge reads into slabs and lets several goroutines store the pieces of
// one while the next is read and cut. A writer waits for its first slab only;
// a second one it takes if there is one, so that writers cannot hold each other
// up.
func (c *Contents) writeLarge(ctx context.Context, r io.Reader, out *pieceList) error {
	first, err := c.slab(ctx, true)
	if err != nil {
		return err
	}
	w := &largeWriter{c: c, out: out}
	w.group, w.ctx = errgroup.WithContext(ctx)
	w.group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	err = w.run(first, r)
	putErr := w.group.Wait()
	w.releases.Wait()
	if putErr != nil {
		return putErr // all that run has seen of it is that the context ended
	}
	if err != nil {
		return err
	}
	return w.collect(ctx)
}

// largeWriter is one file on its way through slabs.
type largeWriter struct {
	c        *Contents
	out      *pieceList
	group    *errgroup.Group
	ctx      context.Context // of the group
	releases sync.WaitGroup

	waiting []*pendingPiece // in order; stored, or being stored
}

type pendingPiece struct {
	piece Piece
	done  chan struct{}
}

func (w *largeWriter) run(s *slab, r io.Reader) error {
	defer func() { w.c.release(s) }()
	for filled := 0; ; {
		n, eof, err := readFull(r, s.data[filled:])
		if err != nil {
			return err
		}
		rest, err := w.cut(s, s.data[:filled+n], eof)
		if err != nil || eof {
			return err
		}
		// The rest moves to the front of another slab, or of this one when
		// there is no other and nobody uses it any more.
		next, err := w.c.slab(w.ctx, false)
		if err != nil {
			return err
		}
		if next == nil {
			s.users.Wait()
			filled = copy(s.data, rest)
			continue
		}
		filled = copy(next.data, rest)
		old := s
		s = next
		w.releases.Go(func() { w.c.release(old) })
	}
}

// cut hands the pieces in data to the group. It returns the rest, too short to
// tell where it is cut; nothing at the end of the file.
func (w *largeWriter) cut(s *slab, data []byte, eof bool) ([]byte, error) {
	for len(data) >= chunk.MaxSize || eof && len(data) > 0 {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		n := w.c.cutter.Cut(data[:min(len(data), chunk.MaxSize)])
		w.put(s, data[:n:n])
		data = data[n:]
		if err := w.collect(w.ctx); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (w *largeWriter) put(s *slab, data []byte) {
	p := &pendingPiece{piece: Piece{Length: uint32(len(data))}, done: make(chan struct{})}
	w.waiting = append(w.waiting, p)
	s.users.Add(1)
	w.group.Go(func() error {
		defer s.users.Done()
		id, err := w.c.chunks.Put(w.ctx, chunk.Data, data)
		if err != nil {
			return err
		}
		p.piece.ID = id
		close(p.done)
		return nil
	})
}

// collect hands on, in order, the pieces that are stored by now.
func (w *largeWriter) collect(ctx context.Context) error {
	for len(w.waiting) > 0 {
		p := w.waiting[0]
		select {
		case <-p.done:
		default:
			return nil
		}
		w.waiting = w.waiting[1:]
		if err := w.out.add(ctx, p.piece); err != nil {
			return err
		}
	}
	return nil
}
