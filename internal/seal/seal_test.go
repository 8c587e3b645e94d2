package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	mrand "math/rand/v2"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
	"lukechampine.com/blake3"
	"pgregory.net/rapid"
)

// fixed is a source of the same bytes in every run.
func fixed(seed uint64) *mrand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return mrand.NewChaCha8(key)
}

func newKeys(t testing.TB) *seal.Keys {
	t.Helper()
	k, err := seal.NewKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestHashIsBLAKE3(t *testing.T) {
	data := make([]byte, 300<<10)
	fixed(1).Read(data)
	sizes := []int{0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3000, 16383, 16384, 16385, 17000, 32768, 32769, 49152, 65536, 100_000, 300 << 10}
	for n := 1; n < 70; n++ {
		sizes = append(sizes, n*1024, n*1024+1, n*1024-1)
	}
	for _, n := range sizes {
		if got, want := seal.Hash(data[:n:n]), blake3.Sum256(data[:n]); got != want {
			t.Fatalf("hash of %d bytes is %x, want %x", n, got, want)
		}
	}
}

func TestChunkIDsDifferByKindAndKey(t *testing.T) {
	a, b := newKeys(t), newKeys(t)
	seen := map[chunk.ID]bool{}
	for _, k := range []*seal.Keys{a, b} {
		for _, kind := range []chunk.Kind{chunk.Data, chunk.List, chunk.Tree, chunk.Dirs} {
			id := k.ChunkID(kind, []byte("content"))
			if seen[id] || id != k.ChunkID(kind, []byte("content")) {
				t.Fatalf("id %s of %s", id, kind)
			}
			seen[id] = true
		}
	}
	if a.RepositoryID() == b.RepositoryID() || len(a.RepositoryID()) != 64 {
		t.Fatalf("repository ids %s and %s", a.RepositoryID(), b.RepositoryID())
	}
}

func TestBlobsRoundTrip(t *testing.T) {
	k := newKeys(t)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		plain = bytes.Repeat(plain, rapid.IntRange(1, 500).Draw(t, "times"))
		sealed, err := k.SealBlob("record", "snapshots/x", plain)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.OpenBlob("record", "snapshots/x", sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %d bytes, %v; want %d", len(got), err, len(plain))
		}
	})
}

func TestOpenBlobRefusesWhatWasSealedForAnother(t *testing.T) {
	k := newKeys(t)
	sealed, err := k.SealBlob("head", "f1", []byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		keys       *seal.Keys
		kind, blob string
	}{
		{"another key", newKeys(t), "head", "f1"},
		{"another kind", k, "record", "f1"},
		{"another name", k, "head", "f2"},
		{"a moved border", k, "headf", "1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.keys.OpenBlob(test.kind, test.blob, sealed); !errors.Is(err, seal.ErrAuth) {
				t.Fatalf("error %v, want ErrAuth", err)
			}
		})
	}
}

func TestOpenBlobRefusesEveryFlippedBitAndEveryCut(t *testing.T) {
	k := newKeys(t)
	sealed, err := k.SealBlob("head", "f1", bytes.Repeat([]byte("state"), 30))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(sealed) {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := k.OpenBlob("head", "f1", bad); !errors.Is(err, seal.ErrAuth) {
			t.Fatalf("bit %d flipped: error %v, want ErrAuth", i, err)
		}
	}
	for n := range sealed {
		if _, err := k.OpenBlob("head", "f1", sealed[:n]); !errors.Is(err, seal.ErrAuth) {
			t.Fatalf("cut to %d bytes: error %v, want ErrAuth", n, err)
		}
	}
}

func TestEqualBlobsAreSealedDifferently(t *testing.T) {
	k := newKeys(t)
	a, _ := k.SealBlob("head", "f1", []byte("state"))
	b, _ := k.SealBlob("head", "f1", []byte("state"))
	if bytes.Equal(a, b) || len(a) == 0 {
		t.Fatal("sealing twice gives the same bytes")
	}
}

func FuzzOpenBlob(f *testing.F) {
	k, err := seal.NewKeys(fixed(3))
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := k.SealBlob("kind", "name", []byte("content"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte("SFB1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := k.OpenBlob("kind", "name", data); err == nil && string(got) != "content" {
			t.Fatalf("a forged blob opened as %q", got)
		}
	})
}
