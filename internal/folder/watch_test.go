//go:build linux

package folder_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/folder"
)

// watched is a folder that is watched; what is told outside is gathered.
type watched struct {
	*bench
	mu   sync.Mutex
	told []string
}

func newWatched(t *testing.T, change ...func(*folder.Options)) *watched {
	t.Helper()
	w := &watched{bench: newBench(t, change...)}
	fill(t, w.bench, "a")
	w.take(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- w.f.Watch(ctx, func(path string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, path)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	// Watch scans once more, and so comes to every directory.
	waitFor(t, "the watches", func() bool {
		return w.f.Watched() >= 12
	})
	return w
}

func (w *watched) wasTold(path string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.told, path)
}

// settles commits until the tree is what the disk is.
func (w *watched) settles(t *testing.T, want func(*folder.Built) bool) {
	t.Helper()
	waitFor(t, "the change", func() bool {
		built := w.commit(t)
		return built != nil && want(built)
	})
	w.sameAsDisk(t, w.recordedRoot(t))
}

func any1(*folder.Built) bool { return true }

func TestWatchFindsChangesMadeBelow(t *testing.T) {
	cases := map[string]struct {
		change func(t *testing.T, w *watched)
		told   string
	}{
		"write":  {func(t *testing.T, w *watched) { write(t, w.path("a/d1/e/f1"), "edited") }, "a/d1/e/f1"},
		"create": {func(t *testing.T, w *watched) { write(t, w.path("a/d1/new"), "x") }, "a/d1/new"},
		"remove": {func(t *testing.T, w *watched) { must(t, os.Remove(w.path("a/d1/e/f1"))) }, "a/d1/e/f1"},
		"chmod":  {func(t *testing.T, w *watched) { must(t, os.Chmod(w.path("a/d1/e/f1"), 0o600)) }, "a/d1/e/f1"},
		"chmod of a directory": {func(t *testing.T, w *watched) {
			must(t, os.Chmod(w.path("a/d1"), 0o700))
		}, "a/d1"},
		"rename": {func(t *testing.T, w *watched) {
			must(t, os.Rename(w.path("a/d1/e/f1"), w.path("moved")))
		}, "moved"},
		"remove all": {func(t *testing.T, w *watched) { must(t, os.RemoveAll(w.path("a/d1"))) }, "a/d1"},
		"store through a mapping": {func(t *testing.T, w *watched) {
			f, err := os.OpenFile(w.path("a/d1/e/f1"), os.O_RDWR, 0)
			must(t, err)
			mem, err := unix.Mmap(int(f.Fd()), 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			must(t, err)
			mem[0] = 'M'
			must(t, unix.Munmap(mem))
			must(t, f.Close())
		}, "a/d1/e/f1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t)
			c.change(t, w)
			waitFor(t, "the event", func() bool { return w.wasTold(c.told) })
			time.Sleep(50 * time.Millisecond) // the last of several events
			w.commit(t)
			w.sameAsDisk(t, w.recordedRoot(t))
		})
	}
}

func TestWatchedRenameOfADirectoryReadsNothing(t *testing.T) {
	w := newWatched(t)
	must(t, os.Rename(w.path("a"), w.path("b")))
	waitFor(t, "the event", func() bool { return w.wasTold("b") })
	built := w.commit(t)
	if built == nil || built.Files != 0 {
		t.Fatalf("built %+v", built)
	}
	w.sameAsDisk(t, built.Root)
	// Watches moved with it.
	write(t, w.path("b/d1/e/f1"), "edited later")
	w.settles(t, any1)
}

func TestWatchComesToNewDirectories(t *testing.T) {
	w := newWatched(t)
	for _, dir := range []string{"n/1/2/3", "n/4"} {
		must(t, os.MkdirAll(w.path(dir), 0o755))
	}
	write(t, w.path("n/1/2/3/f"), "one")
	w.settles(t, func(b *folder.Built) bool { _, ok := w.lookup(t, b.Root, "n/1/2/3/f"); return ok })
	write(t, w.path("n/1/2/3/g"), "two")
	w.settles(t, func(b *folder.Built) bool { _, ok := w.lookup(t, b.Root, "n/1/2/3/g"); return ok })
}

func TestWatchForgetsWhatLeftTheFolder(t *testing.T) {
	w := newWatched(t)
	away := t.TempDir() + "/away"
	must(t, os.Rename(w.path("a/d1"), away))
	w.settles(t, func(b *folder.Built) bool { _, ok := w.lookup(t, b.Root, "a/d1"); return !ok })
	waitFor(t, "the watches to end", func() bool { return w.f.Watched() == 10 })
	write(t, away+"/e/f1", "not ours any more")
	time.Sleep(50 * time.Millisecond)
	if n, _ := w.f.Pending(); n != 0 {
		t.Fatalf("%d entries are dirty", n)
	}
}

func TestWhatRequestsExplainIsNotToldOutside(t *testing.T) {
	w := newWatched(t, func(o *folder.Options) { o.Mounted = true })
	w.f.Changed("a/d1/e/f1")
	write(t, w.path("a/d1/e/f1"), "through the mount")
	w.f.Renamed("a/d2", "a/z")
	must(t, os.Rename(w.path("a/d2"), w.path("a/z")))
	write(t, w.path("other"), "from outside")
	waitFor(t, "the event", func() bool { return w.wasTold("other") })
	for _, path := range []string{"a/d1/e/f1", "a/d2", "a/z"} {
		if w.wasTold(path) {
			t.Errorf("%s was told outside", path)
		}
	}
	w.commit(t)
	w.sameAsDisk(t, w.recordedRoot(t))
}

func TestRequestsAreForgottenWithTheNextRecord(t *testing.T) {
	var ahead atomic.Int64
	w := newWatched(t, func(o *folder.Options) {
		o.Mounted = true
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	for i := range 100 {
		w.f.Changed(fmt.Sprint("a/new", i))
	}
	if n := w.f.Explained(); n < 100 {
		t.Fatalf("%d of 100 requests are known", n)
	}
	ahead.Store(int64(time.Minute))
	write(t, w.path("a/last"), "x")
	w.f.Changed("a/last")
	w.settles(t, any1)
	if n := w.f.Explained(); n > 1 {
		t.Errorf("%d requests are still known a minute later", n)
	}
}

func TestWatchBegunBeforeTheFirstScanMissesNothing(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.f.Watch(ctx, nil) }()
	defer func() { cancel(); must(t, <-done) }()
	fill(t, b, "a")
	b.take(t)
	waitFor(t, "the watches", func() bool { return b.f.Watched() == 12 || b.take(t) != nil })
	write(t, b.path("a/d1/e/f1"), "edited")
	waitFor(t, "the change", func() bool { return b.commit(t) != nil })
	b.sameAsDisk(t, b.recordedRoot(t))
}

// Requests that changed both names a moment ago say nothing of a rename that was
// made below the mount.
func TestARenameBelowSoonAfterRequestsIsFound(t *testing.T) {
	w := newWatched(t)
	for _, name := range []string{"a/d1/e/f1", "a/d1/e/f6"} {
		write(t, w.path(name), "edited "+name)
		w.f.Changed(name)
	}
	time.Sleep(50 * time.Millisecond)
	w.commit(t)
	must(t, os.Rename(w.path("a/d1/e/f1"), w.path("a/d1/e/f6")))
	w.settles(t, any1)
}

// A write that our own step hides, since it sets the time last, is found all the
// same.
func TestAWriteThatAStepHidesIsRead(t *testing.T) {
	w := newWatched(t)
	name := "a/d1/e/f1"
	e, _, err := w.f.Recorded(name)
	must(t, err)
	write(t, w.path(name), strings.Repeat("!", int(e.Size)))
	must(t, os.Chmod(w.path(name), 0o600))
	must(t, os.Chtimes(w.path(name), time.Time{}, time.Unix(0, e.MTime)))
	e.Mode = 0o600
	must(t, w.f.Applied([]folder.Applied{{Path: name, Entry: &e, Sig: w.sig(t, name)}}))
	w.settles(t, func(b *folder.Built) bool { return b.Files > 0 })
}
