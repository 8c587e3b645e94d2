package syncer_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What was captured while there was no remote lies in the spool, and this disk
// damages it: it is read again from the files, which still have it.
func TestWhatTheSpoolLosesIsReadAgain(t *testing.T) {
	for _, tc := range []struct {
		name      string
		restarted bool
		where     func(size int) int // which byte of each pack
	}{
		{"a chunk", false, func(int) int { return 3000 }},
		{"a chunk, before a restart", true, func(int) int { return 3000 }},
		{"the directory of a pack, before a restart", true, func(size int) int { return size - 40 }},
		{"the first chunk", false, func(int) int { return 100 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.machine("a"), w.machine("b")
			a.write("old", "old")
			a.start().flush()
			b.start()
			together(t, a, b)
			a.net.offline()
			// All at once, so that it is one version: the tree of one between
			// could not be made again.
			outside := filepath.Join(a.home, "outside")
			for _, name := range []string{"one", "two", "sub/three", "small"} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(outside, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(outside, name), []byte(random(200_000)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(2 * settle) // so that none of it is too young
			if err := os.Rename(outside, filepath.Join(a.dir, "dir")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is captured", func() bool {
				st := a.run.s.Status()
				return st.Queued > 0 && st.PendingFiles == 0
			})
			if tc.restarted {
				a.stop()
			}
			packs, err := filepath.Glob(filepath.Join(a.home, "spool", "*.pack"))
			if err != nil || len(packs) < 2 {
				t.Fatalf("packs %v, %v", packs, err)
			}
			for _, p := range packs {
				data, err := os.ReadFile(p)
				if err != nil {
					t.Fatal(err)
				}
				data[min(tc.where(len(data)), len(data)-1)] ^= 1
				if err := os.WriteFile(p, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tc.restarted {
				a.start()
			}
			a.net.online()
			together(t, a, b)
			// Nothing on the remote is damaged, and a third machine needs nobody's cache.
			c := w.machine("c").start()
			together(t, a, b, c)
			for _, h := range w.records() {
				c.run.treeOf(t, h.Root)
			}
		})
	}
}

// The file has changed since: its content of then is lost, and nothing else.
func TestALostVersionHoldsUpNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	a.write("old", "old")
	a.start().flush()
	a.net.offline()
	a.write("f", random(200_000))
	eventually(t, "it is captured", func() bool { return a.run.s.Status().Queued == 1 })
	packs, _ := filepath.Glob(filepath.Join(a.home, "spool", "*.pack"))
	for _, p := range packs {
		if info, err := os.Stat(p); err == nil && info.Size() > 200_000 {
			if err := os.WriteFile(p, make([]byte, info.Size()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.write("f", "another")
	a.write("g", "more")
	a.net.online()
	a.flush()
	b := w.machine("b").start()
	together(t, a, b)
	if tree := b.tree(); tree["f"] != "another" || tree["g"] != "more" || tree["old"] != "old" {
		t.Errorf("b has %v", tree)
	}
}
