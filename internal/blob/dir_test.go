package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files lists everything in a directory, by path.
func files(t testing.TB, dir string) (paths []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			paths = append(paths, rel)
		}
		return err
	}))
	return paths
}

func TestReceivedRisesThoughTheClockJumpsBack(t *testing.T) {
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	for name, s := range map[string]blob.Store{
		"mem": blob.NewMem(func() time.Time { return now }),
		"dir": openDir(t, t.TempDir(), func() time.Time { return now }),
	} {
		t.Run(name, func(t *testing.T) {
			var last blob.Head
			for i, jump := range []time.Duration{0, -365 * 24 * time.Hour, 0, 2 * 365 * 24 * time.Hour, -time.Nanosecond} {
				now = now.Add(jump)
				h, err := s.Commit(t.Context(), "f", blob.Commit{Expect: last.Number, Sealed: []byte{byte(i)}})
				must(t, err)
				if !h.Received.After(last.Received) {
					t.Fatalf("jump %d: received %v after %v", i, h.Received, last.Received)
				}
				last = h
			}
		})
	}
}

func TestHeadsAndObjectsSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	d, err := blob.OpenDir(dir, blob.DirOptions{})
	must(t, err)
	must(t, d.Put(t.Context(), "packs/aa/x", strings.NewReader("pack"), 4))
	want, err := d.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("head"), ID: fmt.Sprintf("%064x", 1), Record: []byte("r")})
	must(t, err)
	must(t, d.Close())
	d = openDir(t, dir, time.Now)
	got, err := d.Head(t.Context(), "f")
	if err != nil || got.Number != want.Number || !got.Received.Equal(want.Received) || got.Record != want.Record || string(got.Sealed) != "head" {
		t.Fatalf("head %+v, %v; want %+v", got, err, want)
	}
	if info, err := d.Stat(t.Context(), "packs/aa/x"); err != nil || info.Size != 4 {
		t.Fatalf("Stat = %+v, %v", info, err)
	}
}

func TestACommitCutOffBeforeItsHeadIsTakenBack(t *testing.T) {
	for _, reopen := range []bool{true, false} {
		t.Run(fmt.Sprint("reopened ", reopen), func(t *testing.T) {
			dir := t.TempDir()
			d := openDir(t, dir, time.Now)
			first, err := d.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("1"), ID: fmt.Sprintf("%064x", 1), Record: []byte("one")})
			must(t, err)
			// What a process leaves that dies after the record of number 2.
			orphan := blob.RecordName("f", 2, first.Received.Add(time.Second), fmt.Sprintf("%064x", 2))
			must(t, d.Put(t.Context(), orphan, strings.NewReader("two"), 3))
			next := fmt.Sprintf(`{"folder":"f","number":2,"received":%d,"record":%q,"sealed":"eA=="}`, first.Received.Add(time.Second).UnixNano(), orphan)
			must(t, os.WriteFile(filepath.Join(dir, ".syncfs/heads/f.next"), []byte(next), 0o600))
			if reopen {
				d = openDir(t, dir, time.Now)
				if h, err := d.Head(t.Context(), "f"); err != nil || h.Number != 1 {
					t.Fatalf("head %+v, %v", h, err)
				}
				if _, err := d.Stat(t.Context(), orphan); !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("the record is still there: %v", err)
				}
			}
			h, err := d.Commit(t.Context(), "f", blob.Commit{Expect: 1, Sealed: []byte("2"), ID: fmt.Sprintf("%064x", 3), Record: []byte("three")})
			must(t, err)
			var records []string
			must(t, d.List(t.Context(), "snapshots/f/", "", func(i blob.Info) error { records = append(records, i.Name); return nil }))
			if len(records) != 2 || records[1] != h.Record {
				t.Fatalf("records %v", records)
			}
			if left := files(t, filepath.Join(dir, ".syncfs/heads")); strings.Contains(strings.Join(left, " "), ".next") {
				t.Fatalf("left: %v", left)
			}
		})
	}
}

func TestUnfinishedObjectsAreSweptButNotThoseOfLiveProcesses(t *testing.T) {
	dir := t.TempDir()
	live := openDir(t, dir, time.Now)
	block := &blockingReader{reached: make(chan struct{}), proceed: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- live.Put(context.Background(), "slow", block, 1<<20) }()
	<-block.reached
	dead := filepath.Join(dir, ".syncfs/tmp/pdead")
	must(t, os.MkdirAll(dead, 0o700))
	must(t, os.WriteFile(filepath.Join(dead, ".tmp-1234"), []byte("half"), 0o600))

	openDir(t, dir, time.Now)
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a dead process left is still there: %v", err)
	}
	close(block.proceed)
	must(t, <-done)
	if info, err := live.Stat(t.Context(), "slow"); err != nil || info.Size != 1<<20 {
		t.Fatalf("Stat = %+v, %v", info, err)
	}
}

// blockingReader stops in the middle of being read.
type blockingReader struct{ reached, proceed chan struct{} }

func (b *blockingReader) ReadAt(p []byte, off int64) (int, error) {
	if off == 512<<10 {
		close(b.reached)
		<-b.proceed
	}
	return len(p), nil
}

func TestAFullDiskIsErrFullAndNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	d := openDir(t, filepath.Join(dir, "store"), time.Now)
	must(t, d.Put(t.Context(), "kept", bytes.NewReader(make([]byte, 300<<10)), 300<<10))
	first, err := d.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("1")})
	must(t, err)
	big := make([]byte, 2<<20)
	if err := d.Put(t.Context(), "big", bytes.NewReader(big), int64(len(big))); !errors.Is(err, blob.ErrFull) {
		t.Fatalf("Put: %v, want ErrFull", err)
	}
	for name, c := range map[string]blob.Commit{
		"a pack":   {Expect: 1, Sealed: []byte("2"), Blobs: []blob.Blob{{Name: "packs/x", Data: big}}},
		"a record": {Expect: 1, Sealed: []byte("2"), ID: fmt.Sprintf("%064x", 2), Record: big},
		"a head":   {Expect: 1, Sealed: big},
	} {
		if _, err := d.Commit(t.Context(), "f", c); !errors.Is(err, blob.ErrFull) {
			t.Errorf("a commit of too large %s: %v, want ErrFull", name, err)
		}
	}
	if h, err := d.Head(t.Context(), "f"); err != nil || h.Number != 1 || !h.Received.Equal(first.Received) {
		t.Errorf("head %+v, %v", h, err)
	}
	for _, path := range files(t, filepath.Join(dir, "store")) {
		if path != "kept" && !strings.HasPrefix(path, ".syncfs/heads/f.") && !strings.HasSuffix(path, "/lock") {
			t.Errorf("left: %s", path)
		}
	}
	must(t, d.Put(t.Context(), "small", strings.NewReader("x"), 1))
	if _, err := d.Commit(t.Context(), "f", blob.Commit{Expect: 1, Sealed: []byte("2"), ID: fmt.Sprintf("%064x", 2), Record: []byte("r")}); err != nil {
		t.Errorf("a commit that fits: %v", err)
	}
}

func TestTwoProcessesShareADirectory(t *testing.T) {
	dir := t.TempDir()
	a, b := openDir(t, dir, time.Now), openDir(t, dir, time.Now)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ready, events, done := make(chan struct{}), make(chan blob.Event, 10), make(chan error, 1)
	go func() { done <- b.Watch(ctx, func() { close(ready) }, func(e blob.Event) { events <- e }) }()
	<-ready
	won := make(chan uint64, 40)
	for _, d := range []*blob.Dir{a, b} {
		go func() {
			for range 20 {
				for {
					expect := uint64(0)
					if h, err := d.Head(ctx, "f"); err == nil {
						expect = h.Number
					}
					h, err := d.Commit(ctx, "f", blob.Commit{Expect: expect, Sealed: []byte("x")})
					if errors.Is(err, blob.ErrMoved) {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					won <- h.Number
					break
				}
			}
		}()
	}
	seen := map[uint64]bool{}
	for range 40 {
		n := <-won
		if seen[n] {
			t.Fatalf("number %d was given twice", n)
		}
		seen[n] = true
	}
	h, err := a.Commit(ctx, "g", blob.Commit{Sealed: []byte("y"), ID: fmt.Sprintf("%064x", 1), Record: []byte("record")})
	must(t, err)
	last := uint64(0)
	for {
		select {
		case e := <-events:
			if e.Head.Folder == "f" {
				if e.Head.Number <= last {
					t.Fatalf("told of number %d after %d", e.Head.Number, last)
				}
				last = e.Head.Number
				continue
			}
			if e.Head.Number != h.Number || string(e.Entry) != "record" {
				t.Fatalf("event %+v", e)
			}
			if last != 40 {
				continue
			}
			cancel()
		case <-ctx.Done():
			if last != 40 {
				t.Fatalf("told of f's number %d, want 40", last)
			}
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Watch: %v", err)
			}
			return
		}
		if last == 40 {
			cancel()
		}
	}
}

func TestADamagedHeadIsToldAsSuch(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, dir, time.Now)
	_, err := d.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("1")})
	must(t, err)
	for _, text := range []string{"", "{", `{"folder":"f"}`, `{"folder":"g","number":1,"received":1,"sealed":""}`} {
		must(t, os.WriteFile(filepath.Join(dir, ".syncfs/heads/f.head"), []byte(text), 0o600))
		if _, err := d.Head(t.Context(), "f"); !errors.Is(err, blob.ErrCorrupt) {
			t.Errorf("head %q: %v, want ErrCorrupt", text, err)
		}
		if _, err := d.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("2")}); !errors.Is(err, blob.ErrCorrupt) {
			t.Errorf("a commit over the head %q: %v, want ErrCorrupt", text, err)
		}
	}
}

func FuzzParseRecordName(f *testing.F) {
	f.Add(blob.RecordName("f", 7, time.Unix(5, 6), fmt.Sprintf("%064x", 9)))
	f.Fuzz(func(t *testing.T, name string) {
		folder, number, received, id, err := blob.ParseRecordName(name)
		if err == nil && blob.RecordName(folder, number, received, id) != name {
			t.Fatalf("%q does not round-trip", name)
		}
	})
}
