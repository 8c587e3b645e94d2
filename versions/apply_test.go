package versions_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"pgregory.net/rapid"
)

func TestApplyMakesOneTreeOfAnother(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		trees, _ := newTrees()
		ctx := context.Background()
		a := drawModel(rt, "a")
		b := perturb(rt, a, "b")
		from, want := a.write(t, trees), b.write(t, trees)
		whole := rapid.Bool().Draw(rt, "whole")
		var edits []versions.Edit
		var skip []string
		err := trees.Diff(ctx, from, want, func(c versions.Change) error {
			under := func(p string) bool { return len(c.Path) > len(p) && c.Path[:len(p)+1] == p+"/" }
			if slices.ContainsFunc(skip, under) {
				return nil
			}
			e := versions.Edit{Path: c.Path, Entry: c.New}
			if c.New == nil || c.Old == nil && whole {
				e.Whole = true
				skip = append(skip, c.Path)
			} else if c.New.Kind == versions.Dir {
				bare := *c.New
				bare.Tree, bare.Size, bare.Count = chunk.ID{1}, 5, 5 // not looked at
				e.Entry = &bare
			}
			edits = append(edits, e)
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		// What is gone with its directory, or with the directory that a file
		// has replaced, is no edit of its own.
		edits = slices.DeleteFunc(edits, func(e versions.Edit) bool {
			return e.Entry == nil && slices.ContainsFunc(edits, func(o versions.Edit) bool {
				return o.Entry != nil && o.Entry.Kind != versions.Dir && len(e.Path) > len(o.Path) && e.Path[:len(o.Path)+1] == o.Path+"/"
			})
		})
		edits = rapid.Permutation(edits).Draw(rt, "order")
		got, err := trees.Apply(ctx, from, edits)
		if err != nil {
			rt.Fatal(err)
		}
		if !versions.Equal(got, want) {
			rt.Fatalf("%d edits give %+v, want %+v", len(edits), got, want)
		}
	})
}

func TestApplyReadsOnlyWhatItTouches(t *testing.T) {
	trees, m := newTrees()
	list := many(50_000)
	id, err := trees.Write(t.Context(), list)
	root := versions.Entry{Kind: versions.Dir, Tree: must(t, id, err), Count: 50_000}
	for _, e := range list {
		root.Size += e.Size
	}
	m.Reset()
	f := file("new", 5)
	got, err := trees.Apply(t.Context(), root, []versions.Edit{{Path: "new", Entry: &f}, {Path: list[7].Name}})
	must(t, got, err)
	if got.Count != 50_000 || got.Size != root.Size+f.Size-list[7].Size {
		t.Errorf("%+v", got)
	}
	if m.Gets(chunk.Tree) > 16 || m.New(chunk.Tree) > 6 {
		t.Errorf("%d pieces read, %d written", m.Gets(chunk.Tree), m.New(chunk.Tree))
	}
}

func TestApplyRefusesWhatCannotBe(t *testing.T) {
	trees, _ := newTrees()
	root := model{"": {Kind: versions.Dir}, "f": file("f", 1)}.write(t, trees)
	f := file("x", 2)
	for name, edits := range map[string][]versions.Edit{
		"below a file":    {{Path: "f/x", Entry: &f}},
		"below nothing":   {{Path: "d/x", Entry: &f}},
		"below a removed": {{Path: "f"}, {Path: "f/x", Entry: &f}},
	} {
		if _, err := trees.Apply(t.Context(), root, edits); !errors.Is(err, versions.ErrNotDir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trees.Apply(t.Context(), root, []versions.Edit{{Path: "x", Entry: &f}, {Path: "x"}}); err == nil {
		t.Error("a path is edited twice")
	}
	gone, err := trees.Apply(t.Context(), root, []versions.Edit{{Path: ""}})
	if must(t, gone, err); !gone.IsZero() {
		t.Errorf("%+v", gone)
	}
}
