package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

func snapshotID(n int) string { return fmt.Sprintf("%064x", n) }

func commit(t *testing.T, s blob.Store, folder string, c blob.Commit) blob.Head {
	t.Helper()
	h, err := s.Commit(t.Context(), folder, c)
	if err != nil {
		t.Fatalf("Commit to %s: %v", folder, err)
	}
	return h
}

func sameHead(a, b blob.Head) bool {
	return a.Folder == b.Folder && a.Number == b.Number && a.Received.Equal(b.Received) && a.Record == b.Record && bytes.Equal(a.Sealed, b.Sealed)
}

func testHeads(t *testing.T, s blob.Store) {
	var last blob.Head
	for n := range 5 {
		sealed := []byte(fmt.Sprint("state ", n))
		h := commit(t, s, "docs", blob.Commit{Expect: uint64(n), Sealed: sealed, ID: snapshotID(n), Record: []byte("r")})
		if h.Number != uint64(n+1) || !h.Received.After(last.Received) || !bytes.Equal(h.Sealed, sealed) || h.Folder != "docs" {
			t.Fatalf("head %+v after %+v", h, last)
		}
		got, err := s.Head(t.Context(), "docs")
		if err != nil || !sameHead(got, h) {
			t.Fatalf("Head = %+v, %v; want %+v", got, err, h)
		}
		last = h
	}
}

func testCommit(t *testing.T, s blob.Store) {
	h := commit(t, s, "f", blob.Commit{
		Sealed: []byte("head"), ID: snapshotID(7), Record: []byte("record"),
		Blobs: []blob.Blob{{Name: "packs/aa/1", Data: []byte("pack")}, {Name: "index/1", Data: []byte("index")}},
	})
	folder, number, received, id, err := blob.ParseRecordName(h.Record)
	if err != nil || folder != "f" || number != 1 || !received.Equal(h.Received) || id != snapshotID(7) {
		t.Fatalf("record name %q of head %+v: %v", h.Record, h, err)
	}
	for name, want := range map[string]string{h.Record: "record", "packs/aa/1": "pack", "index/1": "index"} {
		if got := get(t, s, name, 0, -1); string(got) != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	wantNames(t, s, "snapshots/f/", "", h.Record)
}

func testMoved(t *testing.T, s blob.Store) {
	first := commit(t, s, "f", blob.Commit{Sealed: []byte("1"), ID: snapshotID(1), Record: []byte("one")})
	for _, expect := range []uint64{0, 2, 99} {
		_, err := s.Commit(t.Context(), "f", blob.Commit{
			Expect: expect, Sealed: []byte("x"), ID: snapshotID(2), Record: []byte("two"),
			Blobs: []blob.Blob{{Name: "packs/loser", Data: []byte("pack")}},
		})
		wantError(t, fmt.Sprint("Commit on ", expect), err, blob.ErrMoved)
	}
	_, err := s.Commit(t.Context(), "new", blob.Commit{Expect: 1, Sealed: []byte("x")})
	wantError(t, "Commit on a head that is not there", err, blob.ErrMoved)
	if h, err := s.Head(t.Context(), "f"); err != nil || !sameHead(h, first) {
		t.Fatalf("Head = %+v, %v; want %+v", h, err, first)
	}
	for _, name := range names(t, s, "", "") {
		if name != first.Record && name != "packs/loser" {
			t.Errorf("the refused commits left %s", name)
		}
	}
	heads, err := s.ListHeads(t.Context())
	if err != nil || len(heads) != 1 {
		t.Errorf("ListHeads = %v, %v", heads, err)
	}
}

func testCommitAgain(t *testing.T, s blob.Store) {
	put(t, s, "packs/aa/1", []byte("pack"))
	commit(t, s, "f", blob.Commit{Sealed: []byte("1"), Blobs: []blob.Blob{{Name: "packs/aa/1", Data: []byte("pack")}, {Name: "packs/aa/2", Data: []byte("two")}}})
	wantNames(t, s, "", "", "packs/aa/1", "packs/aa/2")
}

func testNoSnapshot(t *testing.T, s blob.Store) {
	a := commit(t, s, "f", blob.Commit{Sealed: []byte("empty")})
	if a.Record != "" || a.Number != 1 {
		t.Fatalf("head %+v", a)
	}
	b := commit(t, s, "f", blob.Commit{Expect: 1, Sealed: []byte("1"), ID: snapshotID(1), Record: []byte("one")})
	c := commit(t, s, "f", blob.Commit{Expect: 2, Sealed: []byte("epoch")})
	if c.Record != b.Record || c.Number != 3 || !c.Received.After(b.Received) || string(c.Sealed) != "epoch" {
		t.Fatalf("head %+v after %+v", c, b)
	}
	wantNames(t, s, "", "", b.Record)
}

func testBadCommits(t *testing.T, s blob.Store) {
	for name, c := range map[string]blob.Commit{
		"an id that is none":        {Sealed: []byte("x"), ID: "abc", Record: []byte("r")},
		"an id in capitals":         {Sealed: []byte("x"), ID: strings.Repeat("A", 64), Record: []byte("r")},
		"an id without a record":    {Sealed: []byte("x"), ID: snapshotID(1)},
		"a record without an id":    {Sealed: []byte("x"), Record: []byte("r")},
		"a blob with a wrong name":  {Sealed: []byte("x"), Blobs: []blob.Blob{{Name: "../etc"}}},
		"a blob without a name":     {Sealed: []byte("x"), Blobs: []blob.Blob{{}}},
		"a blob in a hidden corner": {Sealed: []byte("x"), Blobs: []blob.Blob{{Name: ".syncfs/heads/f.head"}}},
	} {
		if _, err := s.Commit(t.Context(), "f", c); err == nil {
			t.Errorf("a commit with %s was taken", name)
		}
	}
	for _, folder := range []string{"", ".", "a/b", "..", "a b", strings.Repeat("f", 200)} {
		if _, err := s.Commit(t.Context(), folder, blob.Commit{Sealed: []byte("x")}); err == nil {
			t.Errorf("a commit to folder %q was taken", folder)
		}
	}
	wantNames(t, s, "", "")
}

func testConcurrentCommits(t *testing.T, s blob.Store) {
	const writers, each = 6, 5
	var wg sync.WaitGroup
	var mu sync.Mutex // guards won
	won := map[uint64]blob.Head{}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if h, err := commitUntilWon(t.Context(), s, w*each+i); err != nil {
					t.Errorf("writer %d: %v", w, err)
				} else {
					mu.Lock()
					if other, taken := won[h.Number]; taken {
						t.Errorf("number %d went to %s and %s", h.Number, other.Sealed, h.Sealed)
					}
					won[h.Number] = h
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(won) != writers*each {
		t.Fatalf("%d commits won, want %d", len(won), writers*each)
	}
	var want []string
	for n := uint64(1); n <= writers*each; n++ {
		if n > 1 && !won[n].Received.After(won[n-1].Received) {
			t.Errorf("number %d was received at %v, the one before at %v", n, won[n].Received, won[n-1].Received)
		}
		want = append(want, won[n].Record)
	}
	wantNames(t, s, "snapshots/", "", want...)
}

func commitUntilWon(ctx context.Context, s blob.Store, id int) (blob.Head, error) {
	for {
		expect := uint64(0)
		if h, err := s.Head(ctx, "f"); err == nil {
			expect = h.Number
		}
		h, err := s.Commit(ctx, "f", blob.Commit{Expect: expect, Sealed: []byte(snapshotID(id)), ID: snapshotID(id), Record: []byte("r")})
		if errors.Is(err, blob.ErrMoved) {
			continue
		}
		return h, err
	}
}

func testManyFolders(t *testing.T, s blob.Store) {
	folders := []string{"0a", "b", "B", "a", "c.d", "a-1"}
	for _, f := range folders {
		commit(t, s, f, blob.Commit{Sealed: []byte(f), ID: snapshotID(1), Record: []byte("r" + f)})
	}
	commit(t, s, "a", blob.Commit{Expect: 1, Sealed: []byte("a2")})
	heads, err := s.ListHeads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(folders)
	for i, h := range heads {
		if i >= len(folders) || h.Folder != folders[i] {
			t.Fatalf("ListHeads = %+v", heads)
		}
	}
	if len(heads) != len(folders) {
		t.Fatalf("%d heads, want %d", len(heads), len(folders))
	}
}

func testWatch(t *testing.T, s blob.Store) {
	w, ok := s.(blob.Watcher)
	if !ok {
		return
	}
	commit(t, s, "f", blob.Commit{Sealed: []byte("before")})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ready, events, done := make(chan struct{}), make(chan blob.Event, 100), make(chan error, 1)
	go func() { done <- w.Watch(ctx, func() { close(ready) }, func(e blob.Event) { events <- e }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("Watch: %v", err)
	}
	var want []blob.Head
	want = append(want, commit(t, s, "f", blob.Commit{
		Expect: 1, Sealed: []byte("2"), ID: snapshotID(2), Record: []byte("two"),
		Blobs: []blob.Blob{{Name: "packs/x", Data: []byte("pack")}},
	}))
	want = append(want, commit(t, s, "g", blob.Commit{Sealed: []byte("1"), ID: snapshotID(3), Record: []byte("three")}))
	want = append(want, commit(t, s, "f", blob.Commit{Expect: 2, Sealed: []byte("3")}))
	for i, h := range want {
		select {
		case e := <-events:
			if !sameHead(e.Head, h) {
				t.Fatalf("event %d tells %+v, want %+v", i, e.Head, h)
			}
			switch i {
			case 0:
				if string(e.Entry) != "two" {
					t.Errorf("event %d carries record %q", i, e.Entry)
				}
				for _, b := range e.Blobs {
					if b.Name != "packs/x" || string(b.Data) != "pack" {
						t.Errorf("event %d carries blob %s = %q", i, b.Name, b.Data)
					}
				}
			case 1:
				if string(e.Entry) != "three" {
					t.Errorf("event %d carries record %q", i, e.Entry)
				}
			}
		case err := <-done:
			t.Fatalf("Watch ended before event %d: %v", i, err)
		case <-ctx.Done():
			t.Fatalf("event %d did not come", i)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch ended with %v", err)
	}
}
