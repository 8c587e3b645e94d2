package line_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/versions"
)

func TestADamagedHeadIsNamedAndTheOthersAreListed(t *testing.T) {
	l, f := newLines(t)
	bad := grow(t, l, create(t, l, "bad"), 1)
	grow(t, l, create(t, l, "good"), 1)
	heads := &changedHeads{f.Store, func(h *blob.Head) {
		if h.Folder == bad.ID {
			h.Sealed = slices.Clone(h.Sealed)
			h.Sealed[len(h.Sealed)/2] ^= 1
		}
	}}
	f.Store = heads
	list, err := l.Folders(t.Context())
	if !errors.Is(err, line.ErrDamaged) || !strings.Contains(err.Error(), bad.ID) || len(list) != 1 || list[0].Name != "good" {
		t.Errorf("%+v, %v", list, err)
	}
	// An old head under a new number is no head.
	heads.change = func(h *blob.Head) { h.Number++ }
	if _, err := l.Folder(t.Context(), bad.ID); !errors.Is(err, line.ErrDamaged) {
		t.Errorf("another number: %v", err)
	}
}

func TestADamagedFileOfAHeadLeavesTheOthersListed(t *testing.T) {
	dir := t.TempDir()
	remote, err := blob.OpenDir(dir, blob.DirOptions{})
	must(t, remote, err)
	t.Cleanup(func() { remote.Close() })
	l, f := newLines(t)
	f.Store = remote
	bad := grow(t, l, create(t, l, "bad"), 1)
	grow(t, l, create(t, l, "good"), 1)
	must(t, 0, os.WriteFile(filepath.Join(dir, ".syncfs/heads", bad.ID+".head"), []byte("{"), 0o600))
	list, err := l.Folders(t.Context())
	if !errors.Is(err, line.ErrDamaged) || !strings.Contains(err.Error(), bad.ID) || len(list) != 1 || list[0].Name != "good" {
		t.Errorf("%+v, %v", list, err)
	}
}

type changedHeads struct {
	blob.Store
	change func(*blob.Head)
}

func (c *changedHeads) Head(ctx context.Context, folder string) (blob.Head, error) {
	h, err := c.Store.Head(ctx, folder)
	c.change(&h)
	return h, err
}

func (c *changedHeads) ListHeads(ctx context.Context) ([]blob.Head, error) {
	heads, err := c.Store.ListHeads(ctx)
	for i := range heads {
		c.change(&heads[i])
	}
	return heads, err
}

func TestAHeadThatWentBackwardsIsTold(t *testing.T) {
	l, _ := newLines(t)
	empty := create(t, l, "docs")
	one := commit(t, l, empty, "1")
	two := commit(t, l, one, "2")
	far := grow(t, l, two, 100)
	other, _ := newLines(t)
	replaced := grow(t, other, create(t, other, "docs"), 5)
	replaced.ID = one.ID
	bumped, err := l.Bump(t.Context(), far, 2)
	must(t, bumped, err)
	unbumped := bumped
	unbumped.Number, unbumped.Epoch = bumped.Number+1, 1
	tests := []struct {
		name     string
		old, now line.Folder
		good     bool
	}{
		{"the same", two, two, true},
		{"from nothing", empty, two, true},
		{"one on", one, two, true},
		{"far on", one, far, true},
		{"an epoch on", far, bumped, true},
		{"back", two, one, false},
		{"back to nothing", one, empty, false},
		{"another folder", one, line.Folder{ID: "other", Number: 9}, false},
		{"another line", two, replaced, false},
		{"back in epochs", bumped, unbumped, false},
	}
	for _, tt := range tests {
		if err := line.CheckForward(tt.old, tt.now); (err == nil) != tt.good || err != nil && !errors.Is(err, line.ErrBackwards) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestAnEventTellsHeadAndRecord(t *testing.T) {
	l, f := newLines(t)
	folder := create(t, l, "docs")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := make(chan blob.Event, 10)
	ready := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		_ = f.Store.(blob.Watcher).Watch(ctx, func() { close(ready) }, func(e blob.Event) { events <- e })
	})
	<-ready
	want := commit(t, l, folder, "told")
	got, r, err := l.Open(<-events)
	if must(t, got, err); !reflect.DeepEqual(got, want) || r == nil || r.SnapshotID != want.Snapshot || r.Tags[0] != "told" || !r.Received.Equal(want.Received) {
		t.Errorf("%+v, %+v", got, r)
	}
	renamed, err := l.Rename(t.Context(), want, "papers")
	must(t, renamed, err)
	if got, r, err = l.Open(<-events); must(t, got, err).Name != "papers" || r != nil {
		t.Errorf("%+v, %+v", got, r)
	}
	if _, _, err := l.Open(blob.Event{Head: blob.Head{Folder: folder.ID, Number: 1, Sealed: []byte("garbage")}}); !errors.Is(err, line.ErrDamaged) {
		t.Errorf("garbage: %v", err)
	}
}

func FuzzDecodeHead(f *testing.F) {
	f.Add(line.EncodeHead(line.Folder{Name: "docs", Kind: "sync", Snapshot: chunk.ID{1}, Root: versions.Entry{Kind: versions.Dir}, Recent: []chunk.ID{{1}}}))
	f.Add(line.EncodeHead(line.Folder{Name: "docs"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := line.DecodeHead(data)
		if err == nil && !bytes.Equal(line.EncodeHead(h), data) {
			t.Fatalf("% x is read as a head, which is written as % x", data, line.EncodeHead(h))
		}
	})
}

func FuzzDecodeBase(f *testing.F) {
	f.Add(line.EncodeBase(line.Base{Host: "h", Snapshot: chunk.ID{1}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := line.DecodeBase(data)
		if err == nil && !bytes.Equal(line.EncodeBase(b), data) {
			t.Fatalf("% x is read as %+v", data, b)
		}
	})
}
