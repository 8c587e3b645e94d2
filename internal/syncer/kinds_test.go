package syncer_test

import "testing"

func TestADirectoryWithDirectoriesInItGivesWayToAFile(t *testing.T) {
	w := newWorld(t)
	a, b := w.machine("a").start(), w.machine("b").start()
	a.write("x/deep/deeper/file", "in a directory")
	a.flush()
	together(t, a, b)
	a.remove("x")
	a.write("x", "a file")
	a.flush()
	together(t, a, b)
	same(t, "the other", b.tree(), map[string]string{"x": "a file"})
}
