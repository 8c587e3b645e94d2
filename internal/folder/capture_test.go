//go:build linux

package folder_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

func TestFileOpenForWritingWaits(t *testing.T) {
	b := newBench(t)
	write(t, b.path("done"), "one")
	f, err := os.Create(b.path("open"))
	must(t, err)
	_, err = f.WriteString("half")
	must(t, err)
	b.scan(t)
	built := b.build(t, folder.BuildOptions{})
	if _, ok := b.lookup(t, built.Root, "open"); ok || built.Waiting != 1 {
		t.Fatalf("a file that is being written was taken (%d wait)", built.Waiting)
	}
	b.record(t, built)
	if !b.f.Dirty("open") {
		t.Fatal("what waits is not dirty")
	}
	must(t, f.Close())
	<-b.f.Wake()
	b.commit(t)
	b.sameAsDisk(t, b.recordedRoot(t))
}

func TestMappedFileWaitsUntilItIsUnmapped(t *testing.T) {
	b := newBench(t)
	write(t, b.path("db"), strings.Repeat("x", 8192))
	b.take(t)
	f, err := os.OpenFile(b.path("db"), os.O_RDWR, 0)
	must(t, err)
	mem, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	must(t, f.Close())
	mem[0] = '1'
	b.f.Changed("db")
	if built := b.commit(t); built != nil {
		t.Fatalf("a file that is mapped for writing was taken: %q", b.content(t, built.Root, "db")[:1])
	}
	mem[0] = '2' // moves no time
	must(t, unix.Munmap(mem))
	<-b.f.Wake()
	b.commit(t)
	if got := b.content(t, b.recordedRoot(t), "db")[:1]; got != "2" {
		t.Fatalf("content begins with %q, want 2", got)
	}
}

func TestFileThatNeverRestsIsTakenUnstableAndAgain(t *testing.T) {
	b := newBench(t, func(o *folder.Options) { o.Bound = 50 * time.Millisecond })
	f, err := os.Create(b.path("log"))
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("one")
	must(t, err)
	b.f.Changed("log")
	b.scan(t)
	var built *folder.Built
	waitFor(t, "the bound", func() bool {
		built = b.commit(t)
		if built == nil {
			return false
		}
		_, ok := b.lookup(t, built.Root, "log")
		return ok
	})
	if e, _ := b.lookup(t, built.Root, "log"); !e.Unstable || b.content(t, built.Root, "log") != "one" {
		t.Fatalf("taken as %+v", e)
	}
	if !b.f.Dirty("log") {
		t.Fatal("an unstable file is not dirty")
	}
	_, err = f.WriteString("two")
	must(t, err)
	must(t, f.Close())
	b.commit(t)
	root := b.recordedRoot(t)
	if e, _ := b.lookup(t, root, "log"); e.Unstable || b.content(t, root, "log") != "onetwo" {
		t.Fatalf("after it rested: %+v", e)
	}
	if b.f.Dirty("log") {
		t.Fatal("a file at rest is dirty")
	}
}

func TestFlushTakesWhatIsBeingWritten(t *testing.T) {
	for name, o := range map[string]folder.BuildOptions{
		"force":  {Force: true},
		"before": {Before: time.Now().Add(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			f, err := os.Create(b.path("open"))
			must(t, err)
			defer f.Close()
			_, err = f.WriteString("half")
			must(t, err)
			b.scan(t)
			built := b.build(t, o)
			e, ok := b.lookup(t, built.Root, "open")
			if !ok || !e.Unstable || b.content(t, built.Root, "open") != "half" {
				t.Fatalf("flushed: %v %+v", ok, e)
			}
			b.record(t, built)
			if again := b.build(t, o); again != nil {
				t.Fatalf("taken again although nothing moved: %+v", again)
			}
		})
	}
}

func TestBeforeLeavesWhatBecameDirtyLater(t *testing.T) {
	b := newBench(t)
	b.take(t)
	f, err := os.Create(b.path("open"))
	must(t, err)
	defer f.Close()
	began := time.Now().Add(-time.Hour)
	b.f.Changed("open")
	if built := b.build(t, folder.BuildOptions{Before: began}); built != nil {
		if _, ok := b.lookup(t, built.Root, "open"); ok {
			t.Fatal("taken although it became dirty after the flush began")
		}
	}
}

// meddler changes the disk when a chunk of data is put.
type meddler struct {
	versions.Chunks
	mu    sync.Mutex
	first func()
	every func()
}

func (m *meddler) Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	if kind == chunk.Data {
		m.mu.Lock()
		if m.first != nil {
			m.first()
			m.first = nil
		}
		if m.every != nil {
			m.every()
		}
		m.mu.Unlock()
	}
	return m.Chunks.Put(ctx, kind, data)
}

func TestFileThatChangesWhileReadIsReadAgain(t *testing.T) {
	b := newBench(t)
	write(t, b.path("f"), "before")
	m := &meddler{Chunks: b.chunks, first: func() { write(t, b.path("f"), "after!") }}
	b.contents = versions.NewContents(m, [32]byte{2})
	built := b.take(t)
	if got := b.content(t, built.Root, "f"); got != "after!" {
		t.Fatalf("taken with %q", got)
	}
	b.sameAsDisk(t, built.Root)
}

func TestFileReplacedWhileReadIsReadAgain(t *testing.T) {
	b := newBench(t)
	write(t, b.path("f"), "before")
	m := &meddler{Chunks: b.chunks, first: func() {
		write(t, b.path("g"), "after!")
		must(t, os.Rename(b.path("g"), b.path("f")))
	}}
	b.contents = versions.NewContents(m, [32]byte{2})
	built := b.take(t)
	if got := b.content(t, built.Root, "f"); got != "after!" {
		t.Fatalf("taken with %q", got)
	}
}

func TestFileThatAlwaysChangesWaits(t *testing.T) {
	b := newBench(t)
	n := 0
	write(t, b.path("f"), "before")
	m := &meddler{Chunks: b.chunks, every: func() { n++; write(t, b.path("f"), strings.Repeat("x", n)) }}
	b.contents = versions.NewContents(m, [32]byte{2})
	b.scan(t)
	built := b.build(t, folder.BuildOptions{})
	if _, ok := b.lookup(t, built.Root, "f"); ok || built.Waiting != 1 || n != 3 {
		t.Fatalf("taken after %d tries, %d wait", n, built.Waiting)
	}
	built = b.build(t, folder.BuildOptions{Force: true})
	if e, ok := b.lookup(t, built.Root, "f"); !ok || !e.Unstable {
		t.Fatalf("not taken when forced: %v %+v", ok, e)
	}
}

func TestFileDeletedWhileReadIsGone(t *testing.T) {
	b := newBench(t)
	write(t, b.path("f"), "before")
	write(t, b.path("g"), "stays")
	m := &meddler{Chunks: b.chunks, first: func() { must(t, os.Remove(b.path("f"))) }}
	b.contents = versions.NewContents(m, [32]byte{2})
	built := b.take(t)
	if _, ok := b.lookup(t, built.Root, "g"); !ok {
		t.Fatal("g is missing")
	}
	if e, ok := b.lookup(t, built.Root, "f"); ok && b.content(t, built.Root, "f") != "before" {
		t.Fatalf("a deleted file is there as %+v", e)
	}
	b.take(t)
	b.sameAsDisk(t, b.recordedRoot(t))
}

func TestRestedTakesOnlyWhatRested(t *testing.T) {
	b := newBench(t, func(o *folder.Options) { o.Settle = 400 * time.Millisecond })
	write(t, b.path("old"), "old")
	write(t, b.path("gone"), "gone")
	b.take(t)
	write(t, b.path("old"), "new")
	write(t, b.path("fresh"), "fresh")
	must(t, os.Remove(b.path("gone")))
	for _, p := range []string{"old", "fresh", "gone"} {
		b.f.Changed(p)
	}
	rested := folder.BuildOptions{Rested: true}
	if built := b.build(t, rested); built != nil && b.content(t, built.Root, "old") != "old" {
		t.Fatal("a file was captured before it rested")
	} else if built != nil {
		if _, ok := b.lookup(t, built.Root, "gone"); !ok {
			t.Fatal("a removal was captured before it rested")
		}
		b.record(t, built)
	}
	waitFor(t, "rest", func() bool {
		<-b.f.Wake()
		if built := b.build(t, rested); built != nil {
			b.record(t, built)
		}
		n, _ := b.f.Pending()
		return n == 0
	})
	b.sameAsDisk(t, b.recordedRoot(t))
}

func TestAtomicSaveNeverShowsTheFileAbsent(t *testing.T) {
	b := newBench(t, func(o *folder.Options) { o.Settle = time.Hour })
	write(t, b.path("doc"), "one")
	b.take(t)
	must(t, os.Remove(b.path("doc")))
	b.f.Changed("doc")
	write(t, b.path("doc"), "two")
	b.f.Changed("doc")
	if built := b.build(t, folder.BuildOptions{Rested: true}); built != nil {
		if got := b.content(t, built.Root, "doc"); got != "one" {
			t.Fatalf("captured as %q before it rested", got)
		}
	}
}

func TestStoreErrorEndsTheBuildAndKeepsEverythingDirty(t *testing.T) {
	b := newBench(t)
	write(t, b.path("a/f"), "content")
	b.scan(t)
	full := context.DeadlineExceeded
	b.contents = versions.NewContents(failing{b.chunks, full}, [32]byte{2})
	if _, err := b.f.Build(t.Context(), b.trees, b.contents, folder.BuildOptions{}); err == nil {
		t.Fatal("the store's error was lost")
	}
	b.contents = versions.NewContents(b.chunks, [32]byte{2})
	b.commit(t)
	b.sameAsDisk(t, b.recordedRoot(t))
}

type failing struct {
	versions.Chunks
	err error
}

func (f failing) Put(context.Context, chunk.Kind, []byte) (chunk.ID, error) {
	return chunk.ID{}, f.err
}
