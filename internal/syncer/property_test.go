package syncer_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/versions"
)

// op is one thing that happens to one of two machines.
type op struct {
	Machine int
	What    string
	Path    string
	Other   string
}

// sequences of operations over few names, so that they collide.
func sequences() *rapid.Generator[[]op] {
	path := rapid.SampledFrom([]string{"a", "b", "d/a", "d/b", "d/e/a", "c"})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
		return op{
			Machine: rapid.IntRange(0, 1).Draw(t, "machine"),
			What: rapid.SampledFrom([]string{
				"write", "write", "write", "append", "remove", "rename", "mkdir", "rmdir", "chmod", "symlink",
				"flush", "flush", "offline", "online", "restart",
			}).Draw(t, "what"),
			Path:  path.Draw(t, "path"),
			Other: path.Draw(t, "other"),
		}
	}), 10, 30)
}

// Of a long run, to look for what is rare.
var (
	sequencesRun  = flag.Int("sequences", 24, "how many random sequences two machines go through")
	firstSequence = flag.Int("first-sequence", 0, "the seed of the first of them")
)

// TestRandomWorkOfTwoMachines: whatever two machines do, online or not, they end
// equal, nothing that was flushed is lost, and then nothing happens any more.
func TestRandomWorkOfTwoMachines(t *testing.T) {
	gen := sequences()
	for seed := *firstSequence; seed < *firstSequence+*sequencesRun; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			runSequence(t, gen.Example(seed))
		})
	}
}

func runSequence(t *testing.T, ops []op) {
	w := newWorld(t)
	m := []*machine{w.machine("a").start(), w.machine("b").start()}
	together(t, m...)
	flushed := map[string]bool{} // contents that must be found for ever
	offline := []bool{false, false}
	for i, o := range ops {
		t.Logf("%d: %+v", i, o)
		x := m[o.Machine]
		switch o.What {
		case "flush":
			if offline[o.Machine] {
				continue
			}
			before := x.tree()
			x.flush()
			for p, c := range before {
				if c != "dir" && c[0] == '#' && x.tree()[p] == c {
					flushed[c] = true
				}
			}
		case "offline":
			x.net.offline()
			offline[o.Machine] = true
		case "online":
			x.net.online()
			offline[o.Machine] = false
		case "restart":
			x.stop()
			x.start()
		default:
			x.do(o, fmt.Sprintf("#%d:%s", i, x.name))
		}
	}
	for _, x := range m {
		x.net.online()
	}
	for _, x := range m {
		x.flush()
	}
	together(t, m...)
	found := map[string]bool{}
	for _, r := range w.records() {
		for _, c := range m[0].run.treeOf(t, r.Root) {
			found[c] = true
		}
	}
	for _, c := range m[1].tree() {
		found[c] = true
	}
	for c := range flushed {
		if !found[c] {
			t.Errorf("%q was flushed and is nowhere", c)
		}
	}
	same(t, "the head", m[0].run.treeOf(t, w.head().Root), m[1].tree())
	number := w.head().Number
	for _, x := range m {
		x.flush()
	}
	if after := w.head().Number; after != number {
		list := w.records()
		for i, r := range list[max(0, len(list)-4):] {
			t.Logf("snapshot %d: %s by %s, %s, parents %v", r.Number, r.SnapshotID.Short(), r.Host, r.Instant, r.Parents)
			if i == 0 {
				continue
			}
			last := list[len(list)-min(4, len(list))+i-1]
			err := m[0].run.trees.Diff(t.Context(), last.Root, r.Root, func(c versions.Change) error {
				t.Logf("  %s: %+v -> %+v", c.Path, c.Old, c.New)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		t.Errorf("nothing happened, and the head moved from %d to %d", number, after)
	}
}

// do changes the directory; what cannot be done is passed over.
func (m *machine) do(o op, content string) {
	p, q := filepath.Join(m.dir, o.Path), filepath.Join(m.dir, o.Other)
	_ = os.MkdirAll(filepath.Dir(p), 0o755)
	switch o.What {
	case "write":
		_ = os.WriteFile(p, []byte(content), 0o644)
	case "append":
		if f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, _ = f.WriteString("+" + content)
			f.Close()
		}
	case "remove":
		_ = os.Remove(p)
	case "rename":
		_ = os.Rename(p, q)
	case "mkdir":
		_ = os.Mkdir(p, 0o755)
	case "rmdir":
		_ = os.RemoveAll(filepath.Dir(p) + "/e")
	case "chmod":
		_ = os.Chmod(p, 0o700)
	case "symlink":
		_ = os.Symlink(content, p)
	}
}
