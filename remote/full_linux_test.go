package remote_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/blob"
)

func TestAFullDiskIsToldAndPasses(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := serve(t, worldOptions{dir: filepath.Join(dir, "data")})
	t.Cleanup(w.stop) // before the disk goes
	c := w.client(nil)
	small := randomBytes(11, 500_000)
	if err := c.Put(t.Context(), "packs/kept", bytes.NewReader(small), int64(len(small))); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 7<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	large := randomBytes(12, 5<<20)
	put := func() error { return c.Put(t.Context(), "packs/large", bytes.NewReader(large), int64(len(large))) }
	if err := put(); !errors.Is(err, blob.ErrFull) {
		t.Errorf("Put on a full disk: %v, want ErrFull", err)
	}
	request, _ := http.NewRequest(http.MethodPut, w.url+"/v1/blobs/packs/large", bytes.NewReader(large))
	request.Header.Set("X-API-Key", testKey)
	request.Header.Set("Repr-Digest", digestHeader(large))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("status %d, want 507", response.StatusCode)
	}
	// A commit that does not fit moves nothing.
	commit := blob.Commit{Sealed: []byte("x"), Blobs: []blob.Blob{{Name: "packs/round", Data: randomBytes(13, 4_000_000)}}}
	fill(t, ballast)
	if _, err := c.Commit(t.Context(), "f", commit); !errors.Is(err, blob.ErrFull) {
		t.Errorf("Commit on a full disk: %v, want ErrFull", err)
	}
	if _, err := c.Head(t.Context(), "f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a head came of a commit that did not fit: %v", err)
	}
	for _, name := range []string{"packs/large", "packs/round"} {
		if _, err := c.Stat(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there after a full disk: %v", name, err)
		}
	}
	if got := readAll(t, c, "packs/kept"); !bytes.Equal(got, small) {
		t.Error("what was acknowledged before is damaged")
	}
	// With room it goes on by itself: the server was never stopped.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Fatalf("Put when there is room again: %v", err)
	}
	if got := readAll(t, c, "packs/large"); !bytes.Equal(got, large) {
		t.Error("what was put after the disk was full is damaged")
	}
	commit.Blobs[0].Data = commit.Blobs[0].Data[:100_000]
	if head, err := c.Commit(t.Context(), "f", commit); err != nil || head.Number != 1 {
		t.Errorf("Commit when there is room again: %+v, %v", head, err)
	}
}

// fill takes the room that is left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}
