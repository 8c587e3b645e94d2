package versions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
	"pgregory.net/rapid"
)

func TestAnyReadGivesTheBytesThere(t *testing.T) {
	c, _ := newContents()
	size := int64(12 << 20)
	holes := []versions.Range{{Offset: 1 << 20, Length: 3 << 20}, {Offset: 9<<20 + 17, Length: 1 << 20}}
	data := randomBytes(int(size), 8)
	for _, h := range holes {
		clear(data[h.Offset : h.Offset+h.Length])
	}
	e, err := c.WriteSparse(t.Context(), bytes.NewReader(data), size, holes)
	must(t, e, err)
	r, err := c.Open(t.Context(), e)
	must(t, r, err)
	defer r.Close()
	rapid.Check(t, func(t *rapid.T) {
		off := rapid.Int64Range(0, size+100).Draw(t, "offset")
		p := make([]byte, rapid.IntRange(0, 2<<20).Draw(t, "length"))
		n, err := r.ReadAt(p, off)
		want := data[min(off, size):min(off+int64(len(p)), size)]
		if !bytes.Equal(p[:n], want) || (n < len(p)) != (err == io.EOF) || err != nil && err != io.EOF {
			t.Fatalf("at %d: %d bytes, %v", off, n, err)
		}
	})
	if !bytes.Equal(readAll(t, c, e), data) {
		t.Error("WriteTo gives other content")
	}
}

func TestReadingInOrderFetchesAheadAndEachPieceOnce(t *testing.T) {
	c, m := newContents()
	data := randomBytes(40<<20, 5)
	e, err := c.Write(t.Context(), bytes.NewReader(data))
	pieces, err2 := c.Pieces(t.Context(), must(t, e, err))
	must(t, pieces, err2)
	m.Reset()
	r, err := c.Open(t.Context(), e)
	must(t, r, err)
	p := make([]byte, 128<<10)
	for off := 0; off < len(data); off += len(p) {
		n, err := r.ReadAt(p, int64(off))
		if !bytes.Equal(p[:n], data[off:off+n]) || n < len(p) && err != io.EOF {
			t.Fatalf("at %d: %d bytes, %v", off, n, err)
		}
		if off == 1<<20 { // what was started ahead comes without another read
			for m.Gets(chunk.Data) < 4 {
				runtime.Gosched()
			}
		}
	}
	r.Close()
	if n := m.Gets(chunk.Data); n != len(pieces) {
		t.Errorf("%d fetches of %d pieces", n, len(pieces))
	}
}

func TestReadsElsewhereFetchOnlyWhatTheyNeed(t *testing.T) {
	c, m := newContents()
	e, err := c.Write(t.Context(), bytes.NewReader(randomBytes(40<<20, 5)))
	must(t, e, err)
	r, err := c.Open(t.Context(), e)
	must(t, r, err)
	if m.Reset(); m.Gets(chunk.Data)+m.Gets(chunk.List) != 0 {
		t.Error("opening reads")
	}
	for i, off := range []int64{30 << 20, 5 << 20, 20 << 20, 12 << 20} {
		if _, err := r.ReadAt(make([]byte, 1), off); err != nil {
			t.Fatal(err)
		}
		if n := m.Gets(chunk.Data); n != i+1 {
			t.Errorf("%d pieces fetched for %d reads", n, i+1)
		}
	}
	r.Close()
	if _, err := r.ReadAt(make([]byte, 1), 1<<20); err == nil {
		t.Error("a closed file is read")
	}
}

func TestConcurrentReadsShareFetches(t *testing.T) {
	c, m := newContents()
	data := randomBytes(200<<10, 5)
	e, err := c.Write(t.Context(), bytes.NewReader(data))
	r, err2 := c.Open(t.Context(), must(t, e, err))
	must(t, r, err2)
	defer r.Close()
	m.Reset()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			p := make([]byte, 4096)
			if _, err := r.ReadAt(p, int64(i)*4096); err != nil || !bytes.Equal(p, data[i*4096:(i+1)*4096]) {
				t.Errorf("read %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := m.Gets(chunk.Data); n != 1 {
		t.Errorf("one piece is fetched %d times", n)
	}
}

func TestAWrongOrMissingPieceIsAnErrorThatNamesFileAndOffset(t *testing.T) {
	c, m := newContents()
	e, err := c.Write(t.Context(), bytes.NewReader(randomBytes(5<<20, 6)))
	e = must(t, e, err)
	e.Name = "report.docx"
	bad := e.Pieces[2]
	at := int64(e.Pieces[0].Length + e.Pieces[1].Length)
	for name, fault := range map[string]func(){
		"missing": func() { m.Delete(chunk.Data, bad.ID) },
		"short":   func() { m.Replace(chunk.Data, bad.ID, []byte("short")) },
	} {
		t.Run(name, func(t *testing.T) {
			kept := m.Chunk(chunk.Data, bad.ID)
			fault()
			r, err := c.Open(t.Context(), e)
			must(t, r, err)
			defer r.Close()
			check := func(err error) {
				t.Helper()
				if !errors.Is(err, versions.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) ||
					!strings.Contains(err.Error(), "report.docx") || !strings.Contains(err.Error(), fmt.Sprintf("offset %d:", at)) {
					t.Errorf("%v (the piece is at %d)", err, at)
				}
			}
			p := make([]byte, e.Size)
			n, err := r.ReadAt(p, 0)
			if check(err); int64(n) != at {
				t.Errorf("%d bytes are good, %d were read", at, n)
			}
			_, err = r.WriteTo(io.Discard)
			check(err)
			m.Replace(chunk.Data, bad.ID, kept)
			if _, err = r.ReadAt(p, 0); err != nil {
				t.Errorf("once the piece is there again: %v", err)
			}
		})
	}
}

func TestAReadEndsWithItsContext(t *testing.T) {
	c, m := newContents()
	e, err := c.Write(t.Context(), bytes.NewReader(randomBytes(100, 6)))
	r, err2 := c.Open(t.Context(), must(t, e, err))
	must(t, r, err2)
	hold := make(chan struct{})
	m.Fail(func(string, chunk.Kind, chunk.ID) error { <-hold; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := r.ReadAtContext(ctx, make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(hold)
	r.Close()
}

func FuzzDecodeList(f *testing.F) {
	m := versionstest.New()
	e := versionstest.LongFile(f, m, 500)
	f.Add(m.Chunk(chunk.List, e.List), e.Size)
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		c, m := newContents()
		id, err := m.Put(t.Context(), chunk.List, data)
		e := versions.Entry{Kind: versions.File, Size: min(max(size, 1), 1<<20), List: must(t, id, err)}
		pieces, err := c.Pieces(t.Context(), e)
		if err != nil {
			return
		}
		total := int64(0)
		for _, p := range pieces {
			total += int64(p.Length)
		}
		if total != e.Size {
			t.Fatalf("%d bytes of pieces in a file of %d", total, e.Size)
		}
	})
}
