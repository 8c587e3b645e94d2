package upkeep_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/upkeep"
	"github.com/syncfs/syncfs/versions"
)

var errCrash = errors.New("crash")

// Writers, forgets and prunes without a grace, all at once; prunes and writers
// end at random points and others go on. Nothing that a version needs may go.
func TestNothingInUseIsLostByPrunesBesideWriters(t *testing.T) {
	for round := range 4 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			w := newWorld(t, clock(time.Second))
			w.remote = jumpy{w.remote}
			folders := []string{w.create("a").ID, w.create("b").ID}
			// Contents come again and again, so that writers meet what is garbage.
			pool := make([][]byte, 12)
			for i := range pool {
				pool[i] = content(i+100*round, 3000+500*i)
			}
			var work sync.WaitGroup
			stop := make(chan struct{})
			for n := range 2 {
				m := w.writer(fmt.Sprintf("m%d", n))
				work.Go(func() {
					for range 25 {
						files := map[string][]byte{}
						for i := range rand.N(5) {
							files[fmt.Sprintf("f%02d", i)] = pool[rand.N(len(pool))]
						}
						if _, err := m.commit(ctx, folders[rand.N(2)], files); err != nil {
							t.Errorf("commit: %v", err)
						}
						if rand.N(3) > 0 {
							continue
						}
						f, err := m.lines.Folder(ctx, folders[rand.N(2)])
						if err == nil {
							err = forgetAllBut(ctx, m.lines, f, 1+rand.N(3))
						}
						if err != nil && !errors.Is(err, line.ErrNewest) {
							t.Errorf("forget: %v", err)
						}
					}
				})
			}
			var pruners sync.WaitGroup
			for range 2 {
				pruners.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						left := rand.N(40)
						hook := func(string) error {
							if left--; left == 0 {
								return errCrash
							}
							return nil
						}
						var mu sync.Mutex
						_, err := w.prune(store.PruneOptions{}, func(p string) error {
							mu.Lock()
							defer mu.Unlock()
							return hook(p)
						})
						if err != nil && !errors.Is(err, errCrash) {
							t.Errorf("prune: %v", err)
						}
						if rand.N(4) == 0 {
							s := w.reader(nil)
							if err := s.CompactIndex(ctx); err != nil {
								t.Logf("compact: %v", err)
							}
							s.Close()
							for _, id := range folders {
								if err := w.lines().Fold(ctx, id, time.Now().Add(time.Hour)); err != nil {
									t.Logf("fold: %v", err)
								}
							}
						}
					}
				})
			}
			work.Wait()
			close(stop)
			pruners.Wait()
			w.verify()
			// When all is quiet, a prune takes what is left over.
			_, err := w.prune(store.PruneOptions{}, nil)
			must(t, err)
			w.verify()
			s := w.reader(nil)
			must(t, s.Check(ctx, everyPack, nil, func(p store.Problem) { t.Errorf("%+v", p) }))
		})
	}
}

func forgetAllBut(ctx context.Context, lines *line.Lines, f line.Folder, n int) error {
	plan, err := upkeep.Decide(ctx, lines, f, versions.Retention{Count: map[versions.Unit]int{versions.Every: n}}, time.UTC)
	if err != nil {
		return err
	}
	return plan.CarryOut(ctx, lines)
}

// history makes versions of a folder, each with a file of its own beside a
// common one.
func history(t *testing.T, w *world, m *writer, folder string, n int) {
	t.Helper()
	for i := range n {
		_, err := m.commit(context.Background(), folder, map[string][]byte{
			"f00": content(1, 40_000), "f01": content(1000+i, 50_000),
		})
		must(t, err)
	}
}

func (w *world) bytes() (n int64) {
	w.t.Helper()
	for _, name := range w.names("packs/") {
		i, err := w.remote.Stat(context.Background(), name)
		must(w.t, err)
		n += i.Size
	}
	return n
}

func TestAPruneFreesWhatWasForgotten(t *testing.T) {
	w := newWorld(t, clock(time.Second))
	f := w.create("docs")
	history(t, w, w.writer("a"), f.ID, 20)
	before := w.bytes()
	dry, err := w.prune(store.PruneOptions{DryRun: true}, nil)
	must(t, err)
	must(t, forgetAllBut(t.Context(), w.lines(), w.head(f.ID), 5))
	dry, err = w.prune(store.PruneOptions{DryRun: true}, nil)
	must(t, err)
	if w.bytes() != before {
		t.Fatal("a rehearsal has changed something")
	}
	res, err := w.prune(store.PruneOptions{}, nil)
	must(t, err)
	if res.Freed == 0 || res.Deleted != dry.Deleted || res.Freed != dry.Freed {
		t.Errorf("%+v, rehearsed %+v", res, dry)
	}
	if n := w.verify(); n != 5 {
		t.Errorf("%d versions are left", n)
	}
	// 15 of 20 files of 50 kB are gone.
	if after := w.bytes(); after > before/3 {
		t.Errorf("%d bytes of %d are left", after, before)
	}
	again, err := w.prune(store.PruneOptions{}, nil)
	if must(t, err); again.Deleted != 0 || again.Freed != 0 {
		t.Errorf("a second prune did something: %+v", again)
	}
}

func TestTheGraceSparesARunningUpload(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, time.Now)
	f := w.create("docs")
	m := w.writer("a")
	head := w.head(f.ID)
	snap, err := m.snapshot(ctx, head, map[string][]byte{"f00": content(1, 50_000)})
	must(t, err)
	must(t, m.store.Upload(ctx, nil))
	res, err := w.prune(store.PruneOptions{Grace: time.Hour}, nil)
	must(t, err)
	if res.Deleted != 0 || res.Young == 0 {
		t.Errorf("%+v", res)
	}
	_, err = m.lines.Commit(ctx, head, snap, nil)
	must(t, err) // nothing was marked, so no head moved
	w.verify()
}

// A writer has stored its chunks, or relies on those that are garbage, and a
// whole prune comes before its compare-and-set.
func TestAPruneBetweenStoringAndCommitMakesTheWriterDecideAgain(t *testing.T) {
	ctx := t.Context()
	for _, test := range []string{"uploaded", "relied on"} {
		t.Run(test, func(t *testing.T) {
			w := newWorld(t, clock(time.Second))
			f := w.create("docs")
			m := w.writer("a")
			files := map[string][]byte{"f00": content(1, 50_000)}
			if test == "relied on" {
				_, err := m.commit(ctx, f.ID, files)
				must(t, err)
				_, err = m.commit(ctx, f.ID, map[string][]byte{"f01": content(2, 100)})
				must(t, err)
				must(t, forgetAllBut(ctx, m.lines, w.head(f.ID), 1))
			}
			head := w.head(f.ID)
			must(t, m.store.Refresh(ctx))
			snap, err := m.snapshot(ctx, head, files)
			must(t, err)
			must(t, m.store.Upload(ctx, nil))
			res, err := w.prune(store.PruneOptions{}, nil)
			must(t, err)
			if res.Deleted == 0 {
				t.Fatal("nothing was deleted: the test tries nothing")
			}
			if _, err := m.lines.Commit(ctx, head, snap, nil); !errors.Is(err, line.ErrMoved) {
				t.Fatalf("the commit was taken: %v", err)
			}
			_, err = m.commit(ctx, f.ID, files)
			must(t, err)
			w.verify()
		})
	}
}

func TestAPruneGoesOnWhereverItWasKilled(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t, clock(time.Second))
		f := w.create("docs")
		history(t, w, w.writer("a"), f.ID, 10)
		must(t, forgetAllBut(t.Context(), w.lines(), w.head(f.ID), 3))
		left := at
		var mu sync.Mutex
		_, err := w.prune(store.PruneOptions{}, func(string) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				return errCrash
			}
			return nil
		})
		if err == nil {
			if at < 10 {
				t.Errorf("it ended after %d steps: it has too few hooks", at)
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if n := w.verify(); n != 3 {
			t.Fatalf("killed at step %d: %d versions", at, n)
		}
		_, err = w.prune(store.PruneOptions{}, nil)
		must(t, err)
		w.verify()
		if n := w.bytes(); n > 250_000 { // 190 kB are in use
			t.Errorf("killed at step %d: %d bytes are left", at, n)
		}
		s := w.reader(nil)
		must(t, s.Check(t.Context(), everyPack, nil, func(p store.Problem) { t.Errorf("killed at step %d: %+v", at, p) }))
		s.Close()
	}
}

// When the only index of packs is lost, what is in them is not known to be
// unused.
func TestAPruneDeletesNothingOfWhichTheIndexIsLost(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, clock(time.Second))
	f := w.create("docs")
	history(t, w, w.writer("a"), f.ID, 4)
	for _, name := range w.names("index/") {
		must(t, w.remote.Delete(ctx, name))
	}
	packs := len(w.names("packs/"))
	if _, err := w.prune(store.PruneOptions{}, nil); !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, versions.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if n := len(w.names("packs/")); n != packs {
		t.Fatalf("%d of %d packs are left", n, packs)
	}
	s := w.reader(nil)
	must(t, s.RebuildIndex(ctx, nil, func(p store.Problem) { t.Errorf("%+v", p) }))
	_, err := w.prune(store.PruneOptions{}, nil)
	must(t, err)
	w.verify()
}

func TestAPruneRefusesWhereSomethingInUseIsMissing(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, clock(time.Second))
	f := w.create("docs")
	history(t, w, w.writer("a"), f.ID, 12)
	must(t, forgetAllBut(ctx, w.lines(), w.head(f.ID), 8))
	packs := w.names("packs/")
	var last blob.Info // of the newest version
	for _, name := range packs {
		info, err := w.remote.Stat(ctx, name)
		if must(t, err); info.Modified.After(last.Modified) {
			last = info
		}
	}
	must(t, w.remote.Delete(ctx, last.Name))
	res, err := w.prune(store.PruneOptions{}, nil)
	left := len(w.names("packs/"))
	if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, versions.ErrCorrupt) || res.Deleted != 0 || left != len(packs)-1 {
		t.Errorf("%v, %+v, %d packs left of %d", err, res, left, len(packs))
	}
}

// What a round a minute leaves becomes few packs again.
func TestAPruneMergesSmallPacks(t *testing.T) {
	w := newWorld(t, clock(time.Second))
	f := w.create("docs")
	history(t, w, w.writer("a"), f.ID, 20)
	before := len(w.names("packs/"))
	res, err := w.prune(store.PruneOptions{}, nil)
	must(t, err)
	if packs := w.names("packs/"); len(packs) != 2 || before < 40 || res.Merged != int64(before) {
		t.Errorf("%d packs of %d are left: %+v", len(packs), before, res)
	}
	if n := w.verify(); n != 20 {
		t.Errorf("%d versions", n)
	}
	again, err := w.prune(store.PruneOptions{}, nil)
	if must(t, err); again.Deleted != 0 {
		t.Errorf("a second prune did something: %+v", again)
	}
}
