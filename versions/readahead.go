package versions

import (
	"context"
	"fmt"
	"io"
	"sort"

	"github.com/syncfs/syncfs/internal/chunk"
)

const (
	aheadBytes = 8 << 20  // how far a reader fetches ahead
	keptBytes  = 12 << 20 // how much a reader keeps, read or being fetched
	keptPieces = 2        // and at least so many pieces
)

// fetch is one piece, there or on its way. done is closed once data or err is
// set.
type fetch struct {
	piece listed
	used  bool // a read has asked for it; before, it was only fetched ahead
	done  chan struct{}
	data  []byte
	err   error
}

// fetch finds a piece or starts to fetch it; nil when the reader is closed.
func (r *Reader) fetch(piece listed, use bool) *fetch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	for i, f := range r.cache {
		if f.piece == piece {
			f.used = f.used || use
			copy(r.cache[1:i+1], r.cache[:i])
			r.cache[0] = f
			return f
		}
	}
	f := &fetch{piece: piece, used: use, done: make(chan struct{})}
	r.cache = append(r.cache, nil)
	copy(r.cache[1:], r.cache)
	r.cache[0] = f
	r.cached += piece.length
	for r.cached > keptBytes && len(r.cache) > keptPieces {
		r.evict()
	}
	r.wg.Go(func() {
		defer close(f.done)
		f.data, f.err = r.getPiece(r.ctx, piece)
		if f.err != nil {
			r.drop(f) // the next read tries again
		}
	})
	return f
}

// evict forgets the piece that was used longest ago; what was fetched ahead and
// has not been used yet goes last. r.mu is held.
func (r *Reader) evict() {
	i := len(r.cache) - 1
	for i > 0 && !r.cache[i].used {
		i--
	}
	if i == 0 {
		i = len(r.cache) - 1
	}
	r.cached -= r.cache[i].piece.length
	r.cache = append(r.cache[:i], r.cache[i+1:]...)
}

func (r *Reader) drop(f *fetch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.cache {
		if r.cache[i] == f {
			r.cache = append(r.cache[:i], r.cache[i+1:]...)
			r.cached -= f.piece.length
			return
		}
	}
}

func (r *Reader) getPiece(ctx context.Context, piece listed) ([]byte, error) {
	data, err := get(ctx, r.c, chunk.Data, piece.id)
	if err == nil && int64(len(data)) != piece.length {
		err = damaged(chunk.Data, piece.id, fmt.Errorf("%d bytes instead of %d", len(data), piece.length))
	}
	return data, err
}

// inOrder notes a read and tells whether the file is being read in order, from
// the second read on that goes on near where one ended (kernels send reads of
// one stream out of order).
func (r *Reader) inOrder(off, length int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	const near = 2 << 20
	if off <= r.next+near && off >= r.next-near && off+length > r.next {
		r.streak++
	} else if off > r.next+near || off < r.next-near {
		r.streak = 0
		r.fetched = 0
	}
	r.next = max(off+length, min(r.next, off+near))
	return r.streak >= 2
}

// readAhead starts to fetch the pieces from the i-th of leaf on.
func (r *Reader) readAhead(ctx context.Context, leaf *listedLeaf, i int) {
	total := int64(0)
	for {
		if i == len(leaf.elements) {
			at := leaf.start + leaf.length
			if at >= r.index.dataSize() {
				return
			}
			var err error
			if leaf, err = r.index.leaf(ctx, at); err != nil {
				return // the read that needs it tells
			}
			i = 0
		}
		total += leaf.elements[i].length
		if total > aheadBytes {
			return
		}
		if end := leaf.ends[i]; r.asks(end) && r.fetch(leaf.elements[i], false) == nil {
			return
		}
		i++
	}
}

// asks tells whether the piece that ends there has yet to be asked for.
func (r *Reader) asks(end int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if end <= r.fetched {
		return false
	}
	r.fetched = end
	return true
}

// WriteTo writes the whole content to w, holes as zeros, fetching ahead in
// parallel.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	at := int64(0)
	err := r.each(r.ctx, func(data []byte, off int64) error {
		if err := writeZeros(w, off-at); err != nil {
			return err
		}
		n, err := w.Write(data)
		at = off + int64(n)
		return err
	})
	if err == nil {
		err = writeZeros(w, r.entry.Size-at)
		at = r.entry.Size
	}
	return at, err
}

// WriteDataTo writes all but the holes to w, at their offsets, fetching ahead in
// parallel: what restores a sparse file. It ends with ctx.
func (r *Reader) WriteDataTo(ctx context.Context, w io.WriterAt) error {
	return r.each(ctx, func(data []byte, off int64) error {
		_, err := w.WriteAt(data, off)
		return err
	})
}

func writeZeros(w io.Writer, n int64) error {
	if n <= 0 {
		return nil
	}
	zeros := make([]byte, min(n, 64<<10))
	for n > 0 {
		m, err := w.Write(zeros[:min(n, int64(len(zeros)))])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

// each calls fn for all data in order, with its offset in the file.
func (r *Reader) each(ctx context.Context, fn func(data []byte, off int64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var coming []*fetch // pieces on their way, in order
	defer func() {
		cancel()
		for _, f := range coming {
			<-f.done
		}
	}()
	size := r.index.dataSize()
	asked, bytes := int64(0), int64(0) // data asked for; on its way
	more := func() error {
		for asked < size && (len(coming) < keptPieces || bytes < aheadBytes) {
			leaf, err := r.index.leaf(ctx, asked)
			if err != nil {
				return err
			}
			i := leaf.find(asked)
			f := &fetch{piece: leaf.elements[i], done: make(chan struct{})}
			asked, bytes = leaf.ends[i], bytes+f.piece.length
			load := func() {
				defer close(f.done)
				f.data, f.err = r.getPiece(ctx, f.piece)
			}
			if asked == size && len(coming) == 0 {
				load() // small files need no goroutine
			} else {
				go load()
			}
			coming = append(coming, f)
		}
		return nil
	}
	for at := int64(0); at < size; {
		if err := more(); err != nil {
			return r.failed(r.offset(at), err)
		}
		f := coming[0]
		select {
		case <-f.done:
		case <-r.ctx.Done():
			return r.failed(r.offset(at), errClosed)
		}
		if f.err != nil {
			return r.failed(r.offset(at), f.err)
		}
		coming, bytes = coming[1:], bytes-f.piece.length
		for data := f.data; len(data) > 0; {
			off := r.offset(at)
			_, length, _ := r.locate(off)
			n := min(int64(len(data)), length)
			if err := fn(data[:n], off); err != nil {
				return err
			}
			data, at = data[n:], at+n
		}
	}
	return nil
}

// offset is where in the file offset at of the data is.
func (r *Reader) offset(at int64) int64 {
	i := sort.Search(len(r.base), func(i int) bool { return r.base[i] > at }) - 1
	return r.data[i].Offset + at - r.base[i]
}

// equal compares two files of one size.
func (r *Reader) equal(ctx context.Context, o *Reader) (bool, error) {
	const step = 1 << 20
	a, b := make([]byte, step), make([]byte, step)
	for off := int64(0); off < r.entry.Size; {
		_, n, hole := r.locate(off)
		_, m, oHole := o.locate(off)
		if n = min(n, m); hole && oHole {
			off += n
			continue
		}
		n = min(step, r.entry.Size-off)
		if _, err := r.ReadAtContext(ctx, a[:n], off); err != nil {
			return false, err
		}
		if _, err := o.ReadAtContext(ctx, b[:n], off); err != nil {
			return false, err
		}
		if string(a[:n]) != string(b[:n]) {
			return false, nil
		}
		off += n
	}
	return true, nil
}
