package syncer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/ignore"
	"github.com/syncfs/syncfs/internal/syncer"
)

// path is a path on a machine's disk.
func (m *machine) path(rel string) string { return filepath.Join(m.dir, rel) }

func (m *machine) must(err error) {
	m.w.t.Helper()
	if err != nil {
		m.w.t.Fatal(err)
	}
}

// line is what the newest snapshot holds.
func (w *world) line(m *machine) map[string]string { return m.run.treeOf(w.t, w.head().Root) }

// safe waits until a machine follows the line and has nothing to send.
func (m *machine) safe() {
	m.w.t.Helper()
	eventually(m.w.t, m.name+" is safe", func() bool {
		st := m.run.s.Status()
		reached, err := m.run.s.Reached(m.w.head().Number)
		return st.State == syncer.Safe && reached && err == nil
	})
}

// pair are two machines, of which b has an ignored file in a directory of the
// tree.
func ignoring(t *testing.T) (w *world, a, b *machine) {
	w = newWorld(t)
	a, b = w.machine("a").start(), w.machine("b").start()
	a.write(ignore.Name, "*.o\n")
	a.write("src/deep/main.c", "main")
	a.write("src/x.c", "x")
	a.flush()
	together(t, a, b)
	b.write("src/deep/main.o", "object")
	b.flush()
	b.safe()
	return w, a, b
}

func TestADirectoryRemovedElsewhereStaysWithItsIgnoredFiles(t *testing.T) {
	w, a, b := ignoring(t)
	a.remove("src")
	a.flush()
	b.safe()
	same(t, "b", b.tree(), map[string]string{ignore.Name: "*.o\n", "src": "dir", "src/deep": "dir", "src/deep/main.o": "object"})
	// It stays so, comes back nowhere, and nobody makes another snapshot of it.
	number := w.head().Number
	b.stop()
	b.start()
	b.flush()
	b.safe()
	if w.head().Number != number {
		t.Errorf("%d snapshots more: %v", w.head().Number-number, w.line(b))
	}
	same(t, "the line", w.line(a), map[string]string{ignore.Name: "*.o\n"})
	// And it can come back.
	a.write("src/deep/main.c", "main again")
	a.flush()
	b.safe()
	same(t, "b", b.tree(), map[string]string{
		ignore.Name: "*.o\n", "src": "dir", "src/deep": "dir", "src/deep/main.o": "object", "src/deep/main.c": "main again",
	})
}

func TestADirectoryRenamedElsewhereLeavesIgnoredFilesWhereTheyWere(t *testing.T) {
	_, a, b := ignoring(t)
	a.must(os.Rename(a.path("src"), a.path("lib")))
	a.flush()
	b.safe()
	same(t, "b", b.tree(), map[string]string{
		ignore.Name: "*.o\n", "lib": "dir", "lib/x.c": "x", "lib/deep": "dir", "lib/deep/main.c": "main",
		"src": "dir", "src/deep": "dir", "src/deep/main.o": "object",
	})
}

func TestADirectoryWithIgnoredFilesMakesRoomForAFile(t *testing.T) {
	w, a, b := ignoring(t)
	a.remove("src")
	a.write("src", "a file now")
	a.flush()
	b.safe()
	eventually(t, "the directory stands beside the file", func() bool {
		tree := b.tree()
		for p, c := range tree {
			if strings.HasPrefix(p, "src (conflict b ") && strings.HasSuffix(p, "/deep/main.o") && c == "object" {
				return tree["src"] == "a file now" && len(tree) == 5
			}
		}
		return false
	})
	b.flush()
	b.safe()
	same(t, "the line", w.line(a), map[string]string{ignore.Name: "*.o\n", "src": "a file now"})
}

func TestATrackedFileDoesNotReplaceAnIgnoredOne(t *testing.T) {
	w := newWorld(t)
	a, b := w.machine("a").start(), w.machine("b").start()
	a.write("other", "1")
	a.flush()
	together(t, a, b)
	// On b the rules come first, on a the file.
	b.stop()
	b.write(ignore.Name, "*.o\n/equal\n/d\n")
	b.write("x.o", "of b")
	b.write("equal", "the same")
	b.write("d/in", "of b")
	b.write("d/same", "both")
	a.write("x.o", "of a")
	a.write("equal", "the same")
	a.write("d/in", "of a")
	a.write("d/same", "both")
	a.flush()
	b.start()
	b.flush()
	b.safe()
	eventually(t, "both contents stand", func() bool {
		tree := b.tree()
		copies := map[string]string{}
		for p, c := range tree {
			if strings.Contains(p, "(conflict b ") {
				copies[strings.SplitN(p, " (", 2)[0]] = c
			}
		}
		return tree["x.o"] == "of a" && tree["equal"] == "the same" && tree["d/in"] == "of a" && tree["d/same"] == "both" &&
			len(copies) == 2 && copies["x"] == "of b" && copies["d/in"] == "of b"
	})
	eventually(t, "nothing is left in staging", func() bool {
		names, err := os.ReadDir(b.dir)
		b.must(err)
		for _, n := range names {
			if strings.HasPrefix(n.Name(), ".syncfs-stage") {
				return false
			}
		}
		return true
	})
	b.flush()
	b.safe()
	line := w.line(a)
	if line["x.o"] != "of a" || line["d/in"] != "of a" {
		t.Errorf("the line has %v", line)
	}
	// What is in the tree stays in it, whatever the rules.
	b.write("x.o", "b again")
	b.flush()
	eventually(t, "the edit comes to a", func() bool { return a.tree()["x.o"] == "b again" })
}

func TestTheRulesOfTheRemoteHoldAtAFirstAttach(t *testing.T) {
	w := newWorld(t)
	a := w.machine("a").start()
	a.write(ignore.Name, "node_modules/\n")
	a.write("src/"+ignore.Name, "*.o\n")
	a.write("src/x.c", "x")
	a.flush()
	b := w.machine("b")
	b.write("node_modules/m/index.js", "of b")
	b.write("src/x.c", "x")
	b.write("src/x.o", "of b")
	b.write("src/mine.c", "of b")
	b.start()
	b.flush()
	b.safe()
	same(t, "the line", w.line(a), map[string]string{
		ignore.Name: "node_modules/\n", "src": "dir", "src/" + ignore.Name: "*.o\n", "src/x.c": "x", "src/mine.c": "of b",
	})
	if b.tree()["node_modules/m/index.js"] != "of b" || b.tree()["src/x.o"] != "of b" {
		t.Errorf("b lost what is ignored: %v", b.tree())
	}
}
