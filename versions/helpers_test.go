package versions_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
	"pgregory.net/rapid"
)

var secret = [32]byte{1, 2, 3}

func newTrees() (*versions.Trees, *versionstest.Memory) {
	m := versionstest.New()
	return versions.NewTrees(m, secret), m
}

// must is for calls that cannot fail in a test that goes well.
func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func file(name string, content uint64) versions.Entry {
	e := versions.Entry{Name: name, Kind: versions.File, Mode: 0o644, MTime: 1738353000_000000000 + int64(content)}
	if content > 0 {
		e.Size = int64(content%100_000) + 1
		e.Pieces = []versions.Piece{{ID: idOf(content), Length: uint32(e.Size)}}
	}
	return e
}

func idOf(n uint64) (id chunk.ID) {
	id[0] = 0xaa
	binary.BigEndian.PutUint64(id[24:], n)
	return id
}

// many makes a directory of n small files.
func many(n int) []versions.Entry {
	var list []versions.Entry
	for i := range n {
		list = append(list, file(fmt.Sprintf("file-%06d.c", i), uint64(i+1)))
	}
	return list
}

// model is a tree as a map of paths; directories have no Tree, Size or Count.
type model map[string]versions.Entry

// write stores a model and returns its root.
func (m model) write(t testing.TB, trees *versions.Trees) versions.Entry {
	t.Helper()
	var dir func(path string) versions.Entry
	dir = func(path string) versions.Entry {
		e := m[path]
		var list []versions.Entry
		for p, c := range m {
			parent, name := "", p
			if i := strings.LastIndexByte(p, '/'); i >= 0 {
				parent, name = p[:i], p[i+1:]
			}
			if p == "" || parent != path {
				continue
			}
			c.Name = name
			if c.Kind == versions.Dir {
				c = dir(p)
				e.Count += c.Count
			} else {
				e.Count++
			}
			e.Size += c.Size
			list = append(list, c)
		}
		slices.SortFunc(list, func(a, b versions.Entry) int { return cmp.Compare(a.Name, b.Name) })
		id, err := trees.Write(context.Background(), list)
		e.Tree = must(t, id, err)
		return e
	}
	return dir("")
}

// drawModel makes a small random tree in which names recur.
func drawModel(t *rapid.T, label string) model {
	m := model{"": {Kind: versions.Dir, Mode: 0o755}}
	var grow func(path string, depth int)
	grow = func(path string, depth int) {
		for i, name := range []string{"a", "a.b", "b", "c"} {
			p := name
			if path != "" {
				p = path + "/" + name
			}
			switch kind := rapid.IntRange(0, 5).Draw(t, fmt.Sprint(label, p, i)); {
			case kind <= 1:
			case kind <= 3:
				m[p] = file(name, uint64(rapid.IntRange(0, 3).Draw(t, "content")))
			case depth < 3:
				m[p] = versions.Entry{Name: name, Kind: versions.Dir, Mode: uint32(0o700 + rapid.IntRange(0, 1).Draw(t, "mode"))}
				grow(p, depth+1)
			}
		}
	}
	grow("", 0)
	return m
}

// perturb changes a few entries of a model.
func perturb(t *rapid.T, m model, label string) model {
	out := model{}
	for p, e := range m {
		out[p] = e
	}
	paths := make([]string, 0, len(m))
	for p := range m {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for range rapid.IntRange(0, 4).Draw(t, label) {
		p := rapid.SampledFrom(paths).Draw(t, "path")
		if p == "" {
			continue
		}
		for q := range out {
			if strings.HasPrefix(q, p+"/") {
				delete(out, q)
			}
		}
		delete(out, p)
		parent := ""
		if i := strings.LastIndexByte(p, '/'); i >= 0 {
			parent = p[:i]
		}
		if d, ok := out[parent]; ok && d.Kind == versions.Dir && rapid.Bool().Draw(t, "again") {
			out[p] = file(p[strings.LastIndexByte(p, '/')+1:], uint64(rapid.IntRange(0, 9).Draw(t, "content")))
		}
	}
	return out
}
