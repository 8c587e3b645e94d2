//go:build linux

package fs_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// TestManyInstants lists a thousand instants, with and without attributes, and
// asks the source once for the list.
func TestManyInstants(t *testing.T) {
	s := newPastSource()
	for i := range 1000 {
		s.land(t, instant(i), s.dir(t, "", s.file(t, "f", fmt.Sprint(i))))
	}
	dir, m := mountPast(t, s, withClock)
	if got := sh(t, dir, `ls .versions | wc -l`); got != "1002\n" {
		t.Errorf("%s names", got)
	}
	if calls := s.called("dir"); calls > 10 {
		t.Errorf("a plain listing resolves %d directories", calls)
	}
	if got := sh(t, dir, `ls -l .versions | wc -l`); got != "1003\n" {
		t.Errorf("%s lines", got)
	}
	if calls := s.called("moments"); calls > 100 {
		t.Errorf("the list was read %d times", calls)
	}
	if got := sh(t, dir, `cat .versions/20250201_000007/f .versions/20250201_001639/f`); got != "7999" {
		t.Errorf("contents: %q", got)
	}
	if got := m.Stats().ListingBytes; got > 1<<20 {
		t.Errorf("%d bytes of listings", got)
	}
}

// TestALargeDirectory has 100,000 entries: they are listed once each, also when
// the reader seeks, and one name does not cost reading all.
func TestALargeDirectory(t *testing.T) {
	s := newPastSource()
	x := s.file(t, "", "x")
	entries := make([]versions.Entry, 100_000)
	for i := range entries {
		entries[i] = x
		entries[i].Name = fmt.Sprintf("file-%06d", i)
	}
	s.land(t, instant(1), s.dir(t, "", s.dir(t, "big", entries...)))
	dir, m := mountPast(t, s, withClock)
	big := dir + "/.versions/latest/big"
	s.chunks.Reset()
	sh(t, big, `test -e file-077777 && test ! -e file-x`)
	if gets := s.chunks.Gets(chunk.Tree); gets > 30 {
		t.Errorf("one name reads %d pieces of the listing", gets)
	}
	if got := sh(t, big, `ls | sha256sum`); got != sh(t, "/", `seq -f 'file-%06g' 0 99999 | sha256sum`) {
		t.Errorf("it is not listed in full")
	}
	if got := sh(t, big, `find . -type f -size 1c | wc -l`); got != "100000\n" {
		t.Errorf("%s files", got)
	}
	for deadline := time.Now().Add(30 * time.Second); m.Stats().ListingBytes > 16<<20; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of listings are kept", m.Stats().ListingBytes)
		}
	}
	fd, err := unix.Open(dir+"/.versions/20250201_000001/big", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	first := names(t, fd, 5)
	at, err := unix.Seek(fd, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	next := names(t, fd, 3)
	for range 2 {
		if _, err := unix.Seek(fd, at, 0); err != nil {
			t.Fatal(err)
		}
		if again := names(t, fd, 3); !slices.Equal(again, next) {
			t.Errorf("after a seek: %.100q, want %.100q", again, next)
		}
	}
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		t.Fatal(err)
	}
	if again := names(t, fd, 5); !slices.Equal(again, first) {
		t.Errorf("after rewinding: %.100q, want %.100q", again, first)
	}
}

// names reads the directory n times and returns what it listed.
func names(t testing.TB, fd, n int) (list []string) {
	t.Helper()
	buf := make([]byte, 4096)
	for range n {
		got, err := unix.Getdents(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		_, _, list = unix.ParseDirent(buf[:got], -1, list)
	}
	return list
}

// TestWalkersAtOnce walks several versions by several processes while snapshots
// land and caches are dropped.
func TestWalkersAtOnce(t *testing.T) {
	s := newPastSource()
	from := original(t)
	root := s.capture(t, from)
	s.land(t, instant(0), root)
	dir, m := mountPast(t, s, withClock)
	want := sh(t, from, sums)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				if got := sh(t, dir+"/.versions/20250201_000000", `find . -ls >/dev/null && `+sums); got != want {
					t.Error("a walker reads something else")
				}
				sh(t, dir, `ls -l .versions >/dev/null; readlink .versions/latest; find . -maxdepth 2 >/dev/null`)
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			s.land(t, instant(i+1), s.dir(t, "", s.file(t, "f", fmt.Sprint(i)), s.dir(t, "sub", s.file(t, "g", fmt.Sprint(i)))))
			m.Landed(instant(i + 1))
			sh(t, "/", `echo 2 >/proc/sys/vm/drop_caches; sleep 0.02`)
		}
	})
	wg.Wait()
}

// TestListingsStayWithinTheirBound walks far more than the cache holds.
func TestListingsStayWithinTheirBound(t *testing.T) {
	s := newPastSource()
	var dirs []versions.Entry
	for i := range 300 {
		var files []versions.Entry
		for k := range 200 {
			files = append(files, s.file(t, fmt.Sprintf("name-%d-%d", i, k), ""))
		}
		dirs = append(dirs, s.dir(t, fmt.Sprint("d", i), files...))
	}
	s.land(t, instant(1), s.dir(t, "", dirs...))
	dir, m := mountPast(t, s, withClock)
	if got := sh(t, dir, `find .versions/latest/ -type f | wc -l`); got != "60000\n" {
		t.Errorf("%s files", got)
	}
	if got := m.Stats(); got.ListingBytes > 16<<20 || got.ListingBytes < 1<<20 {
		t.Errorf("%d bytes of listings are kept", got.ListingBytes)
	}
	// What is not in the cache any more is found again.
	if got := sh(t, dir, `echo 2 >/proc/sys/vm/drop_caches; stat -c %n .versions/latest/d0/name-0-7`); got != ".versions/latest/d0/name-0-7\n" {
		t.Errorf("got %q", got)
	}
}

// prefetching is a source that brings listings near.
type prefetching struct {
	*pastSource
	mu    sync.Mutex
	asked map[chunk.ID]bool
}

func (p *prefetching) Prefetch(_ context.Context, trees []chunk.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, tree := range trees {
		p.asked[tree] = true
	}
}

func TestListingsOfSubdirectoriesAreFetchedAhead(t *testing.T) {
	s := newPastSource()
	a, b := s.dir(t, "a", s.file(t, "f", "1")), s.dir(t, "b", s.file(t, "f", "2"))
	s.land(t, instant(1), s.dir(t, "", a, b, s.dir(t, "empty")))
	p := &prefetching{pastSource: s, asked: map[chunk.ID]bool{}}
	dir, m := mountPast(t, s, withClock, func(o *fs.HistoryMountOptions) { o.Source = p })
	sh(t, dir, `ls .versions/latest/`)
	if err := m.Unmount(); err != nil {
		t.Fatal(err)
	}
	m.Wait()
	if len(p.asked) != 2 || !p.asked[a.Tree] || !p.asked[b.Tree] {
		t.Errorf("asked for %d listings", len(p.asked))
	}
}
