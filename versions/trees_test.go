package versions_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
	"pgregory.net/rapid"
)

func TestGoldenTreeReadsForEver(t *testing.T) {
	trees, m := newTrees()
	id, err := trees.Write(t.Context(), goldenEntries()[1:])
	must(t, id, err)
	golden(t, "tree-leaf", m.Chunk(chunk.Tree, id))
	id, err = trees.Write(t.Context(), many(1000))
	must(t, id, err)
	golden(t, "tree-top", m.Chunk(chunk.Tree, id))
}

func TestDirectoriesAreReadBack(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100, 1000, 100_000} {
		trees, _ := newTrees()
		want := many(n)
		id, err := trees.Write(t.Context(), want)
		must(t, id, err)
		if id.IsZero() != (n == 0) {
			t.Errorf("%d entries have the id %v", n, id)
		}
		got, err := trees.Read(t.Context(), id)
		if !slices.EqualFunc(must(t, got, err), want, versions.Equal) {
			t.Errorf("%d entries are read back as %d", n, len(got))
		}
	}
}

func TestPiecesOfALargeDirectoryAverage16KiB(t *testing.T) {
	trees, m := newTrees()
	list := many(100_000)
	id, err := trees.Write(t.Context(), list)
	must(t, id, err)
	total := 0
	for _, e := range list {
		total += len(versions.AppendEntry(nil, e))
	}
	average := total / m.New(chunk.Tree)
	t.Logf("%d bytes in %d pieces: %d on average", total, m.New(chunk.Tree), average)
	if average < 14<<10 || average > 18<<10 {
		t.Errorf("pieces have %d bytes on average", average)
	}
}

func TestOneChangeInAHugeDirectoryCostsOneSmallPiece(t *testing.T) {
	trees, m := newTrees()
	list := many(100_000)
	id, err := trees.Write(t.Context(), list)
	must(t, id, err)
	for name, edit := range map[string]versions.NameEdit{
		"changed":  {Name: list[50_000].Name, Entry: ptr(file(list[50_000].Name, 7))},
		"added":    {Name: "file-050000.d", Entry: ptr(file("file-050000.d", 7))},
		"removed":  {Name: list[50_000].Name},
		"appended": {Name: "z", Entry: ptr(file("z", 7))},
		"first":    {Name: "a", Entry: ptr(file("a", 7))},
	} {
		t.Run(name, func(t *testing.T) {
			m.Reset()
			got, err := trees.Update(t.Context(), id, []versions.NameEdit{edit})
			must(t, got, err)
			reads, writes := m.Gets(chunk.Tree), m.New(chunk.Tree)
			if reads > 6 || writes > 5 {
				t.Errorf("%d pieces read, %d written", reads, writes)
			}
			m.Reset()
			want, err := trees.Write(t.Context(), edited(list, []versions.NameEdit{edit}))
			if must(t, want, err); got != want {
				t.Errorf("Update gives %v, Write %v", got, want)
			}
			if m.New(chunk.Tree) > 0 {
				t.Errorf("Write makes %d other pieces", m.New(chunk.Tree))
			}
			m.Reset()
			n := 0
			if err := trees.DiffDir(t.Context(), id, got, func(_, _ *versions.Entry) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			if n != 1 || m.Gets(chunk.Tree) > 10 {
				t.Errorf("%d differences by reading %d pieces", n, m.Gets(chunk.Tree))
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// edited is the model of Update.
func edited(list []versions.Entry, edits []versions.NameEdit) []versions.Entry {
	m := map[string]versions.Entry{}
	for _, e := range list {
		m[e.Name] = e
	}
	for _, e := range edits {
		if delete(m, e.Name); e.Entry != nil {
			m[e.Name] = *e.Entry
		}
	}
	out := make([]versions.Entry, 0, len(m))
	for _, e := range m {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b versions.Entry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Long attributes make pieces of few entries, so that small directories have
// several levels.
func bulky(name string, n int, seed uint64) versions.Entry {
	e := file(name, seed)
	e.Xattrs = []versions.Xattr{{Name: "user.bulk", Value: bytes.Repeat([]byte{byte(seed)}, n)}}
	return e
}

func TestUpdateGivesWhatWriteGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trees, _ := newTrees()
		ctx := context.Background()
		drawEdits := func(label string, most int) []versions.NameEdit {
			names := rapid.SliceOfNDistinct(rapid.IntRange(0, 400), 0, most, rapid.ID[int]).Draw(t, label)
			slices.Sort(names)
			var edits []versions.NameEdit
			bulk := rapid.IntRange(0, 3000).Draw(t, "bulk")
			for _, n := range names {
				e := versions.NameEdit{Name: fmt.Sprintf("name%03d", n) + strings.Repeat("x", n%7*100)}
				if rapid.IntRange(0, 3).Draw(t, "what") > 0 {
					e.Entry = ptr(bulky(e.Name, bulk*n%4001, uint64(n)))
				}
				edits = append(edits, e)
			}
			return edits
		}
		list := edited(nil, drawEdits("start", 400))
		id, err := trees.Write(ctx, list)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			edits := drawEdits("edits", 30)
			if rapid.IntRange(0, 5).Draw(t, "mow") == 0 { // nearly everything goes
				edits = nil
				keep := rapid.IntRange(0, 3).Draw(t, "keep")
				for i, e := range list {
					if i >= keep {
						edits = append(edits, versions.NameEdit{Name: e.Name})
					}
				}
			}
			list = edited(list, edits)
			want, err := trees.Write(ctx, list)
			if err != nil {
				t.Fatal(err)
			}
			got, err := trees.Update(ctx, id, edits)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Fatalf("%d edits to %d entries: Update gives %v, Write %v", len(edits), len(list), got, want)
			}
			id = got
		}
	})
}

func TestLookupReadsOnlyWhatLeadsToTheName(t *testing.T) {
	trees, m := newTrees()
	list := many(100_000)
	id, err := trees.Write(t.Context(), list)
	must(t, id, err)
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		want := list[r.IntN(len(list))]
		m.Reset()
		got, err := trees.Lookup(t.Context(), id, want.Name)
		if !versions.Equal(must(t, got, err), want) {
			t.Fatalf("%q is %+v", want.Name, got)
		}
		if m.Gets(chunk.Tree) > 4 {
			t.Fatalf("%d pieces read", m.Gets(chunk.Tree))
		}
	}
	for _, name := range []string{"", "a", "file-050000", "file-050000.c0", "zzz"} {
		if _, err := trees.Lookup(t.Context(), id, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := trees.Lookup(t.Context(), chunk.ID{}, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in an empty directory: %v", err)
	}
}

func TestListBeginsAtAName(t *testing.T) {
	trees, m := newTrees()
	list := many(20_000)
	id, err := trees.Write(t.Context(), list)
	must(t, id, err)
	m.Reset()
	var got []string
	err = trees.List(t.Context(), id, "file-012345", func(e versions.Entry) error {
		got = append(got, e.Name)
		if len(got) == 3 {
			return fs.SkipAll
		}
		return nil
	})
	if want := []string{"file-012345.c", "file-012346.c", "file-012347.c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if m.Gets(chunk.Tree) > 4 {
		t.Errorf("%d pieces read", m.Gets(chunk.Tree))
	}
}

func TestListingsThatCannotBeAreRefused(t *testing.T) {
	trees, _ := newTrees()
	for name, list := range map[string][]versions.Entry{
		"out of order": {file("b", 1), file("a", 1)},
		"twice":        {file("a", 1), file("a", 2)},
		"no name":      {file("", 1)},
		"invalid":      {{Name: "x", Kind: versions.File, Size: 5}},
	} {
		if _, err := trees.Write(t.Context(), list); err == nil {
			t.Errorf("%s: written", name)
		}
		edits := []versions.NameEdit{}
		for _, e := range list {
			edits = append(edits, versions.NameEdit{Name: e.Name, Entry: &e})
		}
		if _, err := trees.Update(t.Context(), chunk.ID{}, edits); err == nil {
			t.Errorf("%s: updated", name)
		}
	}
	if _, err := trees.Update(t.Context(), chunk.ID{}, []versions.NameEdit{{Name: "a", Entry: ptr(file("b", 1))}}); err == nil {
		t.Error("an entry is stored under another name")
	}
}

func TestAMissingOrDamagedPieceIsNeverAbsence(t *testing.T) {
	trees, m := newTrees()
	list := many(5000)
	id, err := trees.Write(t.Context(), list)
	must(t, id, err)
	for name, fault := range map[string]func(id chunk.ID){
		"missing": func(id chunk.ID) { m.Delete(chunk.Tree, id) },
		"cut":     func(id chunk.ID) { m.Replace(chunk.Tree, id, m.Chunk(chunk.Tree, id)[:50]) },
		"swapped": func(id chunk.ID) {
			other, _ := trees.Write(t.Context(), many(3))
			m.Replace(chunk.Tree, id, m.Chunk(chunk.Tree, other))
		},
		"empty": func(id chunk.ID) { m.Replace(chunk.Tree, id, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, at := range []chunk.ID{leafOf(t, m, id), id} {
				kept := m.Chunk(chunk.Tree, at)
				fault(at)
				_, err := trees.Read(t.Context(), id)
				if name == "swapped" && at == id {
					err = versions.ErrCorrupt // the whole listing is another: the chunk's id would tell
				}
				if !errors.Is(err, versions.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Read: %v", err)
				}
				if at != id || name != "swapped" {
					if _, err = trees.Lookup(t.Context(), id, list[len(list)-1].Name); !errors.Is(err, versions.ErrCorrupt) {
						t.Errorf("Lookup: %v", err)
					}
				}
				m.Replace(chunk.Tree, at, kept)
			}
		})
	}
}

// leafOf is the last piece of a listing of two levels.
func leafOf(t *testing.T, m *versionstest.Memory, top chunk.ID) (id chunk.ID) {
	t.Helper()
	data := m.Chunk(chunk.Tree, top)
	copy(id[:], data[len(data)-len(id):])
	if data[1] != 1 || m.Chunk(chunk.Tree, id) == nil {
		t.Fatalf("%v is no piece of level 1", top)
	}
	return id
}

func TestAListingOfALaterFormatSaysSo(t *testing.T) {
	trees, m := newTrees()
	id, err := m.Put(t.Context(), chunk.Tree, []byte{2, 0, 1})
	must(t, id, err)
	if _, err := trees.Read(t.Context(), id); err == nil || !strings.Contains(err.Error(), "update it") {
		t.Errorf("%v", err)
	}
}

func TestResolveFollowsDirectoriesOnly(t *testing.T) {
	trees, _ := newTrees()
	root := model{
		"": {Kind: versions.Dir}, "d": {Name: "d", Kind: versions.Dir}, "d/e": {Name: "e", Kind: versions.Dir},
		"d/e/f": file("f", 3), "l": {Name: "l", Kind: versions.Symlink, Target: "d", Size: 1},
	}.write(t, trees)
	for path, want := range map[string]error{
		"": nil, "d": nil, "d/e/f": nil, "d/x": fs.ErrNotExist, "x/y": fs.ErrNotExist, "d/e/f/g": versions.ErrNotDir, "l/e": versions.ErrNotDir,
	} {
		e, err := trees.Resolve(t.Context(), root, path)
		if !errors.Is(err, want) || want == nil && e.Name != path[strings.LastIndexByte(path, '/')+1:] {
			t.Errorf("%q: %+v, %v", path, e, err)
		}
	}
}

func FuzzDecodeListing(f *testing.F) {
	trees, m := newTrees()
	for _, n := range []int{1, 30, 1000} {
		id, err := trees.Write(f.Context(), many(n))
		f.Add(m.Chunk(chunk.Tree, must(f, id, err)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		trees, m := newTrees()
		id, err := m.Put(t.Context(), chunk.Tree, data)
		must(t, id, err)
		list, err := trees.Read(t.Context(), id)
		if err != nil {
			return
		}
		for i, e := range list {
			if i > 0 && list[i-1].Name >= e.Name || e.Validate() != nil {
				t.Fatalf("read: %+v", list)
			}
		}
	})
}
