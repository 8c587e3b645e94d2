package store_test

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
)

// A pack that the disk refused is finished later, also when nobody comes to a
// Flush because Put is refused.
func TestPutGoesOnByItselfAfterTheDiskFailed(t *testing.T) {
	m := newMachine(t, blob.NewMem(nil), newKeys(t))
	var broken atomic.Bool
	broken.Store(true)
	m.o.Hook = func(point string) error {
		if broken.Load() && point == "pack" {
			return syscall.EIO
		}
		return nil
	}
	s := m.open()
	refused := false
	for i := 0; i < 200 && !refused; i++ {
		_, err := s.Put(t.Context(), chunk.Data, noise(uint64(i), 1<<20))
		refused = errors.Is(err, syscall.EIO)
		if err != nil && !refused {
			t.Fatal(err)
		}
	}
	if !refused {
		t.Fatal("nothing was refused")
	}
	broken.Store(false)
	data := noise(1000, 1<<20)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := s.Put(t.Context(), chunk.Data, data); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("still: %v", err)
		}
	}
	must(t, s.Flush(t.Context()))
	for i := range 17 { // the pack that could not be finished
		want := noise(uint64(i), 1<<20)
		wantChunk(t, s, chunk.Data, put(t, s, chunk.Data, want), want)
	}
}
