package syncer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// One head is applied but for a path that a program holds, and before it is
// done another comes: what the first has brought is no change of this machine.
func TestWhatAnOvertakenHeadBroughtIsNoChangeOfOurs(t *testing.T) {
	for i := range 4 {
		restarted, own := i&1 != 0, i&2 != 0
		t.Run(fmt.Sprintf("restarted %v, with changes of its own %v", restarted, own), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.machine("a"), w.machine("b")
			a.write("f", "f0")
			a.write("held", "g0")
			a.start().flush()
			b.start()
			together(t, a, b)
			hold := func(name string) *os.File {
				f, err := os.OpenFile(filepath.Join(b.dir, name), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			held := hold("held")
			defer held.Close()
			a.write("f", "f1")
			a.write("held", "g1")
			a.flush()
			eventually(t, "b has what it may have", func() bool { return b.tree()["f"] == "f1" })
			f := hold("f")
			defer f.Close()
			for _, more := range []string{"2", "3"} {
				a.write("f", "f"+more)
				a.write("new", more)
				a.flush()
				eventually(t, "b has what it may have", func() bool { return b.tree()["new"] == more })
			}
			if restarted {
				b.stop()
				b.start()
			}
			if own {
				b.write("own", "of b")
				eventually(t, "a has it", func() bool { return a.tree()["own"] == "of b" })
			}
			a.write("later", "later")
			eventually(t, "b goes on", func() bool { return b.tree()["later"] == "later" })
			f.Close()
			held.Close()
			together(t, a, b)
			want := map[string]string{"f": "f3", "held": "g1", "new": "3", "later": "later"}
			if own {
				want["own"] = "of b"
			} else {
				onlyBy(t, w, a, "a")
			}
			same(t, "both", b.tree(), want)
		})
	}
}
