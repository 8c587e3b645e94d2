package store

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"maps"
	"slices"
)

// A shard is cut between ids whose first two bytes differ once it is this large,
// or anyhow before it is larger than a shard may be.
const (
	shardFull = 3 << 20
	shardMax  = 4 << 20
)

// Uncompacted is how many index blobs no run holds yet, as of the last Refresh,
// and how many chunks are held in memory for them.
func (s *Store) Uncompacted() (blobs, chunks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.index.deltas), s.index.table.n
}

// CompactIndex merges the small index blobs of many uploads, and the runs that
// are not much larger than all of them, into one run sorted by chunk id, and
// removes what it has merged. It needs little memory, may run beside everything
// else, and a crash anywhere leaves an index that says too much, never too
// little.
func (s *Store) CompactIndex(ctx context.Context) error {
	if err := s.Refresh(ctx); err != nil {
		return err
	}
	sources, replaces, err := s.toCompact(ctx)
	if err != nil {
		return fmt.Errorf("compact the index: %w", err)
	}
	if len(replaces) < 2 {
		return nil
	}
	all := func(packRef) (bool, error) { return false, nil }
	if err := s.mergeIndex(ctx, sources, replaces, all); err != nil {
		return fmt.Errorf("compact the index: %w", err)
	}
	return s.Refresh(ctx)
}

// source yields entries in order of their ids.
type source struct {
	now    entry
	ref    packRef
	sec    *section
	at     int
	shards []fence // of a run: those still to come
	load   func(digest) (*section, error)
}

// next moves on; false at the end.
func (c *source) next() (bool, error) {
	for c.sec == nil || c.at == c.sec.n {
		if len(c.shards) == 0 {
			return false, nil
		}
		sec, err := c.load(c.shards[0].shard)
		if err != nil {
			return false, err
		}
		c.sec, c.at, c.shards = sec, 0, c.shards[1:]
	}
	c.now = c.sec.at(c.at)
	c.ref = c.sec.packs[c.now.pack]
	c.at++
	return true, nil
}

// before orders sources by what they have now; equal places follow each other.
func (c *source) before(o *source) bool {
	return cmp.Or(
		bytes.Compare(c.now.id[:], o.now.id[:]),
		bytes.Compare(c.ref.digest[:], o.ref.digest[:]),
		cmp.Compare(c.now.offset, o.now.offset)) < 0
}

type sourceHeap []*source

func (h sourceHeap) Len() int           { return len(h) }
func (h sourceHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h sourceHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sourceHeap) Push(x any)        { *h = append(*h, x.(*source)) }
func (h *sourceHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// toCompact chooses all deltas and, smallest first, the runs of at most twice
// the entries gathered so far: each entry is merged a logarithmic number of
// times in its life.
func (s *Store) toCompact(ctx context.Context) (sources sourceHeap, replaces []string, err error) {
	s.mu.Lock()
	deltas := slices.Sorted(maps.Keys(s.index.deltas))
	runs := s.runList()
	s.mu.Unlock()
	total := int64(0)
	for _, name := range deltas {
		sec, err := s.readSection(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		sources = append(sources, &source{sec: sec})
		replaces = append(replaces, name)
		total += int64(sec.n)
	}
	slices.SortFunc(runs, func(a, b *run) int { return cmp.Compare(a.entries(), b.entries()) })
	for _, r := range runs {
		if r.entries() > 2*total && len(replaces) > 0 {
			break
		}
		sources = append(sources, s.runSource(ctx, r))
		replaces = append(replaces, r.name)
		total += r.entries()
	}
	return sources, replaces, nil
}

// runSource yields what is in a run, shard by shard.
func (s *Store) runSource(ctx context.Context, r *run) *source {
	return &source{shards: r.fences, load: func(d digest) (*section, error) {
		return s.readSection(ctx, shardsPrefix+d.String())
	}}
}

// mergeIndex makes one run of sources, without the places in packs that are
// gone, and removes what they were read from.
func (s *Store) mergeIndex(ctx context.Context, sources sourceHeap, replaces []string, gone func(packRef) (bool, error)) error {
	out := shardWriter{put: func(packs []packRef, entries []entry) (fence, error) {
		first := entries[0].id
		for _, e := range entries {
			if bytes.Compare(e.id[:], first[:]) < 0 {
				first = e.id
			}
		}
		name, sealed, err := s.sealSection(shardsPrefix, packs, entries)
		if err != nil {
			return fence{}, err
		}
		d, err := parseDigest(name[len(shardsPrefix):])
		if err != nil {
			return fence{}, err
		}
		return fence{first: first, shard: d, count: uint32(len(entries))}, s.putIndex(ctx, name, sealed)
	}}
	err := merge(sources, func(e entry, ref packRef) error {
		if left, err := gone(ref); err != nil || left {
			return err
		}
		return out.add(e, ref)
	})
	if err != nil {
		return err
	}
	if err := out.flush(); err != nil {
		return err
	}
	if len(out.fences) == 0 {
		return s.removeIndex(ctx, replaces)
	}
	plain := encodeRun(&run{fences: out.fences, replaces: replaces})
	sealed, err := s.keys.SealBlob(runsPrefix, "", plain)
	if err != nil {
		return err
	}
	if err := s.putIndex(ctx, contentName(runsPrefix, sealed), sealed); err != nil {
		return err
	}
	return s.removeIndex(ctx, replaces)
}

// merge calls fn for every place once, in order of ids.
func merge(sources sourceHeap, fn func(entry, packRef) error) error {
	var live sourceHeap
	for _, c := range sources {
		ok, err := c.next()
		if err != nil {
			return err
		}
		if ok {
			live = append(live, c)
		}
	}
	heap.Init(&live)
	var last entry
	var lastPack digest
	for n := 0; len(live) > 0; n++ {
		c := live[0]
		if n == 0 || c.now.id != last.id || c.ref.digest != lastPack || c.now.offset != last.offset {
			if err := fn(c.now, c.ref); err != nil {
				return err
			}
			last, lastPack = c.now, c.ref.digest
		}
		ok, err := c.next()
		if err != nil {
			return err
		}
		if ok {
			heap.Fix(&live, 0)
		} else {
			heap.Pop(&live)
		}
	}
	return nil
}

// shardWriter cuts sorted entries into shards.
type shardWriter struct {
	put func([]packRef, []entry) (fence, error)

	packs    []packRef
	ordinals map[digest]uint32
	entries  []entry
	fences   []fence
}

func (w *shardWriter) size() int { return len(w.packs)*packRefSize + len(w.entries)*entrySize }

func (w *shardWriter) add(e entry, ref packRef) error {
	if n := len(w.entries); n > 0 && w.entries[n-1].id != e.id {
		last := w.entries[n-1].id
		prefixEnds := !bytes.Equal(last[:2], e.id[:2])
		if size := w.size(); size >= shardFull && prefixEnds || size >= shardMax-packRefSize-entrySize {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	if w.ordinals == nil {
		w.ordinals = map[digest]uint32{}
	}
	n, ok := w.ordinals[ref.digest]
	if !ok {
		n = uint32(len(w.packs))
		w.ordinals[ref.digest] = n
		w.packs = append(w.packs, ref)
	}
	e.pack = n
	w.entries = append(w.entries, e)
	return nil
}

func (w *shardWriter) flush() error {
	if len(w.entries) == 0 {
		return nil
	}
	f, err := w.put(w.packs, w.entries)
	if err != nil {
		return err
	}
	w.fences = append(w.fences, f)
	w.packs, w.ordinals, w.entries = nil, nil, w.entries[:0]
	return nil
}

// removeIndex removes index blobs that others have taken the place of: a run's
// table first, so that no table names a shard that is gone.
func (s *Store) removeIndex(ctx context.Context, names []string) error {
	s.mu.Lock()
	shards := map[string][]fence{}
	for _, name := range names {
		if r, ok := s.index.runs[name]; ok {
			shards[name] = r.fences
		}
	}
	s.mu.Unlock()
	for _, name := range names {
		if err := s.hook("remove index"); err != nil {
			return err
		}
		if err := s.remote.Delete(ctx, name); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
		for _, f := range shards[name] {
			if err := s.remote.Delete(ctx, shardsPrefix+f.shard.String()); err != nil {
				return fmt.Errorf("remove %s%s: %w", shardsPrefix, f.shard, err)
			}
		}
	}
	return nil
}
