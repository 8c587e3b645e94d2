package versions_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"pgregory.net/rapid"
)

// walked is what Walk gives of a tree.
func walked(t testing.TB, trees *versions.Trees, root versions.Entry) (paths []string, m map[string]versions.Entry) {
	t.Helper()
	m = map[string]versions.Entry{}
	err := trees.Walk(context.Background(), root, func(path string, e versions.Entry) error {
		paths = append(paths, path)
		m[path] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, m
}

func TestWalkMeetsEverythingInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		trees, _ := newTrees()
		m := drawModel(rt, "tree")
		paths, got := walked(t, trees, m.write(t, trees))
		if len(got) != len(m) || len(paths) != len(m) {
			rt.Fatalf("%d paths walked, %d there", len(paths), len(m))
		}
		want := make([]string, 0, len(m))
		for p := range m {
			want = append(want, p)
		}
		slices.SortFunc(want, comparePaths)
		if !slices.Equal(paths, want) {
			rt.Fatalf("walked %q, want %q", paths, want)
		}
	})
}

// comparePaths is path order: the names of each directory in byte order.
func comparePaths(a, b string) int {
	return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
}

func TestWalkReadsADirectoryOnceAndNotWhatIsSkipped(t *testing.T) {
	trees, m := newTrees()
	tree := model{"": {Kind: versions.Dir}}
	for i := range 30 {
		top := fmt.Sprintf("d%02d", i)
		tree[top] = versions.Entry{Name: top, Kind: versions.Dir}
		for j := range 20 {
			sub := fmt.Sprintf("s%02d", j)
			tree[top+"/"+sub] = versions.Entry{Name: sub, Kind: versions.Dir}
			tree[top+"/"+sub+"/f"] = file("f", uint64(100*i+j+1))
		}
	}
	root := tree.write(t, trees)
	m.Reset()
	seen := map[string]int{}
	err := trees.Walk(t.Context(), root, func(path string, e versions.Entry) error {
		seen[path]++
		if path == "d03" || path == "d29" || path == "d05/s07" || strings.HasPrefix(path, "d1") && e.Kind == versions.Dir {
			return versions.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range tree {
		skipped := strings.HasPrefix(path, "d03/") || strings.HasPrefix(path, "d29/") || path == "d05/s07/f" || strings.HasPrefix(path, "d1") && len(path) > 3
		if want := map[bool]int{false: 1, true: 0}[skipped]; seen[path] != want {
			t.Errorf("%q: met %d times, want %d", path, seen[path], want)
		}
	}
	if n := m.Gets(chunk.Tree); n > 631 {
		t.Errorf("%d listings read of 631", n)
	}
	if m.Prefetched() == 0 {
		t.Error("nothing was asked for ahead")
	}
}

func TestWalkEndsWithItsErrorAndContext(t *testing.T) {
	trees, m := newTrees()
	root := model{"": {Kind: versions.Dir}, "d": {Name: "d", Kind: versions.Dir}, "d/f": file("f", 1)}.write(t, trees)
	boom := errors.New("boom")
	err := trees.Walk(t.Context(), root, func(path string, _ versions.Entry) error {
		if path == "d/f" {
			return boom
		}
		return nil
	})
	if !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = trees.Walk(ctx, root, func(string, versions.Entry) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	d, err := trees.Resolve(t.Context(), root, "d")
	m.Delete(chunk.Tree, must(t, d, err).Tree)
	err = trees.Walk(t.Context(), root, func(string, versions.Entry) error { return nil })
	if !errors.Is(err, versions.ErrCorrupt) || !strings.Contains(err.Error(), `"d"`) {
		t.Errorf("%v", err)
	}
}

func TestDiffGivesWhatDiffers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		trees, _ := newTrees()
		a := drawModel(rt, "a")
		b := perturb(rt, a, "b")
		x, y := a.write(t, trees), b.write(t, trees)
		got := map[string][2]bool{}
		var order []string
		err := trees.Diff(context.Background(), x, y, func(c versions.Change) error {
			got[c.Path] = [2]bool{c.Old != nil, c.New != nil}
			order = append(order, c.Path)
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		want := map[string][2]bool{}
		for p, e := range a {
			if f, ok := b[p]; !ok || !reflect.DeepEqual(e, f) {
				want[p] = [2]bool{true, ok}
			}
		}
		for p := range b {
			if _, ok := a[p]; !ok {
				want[p] = [2]bool{false, true}
			}
		}
		if !reflect.DeepEqual(got, want) || len(order) != len(want) || !slices.IsSortedFunc(order, comparePaths) {
			rt.Fatalf("differences %v in order %q, want %v", got, order, want)
		}
	})
}

func TestDiffAgainstNothingIsEverything(t *testing.T) {
	trees, _ := newTrees()
	root := model{"": {Kind: versions.Dir}, "d": {Name: "d", Kind: versions.Dir}, "d/f": file("f", 1)}.write(t, trees)
	for name, pair := range map[string][2]versions.Entry{"new": {{}, root}, "gone": {root, {}}} {
		n := 0
		err := trees.Diff(t.Context(), pair[0], pair[1], func(c versions.Change) error {
			if n++; (c.Old == nil) != (name == "new") || (c.New == nil) != (name == "gone") {
				t.Errorf("%s: %+v", name, c)
			}
			return nil
		})
		if err != nil || n != 3 {
			t.Errorf("%s: %d changes, %v", name, n, err)
		}
	}
}

func TestDiffReadsNothingOfEqualSubtrees(t *testing.T) {
	trees, m := newTrees()
	tree := model{"": {Kind: versions.Dir}}
	for i := range 50 {
		d := fmt.Sprintf("d%02d", i)
		tree[d] = versions.Entry{Name: d, Kind: versions.Dir}
		tree[d+"/f"] = file("f", uint64(i+1))
	}
	a := tree.write(t, trees)
	tree["d25/f"] = file("f", 999)
	b := tree.write(t, trees)
	m.Reset()
	n := 0
	if err := trees.Diff(t.Context(), a, b, func(versions.Change) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	if n != 1 || m.Gets(chunk.Tree) != 4 {
		t.Errorf("%d changes by reading %d listings, want 1 and 4", n, m.Gets(chunk.Tree))
	}
}
