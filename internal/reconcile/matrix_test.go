package reconcile_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/syncfs/syncfs/versions"
)

// The whole matrix of one name: base x local x remote. "-" is nothing there, "/"
// a directory that holds one file ("k": "K"), "/e" one in which that file was
// edited, "/n" one with one more file ("n": "N"). "COPY:x" in the result is a
// conflict copy of x.
var matrix = []struct {
	base, local, remote string
	want                []string // what stands at the name, then copies
}{
	// Nothing in the base.
	{"-", "-", "-", []string{"-"}},
	{"-", "L", "-", []string{"L"}},
	{"-", "-", "R", []string{"R"}},
	{"-", "S", "S", []string{"S"}},
	{"-", "S +x", "S", []string{"S"}}, // the remote's attributes hold
	{"-", "L", "R", []string{"R", "COPY:L"}},
	{"-", "/", "-", []string{"/"}},
	{"-", "-", "/", []string{"/"}},
	{"-", "/", "/", []string{"/"}},
	{"-", "/n", "/", []string{"/n"}},
	{"-", "/", "/n", []string{"/n"}},
	{"-", "L", "/", []string{"/", "COPY:L"}},
	{"-", "/", "R", []string{"R", "COPY:/"}},
	{"-", "-> a", "-> b", []string{"-> b", "COPY:-> a"}},
	{"-", "-> a", "R", []string{"R", "COPY:-> a"}},
	{"-", "L", "-> b", []string{"-> b", "COPY:L"}},
	{"-", "-> a", "/", []string{"/", "COPY:-> a"}},
	{"-", "-", "-> r", []string{"-> r"}},
	{"-", "-> l", "-", []string{"-> l"}},
	{"-", "/", "-> r", []string{"-> r", "COPY:/"}},

	// A file in the base.
	{"B", "B", "B", []string{"B"}},
	{"B", "L", "B", []string{"L"}},
	{"B", "B", "R", []string{"R"}},
	{"B", "-", "B", []string{"-"}},
	{"B", "B", "-", []string{"-"}},
	{"B", "-", "-", []string{"-"}},
	{"B", "S", "S", []string{"S"}},
	{"B", "L", "R", []string{"R", "COPY:L"}},
	{"B", "L", "-", []string{"L"}},    // an edit beats a delete
	{"B", "-", "R", []string{"R"}},    //
	{"B", "B +x", "-", []string{"-"}}, // attributes are no edit
	{"B", "-", "B +x", []string{"-"}},
	{"B", "B +x", "R", []string{"R +x"}}, // attributes from one, content from the other
	{"B", "L", "B +x", []string{"L +x"}},
	{"B", "B +x", "B", []string{"B +x"}},
	{"B", "L +x", "R", []string{"R", "COPY:L +x"}}, // the copy keeps its own
	{"B", "/", "B", []string{"/"}},
	{"B", "B", "/", []string{"/"}},
	{"B", "/", "-", []string{"/"}},
	{"B", "-", "/", []string{"/"}},
	{"B", "/", "R", []string{"R", "COPY:/"}},
	{"B", "L", "/", []string{"/", "COPY:L"}},
	{"B", "/", "B +x", []string{"/"}},
	{"B", "B +x", "/", []string{"/"}},
	{"B", "/", "/n", []string{"/n"}},
	{"B", "-> a", "R", []string{"R", "COPY:-> a"}},
	{"B", "-> a", "B", []string{"-> a"}},
	{"B", "-> a", "-", []string{"-> a"}},
	{"B", "-", "-> r", []string{"-> r"}},
	{"B", "B", "-> r", []string{"-> r"}},
	{"B", "L", "-> r", []string{"-> r", "COPY:L"}},
	{"B", "-> l", "-> r", []string{"-> r", "COPY:-> l"}},
	{"B", "-> l", "/", []string{"/", "COPY:-> l"}},
	{"B", "/", "-> r", []string{"-> r", "COPY:/"}},

	// A symlink in the base.
	{"-> b", "-> l", "-> r", []string{"-> r", "COPY:-> l"}},
	{"-> b", "-> l", "-> b", []string{"-> l"}},
	{"-> b", "-", "-> r", []string{"-> r"}},
	{"-> b", "-", "-> b", []string{"-"}},
	{"-> b", "L", "-> r", []string{"-> r", "COPY:L"}},
	{"-> b", "-> b", "-> b", []string{"-> b"}},
	{"-> b", "-> b", "-> r", []string{"-> r"}},
	{"-> b", "-> b", "-", []string{"-"}},
	{"-> b", "-> b", "R", []string{"R"}},
	{"-> b", "-> b", "/", []string{"/"}},
	{"-> b", "-> l", "-", []string{"-> l"}},
	{"-> b", "-> l", "R", []string{"R", "COPY:-> l"}},
	{"-> b", "-> l", "/", []string{"/", "COPY:-> l"}},
	{"-> b", "-", "-", []string{"-"}},
	{"-> b", "-", "R", []string{"R"}},
	{"-> b", "-", "/", []string{"/"}},
	{"-> b", "L", "-> b", []string{"L"}},
	{"-> b", "L", "-", []string{"L"}},
	{"-> b", "L", "R", []string{"R", "COPY:L"}},
	{"-> b", "L", "/", []string{"/", "COPY:L"}},
	{"-> b", "/", "-> b", []string{"/"}},
	{"-> b", "/", "-", []string{"/"}},
	{"-> b", "/", "R", []string{"R", "COPY:/"}},
	{"-> b", "/", "-> r", []string{"-> r", "COPY:/"}},
	{"-> b", "/", "/n", []string{"/n"}},

	// A directory in the base.
	{"/", "/", "/", []string{"/"}},
	{"/", "-", "/", []string{"-"}},
	{"/", "/", "-", []string{"-"}},
	{"/", "-", "-", []string{"-"}},
	{"/", "/e", "-", []string{"/only e"}}, // deleted there, edited in it here: the edited stands
	{"/", "-", "/e", []string{"/only e"}},
	{"/", "/n", "-", []string{"/only n"}},
	{"/", "-", "/n", []string{"/only n"}},
	{"/", "/ +x", "-", []string{"-"}}, // attributes are no edit
	{"/", "-", "/ +x", []string{"-"}},
	{"/", "/e", "/n", []string{"/en"}},
	{"/", "/n", "/e", []string{"/en"}},
	{"/", "/ +x", "/n", []string{"/n +x"}},
	{"/", "L", "/", []string{"L"}},
	{"/", "/", "R", []string{"R"}},
	{"/", "L", "-", []string{"L"}},
	{"/", "-", "R", []string{"R"}},
	{"/", "L", "R", []string{"R", "COPY:L"}},
	{"/", "S", "S", []string{"S"}},
	{"/", "L", "/e", []string{"/only e", "COPY:L"}}, // the directory was first
	{"/", "L", "/n", []string{"/only n", "COPY:L"}},
	{"/", "L", "/ +x", []string{"L"}}, // nothing in it was edited
	{"/", "/e", "R", []string{"R", "COPY:/only e"}},
	{"/", "/n", "R", []string{"R", "COPY:/only n"}},
	{"/", "/ +x", "R", []string{"R"}},
	{"/", "/e", "/", []string{"/e"}},
	{"/", "/", "/n", []string{"/n"}},
	{"/", "/", "-> r", []string{"-> r"}},
	{"/", "-", "-> r", []string{"-> r"}},
	{"/", "/e", "-> r", []string{"-> r", "COPY:/only e"}},
	{"/", "L", "-> r", []string{"-> r", "COPY:L"}},
	{"/", "-> l", "/", []string{"-> l"}},
	{"/", "-> l", "-", []string{"-> l"}},
	{"/", "-> l", "R", []string{"R", "COPY:-> l"}},
	{"/", "-> l", "-> r", []string{"-> r", "COPY:-> l"}},
	{"/", "-> l", "/e", []string{"/only e", "COPY:-> l"}},
}

// TestTheMatrixHasEveryCell: a base that is nothing, a file, a symlink or a
// directory, and on each side nothing, the same, or a change to each kind.
func TestTheMatrixHasEveryCell(t *testing.T) {
	kind := func(what string) string {
		switch {
		case what == "-":
			return "nothing"
		case what[0] == '/':
			return "directory"
		case what[0] == '-':
			return "symlink"
		}
		return "file"
	}
	have := map[[3]string]bool{}
	for _, tt := range matrix {
		side := func(what string) string {
			if what == tt.base {
				return "same"
			}
			return kind(what)
		}
		have[[3]string{kind(tt.base), side(tt.local), side(tt.remote)}] = true
	}
	for _, base := range []string{"nothing", "file", "symlink", "directory"} {
		sides := []string{"same", "nothing", "file", "symlink", "directory"}
		if base == "nothing" {
			sides = slices.Delete(sides, 1, 2)
		}
		for _, local := range sides {
			for _, remote := range sides {
				if !have[[3]string{base, local, remote}] {
					t.Errorf("no row for base %s, local %s, remote %s", base, local, remote)
				}
			}
		}
	}
}

func TestTheWholeMatrixOfOneName(t *testing.T) {
	for _, tt := range matrix {
		t.Run(tt.base+" "+tt.local+" "+tt.remote, func(t *testing.T) {
			w := newWorld()
			stand := func(m tree, name, what string) {
				maps.Copy(m, map[string]tree{
					"-":       {},
					"/":       {name: "/", name + "/k": "K"},
					"/e":      {name: "/", name + "/k": "edited"},
					"/n":      {name: "/", name + "/k": "K", name + "/n": "N"},
					"/en":     {name: "/", name + "/k": "edited", name + "/n": "N"},
					"/only e": {name: "/", name + "/k": "edited"},
					"/only n": {name: "/", name + "/n": "N"},
					"/ +x":    {name: "/ +x", name + "/k": "K"},
					"/n +x":   {name: "/ +x", name + "/k": "K", name + "/n": "N"},
				}[what])
				if what != "-" && what[0] != '/' {
					m[name] = what
				}
			}
			build := func(what string) (tree, versions.Entry) {
				m := tree{"other": "O"}
				stand(m, "name.txt", what)
				return m, w.write(t, m)
			}
			_, b := build(tt.base)
			_, l := build(tt.local)
			_, r := build(tt.remote)
			root, plan := w.merge(t, b, l, r, options)
			want := tree{"other": "O"}
			stand(want, "name.txt", tt.want[0])
			for _, c := range tt.want[1:] {
				what := c[len("COPY:"):]
				local, err := w.trees.Lookup(t.Context(), l.Tree, "name.txt")
				name := copyName("name.txt", must(t, local, err))
				stand(want, name, what)
			}
			if got := w.read(t, root); !maps.Equal(got, want) {
				t.Errorf("merged to %v, want %v\n%s", got, want, show(plan))
			}
			if len(plan.Conflicts) != len(tt.want)-1 {
				t.Errorf("conflicts %+v", plan.Conflicts)
			}
			// The machine that merges has nothing more to do, nor has another
			// one that was as the remote.
			if _, again := w.merge(t, l, root, root, options); len(again.Apply)+len(again.Commit) > 0 {
				t.Errorf("a second merge has\n%s", show(again))
			}
			if after, plan := w.merge(t, r, r, root, options); !versions.Equal(after, root) || len(plan.Conflicts) > 0 {
				t.Errorf("another machine gets %v", w.read(t, after))
			}
		})
	}
}
