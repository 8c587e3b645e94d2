package store

import (
	"context"
	"slices"

	"github.com/syncfs/syncfs/internal/chunk"
	"golang.org/x/sync/errgroup"
)

// gapBlocks is how many unwanted blocks are read rather than asked for in two
// requests.
const gapBlocks = 1

// Prefetch asks for chunks that will be read soon, into the cache, in few
// requests. It returns when they are there; errors show at Get.
func (s *Store) Prefetch(ctx context.Context, kind chunk.Kind, ids []chunk.ID) {
	packs := map[digest]packRef{}
	wanted := map[digest][]int64{}
	for _, id := range ids {
		places, err := s.places(ctx, id)
		if err != nil || len(places) == 0 {
			continue
		}
		p := places[0]
		if p.open != nil || p.spooled {
			continue
		}
		packs[p.ref.digest] = p.ref
		end := int64(p.offset) + int64(p.length)
		for n := int64(p.offset) / blockSize; n*blockSize < end && n*blockSize < p.ref.size; n++ {
			wanted[p.ref.digest] = append(wanted[p.ref.digest], n)
		}
	}
	var g errgroup.Group
	g.SetLimit(fetches)
	for d, blocks := range wanted {
		slices.Sort(blocks)
		for _, span := range s.blocks.spans(packs[d], slices.Compact(blocks)) {
			g.Go(func() error {
				// The error shows again where the chunk is read.
				_, _ = s.blocks.fetch(ctx, packs[d], span)
				return nil
			})
		}
	}
	_ = g.Wait() // always nil
	s.blocks.await(ctx, wanted)
}

// spans claims those of the blocks that are neither here nor on their way, in
// stretches to be read with one request each.
func (b *blockReader) spans(pack packRef, blocks []int64) (spans [][]int64) {
	if b.cache.touch(packKey(pack.digest)) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var span []int64
	finish := func() {
		if len(span) == 0 {
			return
		}
		done := make(chan struct{})
		for _, n := range span {
			b.fetching[blockID{pack.digest, n}] = done
		}
		spans, span = append(spans, span), nil
	}
	for _, n := range blocks {
		if b.taken(pack.digest, n) {
			continue
		}
		if len(span) > 0 {
			next := span[len(span)-1] + 1
			free := n-next <= gapBlocks && len(span) < maxSpan
			for m := next; free && m < n; m++ {
				free = !b.taken(pack.digest, m)
			}
			if !free {
				finish()
			} else {
				for m := next; m < n; m++ {
					span = append(span, m)
				}
			}
		}
		span = append(span, n)
	}
	finish()
	return spans
}

// await waits for blocks that others fetch.
func (b *blockReader) await(ctx context.Context, wanted map[digest][]int64) {
	for d, blocks := range wanted {
		for _, n := range blocks {
			b.mu.Lock()
			wait, ok := b.fetching[blockID{d, n}]
			b.mu.Unlock()
			if !ok {
				continue
			}
			select {
			case <-wait:
			case <-ctx.Done():
				return
			}
		}
	}
}
