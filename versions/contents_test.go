package versions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

func newContents() (*versions.Contents, *versionstest.Memory) {
	m := versionstest.New()
	return versions.NewContents(m, secret), m
}

func randomBytes(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

func readAll(t testing.TB, c *versions.Contents, e versions.Entry) []byte {
	t.Helper()
	r, err := c.Open(context.Background(), e)
	must(t, r, err)
	defer r.Close()
	var b bytes.Buffer
	n, err := r.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("%d bytes told, %d written: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func TestContentIsReadBack(t *testing.T) {
	for _, n := range []int{0, 1, 255 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 3 << 20, 8 << 20, 8<<20 + 1, 30 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			c, _ := newContents()
			data := randomBytes(n, uint64(n))
			e, err := c.Write(t.Context(), bytes.NewReader(data))
			e = must(t, e, err)
			if err := e.Validate(); err != nil || e.Size != int64(n) || e.Kind != versions.File {
				t.Fatalf("%+v: %v", e, err)
			}
			if !bytes.Equal(readAll(t, c, e), data) {
				t.Error("other content")
			}
			pieces, err := c.Pieces(t.Context(), e)
			total := 0
			for _, p := range must(t, pieces, err) {
				total += int(p.Length)
			}
			if total != n || len(e.Pieces) > versions.MaxInline || e.List.IsZero() != (len(pieces) <= versions.MaxInline) {
				t.Errorf("%d pieces of %d bytes, %d in the entry", len(pieces), total, len(e.Pieces))
			}
			// However the reader hands it out, it is cut the same.
			again, err := c.Write(t.Context(), iotestOneKiB{bytes.NewReader(data)})
			if must(t, again, err); !versions.Same(e, again) {
				t.Error("the same content is cut otherwise")
			}
		})
	}
}

// iotestOneKiB reads little at a time, and its end with the last bytes.
type iotestOneKiB struct{ r *bytes.Reader }

func (r iotestOneKiB) Read(p []byte) (int, error) {
	n, err := r.r.Read(p[:min(len(p), 1000)])
	if err == nil && r.r.Len() == 0 {
		err = io.EOF
	}
	return n, err
}

func TestPiecesAreThoseTheCutterSays(t *testing.T) {
	c, m := newContents()
	data := randomBytes(20<<20, 4)
	e, err := c.Write(t.Context(), bytes.NewReader(data))
	pieces, err2 := c.Pieces(t.Context(), must(t, e, err))
	cutter := chunk.NewCutter(secret)
	var want []versions.Piece
	for rest := data; len(rest) > 0; {
		n := cutter.Cut(rest[:min(len(rest), chunk.MaxSize)])
		id, err := m.Put(t.Context(), chunk.Data, rest[:n])
		want = append(want, versions.Piece{ID: must(t, id, err), Length: uint32(n)})
		rest = rest[n:]
	}
	if !slices.Equal(must(t, pieces, err2), want) {
		t.Errorf("%d pieces, want %d", len(pieces), len(want))
	}
}

func TestManyWritersShareFewBuffers(t *testing.T) {
	c, _ := newContents()
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			data := randomBytes(9<<20+i, uint64(i))
			e, err := c.Write(context.Background(), bytes.NewReader(data))
			if err != nil {
				t.Error(err)
				return
			}
			if !bytes.Equal(readAll(t, c, e), data) {
				t.Errorf("writer %d: other content", i)
			}
		})
	}
	wg.Wait()
}

func TestAChangeInsideALargeFileCostsFewPieces(t *testing.T) {
	c, m := newContents()
	data := randomBytes(60<<20, 9)
	a, err := c.Write(t.Context(), bytes.NewReader(data))
	must(t, a, err)
	copy(data[30<<20:], "other content")
	m.Reset()
	b, err := c.Write(t.Context(), bytes.NewReader(data))
	must(t, b, err)
	if m.New(chunk.Data) > 2 || m.New(chunk.List) > 2 || versions.Same(a, b) {
		t.Errorf("%d pieces and %d lists are new", m.New(chunk.Data), m.New(chunk.List))
	}
}

func TestALongListHasLevelsAndIsReadInParts(t *testing.T) {
	c, m := newContents()
	// 20,000 pieces of one byte, as a list writer would store them.
	e := versionstest.LongFile(t, m, 20_000)
	pieces, err := c.Pieces(t.Context(), e)
	if len(must(t, pieces, err)) != 20_000 {
		t.Fatalf("%d pieces", len(pieces))
	}
	r, err := c.Open(t.Context(), e)
	must(t, r, err)
	defer r.Close()
	m.Reset()
	p := make([]byte, 1)
	if _, err := r.ReadAt(p, 12_345); err != nil || p[0] != 12_345%251 {
		t.Errorf("read %v, %v", p, err)
	}
	if m.Gets(chunk.List) > 3 || m.Gets(chunk.Data) != 1 {
		t.Errorf("one byte costs %d lists and %d pieces", m.Gets(chunk.List), m.Gets(chunk.Data))
	}
}

func TestReadErrorsOfTheSourceAreErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, n := range []int64{0, 100, 1 << 20, 20 << 20} {
		for _, source := range []error{boom, io.ErrUnexpectedEOF} {
			c, _ := newContents()
			r := io.MultiReader(io.LimitReader(zeros{}, n), failing{source})
			if e, err := c.Write(t.Context(), r); !errors.Is(err, source) {
				t.Errorf("after %d bytes: %+v, %v", n, e, err)
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAFailedPutFailsTheWrite(t *testing.T) {
	boom := errors.New("no room")
	for _, n := range []int{100, 20 << 20, 64 << 20} {
		c, m := newContents()
		var puts atomic.Int32
		m.Fail(func(op string, _ chunk.Kind, _ chunk.ID) error {
			if op == "put" && puts.Add(1) >= int32(n>>23)+1 {
				return boom
			}
			return nil
		})
		if _, err := c.Write(t.Context(), bytes.NewReader(randomBytes(n, 3))); !errors.Is(err, boom) {
			t.Errorf("%d bytes: %v", n, err)
		}
		m.Fail(nil)
		// Every buffer is free again.
		e, err := c.Write(t.Context(), bytes.NewReader(randomBytes(n, 3)))
		if must(t, e, err).Size != int64(n) {
			t.Errorf("%d bytes: %+v", n, e)
		}
	}
}

func TestAWriteEndsWithItsContext(t *testing.T) {
	c, _ := newContents()
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := c.Write(ctx, readerFunc(func(p []byte) (int, error) {
		if n += len(p); n > 40<<20 {
			cancel()
		}
		return len(p), nil
	}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// sparseFile answers reads of its data only: reading a hole is an error.
type sparseFile struct {
	size  int64
	holes []versions.Range
	data  func(off int64) byte
	read  int64
}

func (s *sparseFile) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		at := off + int64(i)
		for _, h := range s.holes {
			if at >= h.Offset && at < h.Offset+h.Length {
				return i, fmt.Errorf("offset %d is in a hole", at)
			}
		}
		if at >= s.size {
			return i, io.EOF
		}
		p[i] = s.data(at)
		s.read++
	}
	return len(p), nil
}

func TestAHundredGigabytesOfHoleCostNothing(t *testing.T) {
	c, m := newContents()
	const size = 100 << 30
	holes := []versions.Range{{Offset: 1 << 19, Length: 50 << 30}, {Offset: 50<<30 + 1<<20, Length: size - 50<<30 - 1<<20}}
	s := &sparseFile{size: size, holes: holes, data: func(off int64) byte { return byte(off>>9 + 1) }}
	e, err := c.WriteSparse(t.Context(), s, size, holes)
	e = must(t, e, err)
	if err := e.Validate(); err != nil || s.read != 1<<20 || e.Size != size || m.Puts(chunk.Data) > 4 {
		t.Fatalf("%d bytes read, %d pieces, %v", s.read, m.Puts(chunk.Data), err)
	}
	r, err := c.Open(t.Context(), e)
	must(t, r, err)
	defer r.Close()
	for _, at := range []int64{0, 1<<19 - 1, 1 << 19, 1 << 30, 50<<30 + 1<<19 - 1, 50<<30 + 1<<19, 50<<30 + 1<<20 - 1, 50<<30 + 1<<20, size - 1} {
		p := make([]byte, 1)
		want := byte(0)
		if !slices.ContainsFunc(holes, func(h versions.Range) bool { return at >= h.Offset && at < h.Offset+h.Length }) {
			want = byte(at>>9 + 1)
		}
		if n, err := r.ReadAt(p, at); n != 1 || p[0] != want || err != nil && err != io.EOF {
			t.Errorf("at %d: %d, want %d (%v)", at, p[0], want, err)
		}
	}
	var ranges []versions.Range
	if err := r.WriteDataTo(t.Context(), writerAt(func(p []byte, off int64) (int, error) {
		ranges = append(ranges, versions.Range{Offset: off, Length: int64(len(p))})
		return len(p), nil
	})); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, r := range ranges {
		total += r.Length
	}
	if total != 1<<20 {
		t.Errorf("%d bytes restored in %v", total, ranges)
	}
}

type writerAt func([]byte, int64) (int, error)

func (f writerAt) WriteAt(p []byte, off int64) (int, error) { return f(p, off) }

func TestHolesAreNormalAndBounded(t *testing.T) {
	c, _ := newContents()
	const n = 3 * versions.MaxHoles
	size := int64(n * 8192)
	var holes []versions.Range
	for i := n - 1; i >= 0; i-- { // out of order, every third one large
		length := int64(100)
		if i%3 == 0 {
			length = 4096
		}
		holes = append(holes, versions.Range{Offset: int64(i) * 8192, Length: length})
	}
	e, err := c.WriteSparse(t.Context(), readerAtZeros{}, size, holes)
	e = must(t, e, err)
	if err := e.Validate(); err != nil || len(e.Holes) != versions.MaxHoles {
		t.Fatalf("%d holes: %v", len(e.Holes), err)
	}
	for _, h := range e.Holes {
		if h.Length != 4096 {
			t.Fatalf("a hole of %d bytes is kept", h.Length)
		}
	}
	e, err = c.WriteSparse(t.Context(), readerAtZeros{}, 100, []versions.Range{{Offset: 50, Length: 20}, {Offset: 10, Length: 40}, {Offset: 60, Length: 5}, {Offset: 90, Length: 50}})
	if want := []versions.Range{{Offset: 10, Length: 60}, {Offset: 90, Length: 10}}; !slices.Equal(must(t, e, err).Holes, want) {
		t.Errorf("holes %v", e.Holes)
	}
	if _, err := c.WriteSparse(t.Context(), readerAtZeros{}, 100, []versions.Range{{Offset: -5, Length: 20}}); err == nil {
		t.Error("a hole before the file is accepted")
	}
}

type readerAtZeros struct{}

func (readerAtZeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func TestAFileThatShrinksWhileItIsReadIsAnError(t *testing.T) {
	c, _ := newContents()
	for _, n := range []int64{100, 30 << 20} {
		_, err := c.WriteSparse(t.Context(), bytes.NewReader(make([]byte, n)), n+5, nil)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestSameIsEqualContent(t *testing.T) {
	c, _ := newContents()
	data := make([]byte, 1<<20)
	copy(data, randomBytes(1<<19, 1))
	dense, err := c.Write(t.Context(), bytes.NewReader(data))
	must(t, dense, err)
	sparse, err := c.WriteSparse(t.Context(), bytes.NewReader(data), 1<<20, []versions.Range{{Offset: 1 << 19, Length: 1 << 19}})
	must(t, sparse, err)
	data[5]++
	other, err := c.WriteSparse(t.Context(), bytes.NewReader(data), 1<<20, []versions.Range{{Offset: 1 << 19, Length: 1 << 19}})
	must(t, other, err)
	named := dense
	named.Name, named.Mode, named.MTime = "other name", 0o600, 5
	tests := []struct {
		name      string
		a, b      versions.Entry
		entry, in bool // as Same tells, as Contents.Same tells
	}{
		{"itself", dense, dense, true, true},
		{"other attributes", dense, named, true, true},
		{"hole for zeros", dense, sparse, false, true},
		{"other bytes", sparse, other, false, false},
		{"other bytes and a hole", dense, other, false, false},
		{"directories", versions.Entry{Kind: versions.Dir}, versions.Entry{Kind: versions.Dir}, false, false},
	}
	for _, tt := range tests {
		if got := versions.Same(tt.a, tt.b); got != tt.entry {
			t.Errorf("%s: Same is %v", tt.name, got)
		}
		got, err := c.Same(t.Context(), tt.a, tt.b)
		if must(t, got, err) != tt.in {
			t.Errorf("%s: Contents.Same is %v", tt.name, got)
		}
	}
}
