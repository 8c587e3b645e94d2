package store

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/syncfs/syncfs/internal/blob"
)

// Packs are read from the remote in blocks, which the cache keeps: neighbours in
// a pack are read together soon after each other, and one request brings many.
const (
	blockSize   = 1 << 20
	hotBlocks   = 16 // in memory
	maxSpan     = 8  // blocks in one request
	aheadBlocks = 4  // read on where a pack is read in order
)

// packRange is a part of a pack on the remote.
type packRange struct {
	pack   packRef
	offset int64
	length int64
}

type blockID struct {
	pack digest
	n    int64
}

// blockReader reads parts of packs from the cache or the remote.
type blockReader struct {
	remote blob.Store
	cache  *cache

	mu       sync.Mutex // guards all below
	hot      map[blockID]*list.Element
	order    *list.List                // of *hotBlock, the last used in front
	fetching map[blockID]chan struct{} // closed when the fetch has ended
	last     map[digest]int64          // the block after the last one fetched
}

type hotBlock struct {
	id   blockID
	data []byte
}

func newBlockReader(remote blob.Store, c *cache) *blockReader {
	return &blockReader{
		remote: remote, cache: c,
		hot: map[blockID]*list.Element{}, order: list.New(),
		fetching: map[blockID]chan struct{}{}, last: map[digest]int64{},
	}
}

// read returns the bytes of a range. They must not be changed.
func (b *blockReader) read(ctx context.Context, r packRange) ([]byte, error) {
	if r.offset < 0 || r.length < 0 || r.offset+r.length > r.pack.size || r.pack.size > maxPack {
		return nil, fmt.Errorf("%w: %d bytes at %d of a pack of %d", ErrCorrupt, r.length, r.offset, r.pack.size)
	}
	var whole []byte
	if b.cache.touch(packKey(r.pack.digest)) {
		buf := make([]byte, r.length)
		if b.cache.readAt(packKey(r.pack.digest), buf, r.offset) {
			return buf, nil
		}
	}
	first, last := r.offset/blockSize, (r.offset+max(r.length, 1)-1)/blockSize
	for n := first; n <= last; n++ {
		data, err := b.block(ctx, r.pack, n)
		if err != nil {
			return nil, err
		}
		from := max(r.offset-n*blockSize, 0)
		to := min(r.offset+r.length-n*blockSize, int64(len(data)))
		if from > to {
			return nil, fmt.Errorf("%w: the pack is cut short", ErrCorrupt)
		}
		if first == last {
			return data[from:to], nil
		}
		whole = append(whole, data[from:to]...)
	}
	return whole, nil
}

// drop forgets the blocks of a range, which turned out to be damaged.
func (b *blockReader) drop(r packRange) {
	b.cache.drop(packKey(r.pack.digest))
	for n := r.offset / blockSize; n <= (r.offset+r.length)/blockSize; n++ {
		b.cache.drop(blockKey(r.pack.digest, n))
		b.mu.Lock()
		if el, ok := b.hot[blockID{r.pack.digest, n}]; ok {
			b.order.Remove(el)
			delete(b.hot, blockID{r.pack.digest, n})
		}
		b.mu.Unlock()
	}
}

// block returns one block, from memory, the cache or the remote.
func (b *blockReader) block(ctx context.Context, pack packRef, n int64) ([]byte, error) {
	id := blockID{pack.digest, n}
	for {
		if data := b.local(pack, id); data != nil {
			return data, nil
		}
		wait, span := b.claim(pack, n)
		if wait != nil {
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		blocks, err := b.fetch(ctx, pack, span)
		if err != nil {
			return nil, err
		}
		return blocks[slices.Index(span, n)], nil
	}
}

// local is a block that needs no request; nil when there is none.
func (b *blockReader) local(pack packRef, id blockID) []byte {
	b.mu.Lock()
	if el, ok := b.hot[id]; ok {
		b.order.MoveToFront(el)
		data := el.Value.(*hotBlock).data
		b.mu.Unlock()
		return data
	}
	b.mu.Unlock()
	data := b.cache.get(blockKey(id.pack, id.n))
	if data == nil {
		return nil
	}
	if int64(len(data)) != blockLength(pack, id.n) {
		b.cache.drop(blockKey(id.pack, id.n))
		return nil
	}
	b.keep(id, data)
	return data
}

// blockLength is how long block n of a pack must be.
func blockLength(pack packRef, n int64) int64 { return min(blockSize, pack.size-n*blockSize) }

func (b *blockReader) keep(id blockID, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.hot[id]; ok {
		return
	}
	b.hot[id] = b.order.PushFront(&hotBlock{id, data})
	for b.order.Len() > hotBlocks {
		el := b.order.Back()
		b.order.Remove(el)
		delete(b.hot, el.Value.(*hotBlock).id)
	}
}

// claim makes block n, and neighbours that are likely to be wanted with it, the
// caller's to fetch; or tells whom to wait for (nobody, when n has come since).
func (b *blockReader) claim(pack packRef, n int64) (wait chan struct{}, span []int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait, ok := b.fetching[blockID{pack.digest, n}]; ok {
		return wait, nil
	}
	done := make(chan struct{})
	if b.taken(pack.digest, n) {
		close(done)
		return done, nil
	}
	total := (pack.size + blockSize - 1) / blockSize
	from, to, limit := n, n+1, n+1
	switch {
	case pack.tree: // small, and all of it will be wanted
		limit = total
		for from > 0 && n-from < maxSpan && !b.taken(pack.digest, from-1) {
			from--
		}
	case n > 0 && b.last[pack.digest] == n: // read in order
		limit = min(n+1+aheadBlocks, total)
	}
	for to < limit && to-from < maxSpan && !b.taken(pack.digest, to) {
		to++
	}
	for m := from; m < to; m++ {
		span = append(span, m)
		b.fetching[blockID{pack.digest, m}] = done
	}
	return nil, span
}

// taken tells whether somebody has or fetches a block. It needs mu.
func (b *blockReader) taken(pack digest, n int64) bool {
	id := blockID{pack, n}
	_, hot := b.hot[id]
	_, fetching := b.fetching[id]
	return hot || fetching || b.cache.has(blockKey(pack, n))
}

// fetch reads blocks that the caller has claimed, which follow each other, in
// one request.
func (b *blockReader) fetch(ctx context.Context, pack packRef, span []int64) (blocks [][]byte, err error) {
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		done := b.fetching[blockID{pack.digest, span[0]}]
		for _, n := range span {
			delete(b.fetching, blockID{pack.digest, n})
		}
		if len(b.last) > 1024 {
			clear(b.last)
		}
		b.last[pack.digest] = span[len(span)-1] + 1
		close(done)
	}()
	offset := span[0] * blockSize
	length := min((span[len(span)-1]+1)*blockSize, pack.size) - offset
	r, err := b.remote.Get(ctx, packName(pack.digest), offset, length)
	if err != nil {
		return nil, remoteError(err)
	}
	defer r.Close()
	for _, n := range span {
		data := make([]byte, blockLength(pack, n))
		if _, err := io.ReadFull(r, data); err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				err = fmt.Errorf("%w: the pack is cut short", ErrCorrupt)
			}
			return nil, remoteError(err)
		}
		blocks = append(blocks, data)
		b.cache.put(blockKey(pack.digest, n), data)
		b.keep(blockID{pack.digest, n}, data)
	}
	return blocks, nil
}

// learn keeps a whole pack that came without being asked for.
func (b *blockReader) learn(d digest, data []byte) {
	b.cache.put(packKey(d), data)
	for n := int64(0); n*blockSize < int64(len(data)) && n < hotBlocks/2; n++ {
		b.keep(blockID{d, n}, data[n*blockSize:min((n+1)*blockSize, int64(len(data)))])
	}
}
