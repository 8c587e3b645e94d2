package versions_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

func BenchmarkWriteSmallFile(b *testing.B) {
	c, _ := newContents()
	data := randomBytes(12<<10, 1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		e, err := c.Write(b.Context(), bytes.NewReader(data))
		must(b, e, err)
	}
}

func BenchmarkWriteLargeFile(b *testing.B) {
	c, _ := newContents()
	data := randomBytes(64<<20, 1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		e, err := c.Write(b.Context(), bytes.NewReader(data))
		must(b, e, err)
	}
}

func BenchmarkReadLargeFile(b *testing.B) {
	c, _ := newContents()
	data := randomBytes(64<<20, 1)
	e, err := c.Write(b.Context(), bytes.NewReader(data))
	must(b, e, err)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r, err := c.Open(b.Context(), e)
		must(b, r, err)
		n, err := r.WriteTo(io.Discard)
		must(b, n, err)
		r.Close()
	}
}

func BenchmarkEncodeEntry(b *testing.B) {
	e := file("some-file-name.c", 7)
	var buf []byte
	for b.Loop() {
		buf = versions.AppendEntry(buf[:0], e)
	}
}

func BenchmarkReadDirectoryOf100(b *testing.B) {
	trees, _ := newTrees()
	id, err := trees.Write(b.Context(), many(100))
	must(b, id, err)
	b.ReportAllocs()
	for b.Loop() {
		list, err := trees.Read(b.Context(), id)
		must(b, list, err)
	}
}

// linuxTree has the shape of a large source tree: 80,000 files in 5,000
// directories.
func linuxTree(b *testing.B) (*versions.Trees, versions.Entry) {
	trees := versions.NewTrees(versionstest.New(), secret)
	var top []versions.Entry
	for i := range 70 {
		var mid []versions.Entry
		for j := range 71 {
			id, err := trees.Write(b.Context(), many(16))
			mid = append(mid, versions.Entry{Name: fmt.Sprintf("d%03d", j), Kind: versions.Dir, Tree: must(b, id, err), Count: 16, Size: int64(i*j) + 1})
		}
		id, err := trees.Write(b.Context(), mid)
		top = append(top, versions.Entry{Name: fmt.Sprintf("d%03d", i), Kind: versions.Dir, Tree: must(b, id, err), Count: 71 * 16})
	}
	id, err := trees.Write(b.Context(), top)
	return trees, versions.Entry{Kind: versions.Dir, Tree: must[chunk.ID](b, id, err)}
}

func BenchmarkWalkOf80000(b *testing.B) {
	trees, root := linuxTree(b)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := trees.Walk(b.Context(), root, func(string, versions.Entry) error { n++; return nil }); err != nil || n < 79_000 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkOneEditInDirectoryOf100000(b *testing.B) {
	trees, _ := newTrees()
	list := many(100_000)
	id, err := trees.Write(b.Context(), list)
	must(b, id, err)
	i := uint64(0)
	for b.Loop() {
		i++
		e := file(list[i*977%100_000].Name, i)
		id, err = trees.Update(context.Background(), id, []versions.NameEdit{{Name: e.Name, Entry: &e}})
		must(b, id, err)
	}
}
