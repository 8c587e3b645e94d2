//go:build linux

package folder_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
)

// blind is a watcher at the system's limits.
type blind struct {
	mu     sync.Mutex
	room   int
	lost   chan struct{}
	closed chan struct{}
}

func newBlind(room int) *blind {
	return &blind{room: room, lost: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Add is part of folder.Watcher.
func (b *blind) Add(*disk.Dir, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room--; b.room < 0 {
		return folder.ErrWatches
	}
	return nil
}

// Next is part of folder.Watcher.
func (b *blind) Next() ([]folder.Event, error) {
	select {
	case <-b.lost:
		return nil, folder.ErrOverflow
	case <-b.closed:
		return nil, os.ErrClosed
	}
}

// Close is part of folder.Watcher.
func (b *blind) Close() error { close(b.closed); return nil }

func watchBlind(t *testing.T, b *bench, w *blind) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.f.WatchWith(ctx, w, nil) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
}

func TestLostEventsMakeAScan(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	w := newBlind(1000)
	watchBlind(t, b, w)
	write(t, b.path("a/d1/e/f1"), "no event tells of this")
	w.lost <- struct{}{}
	waitFor(t, "the scan", func() bool { return b.f.Dirty("a/d1/e/f1") })
	b.commit(t)
	b.sameAsDisk(t, b.recordedRoot(t))
}

// The limit may be reached long after the first scan, which was the last for an
// hour.
func TestWatchLimitReachedLaterMakesScansBegin(t *testing.T) {
	b := newBench(t)
	b.f.SetBlindScans(20 * time.Millisecond)
	fill(t, b, "a")
	b.take(t)
	w := newBlind(1000)
	watchBlind(t, b, w)
	waitFor(t, "the watches", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.room < 990 })
	time.Sleep(50 * time.Millisecond) // the scan that Watch makes has ended
	w.mu.Lock()
	w.room = 0
	w.mu.Unlock()
	write(t, b.path("late/f"), "1")
	b.f.Changed("late")
	b.commit(t)
	write(t, b.path("late/f"), "no event tells of this")
	waitFor(t, "the scan", func() bool { return b.f.Dirty("late/f") })
}

// What the system drops of a real watch is told.
func TestARealWatchTellsOfLostEvents(t *testing.T) {
	b := newBench(t)
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(limit)))
	must(t, err)
	w, err := folder.NewWatcher(b.root)
	must(t, err)
	defer w.Close()
	root, err := b.root.OpenDir("")
	must(t, err)
	defer root.Close()
	must(t, w.Add(root, ""))
	for i := range n/2 + 1000 { // two events each, which differ from the one before
		must(t, os.WriteFile(b.path(fmt.Sprint("f", i%100)), nil, 0o644))
		must(t, os.Remove(b.path(fmt.Sprint("f", i%100))))
	}
	for {
		_, err := w.Next()
		if errors.Is(err, folder.ErrOverflow) {
			return
		}
		must(t, err)
	}
}

func TestWatchLimitIsToldAndScansGoOn(t *testing.T) {
	b := newBench(t, func(o *folder.Options) {})
	b.f.SetBlindScans(20 * time.Millisecond)
	fill(t, b, "a")
	b.take(t)
	w := newBlind(3)
	watchBlind(t, b, w)
	waitFor(t, "trouble", func() bool {
		list := b.f.Trouble()
		return len(list) == 1 && errors.Is(list[0].Err, folder.ErrWatches) && list[0].Note
	})
	write(t, b.path("a/d1/e/f1"), "no event tells of this")
	waitFor(t, "the scan", func() bool { return b.f.Dirty("a/d1/e/f1") })
	w.mu.Lock()
	w.room = 1000
	w.mu.Unlock()
	waitFor(t, "no trouble", func() bool { return len(b.f.Trouble()) == 0 })
}
