package chunk_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"pgregory.net/rapid"
)

func noise(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	out := make([]byte, n)
	rand.NewChaCha8(key).Read(out)
	return out
}

func lengths(c *chunk.Cutter, data []byte) []int {
	var out []int
	for len(data) > 0 {
		n := c.Cut(data)
		out = append(out, n)
		data = data[n:]
	}
	return out
}

func TestCutPointsAreGolden(t *testing.T) {
	got := lengths(chunk.NewCutter([32]byte{1, 2, 3}), noise(7, 12<<20))
	want := goldenCuts
	if !slices.Equal(got, want) {
		t.Fatalf("cuts %v, want %v", got, want)
	}
}

func TestCutKeepsToItsBounds(t *testing.T) {
	c := chunk.NewCutter([32]byte{9})
	for _, data := range [][]byte{noise(1, 40<<20), make([]byte, 20<<20), bytes.Repeat([]byte("0123456789abcdef"), 1<<20)} {
		cuts := lengths(c, data)
		for i, n := range cuts {
			if n > chunk.MaxSize || n < chunk.MinSize && i < len(cuts)-1 {
				t.Fatalf("chunk %d of %d bytes", i, n)
			}
		}
	}
	for _, n := range []int{0, 1, chunk.MinSize - 1, chunk.MinSize} {
		if got := c.Cut(make([]byte, n)); got != n {
			t.Errorf("Cut of %d bytes = %d", n, got)
		}
	}
}

func TestCutAveragesAboutOneMebibyte(t *testing.T) {
	cuts := lengths(chunk.NewCutter([32]byte{4}), noise(2, 200<<20))
	if mean := 200 << 20 / len(cuts); mean < 900<<10 || mean > 1150<<10 {
		t.Fatalf("mean chunk is %d KiB", mean>>10)
	}
}

func TestCutDependsOnTheSecret(t *testing.T) {
	data := noise(3, 12<<20)
	a, b := lengths(chunk.NewCutter([32]byte{1}), data), lengths(chunk.NewCutter([32]byte{2}), data)
	if slices.Equal(a, b) {
		t.Fatal("two secrets cut alike")
	}
}

func TestCutDoesNotSeeBeyondMaxSize(t *testing.T) {
	c := chunk.NewCutter([32]byte{5})
	data := noise(4, 8<<20)
	for off := 0; off+chunk.MaxSize <= len(data); off += 700_000 {
		if c.Cut(data[off:]) != c.Cut(data[off:off+chunk.MaxSize]) {
			t.Fatalf("at %d the cut depends on what follows", off)
		}
	}
}

func TestCutResynchronisesAfterAnInsert(t *testing.T) {
	base := noise(5, 16<<20)
	rapid.Check(t, func(t *rapid.T) {
		c := chunk.NewCutter([32]byte{6})
		at := rapid.IntRange(0, 6<<20).Draw(t, "at")
		insert := rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "insert")
		changed := slices.Concat(base[:at], insert, base[at:])
		ends := func(cuts []int, total int) map[int]bool {
			m, pos := map[int]bool{}, 0
			for _, n := range cuts {
				pos += n
				m[total-pos] = true // distance from the end
			}
			return m
		}
		a, b := ends(lengths(c, base), len(base)), ends(lengths(c, changed), len(changed))
		shared := 0
		for e := range a {
			if e > 0 && b[e] {
				shared++
			}
		}
		if shared < 3 {
			t.Fatalf("only %d cuts shared after an insert of %d bytes at %d", shared, len(insert), at)
		}
	})
}

func TestIDRoundTripsAndRefusesOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var id chunk.ID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "id"))
		got, err := chunk.ParseID(id.String())
		if err != nil || got != id {
			t.Fatalf("ParseID(%s) = %v, %v", id, got, err)
		}
	})
	for _, s := range []string{"", "00", string(bytes.Repeat([]byte("g"), 64)), string(bytes.Repeat([]byte("A"), 64))} {
		if _, err := chunk.ParseID(s); err == nil {
			t.Errorf("ParseID(%q) took it", s)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("00")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := chunk.ParseID(s); err == nil && id.String() != s {
			t.Fatalf("%q reads as %s", s, id)
		}
	})
}

func BenchmarkCut(b *testing.B) {
	c, data := chunk.NewCutter([32]byte{1}), noise(1, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		lengths(c, data)
	}
}
