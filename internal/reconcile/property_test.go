package reconcile_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
	"pgregory.net/rapid"
)

// parts of the first property below run side by side, each with its own seed: it
// has a hundred thousand cases and each other one four thousand, unless
// -rapid.checks says otherwise.
const parts = 25

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "4000"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// Few names and few contents, so that edits meet.
var (
	names    = []string{"a", "b", "c.txt"}
	contents = []string{"1", "2", "3", "4"}
)

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

// remove takes away path and what is below.
func (m tree) remove(path string) {
	delete(m, path)
	for p := range m {
		if strings.HasPrefix(p, path+"/") {
			delete(m, p)
		}
	}
}

// put makes path and the directories above it, whatever was in the way.
func (m tree) put(path, what string) {
	if p := parent(path); p != "" && !strings.HasPrefix(m[p], "/") {
		m.put(p, "/")
	}
	if what != "/" || !strings.HasPrefix(m[path], "/") {
		m.remove(path)
		m[path] = what
	}
}

// drawOps makes random operations on m; next gives the content of a write.
func drawOps(t *rapid.T, m tree, most int, next func() string) {
	path := func() string {
		n := rapid.IntRange(0, 3*3*3*3-1).Draw(t, "path")
		depth := n % 3
		p := names[n/3%3]
		if depth > 0 {
			p += "/" + names[n/9%3]
		}
		if depth > 1 {
			p += "/" + names[n/27%3]
		}
		return p
	}
	for range rapid.IntRange(0, most).Draw(t, "ops") {
		switch p := path(); rapid.IntRange(0, 9).Draw(t, "op") {
		case 0, 1:
			m.remove(p)
		case 2:
			m.put(p, "/")
		case 3:
			m.put(p, "-> "+next())
		case 4: // another mode
			if s, ok := m[p]; ok && !strings.HasPrefix(s, "-> ") {
				if plain, x := strings.CutSuffix(s, " +x"); x {
					m[p] = plain
				} else {
					m[p] = s + " +x"
				}
			}
		case 5: // rename, with what is below
			to := path()
			if _, ok := m[p]; !ok || to == p || strings.HasPrefix(to, p+"/") || strings.HasPrefix(p, to+"/") {
				continue
			}
			moved := tree{}
			for q, s := range m {
				if q == p || strings.HasPrefix(q, p+"/") {
					moved[to+q[len(p):]] = s
				}
			}
			m.remove(p)
			m.remove(to)
			if q := parent(to); q != "" {
				m.put(q, "/")
			}
			maps.Copy(m, moved)
		default:
			m.put(p, next())
		}
	}
}

func drawContent(t *rapid.T) func() string {
	return func() string { return rapid.SampledFrom(contents).Draw(t, "content") }
}

// content is what is there without its attributes.
func content(what string) string { return strings.TrimSuffix(what, " +x") }

// written is the contents of a that are not what base has at their paths.
func written(a, base tree) map[string]bool {
	out := map[string]bool{}
	for p, s := range a {
		if c := content(s); c != "/" && c != content(base[p]) {
			out[c] = true
		}
	}
	return out
}

func contentsOf(m tree) map[string]bool { return written(m, nil) }

func TestNoContentIsLostAndNothingDeletedComesBack(t *testing.T) {
	for range parts {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			noContentIsLost(t)
		})
	}
}

func noContentIsLost(t *testing.T) {
	conflicts := 0
	rapid.Check(t, func(t *rapid.T) {
		base := tree{}
		drawOps(t, base, 8, drawContent(t))
		local, remote := maps.Clone(base), maps.Clone(base)
		drawOps(t, local, 5, drawContent(t))
		drawOps(t, remote, 5, drawContent(t))
		w := newWorld()
		b, l, r := w.write(t, base), w.write(t, local), w.write(t, remote)
		root, plan := w.merge(t, b, l, r, options)
		merged := w.read(t, root)
		conflicts += len(plan.Conflicts)
		there := contentsOf(merged)
		for side, m := range map[string]tree{"local": local, "remote": remote} {
			for c := range written(m, base) {
				if !there[c] {
					t.Fatalf("base %v, local %v, remote %v: content %q of %s is lost in %v\n%s", base, local, remote, c, side, merged, show(plan))
				}
			}
		}
		for c := range there { // nothing is made up
			if !contentsOf(base)[c] && !contentsOf(local)[c] && !contentsOf(remote)[c] {
				t.Fatalf("content %q is of nobody", c)
			}
		}
		for p, s := range base {
			if content(s) == "/" {
				continue
			}
			_, here := local[p]
			_, there := remote[p]
			_, after := merged[p]
			if after && (!here && !there || !here && content(remote[p]) == content(s) || !there && content(local[p]) == content(s)) {
				t.Fatalf("base %v, local %v, remote %v: %q was deleted and is back in %v", base, local, remote, p, merged)
			}
		}
		// What only one side changed is as that side has it.
		for p := range merged {
			lp, bp, rp := local[p], base[p], remote[p]
			if content(lp) != "/" && content(rp) != "/" && content(bp) != "/" && lp == bp && rp != "" && merged[p] != rp {
				t.Fatalf("base %v, local %v, remote %v: %q is %q", base, local, remote, p, merged[p])
			}
		}
		// Planned again, it is the same plan, on any machine.
		if _, again := w.merge(t, b, l, r, options); !reflect.DeepEqual(again, plan) {
			t.Fatalf("planned again it is\n%s, was\n%s", show(again), show(plan))
		}
		// A second merge does nothing, here or there.
		for name, m := range map[string]versions.Entry{"base": b, "local": l, "remote": r, "merged": root} {
			if name == "local" || name == "remote" || name == "merged" {
				if _, again := w.merge(t, m, root, root, options); len(again.Apply)+len(again.Commit)+len(again.Conflicts) > 0 {
					t.Fatalf("a second merge on %s does\n%s", name, show(again))
				}
			}
		}
		// A copy stands for a local edit that met another one at its path.
		for _, c := range plan.Conflicts {
			b, l, r := content(base[c.Path]), content(local[c.Path]), content(remote[c.Path])
			if b != "/" && l != "/" && r != "/" && (l == r || l == b || r == b) {
				t.Fatalf("base %v, local %v, remote %v: a needless copy of %q", base, local, remote, c.Path)
			}
		}
	})
	if !t.Failed() && conflicts == 0 {
		t.Error("no case had a conflict: the property was not tested")
	}
}

func TestOneSidedChangesAreTakenAsTheyAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := tree{}
		drawOps(t, base, 8, drawContent(t))
		changed := maps.Clone(base)
		drawOps(t, changed, 6, drawContent(t))
		w := newWorld()
		b, c := w.write(t, base), w.write(t, changed)
		if root, plan := w.merge(t, b, b, c, options); !versions.Equal(root, c) || len(plan.Commit)+len(plan.Conflicts) > 0 {
			t.Fatalf("the remote's change gives\n%s", show(plan))
		}
		if root, plan := w.merge(t, b, c, b, options); !versions.Equal(root, c) || len(plan.Apply)+len(plan.Conflicts) > 0 {
			t.Fatalf("the local change gives\n%s", show(plan))
		}
	})
}

func TestWhoIsFirstChangesNamesOnlyNotWhatIsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := tree{}
		drawOps(t, base, 8, drawContent(t))
		one, two := maps.Clone(base), maps.Clone(base)
		drawOps(t, one, 4, drawContent(t))
		drawOps(t, two, 4, drawContent(t))
		w := newWorld()
		b, x, y := w.write(t, base), w.write(t, one), w.write(t, two)
		m, plan := w.merge(t, b, x, y, options)
		n, other := w.merge(t, b, y, x, options)
		if !maps.Equal(contentsOf(w.read(t, m)), contentsOf(w.read(t, n))) {
			t.Fatalf("base %v, %v and %v: %v or %v\n%s\n%s", base, one, two, w.read(t, m), w.read(t, n), show(plan), show(other))
		}
	})
}

func TestTheOrderOfStepsDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := tree{}
		drawOps(t, base, 8, drawContent(t))
		one, two := maps.Clone(base), maps.Clone(base)
		drawOps(t, one, 4, drawContent(t))
		drawOps(t, two, 4, drawContent(t))
		w := newWorld()
		l := w.write(t, one)
		root, plan := w.merge(t, w.write(t, base), l, w.write(t, two), options)
		steps := rapid.Permutation(plan.Apply).Draw(t, "order")
		got, err := w.trees.Apply(t.Context(), l, reconcile.Edits(steps))
		if err != nil || !versions.Equal(got, root) {
			t.Fatalf("%v instead of %v: %v", w.read(t, got), w.read(t, root), err)
		}
	})
}

// machine is a replica: what it last had in common with the line, and its tree.
type machine struct {
	name        string
	base, local versions.Entry
}

// sync is one round of a machine with the line, which is never torn.
func (w *world) sync(t failer, m *machine, line *versions.Entry) (changed bool, copies []string) {
	t.Helper()
	o := reconcile.Options{Host: m.name, Instant: options.Instant}
	root, plan := w.merge(t, m.base, m.local, *line, o)
	for _, c := range plan.Conflicts {
		copies = append(copies, c.Copy)
	}
	changed = len(plan.Apply)+len(plan.Commit) > 0
	m.base, m.local, *line = root, root, root
	return changed, copies
}

// Machines that write, meet and part in any order agree once all have met the
// line; every content stands once, where it was or in a copy; and then nothing
// more happens.
func TestMachinesAgreeAndKeepEveryWrite(t *testing.T) {
	t.Parallel()
	met := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		start := tree{}
		serial := 0
		fresh := func() string { serial++; return fmt.Sprint("w", serial) }
		drawOps(t, start, 5, fresh)
		root := w.write(t, start)
		line := root
		machines := make([]*machine, rapid.IntRange(2, 4).Draw(t, "machines"))
		for i := range machines {
			machines[i] = &machine{name: fmt.Sprint("m", i), base: root, local: root}
		}
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			m := machines[rapid.IntRange(0, len(machines)-1).Draw(t, "who")]
			before := w.read(t, m.local)
			after := maps.Clone(before)
			drawOps(t, after, 3, fresh)
			m.local = w.write(t, after)
			if rapid.Bool().Draw(t, "offline") {
				continue
			}
			mine, theirs := written(after, w.read(t, m.base)), written(w.read(t, line), w.read(t, m.base))
			_, copies := w.sync(t, m, &line)
			met += len(copies)
			now := contentsOf(w.read(t, line))
			for c := range mine {
				if !now[c] {
					t.Fatalf("write %q of %s is lost", c, m.name)
				}
			}
			for c := range theirs {
				if !now[c] {
					t.Fatalf("write %q of another than %s is lost", c, m.name)
				}
			}
		}
		quiet := 0
		for round := 0; quiet < len(machines); round++ {
			if round > 200 {
				t.Fatal("the machines do not come to rest")
			}
			changed, _ := w.sync(t, machines[round%len(machines)], &line)
			if quiet++; changed {
				quiet = 0
			}
		}
		for _, m := range machines {
			if !versions.Equal(m.local, line) {
				t.Fatalf("%s has %v, the line %v", m.name, w.read(t, m.local), w.read(t, line))
			}
		}
		// A copy does not multiply: its stem has one bracket.
		for p := range w.read(t, line) {
			if strings.Count(p[strings.LastIndexByte(p, '/')+1:], "(conflict ") > 1 {
				t.Fatalf("a copy of a copy: %q", p)
			}
		}
	})
	if !t.Failed() && met == 0 {
		t.Error("no machines ever had a conflict: the property was not tested")
	}
}

// Of what k machines write to one path at the same time, each distinct content
// stands once: one has the name, and there are no more copies than others.
func TestWritersOfOnePathMakeOneCopyOfEachOtherContent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		start := tree{}
		if rapid.Bool().Draw(t, "exists") {
			start["f.txt"] = "B"
		}
		root := w.write(t, start)
		line := root
		k := rapid.IntRange(1, 5).Draw(t, "writers")
		machines, distinct := make([]*machine, k), map[string]bool{}
		for i := range machines {
			what := rapid.SampledFrom(contents).Draw(t, "content")
			distinct[what] = true
			machines[i] = &machine{name: fmt.Sprint("m", i), base: root, local: w.write(t, tree{"f.txt": what})}
		}
		for _, m := range rapid.Permutation(machines).Draw(t, "order") {
			w.sync(t, m, &line)
		}
		for _, m := range machines {
			w.sync(t, m, &line)
		}
		got := w.read(t, line)
		if len(got) != len(distinct) || len(contentsOf(got)) != len(distinct) {
			t.Fatalf("%d writers of %d contents give %v", k, len(distinct), got)
		}
	})
}

// Each write stands at most once, when nobody renames or copies.
func TestNoWriteIsDuplicated(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		line := w.write(t, tree{})
		machines := []*machine{{name: "m0"}, {name: "m1"}, {name: "m2"}}
		for _, m := range machines {
			m.base, m.local = line, line
		}
		serial := 0
		paths := []string{"a", "b", "a/x", "b/x"}
		for range rapid.IntRange(2, 12).Draw(t, "steps") {
			m := machines[rapid.IntRange(0, 2).Draw(t, "who")]
			if rapid.IntRange(0, 2).Draw(t, "sync") == 0 {
				w.sync(t, m, &line)
				continue
			}
			now := w.read(t, m.local)
			p := rapid.SampledFrom(paths).Draw(t, "path")
			if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
				now.remove(p)
			} else {
				serial++
				now.put(p, fmt.Sprint("w", serial))
			}
			m.local = w.write(t, now)
		}
		for range 2 {
			for _, m := range machines {
				w.sync(t, m, &line)
			}
		}
		seen := map[string][]string{}
		for p, s := range w.read(t, line) {
			if s != "/" {
				seen[s] = append(seen[s], p)
			}
		}
		for s, at := range seen {
			if len(at) > 1 {
				slices.Sort(at)
				t.Fatalf("write %q stands at %q", s, at)
			}
		}
	})
}
