package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

func TestWhatOnlyAnOldIndexKnowsIsPutAgain(t *testing.T) {
	remote, keys := &offline{Store: blob.NewMem(nil)}, newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	all := putMany(t, s, 0, 10, 1000)
	round(t, s)
	must(t, s.Close())
	// Elsewhere a prune marks the packs and deletes them.
	other := newMachine(t, remote, keys).open()
	packs := listNames(t, remote, "packs/")
	_, err := other.Mark(t.Context(), packs)
	must(t, err)
	for _, name := range packs {
		must(t, remote.Delete(t.Context(), name))
	}
	// Here the index of then is in the cache, and its marks are not known.
	remote.cut.Store(true)
	s = m.open()
	for id, data := range all {
		if has, err := s.Has(t.Context(), chunk.Data, id); has || err != nil {
			t.Fatalf("Has = %v, %v while nobody can know", has, err)
		}
		put(t, s, chunk.Data, data)
	}
	must(t, s.Flush(t.Context()))
	remote.cut.Store(false)
	round(t, s)
	all.wantIn(t, newMachine(t, remote, keys).open())
}

func TestADamagedMarkLeavesAllReadableAndNothingRelied(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	s := newMachine(t, remote, keys).open()
	all := putMany(t, s, 0, 10, 1000)
	round(t, s)
	_, err := s.Mark(t.Context(), nil)
	must(t, err)
	mark := listNames(t, remote, "marks/")[0]
	good := readAll(t, remote, mark)
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	replace(t, remote, mark, bad)

	fresh := newMachine(t, remote, keys).open()
	all.wantIn(t, fresh)
	for id := range all {
		if has, err := fresh.Has(t.Context(), chunk.Data, id); has || err != nil {
			t.Fatalf("Has = %v, %v: the mark might name its pack", has, err)
		}
	}
	replace(t, remote, mark, good)
	must(t, fresh.Refresh(t.Context()))
	for id := range all {
		if has, err := fresh.Has(t.Context(), chunk.Data, id); !has || err != nil {
			t.Fatalf("Has = %v, %v with the mark repaired", has, err)
		}
	}
}

func TestAChunkThatHasMovedElsewhereIsFound(t *testing.T) {
	clock := newClock()
	remote, keys := blob.NewMem(nil), newKeys(t)
	s := newMachine(t, remote, keys).open()
	all := putMany(t, s, 0, 5, 1000)
	round(t, s)
	m := newMachine(t, remote, keys)
	m.o.Now = clock.now
	reader := m.open()
	old := listNames(t, remote, "packs/")
	// Another machine stores them again, since their pack is marked, and a prune
	// deletes that.
	_, err := s.Mark(t.Context(), old)
	must(t, err)
	for _, data := range all {
		put(t, s, chunk.Data, data)
	}
	round(t, s)
	for _, name := range old {
		must(t, remote.Delete(t.Context(), name))
	}
	clock.advance(60)
	all.wantIn(t, reader)
}

// damaging lets objects arrive damaged, as a client does that verifies them.
type damaging struct {
	blob.Store
	prefix string
}

func (d *damaging) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, d.prefix) {
		return io.NopCloser(io.MultiReader(strings.NewReader("so far so good"), failing{})), nil
	}
	return d.Store.Get(ctx, name, offset, length)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, fmt.Errorf("get: %w", blob.ErrCorrupt) }

func TestWhatTheRemoteCallsDamagedIsDamaged(t *testing.T) {
	for _, prefix := range []string{"index/delta/", "index/run/", "index/shard/", "packs/", "marks/"} {
		t.Run(prefix, func(t *testing.T) {
			remote, keys := blob.NewMem(nil), newKeys(t)
			s := newMachine(t, remote, keys).open()
			for i := range 3 {
				putMany(t, s, 10*i, 5, 1000)
				round(t, s)
			}
			must(t, s.CompactIndex(t.Context()))
			bad := putMany(t, s, 100, 5, 1000)
			round(t, s)
			_, err := s.Mark(t.Context(), nil)
			must(t, err)
			fresh := newMachine(t, &damaging{Store: remote, prefix: prefix}, keys).open()
			if prefix != "packs/" {
				return // it opens: the rest is readable
			}
			for id := range bad {
				if _, err := fresh.Get(t.Context(), chunk.Data, id); !isCorrupt(err) {
					t.Fatalf("Get: %v", err)
				}
			}
			if len(check(t, fresh, true)) == 0 {
				t.Error("check found nothing")
			}
		})
	}
}

func TestACacheThatCannotBeIsOnlySlower(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	s := newMachine(t, remote, keys).open()
	all := putMany(t, s, 0, 5, 1000)
	round(t, s)
	m := newMachine(t, remote, keys)
	must(t, os.MkdirAll(filepath.Dir(m.o.CacheDir), 0o700))
	must(t, os.WriteFile(m.o.CacheDir, []byte("a file"), 0o600))
	all.wantIn(t, m.open())
	// Nor does a full disk hold it up, where there was a cache before.
	m = newMachine(t, remote, keys)
	m.o.CacheDir = filepath.Join(smallDisk(t, "1m"), "cache")
	s = m.open()
	all.wantIn(t, s)
	must(t, s.Close())
	fill(t, filepath.Join(filepath.Dir(m.o.CacheDir), "fill"))
	all.wantIn(t, m.open())
}

// fill takes all room of a disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
}

func TestPacksThatAnotherFolderHasCommittedMeanwhileHoldNobodyUp(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	slow := &gated{Store: remote, reached: make(chan struct{}, 100), proceed: make(chan struct{})}
	m := newMachine(t, slow, keys)
	s := m.open()
	all := stored{}
	for i := range 12 {
		for id, data := range putMany(t, s, 10*i, 2, 1000) {
			all[id] = data
		}
		must(t, s.Flush(t.Context()))
	}
	done := make(chan error, 1)
	go func() { done <- s.Upload(context.WithoutCancel(t.Context()), nil) }()
	<-slow.reached // the first are being sent, the others wait for their turn
	blobs, err := s.Small(1 << 30)
	must(t, err)
	for _, b := range blobs { // the commit of the other folder
		must(t, remote.Put(t.Context(), b.Name, bytes.NewReader(b.Data), int64(len(b.Data))))
	}
	names, _ := s.Pending()
	must(t, s.Committed(t.Context(), names))
	close(slow.proceed)
	if err := <-done; err != nil {
		t.Fatalf("Upload: %v", err)
	}
	must(t, s.Refresh(t.Context()))
	all.wantIn(t, s)
	all.wantIn(t, newMachine(t, remote, keys).open())
}

func TestClosingWhileAnUploadRunsEndsIt(t *testing.T) {
	slow := &gated{Store: blob.NewMem(nil), reached: make(chan struct{}, 100), proceed: make(chan struct{})}
	m := newMachine(t, slow, newKeys(t))
	s := m.open()
	all := stored{}
	for i := range 12 {
		for id, data := range putMany(t, s, 10*i, 2, 1000) {
			all[id] = data
		}
		must(t, s.Flush(t.Context()))
	}
	done := make(chan error, 1)
	go func() { done <- s.Upload(context.WithoutCancel(t.Context()), nil) }()
	<-slow.reached
	must(t, s.Close())
	close(slow.proceed)
	if err := <-done; err != nil {
		t.Logf("Upload: %v", err) // either is fine: it was closed
	}
	s = m.open()
	all.wantIn(t, s)
	round(t, s)
	all.wantIn(t, newMachine(t, slow, m.keys).open())
}

// gated holds every Put until proceed is closed.
type gated struct {
	blob.Store
	reached, proceed chan struct{}
}

func (g *gated) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	g.reached <- struct{}{}
	<-g.proceed
	return g.Store.Put(ctx, name, r, size)
}

func isCorrupt(err error) bool { return errors.Is(err, store.ErrCorrupt) }

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex // guards t
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(seconds int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Duration(seconds) * time.Second)
}
