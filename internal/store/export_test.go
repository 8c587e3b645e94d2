package store

import (
	"bytes"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
)

// Kill ends a store as a crash of its process would: nothing is written or
// removed, only the lock goes.
func Kill(s *Store) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.background.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.current {
		if p != nil {
			p.file.File.Close()
			s.current[i] = nil
		}
	}
	for p := range s.closing {
		p.file.File.Close()
		delete(s.closing, p)
	}
	if s.spool != nil {
		s.spool.close()
	}
}

// PutFalseIndex puts a delta that names wrong places, in packs that exist and
// in one that does not, for chunks.
func PutFalseIndex(t testing.TB, remote blob.Store, keys *seal.Keys, ids []chunk.ID, packs []string) {
	t.Helper()
	refs := []packRef{{digest: digest{1}, size: 1 << 20}}
	for _, name := range packs {
		d, err := parsePackName(name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := remote.Stat(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		ref := packRef{digest: d, size: info.Size}
		if err := readFull(t.Context(), remote, name, ref.header[:], 0); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	var entries []entry
	for _, id := range ids {
		for pack := range refs {
			entries = append(entries, entry{pack: uint32(pack), frame: frame{id: id, kind: chunk.Data, offset: 50, length: 200, plain: 100}})
		}
	}
	sealed, err := keys.SealBlob(deltasPrefix, "", encodeSection(refs, entries))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Put(t.Context(), contentName(deltasPrefix, sealed), bytes.NewReader(sealed), int64(len(sealed))); err != nil {
		t.Fatal(err)
	}
}
