// Package blobtest is what every blob.Store must do.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
)

// Run tests the stores that open gives, each new and empty. A store that is a
// blob.Watcher is tested as one.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s blob.Store)
	}{
		{"an object reads back whole and in ranges", testRanges},
		{"a big object reads back", testBig},
		{"an empty object is an object", testEmpty},
		{"put is create-only", testCreateOnly},
		{"one of many puts of a name wins", testConcurrentPuts},
		{"a failed put leaves nothing", testFailedPut},
		{"what is not there is io/fs.ErrNotExist", testAbsent},
		{"delete removes, twice is no error", testDelete},
		{"names that are not allowed are refused", testNames},
		{"list is in byte order, by prefix, after a name", testList},
		{"an error ends a listing", testListError},
		{"an ended context ends everything", testContext},
		{"heads begin at number one and count up", testHeads},
		{"a commit puts blobs, record and head", testCommit},
		{"a commit of a stale head leaves only its blobs", testMoved},
		{"a commit takes blobs that are there already", testCommitAgain},
		{"a commit without a snapshot keeps the record's name", testNoSnapshot},
		{"commits that no store could take are refused", testBadCommits},
		{"of racing commits each number goes to one", testConcurrentCommits},
		{"folders do not disturb each other", testManyFolders},
		{"watchers hear of every commit", testWatch},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func get(t *testing.T, s blob.Store, name string, offset, length int64) []byte {
	t.Helper()
	data, err := read(t.Context(), s, name, offset, length)
	if err != nil {
		t.Fatalf("Get(%s, %d, %d): %v", name, offset, length, err)
	}
	return data
}

func read(ctx context.Context, s blob.Store, name string, offset, length int64) ([]byte, error) {
	r, err := s.Get(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return data, err
}

func names(t *testing.T, s blob.Store, prefix, after string) []string {
	t.Helper()
	var out []string
	err := s.List(t.Context(), prefix, after, func(i blob.Info) error {
		out = append(out, i.Name)
		return nil
	})
	if err != nil {
		t.Fatalf("List(%q, %q): %v", prefix, after, err)
	}
	return out
}

func wantNames(t *testing.T, s blob.Store, prefix, after string, want ...string) {
	t.Helper()
	if got := names(t, s, prefix, after); !slices.Equal(got, want) {
		t.Fatalf("List(%q, %q) = %q, want %q", prefix, after, got, want)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// pattern is n bytes in which every position is told apart from its neighbours.
func pattern(seed, n int) []byte {
	out := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range out {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out[i] = byte(x)
	}
	return out
}

func testRanges(t *testing.T, s blob.Store) {
	data := pattern(1, 1000)
	put(t, s, "packs/aa/one", data)
	for _, r := range []struct{ offset, length, from, to int64 }{
		{0, -1, 0, 1000}, {0, 1000, 0, 1000}, {0, 1, 0, 1}, {999, 1, 999, 1000}, {10, 20, 10, 30},
		{990, 100, 990, 1000}, {500, -1, 500, 1000}, {1000, -1, 1000, 1000}, {1000, 5, 1000, 1000}, {2000, 5, 1000, 1000},
		{5, 0, 5, 5},
	} {
		if got := get(t, s, "packs/aa/one", r.offset, r.length); !bytes.Equal(got, data[r.from:r.to]) {
			t.Errorf("Get(%d, %d): %d bytes, want [%d:%d]", r.offset, r.length, len(got), r.from, r.to)
		}
	}
	info, err := s.Stat(t.Context(), "packs/aa/one")
	if err != nil || info.Name != "packs/aa/one" || info.Size != 1000 || info.Modified.IsZero() {
		t.Errorf("Stat = %+v, %v", info, err)
	}
}

func testBig(t *testing.T, s blob.Store) {
	data := pattern(2, 20<<20+7)
	put(t, s, "packs/big", data)
	if got := get(t, s, "packs/big", 0, -1); !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes that differ", len(got))
	}
	if got := get(t, s, "packs/big", 20<<20, -1); !bytes.Equal(got, data[20<<20:]) {
		t.Fatalf("the end reads as %d other bytes", len(got))
	}
}

func testEmpty(t *testing.T, s blob.Store) {
	put(t, s, "empty", nil)
	if got := get(t, s, "empty", 0, -1); len(got) != 0 {
		t.Fatalf("read %d bytes", len(got))
	}
	wantNames(t, s, "", "", "empty")
}

func testCreateOnly(t *testing.T, s blob.Store) {
	put(t, s, "a/b", []byte("first"))
	err := s.Put(t.Context(), "a/b", bytes.NewReader([]byte("second, longer")), 14)
	wantError(t, "second Put", err, fs.ErrExist)
	if got := get(t, s, "a/b", 0, -1); string(got) != "first" {
		t.Fatalf("the object is now %q", got)
	}
}

func testConcurrentPuts(t *testing.T, s blob.Store) {
	const writers = 8
	errs := make(chan error, writers)
	for i := range writers {
		go func() {
			data := pattern(i, 100<<10)
			errs <- s.Put(t.Context(), "racing", bytes.NewReader(data), int64(len(data)))
		}()
	}
	won := 0
	for range writers {
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("Put: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d writers won", won)
	}
	got := get(t, s, "racing", 0, -1)
	for i := range writers {
		if bytes.Equal(got, pattern(i, 100<<10)) {
			return
		}
	}
	t.Error("the object is none of those that were put")
}

// failing yields some bytes and then an error.
type failing struct{ err error }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off > 1<<20 {
		return 0, f.err
	}
	return len(p), nil
}

func testFailedPut(t *testing.T, s blob.Store) {
	if err := s.Put(t.Context(), "failed", failing{errors.New("cable pulled")}, 4<<20); err == nil {
		t.Fatal("Put from a failing reader succeeded")
	}
	if err := s.Put(t.Context(), "short", bytes.NewReader([]byte("abc")), 4); err == nil {
		t.Fatal("Put of fewer bytes than announced succeeded")
	}
	wantNames(t, s, "", "")
	put(t, s, "failed", []byte("now"))
	if got := get(t, s, "failed", 0, -1); string(got) != "now" {
		t.Fatalf("read %q", got)
	}
}

func testAbsent(t *testing.T, s blob.Store) {
	put(t, s, "a/b", []byte("x"))
	for _, name := range []string{"nothing", "a", "a/c", "a/b/c", "b/b"} {
		_, err := read(t.Context(), s, name, 0, -1)
		wantError(t, "Get("+name+")", err, fs.ErrNotExist)
		_, err = s.Stat(t.Context(), name)
		wantError(t, "Stat("+name+")", err, fs.ErrNotExist)
	}
	_, err := s.Head(t.Context(), "nobody")
	wantError(t, "Head", err, fs.ErrNotExist)
	if heads, err := s.ListHeads(t.Context()); err != nil || len(heads) != 0 {
		t.Fatalf("ListHeads = %v, %v", heads, err)
	}
}

func testDelete(t *testing.T, s blob.Store) {
	put(t, s, "a/b", []byte("x"))
	put(t, s, "a/c", []byte("y"))
	for range 2 {
		if err := s.Delete(t.Context(), "a/b"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	if err := s.Delete(t.Context(), "never/was"); err != nil {
		t.Fatalf("Delete of nothing: %v", err)
	}
	wantNames(t, s, "", "", "a/c")
	put(t, s, "a/b", []byte("again"))
	if got := get(t, s, "a/b", 0, -1); string(got) != "again" {
		t.Fatalf("read %q", got)
	}
}

func testNames(t *testing.T, s blob.Store) {
	for _, name := range []string{"", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", ".hidden", "a/.b", "a b", "ä", "a\x00", "a\\b", "a:b", string(bytes.Repeat([]byte("n"), 256))} {
		if err := s.Put(t.Context(), name, bytes.NewReader(nil), 0); err == nil {
			t.Errorf("Put took the name %q", name)
		}
		if _, err := read(t.Context(), s, name, 0, -1); err == nil {
			t.Errorf("Get took the name %q", name)
		}
		if err := s.Delete(t.Context(), name); err == nil {
			t.Errorf("Delete took the name %q", name)
		}
	}
	wantNames(t, s, "", "")
	long := string(bytes.Repeat([]byte("n"), 200)) + "/" + string(bytes.Repeat([]byte("N"), 54))
	put(t, s, long, []byte("x"))
	put(t, s, "A-Z.a_z/0-9", []byte("x"))
	wantNames(t, s, "", "", "A-Z.a_z/0-9", long)
}

func testList(t *testing.T, s blob.Store) {
	all := []string{"a-b/x", "a.b", "a/b", "a/c/d", "a/c/e", "a/c0", "a0", "b/00/1", "b/00/2", "b/ff/1", "b/ff0/1", "c"}
	for _, i := range []int{5, 3, 11, 0, 8, 1, 7, 2, 9, 4, 10, 6} {
		put(t, s, all[i], []byte(all[i]))
	}
	wantNames(t, s, "", "", all...)
	for _, prefix := range []string{"a", "a/", "a/c", "a/c/", "b/ff", "b/00/1", "z", "a-", "b/0", "b/00/12", "/", "a//"} {
		var want []string
		for _, n := range all {
			if len(n) >= len(prefix) && n[:len(prefix)] == prefix {
				want = append(want, n)
			}
		}
		wantNames(t, s, prefix, "", want...)
		for _, after := range append([]string{"a", "a/c", "a/cc", "b/00", "b/0000", "zz", "0"}, all...) {
			var rest []string
			for _, n := range want {
				if n > after {
					rest = append(rest, n)
				}
			}
			wantNames(t, s, prefix, after, rest...)
		}
	}
	err := s.List(t.Context(), "b/ff/1", "", func(i blob.Info) error {
		if i.Size != int64(len("b/ff/1")) {
			return fmt.Errorf("size %d", i.Size)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func testListError(t *testing.T, s blob.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprint("n", i), nil)
	}
	stop, calls := errors.New("enough"), 0
	err := s.List(t.Context(), "", "", func(blob.Info) error {
		if calls++; calls == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || calls != 2 {
		t.Fatalf("error %v after %d calls", err, calls)
	}
}

func testContext(t *testing.T, s blob.Store) {
	put(t, s, "there", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := read(ctx, s, "there", 0, -1)
	_, statErr := s.Stat(ctx, "there")
	_, headErr := s.Head(ctx, "f")
	_, commitErr := s.Commit(ctx, "f", blob.Commit{Sealed: []byte("x")})
	for what, err := range map[string]error{
		"Put":    s.Put(ctx, "new", bytes.NewReader([]byte("x")), 1),
		"Get":    getErr,
		"Stat":   statErr,
		"List":   s.List(ctx, "", "", func(blob.Info) error { return nil }),
		"Delete": s.Delete(ctx, "there"),
		"Head":   headErr,
		"Commit": commitErr,
	} {
		wantError(t, what, err, context.Canceled)
	}
	wantNames(t, s, "", "", "there")
}
