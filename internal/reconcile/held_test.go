package reconcile_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

func TestWhatIsTooMany(t *testing.T) {
	for _, tt := range []struct {
		deleted, most int64
		want          bool
	}{
		{0, 0, false}, {5, 5, false}, {6, 6, true}, {6, 7, false}, {100, 101, false}, {100, 100, true},
		{101, 336, true}, {101, 337, false}, {300, 1000, false}, {301, 1000, true}, {30_000, 100_000, false}, {30_001, 100_000, true},
	} {
		if got := reconcile.TooMany(tt.deleted, tt.most); got != tt.want {
			t.Errorf("%d of %d: %v", tt.deleted, tt.most, got)
		}
	}
}

// settled is what is held of two trees, and both trees without the difference.
func (w *world) settle(t failer, h reconcile.Held, have, lack versions.Entry) reconcile.Held {
	t.Helper()
	out, err := h.Settle(context.Background(), w.trees, have, lack)
	if err != nil {
		t.Fatalf("settle: %v", err)
	}
	return out
}

func (w *world) edit(t failer, root versions.Entry, edits []versions.Edit) versions.Entry {
	t.Helper()
	out, err := w.trees.Apply(context.Background(), root, edits)
	if err != nil {
		t.Fatalf("edit: %v", err)
	}
	return out
}

func (w *world) lost(t failer, before, after versions.Entry) reconcile.Lost {
	t.Helper()
	l, err := reconcile.FindLost(context.Background(), w.trees, before, after, nil)
	if err != nil {
		t.Fatalf("find: %v", err)
	}
	return l
}

func paths(items []reconcile.HeldItem) string {
	var list []string
	for _, it := range items {
		name := it.Path
		if it.Whole {
			name += "/…"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

func TestOnlyContentThatVanishesIsLost(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after tree
		files         int64
		items         string
	}{
		{"nothing", tree{"a": "1"}, tree{"a": "1"}, 0, ""},
		{"a file", tree{"a": "1", "b": "2"}, tree{"b": "2"}, 1, "a"},
		{"an edit is none", tree{"a": "1"}, tree{"a": "2"}, 0, ""},
		{"a rename is none", tree{"a": "1"}, tree{"b": "1"}, 0, ""},
		{"a rename of a directory is none", tree{"d": "/", "d/a": "1", "d/b": "2"}, tree{"e": "/", "e/a": "1", "e/b": "2"}, 0, ""},
		{"a rename over another is none", tree{"a": "1", "b": "2"}, tree{"b": "1"}, 0, ""},
		{"of two equal files one is moved", tree{"a": "1", "b": "1"}, tree{"c": "1"}, 1, "b"},
		{"a directory, of which a part was moved", tree{"d": "/", "d/a": "1", "d/b": "2"}, tree{"a": "1"}, 1, "d d/b"},
		{"an empty directory", tree{"d": "/", "d/e": "/"}, tree{}, 0, "d d/e"},
		{"a file instead of a directory", tree{"d": "/", "d/a": "1"}, tree{"d": "x"}, 1, "d/a"},
		{"a directory instead of a file", tree{"d": "x"}, tree{"d": "/", "d/a": "1"}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			l := w.lost(t, w.write(t, tt.before), w.write(t, tt.after))
			if l.Files != tt.files || paths(l.Items) != tt.items {
				t.Errorf("%d files: %s; want %d: %s", l.Files, paths(l.Items), tt.files, tt.items)
			}
		})
	}
}

func TestWhatIsStillHeld(t *testing.T) {
	full := tree{"d": "/", "d/a": "1", "d/b": "2", "d/e": "/", "d/e/c": "3", "x": "9"}
	for _, tt := range []struct {
		name       string
		have, lack tree // where what was deleted of full stands now, and where it does not
		want       string
	}{
		{"all of it, as a whole", full, tree{"x": "9"}, "d/…"},
		{"not what was made anew", full, tree{"x": "9", "d": "/", "d/a": "again"}, "d/b d/e/…"},
		{"not what was edited", tree{"d": "/", "d/a": "new", "d/b": "2", "d/e": "/", "d/e/c": "3", "x": "9"}, tree{"x": "9"}, "d d/b d/e/…"},
		{"with other attributes", tree{"d": "/", "d/a": "1 +x", "d/b": "2", "d/e": "/", "d/e/c": "3", "x": "9"}, tree{"x": "9"}, "d/…"},
		{"not what was deleted on both sides", tree{"d": "/", "d/b": "2", "x": "9"}, tree{"x": "9"}, "d/…"},
		{"not under a file", full, tree{"x": "9", "d": "file"}, ""},
		{"nothing that came back", full, full, ""},
		{"nothing of what both lack", tree{"x": "9"}, tree{"x": "9"}, ""},
		{"what others put beside it stands", tree{"d": "/", "d/a": "1", "d/new": "7"}, tree{"x": "9"}, "d d/a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			before, have, lack := w.write(t, full), w.write(t, tt.have), w.write(t, tt.lack)
			h := reconcile.NewHeld(w.lost(t, before, w.write(t, tree{"x": "9"})).Items)
			if got := paths(h.Items()); got != "d d/a d/b d/e d/e/c" || h.Files() != 3 {
				t.Fatalf("held are %d: %s", h.Files(), got)
			}
			h = w.settle(t, h, have, lack)
			if got := paths(h.Items()); got != tt.want {
				t.Errorf("held is %q, want %q", got, tt.want)
			}
			again := w.settle(t, reconcile.NewHeld(h.Items()), have, lack)
			if got := paths(again.Items()); got != tt.want {
				t.Errorf("settled again %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever happens to two trees of which one has what is held and the other
// lacks it: brought over, each differs from the other in nothing that is held.
func TestHeldTreesAreEqualSeenFromEitherSide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		path := rapid.SampledFrom([]string{"a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "f/a"})
		draw := func(label string, of tree, changes int) tree {
			out := maps.Clone(of)
			for range rapid.IntRange(0, changes).Draw(t, label) {
				p := path.Draw(t, label+" path")
				if rapid.Bool().Draw(t, label+" removes") {
					out = without(out, p[:rapid.SampledFrom([]int{1, len(p)}).Draw(t, label+" cut")])
				} else if !blocked(out, p) {
					out = with(out, p, fmt.Sprint(rapid.IntRange(0, 3).Draw(t, label+" content")))
				}
			}
			return out
		}
		before := draw("before", tree{}, 12)
		have := draw("have", before, 4)
		lack := draw("lack", before, 8)
		b, x, y := w.write(t, before), w.write(t, have), w.write(t, lack)
		lost := w.lost(t, b, y)
		h := w.settle(t, reconcile.NewHeld(lost.Items), x, y)
		for _, it := range h.Items() {
			if it.Entry.Kind == versions.Dir {
				continue
			}
			if have[it.Path] != before[it.Path] || lack[it.Path] != "" {
				t.Fatalf("%s is held, though one tree has %q, was %q, and the other %q", it.Path, have[it.Path], before[it.Path], lack[it.Path])
			}
		}
		over, less := w.read(t, w.edit(t, y, h.Over())), w.read(t, w.edit(t, x, h.Without()))
		for p := range maps.Keys(over) {
			if lack[p] != "" && over[p] != lack[p] || lack[p] == "" && over[p] != have[p] {
				t.Fatalf("%s is %q with what is held; one has %q, the other %q", p, over[p], have[p], lack[p])
			}
		}
		for p := range lack {
			if _, ok := over[p]; !ok {
				t.Fatalf("%s is gone by what is held", p)
			}
		}
		for p, c := range less {
			if have[p] != c {
				t.Fatalf("%s is %q without what is held, was %q", p, c, have[p])
			}
		}
		for p, c := range have {
			if _, ok := less[p]; !ok && lack[p] != "" {
				t.Fatalf("%s (%q) is gone, though the other has %q", p, c, lack[p])
			}
		}
	})
}

func without(m tree, path string) tree {
	out := tree{}
	for p, c := range m {
		if p != path && !strings.HasPrefix(p, path+"/") {
			out[p] = c
		}
	}
	return out
}

func with(m tree, path, content string) tree {
	out := without(m, path)
	out[path] = content
	for d := path; strings.Contains(d, "/"); {
		d = d[:strings.LastIndexByte(d, '/')]
		out[d] = "/"
	}
	return out
}

// blocked tells whether a file stands on the way to path.
func blocked(m tree, path string) bool {
	for p, c := range m {
		if c != "/" && strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

func TestDeletionsOfAWindowAreCountedTogether(t *testing.T) {
	many := func(prefix string, from, to int) tree {
		m := tree{}
		for i := from; i < to; i++ {
			m[fmt.Sprintf("%s%03d", prefix, i)] = fmt.Sprint(prefix, i)
		}
		return m
	}
	join := func(list ...tree) tree {
		out := tree{}
		for _, m := range list {
			maps.Copy(out, m)
		}
		return out
	}
	now := time.Date(2025, 1, 31, 20, 15, 30, 0, time.UTC)
	type round struct {
		ago           time.Duration
		before, after tree
	}
	for _, tt := range []struct {
		name   string
		rounds []round
		hold   bool
		files  int64
	}{
		{"at once", []round{{0, many("a", 0, 300), many("a", 101, 300)}}, true, 101},
		{"too few", []round{{0, many("a", 0, 300), many("a", 100, 300)}}, false, 0},
		{"in parts", []round{
			{9 * time.Minute, many("a", 0, 300), many("a", 60, 300)},
			{0, many("a", 60, 300), many("a", 120, 300)},
		}, true, 120},
		{"in parts, long ago", []round{
			{11 * time.Minute, many("a", 0, 300), many("a", 60, 300)},
			{0, many("a", 60, 300), many("a", 120, 300)},
		}, false, 0},
		{"by a clock that was set back", []round{
			{-time.Hour, many("a", 0, 300), many("a", 60, 300)},
			{0, many("a", 60, 300), many("a", 120, 300)},
		}, false, 0},
		{"a branch that was checked out and left again", []round{
			{2 * time.Minute, many("a", 0, 300), many("b", 0, 300)},
			{0, many("b", 0, 300), many("a", 0, 300)},
		}, false, 0},
		{"what came and went", []round{
			{3 * time.Minute, join(many("a", 0, 200), many("t", 0, 90)), many("a", 0, 200)},
			{2 * time.Minute, join(many("a", 0, 200), many("u", 0, 90)), many("a", 0, 200)},
			{0, join(many("a", 0, 200), many("v", 0, 90)), many("a", 0, 200)},
		}, false, 90},
		{"what others deleted between is not ours", []round{
			{2 * time.Minute, many("a", 0, 300), many("a", 50, 300)},
			{0, many("a", 200, 300), many("a", 245, 300)},
		}, false, 95},
		{"what was copied here and deleted", []round{{0, join(many("a", 0, 20), many("p", 0, 300)), many("a", 0, 20)}}, true, 300},
		{"what was moved and then deleted", []round{
			{time.Minute, join(many("a", 0, 300), tree{"k": "k"}), join(move(many("a", 0, 300)), tree{"k": "k"})},
			{0, join(move(many("a", 0, 300)), tree{"k": "k"}), tree{"k": "k"}},
		}, true, 300},
		{"all of six", []round{{0, many("a", 0, 6), tree{}}}, true, 6},
		{"all that others have left", []round{{5 * time.Minute, many("a", 0, 10), many("a", 1, 10)}, {0, many("a", 3, 10), tree{}}}, true, 8},
		{"all of five", []round{{0, many("a", 0, 5), tree{}}}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			var rounds reconcile.Rounds
			var after versions.Entry
			for _, r := range tt.rounds {
				before := w.write(t, r.before)
				after = w.write(t, r.after)
				removed := int64(0)
				for p := range r.before {
					if r.after[p] == "" {
						removed++
					}
				}
				rounds = append(rounds, reconcile.Round{At: now.Add(-r.ago), Before: before, After: after, Removed: removed})
			}
			j, err := rounds.Until(now).Judge(context.Background(), w.trees, after, nil)
			if err != nil {
				t.Fatal(err)
			}
			if j.Hold != tt.hold || j.Files > tt.files || tt.hold && j.Files != tt.files {
				t.Errorf("held %v: %d files of %d", j.Hold, j.Files, j.Most.Count)
			}
			all := slices.Collect(func(yield func(string) bool) {
				for _, it := range j.Items {
					if !yield(it.Path) {
						return
					}
				}
			})
			j, err = rounds.Until(now).Judge(context.Background(), w.trees, after, func(p string) bool { return slices.Contains(all, p) })
			if err != nil || j.Hold || j.Files > 0 {
				t.Errorf("what is free counts all the same: %d, %v", j.Files, err)
			}
		})
	}
}

// move is a tree under other names.
func move(m tree) tree {
	out := tree{}
	for p, c := range m {
		out["z"+p] = c
	}
	return out
}
