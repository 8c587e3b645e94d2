package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

func TestEverySubscriberSeesEveryCommitInOrder(t *testing.T) {
	w := serve(t, worldOptions{})
	const subscribers, folders, rounds = 10, 3, 30
	record := randomBytes(8, 300)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ready sync.WaitGroup
	var group errgroup.Group
	for range subscribers {
		ready.Add(1)
		group.Go(func() error {
			last := map[string]uint64{}
			done := 0
			inner, stop := context.WithCancel(ctx)
			defer stop()
			var problem error
			err := w.client(nil).Watch(inner, ready.Done, func(e blob.Event) {
				if e.Head.Number != last[e.Head.Folder]+1 {
					problem = fmt.Errorf("%s: number %d after %d", e.Head.Folder, e.Head.Number, last[e.Head.Folder])
				}
				if !bytes.Equal(e.Entry, record) || len(e.Blobs) != 1 || e.Head.Record == "" || string(e.Head.Sealed) != "head" {
					problem = fmt.Errorf("an event lacks something: %d bytes of record, %d blobs, head %+v", len(e.Entry), len(e.Blobs), e.Head)
				}
				last[e.Head.Folder] = e.Head.Number
				if done++; done == folders*rounds {
					stop()
				}
			})
			if problem != nil || done != folders*rounds {
				return fmt.Errorf("%d events, then %w, %w", done, err, problem)
			}
			return nil
		})
	}
	ready.Wait()
	c := w.client(nil)
	var writers errgroup.Group
	for f := range folders {
		writers.Go(func() error {
			for i := range uint64(rounds) {
				_, err := c.Commit(t.Context(), fmt.Sprintf("folder%d", f), blob.Commit{
					Expect: i, Sealed: []byte("head"), ID: strings.Repeat("ab", 32), Record: record,
					Blobs: []blob.Blob{{Name: fmt.Sprintf("packs/%d-%d", f, i), Data: []byte("pack")}},
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestASubscriberThatDoesNotReadIsDropped(t *testing.T) {
	w := serve(t, worldOptions{})
	request, _ := http.NewRequest(http.MethodGet, w.url+"/v1/events", nil)
	request.Header.Set("X-API-Key", testKey)
	response, err := http.DefaultClient.Do(request) // and never read
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	c := w.client(nil)
	record := randomBytes(9, 1<<20)
	dropped := func() bool { return w.metric("syncfs_server_subscribers_dropped_total") > 0 }
	begun := time.Now()
	for i := uint64(0); !dropped(); i++ {
		if i > 200 {
			t.Fatal("a subscriber that reads nothing is still there after 200 MiB")
		}
		_, err := c.Commit(t.Context(), "f", blob.Commit{Expect: i, Sealed: []byte("x"), ID: strings.Repeat("ab", 32), Record: record})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("dropped after %s", time.Since(begun))
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the stream ended as if all were well")
	}
}

func TestALargeCommitsBlobsAreNotInItsEvent(t *testing.T) {
	w := serve(t, worldOptions{})
	events := make(chan blob.Event, 2)
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	c := w.client(nil)
	go func() { watched <- c.Watch(ctx, func() { close(ready) }, func(e blob.Event) { events <- e }) }()
	<-ready
	for i, size := range []int{100 << 10, 300 << 10, 9 << 20} {
		data := randomBytes(uint64(i), size)
		name := fmt.Sprintf("packs/%d", i)
		_, err := c.Commit(t.Context(), "f", blob.Commit{
			Expect: uint64(i), Sealed: []byte("x"), ID: strings.Repeat("ab", 32), Record: []byte("record"),
			Blobs: []blob.Blob{{Name: name, Data: data}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, c, name); !bytes.Equal(got, data) {
			t.Errorf("blob of %d bytes was stored wrong", size)
		}
		e := <-events
		if carried := len(e.Blobs) == 1 && bytes.Equal(e.Blobs[0].Data, data); carried != (size < 256<<10) {
			t.Errorf("commit with %d bytes: event with %d blobs", size, len(e.Blobs))
		}
	}
	cancel()
	if err := <-watched; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

func TestARemovedTokenLosesItsStream(t *testing.T) {
	w := serve(t, worldOptions{change: func(o *remote.ServerOptions) { o.Limits.KeepAlive = 20 * time.Millisecond }})
	c := w.token("laptop", remote.RoleRead)
	ready := make(chan struct{})
	watched := make(chan error, 1)
	go func() { watched <- c.Watch(context.Background(), func() { close(ready) }, func(blob.Event) {}) }()
	<-ready
	if err := w.tokens.Remove("laptop"); err != nil {
		t.Fatal(err)
	}
	if err := <-watched; err == nil {
		t.Error("Watch went on without a token")
	}
}

func TestWhoLosesTwiceHasItsTurn(t *testing.T) {
	w := serve(t, worldOptions{})
	slow, quick := w.client(nil), w.client(nil)
	number := uint64(0)
	commit := func(c *remote.Client, expect uint64) error {
		_, err := c.Commit(t.Context(), "f", blob.Commit{Expect: expect, Sealed: []byte("x")})
		return err
	}
	for range 2 {
		if err := commit(quick, number); err != nil {
			t.Fatal(err)
		}
		if err := commit(slow, number); !errors.Is(err, blob.ErrMoved) {
			t.Fatalf("a stale commit: %v", err)
		}
		number++
	}
	// Slow has lost twice: quick waits until slow has committed, and loses then.
	lost := make(chan error, 1)
	go func() { lost <- commit(quick, number) }()
	time.Sleep(100 * time.Millisecond)
	if err := commit(slow, number); err != nil {
		t.Errorf("commit in one's turn: %v", err)
	}
	if err := <-lost; !errors.Is(err, blob.ErrMoved) {
		t.Errorf("commit in another's turn: %v, want ErrMoved", err)
	}
	if err := commit(quick, number+1); err != nil {
		t.Errorf("commit after the turn: %v", err)
	}
}

func TestListingsArePaged(t *testing.T) {
	w := serve(t, worldOptions{store: blob.NewMem(nil)})
	var want []string
	for i := range 11_000 {
		name := fmt.Sprintf("snapshots/%06d", i)
		want = append(want, name)
		if err := w.store.Put(t.Context(), name, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := w.client(nil).List(t.Context(), "snapshots/", want[99], func(i blob.Info) error { got = append(got, i.Name); return nil })
	if err != nil || !slices.Equal(got, want[100:]) {
		t.Errorf("%d names, %v, want %d", len(got), err, len(want)-100)
	}
}
