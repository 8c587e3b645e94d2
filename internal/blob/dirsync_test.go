package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/blob"
)

var errDisk = errors.New("input/output error")

// syncs counts, by directory below root, how often it was synced, and lets
// those fail that fail chooses.
type syncs struct {
	root string

	mu   sync.Mutex // guards all below
	done map[string]int
	fail func(dir string) bool
}

func watchSyncs(d *blob.Dir, root string) *syncs {
	s := &syncs{root: root, done: map[string]int{}}
	blob.SyncWith(d, func(dir string) error {
		rel, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fail != nil && s.fail(rel) {
			return errDisk
		}
		s.done[rel]++
		return atomicfile.SyncDir(dir)
	})
	return s
}

func (s *syncs) failing(fn func(dir string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fn
}

func (s *syncs) of(dir string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done[dir]
}

func TestAnObjectWhoseNameCouldNotBeSyncedIsNotThere(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root, time.Now)
	s := watchSyncs(d, root)
	must(t, d.Put(t.Context(), "packs/aa/first", strings.NewReader("x"), 1))
	s.failing(func(dir string) bool { return dir == "packs/aa" })
	put := func() error { return d.Put(t.Context(), "packs/aa/p", strings.NewReader("pack"), 4) }
	if err := put(); !errors.Is(err, errDisk) {
		t.Fatalf("Put = %v", err)
	}
	s.failing(nil)
	// ErrExist would say that it is stored.
	must(t, put())
	if err := put(); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("Put of what is there = %v", err)
	}
}

func TestATakenNameIsSyncedBeforeItCountsAsStored(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root, time.Now)
	must(t, d.Put(t.Context(), "packs/aa/p", strings.NewReader("pack"), 4))
	must(t, d.Close())
	// Another process: it cannot know whether the first one came to its sync.
	d = openDir(t, root, time.Now)
	s := watchSyncs(d, root)
	put := func() error { return d.Put(t.Context(), "packs/aa/p", strings.NewReader("pack"), 4) }
	if err := put(); !errors.Is(err, fs.ErrExist) || s.of("packs/aa") == 0 {
		t.Fatalf("Put = %v after %d syncs", err, s.of("packs/aa"))
	}
	s.failing(func(dir string) bool { return dir == "packs/aa" })
	if err := put(); !errors.Is(err, errDisk) || errors.Is(err, fs.ErrExist) {
		t.Fatalf("Put with a failing sync = %v", err)
	}
}

func TestDirectoriesThatAreThereAreSyncedOnce(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "packs/aa"), 0o700)) // by a process that died before it synced
	d := openDir(t, root, time.Now)
	s := watchSyncs(d, root)
	for i := range 3 {
		must(t, d.Put(t.Context(), fmt.Sprintf("packs/aa/%d", i), strings.NewReader("x"), 1))
	}
	if s.of(".") != 1 || s.of("packs") != 1 {
		t.Fatalf("root synced %d times, packs %d times", s.of("."), s.of("packs"))
	}
}

func TestAHeadIsDurableBeforeAnybodySeesIt(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root, time.Now)
	must(t, commit(d, 0))
	must(t, d.Close())
	d = openDir(t, root, time.Now)
	s := watchSyncs(d, root)
	s.failing(func(dir string) bool { return dir == ".syncfs/heads" })
	for range 2 {
		if h, err := d.Head(t.Context(), "f"); !errors.Is(err, errDisk) {
			t.Fatalf("Head = %+v, %v", h, err)
		}
		if _, err := d.ListHeads(t.Context()); !errors.Is(err, errDisk) {
			t.Fatalf("ListHeads = %v", err)
		}
	}
	s.failing(nil)
	for range 3 {
		if h, err := d.Head(t.Context(), "f"); err != nil || h.Number != 1 {
			t.Fatalf("Head = %+v, %v", h, err)
		}
	}
	if n := s.of(".syncfs/heads"); n != 1 {
		t.Errorf("synced %d times, want once", n)
	}
}

func TestAHeadThatCouldNotBeSyncedIsWrittenAnewBeforeItIsSeen(t *testing.T) {
	for _, record := range []bool{true, false} {
		t.Run(fmt.Sprint("record ", record), func(t *testing.T) {
			root := t.TempDir()
			d := openDir(t, root, time.Now)
			s := watchSyncs(d, root)
			must(t, commit(d, 0))
			s.failing(func(dir string) bool { return dir == ".syncfs/heads" })
			c := blob.Commit{Expect: 1, Sealed: []byte("two")}
			if record {
				c.ID, c.Record = fmt.Sprintf("%064x", 2), []byte("r2")
			}
			if _, err := d.Commit(t.Context(), "f", c); !errors.Is(err, errDisk) {
				t.Fatalf("Commit = %v", err)
			}
			if h, err := d.Head(t.Context(), "f"); !errors.Is(err, errDisk) {
				t.Fatalf("Head = %+v, %v: not known to be durable", h, err)
			}
			before, err := os.Stat(filepath.Join(root, ".syncfs/heads/f.head"))
			must(t, err)
			s.failing(nil)
			h, err := d.Head(t.Context(), "f")
			if err != nil || h.Number != 2 || string(h.Sealed) != "two" {
				t.Fatalf("Head = %+v, %v", h, err)
			}
			after, err := os.Stat(filepath.Join(root, ".syncfs/heads/f.head"))
			must(t, err)
			if os.SameFile(before, after) {
				t.Error("a second sync of the same file proves nothing")
			}
			if record {
				if _, err := d.Stat(t.Context(), h.Record); err != nil {
					t.Errorf("the record of the head: %v", err)
				}
			}
			must(t, commit(d, 2))
		})
	}
}

func commit(d *blob.Dir, expect uint64) error {
	_, err := d.Commit(context.Background(), "f", blob.Commit{
		Expect: expect, Sealed: []byte("h"), ID: fmt.Sprintf("%064x", expect+100), Record: []byte("r"),
	})
	return err
}

func TestACommitsBlobsAreDurableInOrder(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root, time.Now)
	s := watchSyncs(d, root)
	s.failing(func(dir string) bool { return dir == "packs/bb" })
	_, err := d.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("h"), Blobs: []blob.Blob{
		{Name: "packs/aa/1", Data: []byte("1")}, {Name: "packs/bb/2", Data: []byte("2")}, {Name: "index/delta/3", Data: []byte("3")},
	}})
	if !errors.Is(err, errDisk) {
		t.Fatalf("Commit = %v", err)
	}
	for _, name := range []string{"packs/bb/2", "index/delta/3"} {
		if _, err := d.Stat(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there, though a pack that it needs is not durable: %v", name, err)
		}
	}
	if _, err := d.Head(t.Context(), "f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a head: %v", err)
	}
}

func TestADamagedHeadDoesNotHideTheOthers(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root, time.Now)
	for _, folder := range []string{"a", "b", "c"} {
		_, err := d.Commit(t.Context(), folder, blob.Commit{Sealed: []byte(folder)})
		must(t, err)
	}
	must(t, os.WriteFile(filepath.Join(root, ".syncfs/heads/b.head"), []byte("{"), 0o600))
	must(t, os.WriteFile(filepath.Join(root, ".syncfs/heads/b.next"), []byte("{"), 0o600))
	d = openDir(t, root, time.Now)
	heads, err := d.ListHeads(t.Context())
	if err != nil || len(heads) != 3 || heads[0].Number != 1 || heads[1].Number != 1 || heads[1].Sealed != nil || heads[2].Number != 1 {
		t.Fatalf("ListHeads = %+v, %v", heads, err)
	}
	if _, err := d.Head(t.Context(), "b"); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("Head = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = d.Watch(ctx, func() {
		if _, err := d.Commit(ctx, "c", blob.Commit{Expect: 1, Sealed: []byte("c2")}); err != nil {
			t.Error(err)
		}
	}, func(e blob.Event) {
		if e.Head.Folder == "c" && e.Head.Number == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v", err)
	}
}

func TestARemovedDirectoryIsMadeAgain(t *testing.T) {
	root := t.TempDir()
	d := openDir(t, root, time.Now)
	must(t, d.Put(t.Context(), "packs/aa/1", strings.NewReader("x"), 1))
	must(t, os.RemoveAll(filepath.Join(root, "packs/aa")))
	put := func() error { return d.Put(t.Context(), "packs/aa/2", strings.NewReader("x"), 1) }
	if err := put(); err != nil {
		must(t, put())
	}
}

func TestWaitingForAnotherProcessEndsWithTheContext(t *testing.T) {
	root := t.TempDir()
	busy, d := openDir(t, root, time.Now), openDir(t, root, time.Now)
	reached, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	blob.SyncWith(busy, func(dir string) error {
		once.Do(func() { close(reached); <-proceed })
		return atomicfile.SyncDir(dir)
	})
	done := make(chan error, 1)
	go func() {
		_, err := busy.Commit(context.Background(), "f", blob.Commit{Sealed: []byte("1")})
		done <- err
	}()
	<-reached // it has the lock and hangs
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	late := make(chan error, 1)
	go func() {
		_, err := d.Commit(ctx, "f", blob.Commit{Sealed: []byte("2")})
		late <- err
	}()
	select {
	case err := <-late:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Commit = %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Commit waits on, though its context has ended")
	}
	close(proceed)
	must(t, <-done)
	if _, err := d.Commit(t.Context(), "f", blob.Commit{Expect: 1, Sealed: []byte("2")}); err != nil {
		t.Error(err)
	}
}
