package upkeep_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/store"
)

// full is a remote without room for more packs.
type full struct {
	blob.Store
	puts int // packs that still fit
}

func (f *full) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if strings.HasPrefix(name, "packs/") {
		if f.puts--; f.puts < 0 {
			return blob.ErrFull
		}
	}
	return f.Store.Put(ctx, name, r, size)
}

// Where there is no room to merge packs, what is unused as a whole goes still.
func TestAPruneOnAFullRemoteFreesWholePacks(t *testing.T) {
	for room := range 3 {
		w := newWorld(t, clock(time.Second))
		f := w.create("docs")
		history(t, w, w.writer("a"), f.ID, 20)
		must(t, forgetAllBut(t.Context(), w.lines(), w.head(f.ID), 10))
		before, real := w.bytes(), w.remote
		w.remote = &full{Store: real, puts: room}
		res, err := w.prune(store.PruneOptions{}, nil)
		must(t, err)
		if room < 2 && !res.FullAtMerge {
			t.Errorf("with room for %d packs it was not told: %+v", room, res)
		}
		w.remote = real
		if n := w.verify(); n != 10 {
			t.Errorf("%d versions are left", n)
		}
		if after := w.bytes(); after > before*4/5 {
			t.Errorf("with room for %d packs %d bytes of %d are left", room, after, before)
		}
	}
}
