package syncer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncfs/syncfs/internal/disk"
)

// A program that works in the moment between the check and a step, where there
// is no mount to hold it off, loses nothing.
func TestWhatAProgramDoesInTheMomentOfAStepIsKept(t *testing.T) {
	const mine = "written by the program"
	save := func(m *machine) error { // as editors do
		tmp := filepath.Join(m.dir, "f.tmp")
		if err := os.WriteFile(tmp, []byte(mine), 0o644); err != nil {
			return err
		}
		return os.Rename(tmp, filepath.Join(m.dir, "f"))
	}
	inPlace := func(m *machine) error { return os.WriteFile(filepath.Join(m.dir, "f"), []byte(mine), 0o644) }
	for _, tt := range []struct {
		name   string
		change func(a *machine)
		op     disk.Op
		do     func(m *machine) error
	}{
		{"saved over what is replaced", func(a *machine) { a.write("f", "from a") }, disk.Replace, save},
		{"written into what is replaced", func(a *machine) { a.write("f", "from a") }, disk.Replace, inPlace},
		{"saved over what is removed", func(a *machine) { a.remove("f") }, disk.Remove, save},
		{"written into what gets another mode", func(a *machine) {
			if err := os.Chmod(filepath.Join(a.dir, "f"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, disk.SetMeta, inPlace},
		{"saved over what gets another mode", func(a *machine) {
			if err := os.Chmod(filepath.Join(a.dir, "f"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, disk.SetMeta, save},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.machine("a"), w.machine("b")
			a.write("f", fmt.Sprintf("%-*s", len(mine), "base")) // of the same size
			a.start().flush()
			done := make(chan error, 1)
			b.moment = func(op disk.Op, path string) {
				if op == tt.op && path == "f" && len(done) == 0 {
					done <- tt.do(b)
				}
			}
			b.start()
			together(t, a, b)
			tt.change(a)
			a.flush()
			eventually(t, "the step", func() bool { return len(done) == 1 })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			done <- nil
			eventually(t, "it is everywhere", func() bool { return a.holds(mine) && b.holds(mine) })
			together(t, a, b)
		})
	}
}
