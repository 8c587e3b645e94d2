package reconcile_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

// tree is a tree as text: path -> what stands there. A file is its content, a
// directory "/", a symlink "-> target"; " +x" after any of them is another mode.
type tree map[string]string

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

// world stores trees and reads them back as text.
type world struct {
	trees    *versions.Trees
	chunks   *versionstest.Memory
	contents map[chunk.ID]string
}

func newWorld() *world {
	m := versionstest.New()
	return &world{trees: versions.NewTrees(m, [32]byte{1}), chunks: m, contents: map[chunk.ID]string{}}
}

func (w *world) entry(name, what string) versions.Entry {
	e := versions.Entry{Name: name, Mode: 0o644}
	what, x := strings.CutSuffix(what, " +x")
	if x {
		e.Mode = 0o755
	}
	switch target, link := strings.CutPrefix(what, "-> "); {
	case what == "/":
		e.Kind = versions.Dir
	case link:
		e.Kind, e.Target, e.Size = versions.Symlink, target, int64(len(target))
	default:
		e.Kind, e.Size = versions.File, int64(len(what))
		id := contentID(what)
		w.contents[id] = what
		e.Pieces = []versions.Piece{{ID: id, Length: uint32(len(what))}}
		for i := range len(what) {
			e.MTime = e.MTime*31 + int64(what[i]) // comes with the content
		}
	}
	return e
}

func contentID(what string) (id chunk.ID) {
	h := uint64(14695981039346656037)
	for i := range len(what) {
		h = (h ^ uint64(what[i])) * 1099511628211
	}
	binary.BigEndian.PutUint64(id[:], h)
	id[31] = 1
	return id
}

// write stores a tree; nil is none at all.
func (w *world) write(t failer, m tree) versions.Entry {
	t.Helper()
	if m == nil {
		return versions.Entry{}
	}
	paths := make([]string, 0, len(m))
	for p := range m {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
	var edits []versions.Edit
	for _, p := range paths {
		e := w.entry(p[strings.LastIndexByte(p, '/')+1:], m[p])
		edits = append(edits, versions.Edit{Path: p, Entry: &e})
	}
	root, err := w.trees.Apply(context.Background(), versions.Entry{Kind: versions.Dir, Mode: 0o644}, edits)
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return root
}

func (w *world) read(t failer, root versions.Entry) tree {
	t.Helper()
	m := tree{}
	err := w.trees.Walk(context.Background(), root, func(path string, e versions.Entry) error {
		if path == "" {
			return nil
		}
		s := ""
		switch e.Kind {
		case versions.Dir:
			s = "/"
		case versions.Symlink:
			s = "-> " + e.Target
		case versions.File:
			s = w.contents[e.Pieces[0].ID]
		}
		if e.Mode == 0o755 {
			s += " +x"
		}
		m[path] = s
		return nil
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return m
}

var options = reconcile.Options{Host: "laptop", Instant: versions.Instant{Sec: 1738354530}}

// copyOf is the name of a conflict copy.
func (w *world) copyOf(name, content string) string {
	return reconcile.CopyName(name, options.Host, options.Instant, versions.ContentHash(w.entry("", content)), 8)
}

// merge merges, verifies that both lists of steps lead to one tree, and returns
// it.
func (w *world) merge(t failer, base, local, remote versions.Entry, o reconcile.Options) (versions.Entry, reconcile.Plan) {
	t.Helper()
	ctx := context.Background()
	plan, err := reconcile.Merge(ctx, w.trees, base, local, remote, o)
	if err != nil {
		t.Fatalf("merge: %v", err)
	}
	here, err := w.trees.Apply(ctx, local, reconcile.Edits(plan.Apply))
	if err != nil {
		t.Fatalf("apply: %v\n%s", err, show(plan))
	}
	there, err := w.trees.Apply(ctx, remote, reconcile.Edits(plan.Commit))
	if err != nil {
		t.Fatalf("commit: %v\n%s", err, show(plan))
	}
	if !versions.Equal(here, there) {
		t.Fatalf("applied %v, committed %v\n%s", w.read(t, here), w.read(t, there), show(plan))
	}
	w.checkSteps(t, local, remote, plan)
	return here, plan
}

// checkSteps verifies Old and From of every step against the trees they are of.
func (w *world) checkSteps(t failer, local, remote versions.Entry, plan reconcile.Plan) {
	t.Helper()
	ctx := context.Background()
	for side, steps := range map[*versions.Entry][]reconcile.Step{&local: plan.Apply, &remote: plan.Commit} {
		for _, s := range steps {
			e, err := w.trees.Resolve(ctx, *side, s.Path)
			if e.IsZero() && err == nil {
				err = fs.ErrNotExist // an empty line has no root
			}
			if (err == nil) != (s.Old != nil) || s.Old != nil && !versions.Equal(e, *s.Old) {
				t.Fatalf("step %q is from %+v, there is %+v, %v\n%s", s.Path, s.Old, e, err, show(plan))
			}
			if s.From == "" {
				continue
			}
			from, err := w.trees.Resolve(ctx, local, s.From)
			if err != nil || !versions.SameContent(from, *s.New) {
				t.Fatalf("step %q is said to be at %q, where %+v is (%v)", s.Path, s.From, from, err)
			}
		}
	}
}

func show(p reconcile.Plan) string {
	var b strings.Builder
	for name, steps := range map[string][]reconcile.Step{"apply": p.Apply, "commit": p.Commit} {
		for _, s := range steps {
			kind := func(e *versions.Entry) string {
				if e == nil {
					return "nothing"
				}
				return e.Kind.String()
			}
			fmt.Fprintf(&b, "%s %q: %s -> %s (whole %v, from %q)\n", name, s.Path, kind(s.Old), kind(s.New), s.Whole, s.From)
		}
	}
	return b.String()
}

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}
