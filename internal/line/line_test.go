package line_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/versions"
)

var update = flag.Bool("update", false, "write golden files anew")

func golden(t *testing.T, name string, data []byte) {
	t.Helper()
	path := filepath.Join("..", "..", "tests", "formats", "v1", name)
	if *update {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%s: encoded now as\n% x, in the file\n% x", name, data, want)
	}
}

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// clock is the remote's: an hour passes with every call.
func clock() func() time.Time {
	var mu sync.Mutex
	now := time.Date(2025, 1, 31, 20, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Hour)
		return now
	}
}

func newLines(t testing.TB) (*line.Lines, *faulty) {
	t.Helper()
	keys, err := seal.NewKeys(nil)
	f := &faulty{Store: blob.NewMem(clock())}
	return line.New(f, must(t, keys, err)), f
}

// faulty is a store that can be made to fail.
type faulty struct {
	blob.Store
	after   func() error // the answer to a commit that was taken
	before  func()       // a commit is about to be made
	deletes func() error
	mu      sync.Mutex
	gets    int
	lists   int
}

func (f *faulty) Commit(ctx context.Context, folder string, c blob.Commit) (blob.Head, error) {
	if f.before != nil {
		before := f.before
		f.before = nil
		before()
	}
	h, err := f.Store.Commit(ctx, folder, c)
	if err == nil && f.after != nil {
		after := f.after
		f.after = nil
		return blob.Head{}, after()
	}
	return h, err
}

func (f *faulty) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	f.mu.Lock()
	f.gets++
	f.mu.Unlock()
	return f.Store.Get(ctx, name, off, n)
}

func (f *faulty) ListHeads(ctx context.Context) ([]blob.Head, error) {
	f.lists++
	return f.Store.ListHeads(ctx)
}

func (f *faulty) Delete(ctx context.Context, name string) error {
	if f.deletes != nil {
		if err := f.deletes(); err != nil {
			return err
		}
	}
	return f.Store.Delete(ctx, name)
}

func (f *faulty) names(t testing.TB, prefix string) (names []string) {
	t.Helper()
	err := f.List(context.Background(), prefix, "", func(i blob.Info) error {
		names = append(names, i.Name)
		return nil
	})
	return must(t, names, err)
}

func (f *faulty) replace(t testing.TB, name string, change func([]byte) []byte) {
	t.Helper()
	r, err := f.Store.Get(t.Context(), name, 0, -1)
	data, err2 := io.ReadAll(must(t, r, err))
	data = change(must(t, data, err2))
	if err := f.Store.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := f.Store.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
}

// next is a snapshot that follows the folder's newest.
func next(f line.Folder, note string) *versions.Snapshot {
	s := &versions.Snapshot{
		Folder: f.ID, Instant: versions.NextInstant(time.Unix(1_700_000_000, 0), f.Instant),
		Root: versions.Entry{Kind: versions.Dir, Mode: 0o755}, Host: "laptop", Kind: f.Kind, Tags: []string{note},
	}
	if !f.Snapshot.IsZero() {
		s.Parents = []chunk.ID{f.Snapshot}
	}
	return s
}

func create(t testing.TB, l *line.Lines, name string) line.Folder {
	t.Helper()
	f, err := l.Create(t.Context(), name, "sync")
	return must(t, f, err)
}

func commit(t testing.TB, l *line.Lines, f line.Folder, note string) line.Folder {
	t.Helper()
	next, err := l.Commit(t.Context(), f, next(f, note), nil)
	return must(t, next, err)
}

// grow commits n snapshots, noted 1, 2, 3 …
func grow(t testing.TB, l *line.Lines, f line.Folder, n int) line.Folder {
	t.Helper()
	for i := range n {
		f = commit(t, l, f, fmt.Sprint(i+1))
	}
	return f
}

func notes(t testing.TB, l *line.Lines, id string, after uint64, newest bool) ([]string, error) {
	t.Helper()
	var list []string
	err := l.Records(t.Context(), id, after, newest, func(r line.Recorded) error {
		list = append(list, r.Tags[0])
		return nil
	})
	return list, err
}

func TestGoldenHeadReadsForEver(t *testing.T) {
	id := func(n byte) (id chunk.ID) { id[0] = n; return id }
	full := line.Folder{
		Name: "docs", Kind: "sync", Epoch: 3, Snapshot: id(1), Instant: versions.Instant{Sec: 1738354530, Seq: 1},
		Root: versions.Entry{Kind: versions.Dir, Mode: 0o755, MTime: 5, Tree: id(2), Size: 7, Count: 1}, Recent: []chunk.ID{id(1), id(3)},
	}
	empty := line.Folder{Name: "new folder", Kind: "backup"}
	golden(t, "head", line.EncodeHead(full))
	golden(t, "head-empty", line.EncodeHead(empty))
	golden(t, "base", line.EncodeBase(line.Base{Host: "laptop", Snapshot: id(4)}))
	for _, want := range []line.Folder{full, empty} {
		b := line.EncodeHead(want)
		if got, err := line.DecodeHead(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read back %+v, %v", got, err)
		}
		for n := range b {
			if _, err := line.DecodeHead(b[:n]); err == nil {
				t.Errorf("%d of %d bytes are a head", n, len(b))
			}
		}
	}
}

func TestFoldersAreListedByNameInOneRequest(t *testing.T) {
	l, f := newLines(t)
	for _, name := range []string{"music", "docs", "Zoo"} {
		grow(t, l, create(t, l, name), 2)
	}
	f.lists, f.gets = 0, 0
	list, err := l.Folders(t.Context())
	must(t, list, err)
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
		if f.Number != 3 || f.Snapshot.IsZero() || len(f.ID) != 32 || f.Received.IsZero() {
			t.Errorf("%+v", f)
		}
	}
	if want := []string{"Zoo", "docs", "music"}; !slices.Equal(names, want) || f.lists != 1 || f.gets != 0 {
		t.Errorf("%q with %d lists and %d reads", names, f.lists, f.gets)
	}
	if _, err := l.Create(t.Context(), "docs", "sync"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second folder of one name: %v", err)
	}
	if _, err := l.Folder(t.Context(), "0123"); !errors.Is(err, line.ErrUnknown) {
		t.Errorf("an unknown folder: %v", err)
	}
}

func TestNothingOnTheRemoteNamesAFolder(t *testing.T) {
	l, f := newLines(t)
	folder := grow(t, l, create(t, l, "secretname"), 2)
	if err := l.PutBase(t.Context(), folder.ID, line.Base{Device: "d1", Host: "secrethost", Snapshot: folder.Snapshot}); err != nil {
		t.Fatal(err)
	}
	heads, err := f.Store.ListHeads(t.Context())
	all := fmt.Sprintf("%+v", must(t, heads, err))
	for _, name := range f.names(t, "") {
		r, err := f.Store.Get(t.Context(), name, 0, -1)
		data, err2 := io.ReadAll(must(t, r, err))
		all += name + string(must(t, data, err2))
	}
	if strings.Contains(all, "secret") || strings.Contains(all, "laptop") {
		t.Error("a name can be read on the remote")
	}
}

func TestACommitMovesTheHead(t *testing.T) {
	l, f := newLines(t)
	empty := create(t, l, "docs")
	s := next(empty, "first")
	got, err := l.Commit(t.Context(), empty, s, []blob.Blob{{Name: "packs/ab", Data: []byte("pack")}})
	must(t, got, err)
	if got.Number != 2 || got.Snapshot != s.ID() || got.Instant != s.Instant || !slices.Equal(got.Recent, []chunk.ID{s.ID()}) || !got.Received.After(empty.Received) {
		t.Errorf("%+v", got)
	}
	again, err := l.Folder(t.Context(), empty.ID)
	if !reflect.DeepEqual(must(t, again, err), got) {
		t.Errorf("the head is %+v", again)
	}
	if !slices.Equal(f.names(t, "packs/"), []string{"packs/ab"}) {
		t.Error("the blobs are not there")
	}
	f40 := grow(t, l, got, 40)
	if len(f40.Recent) != 32 || f40.Recent[0] != f40.Snapshot || f40.Number != 42 {
		t.Errorf("after 40 more: %d recent, number %d", len(f40.Recent), f40.Number)
	}
}

func TestTheSecondOfTwoCommitsIsToldThatItLost(t *testing.T) {
	l, f := newLines(t)
	seen := grow(t, l, create(t, l, "docs"), 1)
	f.before = func() { commit(t, l, seen, "other") }
	_, err := l.Commit(t.Context(), seen, next(seen, "mine"), nil)
	if !errors.Is(err, line.ErrMoved) {
		t.Fatalf("%v", err)
	}
	if list, err := notes(t, l, seen.ID, 0, false); !slices.Equal(must(t, list, err), []string{"1", "other"}) {
		t.Errorf("the line is %q", list)
	}
}

func TestADoubtfulAnswerIsClearedUp(t *testing.T) {
	lost := errors.New("connection reset")
	t.Run("taken", func(t *testing.T) {
		l, f := newLines(t)
		seen := grow(t, l, create(t, l, "docs"), 1)
		s := next(seen, "mine")
		f.after = func() error { return lost }
		got, err := l.Commit(t.Context(), seen, s, nil)
		if must(t, got, err); got.Snapshot != s.ID() || got.Number != 3 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("taken, and others have gone on", func(t *testing.T) {
		l, f := newLines(t)
		seen := grow(t, l, create(t, l, "docs"), 1)
		s := next(seen, "mine")
		f.after = func() error {
			head, err := l.Folder(t.Context(), seen.ID)
			grow(t, l, must(t, head, err), 3)
			return lost
		}
		got, err := l.Commit(t.Context(), seen, s, nil)
		if must(t, got, err); got.Number != 6 || !slices.Contains(got.Recent, s.ID()) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("taken by a retry that was told it is late", func(t *testing.T) {
		l, f := newLines(t)
		seen := grow(t, l, create(t, l, "docs"), 1)
		s := next(seen, "mine")
		f.after = func() error { return blob.ErrMoved }
		got, err := l.Commit(t.Context(), seen, s, nil)
		if must(t, got, err); got.Snapshot != s.ID() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("not taken", func(t *testing.T) {
		l, f := newLines(t)
		seen := grow(t, l, create(t, l, "docs"), 1)
		f.Store = &failing{f.Store, lost}
		_, err := l.Commit(t.Context(), seen, next(seen, "mine"), nil)
		if !errors.Is(err, lost) || errors.Is(err, line.ErrMoved) {
			t.Errorf("%v", err)
		}
	})
	t.Run("of a new folder", func(t *testing.T) {
		l, f := newLines(t)
		f.after = func() error { return lost }
		folder, err := l.Create(t.Context(), "docs", "sync")
		if must(t, folder, err).Number != 1 {
			t.Errorf("%+v", folder)
		}
	})
}

// failing refuses every commit and takes none.
type failing struct {
	blob.Store
	err error
}

func (f *failing) Commit(context.Context, string, blob.Commit) (blob.Head, error) {
	return blob.Head{}, f.err
}

func TestACommitThatWouldBreakTheLineIsRefused(t *testing.T) {
	l, _ := newLines(t)
	seen := grow(t, l, create(t, l, "docs"), 2)
	for name, change := range map[string]func(*versions.Snapshot){
		"another folder": func(s *versions.Snapshot) { s.Folder = "other" },
		"no descendant":  func(s *versions.Snapshot) { s.Parents = nil },
		"not later":      func(s *versions.Snapshot) { s.Instant = seen.Instant },
		"no record":      func(s *versions.Snapshot) { s.Dirs = []versions.DirChange{{Path: "b"}, {Path: "a"}} },
		"no directory":   func(s *versions.Snapshot) { s.Root.Kind = 0 },
	} {
		s := next(seen, "bad")
		change(s)
		if _, err := l.Commit(t.Context(), seen, s, nil); err == nil || errors.Is(err, line.ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBumpAndRenameKeepTheSnapshot(t *testing.T) {
	l, _ := newLines(t)
	seen := grow(t, l, create(t, l, "docs"), 2)
	f, err := l.Bump(t.Context(), seen, 7)
	if must(t, f, err); f.Epoch != 7 || f.Snapshot != seen.Snapshot || f.Number != seen.Number+1 {
		t.Errorf("%+v", f)
	}
	if _, err := l.Bump(t.Context(), seen, 8); !errors.Is(err, line.ErrMoved) {
		t.Errorf("from an old head: %v", err)
	}
	if _, err := l.Bump(t.Context(), f, 7); err == nil {
		t.Error("an epoch is taken twice")
	}
	f, err = l.Rename(t.Context(), f, "papers")
	if must(t, f, err); f.Name != "papers" || f.Snapshot != seen.Snapshot || f.Epoch != 7 {
		t.Errorf("%+v", f)
	}
	if list, err := notes(t, l, f.ID, 0, false); !slices.Equal(must(t, list, err), []string{"1", "2"}) {
		t.Errorf("the line is %q", list)
	}
}
