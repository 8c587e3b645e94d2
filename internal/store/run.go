package store

import (
	"bytes"
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"sync"

	"github.com/syncfs/syncfs/internal/chunk"
)

// run is the part of the index that compaction has sorted: shards, each with
// all the ids from its fence to the next one's.
type run struct {
	name     string
	fences   []fence
	replaces []string // deltas and runs that it was made of
}

// fence is where a shard begins.
type fence struct {
	first chunk.ID
	shard digest
	count uint32
}

const (
	runVersion = 1
	fenceSize  = 32 + 32 + 4
)

func encodeRun(r *run) []byte {
	b := []byte{runVersion}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.fences)))
	for _, f := range r.fences {
		b = append(b, f.first[:]...)
		b = append(b, f.shard[:]...)
		b = binary.LittleEndian.AppendUint32(b, f.count)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.replaces)))
	for _, name := range r.replaces {
		b = append(b, byte(len(name)))
		b = append(b, name...)
	}
	return b
}

func decodeRun(name string, b []byte) (*run, error) {
	r := reader{b: b}
	if v := r.byte(); v != runVersion {
		return nil, fmt.Errorf("a run of version %d", v)
	}
	out := &run{name: name}
	n := int64(r.uint32())
	if n*fenceSize > int64(len(b)) {
		return nil, errShort
	}
	for i := range n {
		var f fence
		copy(f.first[:], r.bytes(32))
		copy(f.shard[:], r.bytes(32))
		f.count = r.uint32()
		if i > 0 && bytes.Compare(out.fences[i-1].first[:], f.first[:]) >= 0 {
			return nil, errors.New("fences that are not sorted")
		}
		out.fences = append(out.fences, f)
	}
	n = int64(r.uint32())
	if n > int64(len(b)) {
		return nil, errShort
	}
	for range n {
		out.replaces = append(out.replaces, string(r.bytes(int(r.byte()))))
	}
	return out, r.done()
}

// entries is how many places of chunks the run holds.
func (r *run) entries() (n int64) {
	for _, f := range r.fences {
		n += int64(f.count)
	}
	return n
}

// shard is the number of the shard that id would be in; -1 when it is before
// the first.
func (r *run) shard(id chunk.ID) int {
	return sort.Search(len(r.fences), func(i int) bool { return bytes.Compare(r.fences[i].first[:], id[:]) > 0 }) - 1
}

// runList needs mu.
func (s *Store) runList() []*run {
	if len(s.index.runs) == 0 {
		return nil
	}
	out := make([]*run, 0, len(s.index.runs))
	for _, r := range s.index.runs {
		out = append(out, r)
	}
	return out
}

// shardFor loads the shard of r that id would be in; nil when there is none.
func (s *Store) shardFor(ctx context.Context, r *run, id chunk.ID) (*section, error) {
	i := r.shard(id)
	if i < 0 {
		return nil, nil
	}
	return s.shard(ctx, r.fences[i].shard)
}

// shard loads a shard, once for all that want it at the same time.
func (s *Store) shard(ctx context.Context, d digest) (*section, error) {
	if sec := s.shards.get(d); sec != nil {
		return sec, nil
	}
	name := shardsPrefix + d.String()
	ch := s.loading.DoChan(name, func() (any, error) {
		// Whoever asked first may give up, the others still want it.
		sec, err := s.readSection(context.WithoutCancel(ctx), name)
		if err == nil {
			s.shards.put(d, sec)
		}
		return sec, err
	})
	select {
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(*section), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readSection reads an index blob, from the cache if it is there.
func (s *Store) readSection(ctx context.Context, name string) (*section, error) {
	plain, err := s.readIndex(ctx, name)
	if err != nil {
		return nil, err
	}
	sec, err := decodeSection(plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrCorrupt, err)
	}
	return sec, nil
}

// readIndex reads and opens an index blob of any kind.
func (s *Store) readIndex(ctx context.Context, name string) ([]byte, error) {
	key := indexKey(name)
	if data := s.cache.get(key); data != nil {
		if plain, err := s.openIndex(name, data); err == nil {
			return plain, nil
		}
		s.cache.drop(key)
	}
	data, err := readBlob(ctx, s.remote, name, maxIndexBlob)
	if err != nil {
		return nil, err
	}
	plain, err := s.openIndex(name, data)
	if err != nil {
		return nil, err
	}
	s.cache.put(key, data)
	return plain, nil
}

// openIndex verifies and opens the bytes of an index blob.
func (s *Store) openIndex(name string, data []byte) ([]byte, error) {
	if err := checkContent(name, data); err != nil {
		return nil, err
	}
	plain, err := s.keys.OpenBlob(prefixOf(name), "", data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrCorrupt, err)
	}
	return plain, nil
}

// shardMemory bounds the shards that are kept in memory.
const shardMemory = 24 << 20

// shardCache keeps the shards that were used last. The zero value, with a
// limit, is ready.
type shardCache struct {
	limit int

	mu    sync.Mutex // guards all below
	items map[digest]*list.Element
	order list.List // of *cachedShard, the last used in front
	total int
}

type cachedShard struct {
	d   digest
	sec *section
}

func (c *shardCache) get(d digest) *section {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.items[d]
	if !ok {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*cachedShard).sec
}

func (c *shardCache) put(d digest, sec *section) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[d]; ok {
		return
	}
	if c.items == nil {
		c.items = map[digest]*list.Element{}
	}
	c.items[d] = c.order.PushFront(&cachedShard{d, sec})
	c.total += sec.memory()
	for c.total > c.limit && c.order.Len() > 1 {
		el := c.order.Back()
		old := el.Value.(*cachedShard)
		c.order.Remove(el)
		delete(c.items, old.d)
		c.total -= old.sec.memory()
	}
}

// isMissing tells absence and damage, after which another place is tried, from
// a remote that does not answer.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) }
