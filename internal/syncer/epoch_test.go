package syncer_test

import (
	"context"
	"testing"

	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/store"
)

// A prune comes between the capture of a file, whose content lay in a pack that
// nothing refers to any more, and its commit.
func TestWhatAPruneMarkedIsStoredAgain(t *testing.T) {
	for _, late := range []bool{false, true} { // the pack is gone before we hear of it
		t.Run(map[bool]string{false: "marked", true: "deleted"}[late], func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			w := newWorld(t)
			a := w.machine("a").start()
			a.flush()
			content := random(3000)
			a.write("f", content)
			a.flush()
			if late { // no copy in the cache
				a.stop()
				a.forgetCache()
				a.start()
			}
			a.remove("f")
			a.flush()
			a.net.offline()
			a.write("g", content) // stored already
			eventually(t, "it is captured", func() bool { st := a.run.s.Status(); return st.Queued > 0 && st.PendingFiles == 0 })

			pruner, err := store.Open(ctx, w.mem, w.keys, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer pruner.Close()
			packs := w.packs()
			if _, err := pruner.Mark(ctx, packs); err != nil {
				t.Fatal(err)
			}
			if _, err := line.New(w.mem, w.keys).Bump(ctx, w.head(), 1); err != nil {
				t.Fatal(err)
			}
			drop := func() {
				for _, p := range packs {
					if err := w.mem.Delete(ctx, p); err != nil {
						t.Fatal(err)
					}
				}
			}
			if late {
				drop()
			}
			a.net.online()
			a.flush()
			if !late {
				drop()
			}
			b := w.machine("b").start()
			eventually(t, "b has it", func() bool { return b.tree()["g"] == content })
		})
	}
}
