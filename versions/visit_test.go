package versions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/syncfs/syncfs/versions"
	"pgregory.net/rapid"
)

func TestParallelWalkLeavesADirectoryAfterAllInIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		trees, _ := newTrees()
		m := drawModel(rt, "tree")
		root := m.write(t, trees)
		var mu sync.Mutex
		var order []string
		note := func(what string) func(context.Context, string, versions.Entry) error {
			return func(_ context.Context, path string, e versions.Entry) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, what+path)
				return nil
			}
		}
		err := trees.WalkParallel(context.Background(), root, 4, versions.Visitor{Enter: note("+"), File: note("="), Leave: note("-")})
		if err != nil {
			rt.Fatal(err)
		}
		at := map[string]int{}
		for i, s := range order {
			if _, twice := at[s]; twice {
				rt.Fatalf("%q twice in %q", s, order)
			}
			at[s] = i
		}
		want := 0
		for p, e := range m {
			if want++; e.Kind == versions.Dir {
				want++
			}
			if p == "" {
				continue
			}
			dir := p[:max(strings.LastIndexByte(p, '/'), 0)]
			first, last := "="+p, "="+p
			if e.Kind == versions.Dir {
				first, last = "+"+p, "-"+p
			}
			if at["+"+dir] > at[first] || at["-"+dir] < at[last] {
				rt.Fatalf("%q is visited outside its directory: %q", p, order)
			}
		}
		if len(order) != want {
			rt.Fatalf("%d calls, want %d: %q", len(order), want, order)
		}
	})
}

func TestParallelWalkEndsWithTheFirstError(t *testing.T) {
	trees, _ := newTrees()
	tree := model{"": {Kind: versions.Dir}, "d": {Name: "d", Kind: versions.Dir}}
	for i := range 200 {
		name := fmt.Sprintf("f%03d", i)
		tree["d/"+name] = file(name, 1)
	}
	root := tree.write(t, trees)
	boom := errors.New("boom")
	at := func(where string) func(context.Context, string, versions.Entry) error {
		return func(_ context.Context, path string, _ versions.Entry) error {
			if path == where {
				return boom
			}
			return nil
		}
	}
	for name, v := range map[string]versions.Visitor{
		"enter": {Enter: at("d")}, "file": {File: at("d/f100")}, "leave": {Leave: at("d")}, "leave root": {Leave: at("")},
	} {
		if err := trees.WalkParallel(t.Context(), root, 3, v); !errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trees.WalkParallel(ctx, root, 3, versions.Visitor{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	var left []string
	err := trees.WalkParallel(t.Context(), root, 3, versions.Visitor{
		Enter: func(_ context.Context, path string, _ versions.Entry) error {
			if path == "d" {
				return versions.SkipDir
			}
			return nil
		},
		File: func(context.Context, string, versions.Entry) error {
			t.Error("a file of a skipped directory")
			return nil
		},
		Leave: func(_ context.Context, path string, _ versions.Entry) error { left = append(left, path); return nil },
	})
	if err != nil || !slices.Equal(left, []string{""}) {
		t.Errorf("left %q, %v", left, err)
	}
}
