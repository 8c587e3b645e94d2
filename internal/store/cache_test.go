package store_test

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

// counting counts requests for content.
type counting struct {
	blob.Store
	gets atomic.Int64
	puts atomic.Int64
}

func (c *counting) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, name, offset, length)
}

func (c *counting) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	c.puts.Add(1)
	return c.Store.Put(ctx, name, r, size)
}

func TestNeighboursAreReadWithFewRequests(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	s := newMachine(t, remote, keys).open()
	var ids, trees []chunk.ID
	for i := range 1500 {
		ids = append(ids, put(t, s, chunk.Data, noise(uint64(i), 12_000)))
		trees = append(trees, put(t, s, chunk.Tree, noise(uint64(i), 700)))
	}
	round(t, s)
	counted := &counting{Store: remote}
	tests := []struct {
		name  string
		limit int64
		read  func(s *store.Store)
	}{
		{"prefetched", 6, func(s *store.Store) {
			s.Prefetch(t.Context(), chunk.Data, ids[:1000])
			for _, id := range ids[:1000] {
				_, err := s.Get(t.Context(), chunk.Data, id)
				must(t, err)
			}
		}},
		{"in order", 12, func(s *store.Store) {
			for _, id := range ids {
				_, err := s.Get(t.Context(), chunk.Data, id)
				must(t, err)
			}
		}},
		{"listings in any order", 1, func(s *store.Store) {
			for i := range trees {
				_, err := s.Get(t.Context(), chunk.Tree, trees[(i*7919)%len(trees)])
				must(t, err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newMachine(t, counted, keys).open()
			counted.gets.Store(0)
			test.read(s)
			if n := counted.gets.Load(); n > test.limit {
				t.Errorf("%d requests, at most %d", n, test.limit)
			}
			counted.gets.Store(0)
			test.read(s)
			if n := counted.gets.Load(); n != 0 {
				t.Errorf("%d requests for what is cached", n)
			}
		})
	}
}

func TestTheCacheKeepsToItsLimitAndHealsItself(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	all := stored{}
	s := newMachine(t, remote, keys).open()
	for i := range 600 {
		data := noise(uint64(i), 20_000)
		all[put(t, s, chunk.Data, data)] = data
	}
	round(t, s)
	m := newMachine(t, remote, keys)
	m.o.CacheLimit = 5 << 20
	s = m.open()
	all.wantIn(t, s)
	if st, err := s.Stats(t.Context()); err != nil || st.CacheBytes > 5<<20 || st.CacheBytes < 1<<20 {
		t.Fatalf("stats %+v, %v", st, err)
	}
	must(t, s.Close())
	if _, err := os.Stat(filepath.Join(m.o.CacheDir, "CACHEDIR.TAG")); err != nil {
		t.Error(err)
	}
	damaged := 0
	must(t, filepath.WalkDir(m.o.CacheDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		damaged++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch damaged % 3 {
		case 0:
			data = nil
		case 1:
			data = data[:len(data)/2]
		case 2:
			for i := range data {
				data[i] ^= 0x55
			}
		}
		return os.WriteFile(path, data, 0o600)
	}))
	if damaged < 3 {
		t.Fatalf("only %d files in the cache", damaged)
	}
	all.wantIn(t, m.open())
}
