package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

func TestChunksReadBackInEveryState(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	all := putMany(t, s, 0, 50, 3000)
	big := noise(1, 3<<20)
	all[put(t, s, chunk.Data, big)] = big
	all[put(t, s, chunk.Data, nil)] = nil
	listing := text(7, 500)
	tree := put(t, s, chunk.Tree, listing)
	check := func(state string, s *store.Store) {
		t.Run(state, func(t *testing.T) {
			all.wantIn(t, s)
			wantChunk(t, s, chunk.Tree, tree, listing)
			if _, err := s.Get(t.Context(), chunk.Tree, chunk.ID{1}); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an unknown chunk: %v", err)
			}
		})
	}
	check("open", s)
	must(t, s.Flush(t.Context()))
	check("flushed", s)
	must(t, s.Upload(t.Context(), nil))
	check("uploaded", s)
	names, size := s.Pending()
	if len(names) != 2 || size < 3<<20 {
		t.Fatalf("pending %v, %d bytes", names, size)
	}
	must(t, s.Committed(t.Context(), names))
	if names, size := s.Pending(); len(names) != 0 || size != 0 {
		t.Fatalf("pending after commit: %v, %d bytes", names, size)
	}
	check("committed", s)
	must(t, s.Close())
	check("opened again", m.open())
	check("on another machine", newMachine(t, remote, keys).open())
	bare := &machine{t: t, remote: remote, keys: keys}
	check("without a disk", bare.open())
}

func TestEqualContentIsStoredOnce(t *testing.T) {
	remote := blob.NewMem(nil)
	s := newMachine(t, remote, newKeys(t)).open()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 40 {
				if _, err := s.Put(context.Background(), chunk.Data, noise(uint64(i), 10_000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	round(t, s)
	if st, err := s.Stats(t.Context()); err != nil || st.Chunks != 40 || st.PlainBytes != 400_000 || st.StoredBytes > 450_000 || st.SpoolBytes != 0 {
		t.Fatalf("stats %+v, %v", st, err)
	}
	putMany(t, s, 0, 0, 0)
	for i := range 40 {
		put(t, s, chunk.Data, noise(uint64(i), 10_000))
	}
	must(t, s.Flush(t.Context()))
	if names, _ := s.Pending(); len(names) != 0 {
		t.Fatalf("content that is there was stored again: %v", names)
	}
}

func TestAnotherMachineDedupsAgainstTheIndex(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	a, b := newMachine(t, remote, keys).open(), newMachine(t, remote, keys).open()
	all := putMany(t, a, 0, 20, 2000)
	round(t, a)
	must(t, b.Refresh(t.Context()))
	for id := range all {
		if has, err := b.Has(t.Context(), chunk.Data, id); !has || err != nil {
			t.Fatalf("Has = %v, %v", has, err)
		}
	}
	putMany(t, b, 0, 20, 2000)
	must(t, b.Flush(t.Context()))
	if names, _ := b.Pending(); len(names) != 0 {
		t.Fatalf("stored again: %v", names)
	}
}

func TestARoundGoesInOneCommit(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	other := newMachine(t, remote, keys).open()
	all := putMany(t, s, 0, 3, 500)
	must(t, s.Flush(t.Context()))
	blobs, err := s.Small(1 << 20)
	if err != nil || len(blobs) != 2 {
		t.Fatalf("Small = %d blobs, %v", len(blobs), err)
	}
	again, err := s.Small(1 << 20)
	if err != nil || len(again) != 2 || again[1].Name != blobs[1].Name {
		t.Fatalf("Small names other blobs the second time: %v", err)
	}
	if none, err := s.Small(100); err != nil || none != nil {
		t.Fatalf("Small(100) = %v, %v", none, err)
	}
	_, err = remote.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("head"), Blobs: blobs})
	must(t, err)
	var names []string
	for _, b := range blobs {
		names = append(names, b.Name)
	}
	must(t, s.Committed(t.Context(), names))
	if names, _ := s.Pending(); len(names) != 0 {
		t.Fatalf("still pending: %v", names)
	}
	all.wantIn(t, s)
	must(t, other.Learn(t.Context(), blobs))
	counted := &counting{Store: remote}
	learnt := newMachine(t, counted, keys).open()
	must(t, learnt.Learn(t.Context(), blobs))
	counted.gets.Store(0)
	all.wantIn(t, learnt)
	if n := counted.gets.Load(); n != 0 {
		t.Errorf("reading what was learnt took %d requests", n)
	}
	all.wantIn(t, other)
	must(t, s.Refresh(t.Context()))
	all.wantIn(t, s)
	if blobs, err := s.Small(1 << 20); err != nil || blobs == nil || len(blobs) != 0 {
		t.Fatalf("Small with nothing pending = %v, %v", blobs, err)
	}
}

func TestLearnRefusesWhatIsDamaged(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	s := newMachine(t, remote, keys).open()
	putMany(t, s, 0, 3, 500)
	must(t, s.Flush(t.Context()))
	blobs, err := s.Small(1 << 20)
	must(t, err)
	other := newMachine(t, remote, keys).open()
	for _, b := range blobs {
		bad := bytes.Clone(b.Data)
		bad[len(bad)/2] ^= 1
		if err := other.Learn(t.Context(), []blob.Blob{{Name: b.Name, Data: bad}}); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: error %v, want ErrCorrupt", b.Name, err)
		}
	}
}

func TestAMarkedPackCountsAsAbsentAndIsStillRead(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	s := newMachine(t, remote, keys).open()
	all := putMany(t, s, 0, 10, 1000)
	round(t, s)
	packs := listNames(t, remote, "packs/")
	other := newMachine(t, remote, keys).open()
	n, err := other.Mark(t.Context(), packs)
	if err != nil || n != 1 {
		t.Fatalf("Mark = %d, %v", n, err)
	}
	must(t, s.Refresh(t.Context()))
	all.wantIn(t, s)
	for id, data := range all {
		if has, err := s.Has(t.Context(), chunk.Data, id); has || err != nil {
			t.Fatalf("Has = %v, %v for a marked pack", has, err)
		}
		put(t, s, chunk.Data, data)
		if has, err := s.Has(t.Context(), chunk.Data, id); !has || err != nil {
			t.Fatalf("Has = %v, %v after it was put again", has, err)
		}
	}
	round(t, s)
	if now := listNames(t, remote, "packs/"); len(now) != len(packs)+1 {
		t.Fatalf("packs %v", now)
	}
	for _, name := range packs {
		must(t, remote.Delete(t.Context(), name))
	}
	all.wantIn(t, s)
	all.wantIn(t, newMachine(t, remote, keys).open())
	if n, err := other.Mark(t.Context(), nil); err != nil || n != 2 {
		t.Fatalf("second Mark = %d, %v", n, err)
	}
	// The same holds where the index is a run.
	must(t, s.CompactIndex(t.Context()))
	_, err = s.Mark(t.Context(), listNames(t, remote, "packs/"))
	must(t, err)
	fresh := newMachine(t, remote, keys).open()
	for id := range all {
		if has, err := fresh.Has(t.Context(), chunk.Data, id); has || err != nil {
			t.Fatalf("Has = %v, %v for a marked pack in a run", has, err)
		}
	}
}

// offline is a remote that can be cut off.
type offline struct {
	blob.Store
	cut atomic.Bool
}

func (o *offline) err() error {
	if o.cut.Load() {
		return blob.ErrOffline
	}
	return nil
}

func (o *offline) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := o.err(); err != nil {
		return nil, err
	}
	return o.Store.Get(ctx, name, offset, length)
}

func (o *offline) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if err := o.err(); err != nil {
		return err
	}
	return o.Store.Put(ctx, name, r, size)
}

func (o *offline) List(ctx context.Context, prefix, after string, fn func(blob.Info) error) error {
	if err := o.err(); err != nil {
		return err
	}
	return o.Store.List(ctx, prefix, after, fn)
}

func TestWithoutTheRemoteCachesAndSpoolGoOn(t *testing.T) {
	remote, keys := &offline{Store: blob.NewMem(nil)}, newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	old := putMany(t, s, 0, 10, 1000)
	round(t, s)
	compacted := putMany(t, s, 100, 10, 1000)
	round(t, s)
	must(t, s.CompactIndex(t.Context()))
	compacted.wantIn(t, s)
	must(t, s.Close())

	remote.cut.Store(true)
	s = m.open()
	old.wantIn(t, s)
	compacted.wantIn(t, s)
	fresh := putMany(t, s, 50, 10, 1000)
	must(t, s.Flush(t.Context()))
	fresh.wantIn(t, s)
	if err := s.Upload(t.Context(), nil); !errors.Is(err, blob.ErrOffline) {
		t.Fatalf("Upload: %v, want ErrOffline", err)
	}
	if _, err := s.Get(t.Context(), chunk.Data, chunk.ID{9}); !errors.Is(err, blob.ErrOffline) {
		t.Fatalf("Get of what is unknown: %v, want ErrOffline", err)
	}
	remote.cut.Store(false)
	round(t, s)
	fresh.wantIn(t, newMachine(t, remote, keys).open())
}

// A server whose data was moved away lists nothing, and says so without an error.
func TestARemoteThatHoldsNothingAnyMoreIsNotBelieved(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	all := putMany(t, s, 0, 3, 500)
	round(t, s)
	must(t, s.Close())
	m.remote = blob.NewMem(nil)
	s = m.open()
	all.wantIn(t, s)
	if err := s.Refresh(t.Context()); !errors.Is(err, blob.ErrOffline) {
		t.Errorf("Refresh: %v, want ErrOffline", err)
	}
	all.wantIn(t, s)
}

// A commit carries all that is pending, but says so of its own part only; the
// rest goes with the next one, whose index is another.
func TestWithoutTheRemoteAllCommitsOfABurstAreKnown(t *testing.T) {
	remote, keys := &offline{Store: blob.NewMem(nil)}, newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	one := putMany(t, s, 0, 3, 500)
	must(t, s.Flush(t.Context()))
	first, _ := s.Pending()
	two := putMany(t, s, 10, 3, 500)
	must(t, s.Flush(t.Context()))
	for _, names := range [][]string{first, nil} {
		blobs, err := s.Small(1 << 20)
		must(t, err)
		for _, b := range blobs {
			err := remote.Put(t.Context(), b.Name, bytes.NewReader(b.Data), int64(len(b.Data)))
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Fatal(err)
			}
		}
		if names == nil {
			names, _ = s.Pending()
		}
		must(t, s.Committed(t.Context(), names))
	}
	must(t, s.Close())
	remote.cut.Store(true)
	s = m.open()
	one.wantIn(t, s)
	two.wantIn(t, s)
}

func TestASpoolHasOneOwner(t *testing.T) {
	m := newMachine(t, blob.NewMem(nil), newKeys(t))
	s := m.open()
	if _, err := store.Open(t.Context(), m.remote, m.keys, m.o); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("a second Open: %v, want ErrInUse", err)
	}
	must(t, s.Close())
	m.open()
}

func TestASpoolLimitRefusesAndLosesNothing(t *testing.T) {
	remote := blob.NewMem(nil)
	m := newMachine(t, remote, newKeys(t))
	m.o.SpoolLimit = 1 << 20
	s := m.open()
	all := stored{}
	var err error
	for i := 0; err == nil && i < 200; i++ {
		data := noise(uint64(i), 50_000)
		var id chunk.ID
		if id, err = s.Put(t.Context(), chunk.Data, data); err == nil {
			all[id] = data
		}
	}
	if !errors.Is(err, store.ErrSpoolFull) || len(all) < 10 {
		t.Fatalf("after %d chunks: %v, want ErrSpoolFull", len(all), err)
	}
	if st, err := s.Stats(t.Context()); err != nil || st.SpoolFull == 0 && st.SpoolBytes < 900<<10 {
		t.Fatalf("stats %+v, %v", st, err)
	}
	must(t, s.Flush(t.Context()))
	must(t, s.Upload(t.Context(), nil)) // frees what is on the remote beyond half the limit
	data := noise(1000, 300_000)
	all[put(t, s, chunk.Data, data)] = data
	all.wantIn(t, s)
	round(t, s)
	all.wantIn(t, s)
	if names, _ := s.Pending(); len(names) != 0 {
		t.Fatalf("pending %v", names)
	}
}

func TestManyGoroutinesPutFlushUploadAndGet(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	s := newMachine(t, remote, keys).open()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards all
	all := stored{}
	for w := range 6 {
		wg.Go(func() {
			for i := range 150 {
				data := noise(uint64(w/2*1000+i), 30_000+i)
				id, err := s.Put(ctx, chunk.Data, data)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := s.Get(ctx, chunk.Data, id); err != nil || !bytes.Equal(got, data) {
					t.Errorf("Get: %d bytes, %v", len(got), err)
				}
				mu.Lock()
				all[id] = data
				mu.Unlock()
			}
		})
	}
	stop := make(chan struct{})
	var rounds sync.WaitGroup
	for _, do := range []func() error{
		func() error {
			if err := s.Flush(ctx); err != nil {
				return err
			}
			names, _ := s.Pending()
			if err := s.Upload(ctx, nil); err != nil {
				return err
			}
			return s.Committed(ctx, names)
		},
		func() error { return s.Refresh(ctx) },
		func() error { return s.CompactIndex(ctx) },
	} {
		rounds.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	rounds.Wait()
	round(t, s)
	all.wantIn(t, s)
	all.wantIn(t, newMachine(t, remote, keys).open())
	var problems []store.Problem
	must(t, s.Check(ctx, everyPack, nil, func(p store.Problem) { problems = append(problems, p) }))
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
}

func TestProgressTellsEveryByteOnce(t *testing.T) {
	remote := blob.NewMem(nil)
	s := newMachine(t, remote, newKeys(t)).open()
	for i := range 30 {
		put(t, s, chunk.Data, noise(uint64(i), 1<<20))
	}
	must(t, s.Flush(t.Context()))
	var told int64
	must(t, s.Upload(t.Context(), func(n int64) { told += n }))
	var size int64
	must(t, remote.List(t.Context(), "", "", func(i blob.Info) error { size += i.Size; return nil }))
	if told != size {
		t.Fatalf("told %d bytes of %d", told, size)
	}
}

func TestPutRefusesWhatItCannotKeep(t *testing.T) {
	m := newMachine(t, blob.NewMem(nil), newKeys(t))
	s := m.open()
	if _, err := s.Put(t.Context(), chunk.Data, make([]byte, store.MaxChunk+1)); err == nil {
		t.Error("a chunk that is too long was taken")
	}
	if _, err := s.Put(t.Context(), chunk.Kind(9), []byte("x")); err == nil {
		t.Error("a chunk of an unknown kind was taken")
	}
	must(t, s.Close())
	if _, err := s.Put(t.Context(), chunk.Data, []byte("x")); err == nil || strings.Contains(err.Error(), "panic") {
		t.Errorf("Put after Close: %v", err)
	}
	m.o.SpoolDir = ""
	if _, err := m.open().Put(t.Context(), chunk.Data, []byte("x")); err == nil {
		t.Error("a store without a spool took a chunk")
	}
}

// A head that moved right after the index was read names chunks that this index
// does not know: they must be found all the same, at once.
func TestAChunkThatCameRightAfterARefreshIsFound(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	a, b := newMachine(t, remote, keys).open(), newMachine(t, remote, keys).open()
	must(t, b.Refresh(t.Context()))
	for seed := range uint64(3) {
		data := noise(seed, 5000)
		id := put(t, a, chunk.Data, data)
		round(t, a)
		wantChunk(t, b, chunk.Data, id, data)
	}
}
