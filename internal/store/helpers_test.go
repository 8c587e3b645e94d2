package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	mrand "math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
)

// fixed is a source of the same bytes in every run.
func fixed(seed uint64) *mrand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return mrand.NewChaCha8(key)
}

// noise is n bytes that do not compress, others for every seed.
func noise(seed uint64, n int) []byte {
	out := make([]byte, n)
	fixed(seed).Read(out)
	return out
}

// text is n bytes that compress, others for every seed.
func text(seed, n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of text %d: static int value_%d = %d;\n", i, seed, i*seed, i^seed)
	}
	return b.Bytes()[:n]
}

// machine is one client of a remote: keys, spool and cache in directories that
// outlive its Store.
type machine struct {
	t      testing.TB
	remote blob.Store
	keys   *seal.Keys
	o      store.Options
}

func newKeys(t testing.TB) *seal.Keys {
	t.Helper()
	k, err := seal.NewKeys(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newMachine(t testing.TB, remote blob.Store, keys *seal.Keys) *machine {
	dir := t.TempDir()
	return &machine{t: t, remote: remote, keys: keys, o: store.Options{SpoolDir: filepath.Join(dir, "spool"), CacheDir: filepath.Join(dir, "cache")}}
}

func (m *machine) open() *store.Store {
	m.t.Helper()
	s, err := store.Open(m.t.Context(), m.remote, m.keys, m.o)
	if err != nil {
		m.t.Fatalf("Open: %v", err)
	}
	m.t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *store.Store, kind chunk.Kind, data []byte) chunk.ID {
	t.Helper()
	id, err := s.Put(t.Context(), kind, data)
	if err != nil {
		t.Fatalf("Put of %d bytes: %v", len(data), err)
	}
	return id
}

func wantChunk(t testing.TB, s *store.Store, kind chunk.Kind, id chunk.ID, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), kind, id)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Get(%s) gives %d other bytes", id.Short(), len(got))
	}
}

// flush, upload and the caller's commit, as a round does them.
func round(t testing.TB, s *store.Store) {
	t.Helper()
	must(t, s.Flush(t.Context()))
	must(t, s.Upload(t.Context(), nil))
	names, _ := s.Pending()
	must(t, s.Committed(t.Context(), names))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func listNames(t testing.TB, b blob.Store, prefix string) []string {
	t.Helper()
	var names []string
	must(t, b.List(context.Background(), prefix, "", func(i blob.Info) error {
		names = append(names, i.Name)
		return nil
	}))
	return names
}

// stored is chunks that were put, by id.
type stored map[chunk.ID][]byte

func putMany(t testing.TB, s *store.Store, from, n, size int) stored {
	t.Helper()
	out := stored{}
	for i := from; i < from+n; i++ {
		data := text(i, size)
		out[put(t, s, chunk.Data, data)] = data
	}
	return out
}

func (st stored) wantIn(t testing.TB, s *store.Store) {
	t.Helper()
	for id, data := range st {
		wantChunk(t, s, chunk.Data, id, data)
	}
}

// everyPack is a part to check.
func everyPack(string) bool { return true }
