package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != content {
		t.Fatalf("%s holds %q, %v; want %q", path, got, err, content)
	}
}

func wantNoTemps(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if atomicfile.IsTemp(e.Name()) {
			t.Errorf("left: %s", e.Name())
		}
	}
}

func TestWriteFileReplacesAndKeepsTheMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, atomicfile.WriteFile(path, []byte("one"), 0o600))
	must(t, atomicfile.WriteFile(path, []byte("two"), 0o640))
	want(t, path, "two")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	wantNoTemps(t, dir)
}

func TestWriteNewReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, atomicfile.WriteNew(path, []byte("one"), 0o600))
	if err := atomicfile.WriteNew(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second WriteNew: %v, want ErrExist", err)
	}
	want(t, path, "one")
	wantNoTemps(t, dir)
}

func TestNothingIsThereBeforeTheCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, atomicfile.WriteFile(path, []byte("old"), 0o600))
	f, err := atomicfile.Create(path, 0o600)
	must(t, err)
	_, err = f.Write([]byte("new"))
	must(t, err)
	want(t, path, "old")
	f.Abort()
	want(t, path, "old")
	wantNoTemps(t, dir)
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit after Abort: %v", err)
	}
}

func TestAFailedCommitLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, os.MkdirAll(filepath.Join(path, "full"), 0o700)) // a rename onto it fails
	if err := atomicfile.WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Fatal("a file replaced a directory")
	}
	wantNoTemps(t, dir)
	if err := atomicfile.WriteFile(filepath.Join(dir, "missing", "f"), []byte("x"), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("into a missing directory: %v", err)
	}
}

func TestPublishCanBeRepeatedAndKeepsTheFileOpen(t *testing.T) {
	dir := t.TempDir()
	taken, free := filepath.Join(dir, "taken"), filepath.Join(dir, "free")
	must(t, os.MkdirAll(filepath.Join(taken, "full"), 0o700))
	f, err := atomicfile.Create(taken, 0o600)
	must(t, err)
	_, err = f.Write([]byte("content"))
	must(t, err)
	if err := f.Publish(taken); err == nil {
		t.Fatal("a file replaced a directory")
	}
	must(t, f.Publish(free))
	buf := make([]byte, 7)
	if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "content" {
		t.Errorf("read %q, %v", buf, err)
	}
	f.Abort() // does nothing any more
	must(t, f.Close())
	want(t, free, "content")
	wantNoTemps(t, dir)
}

func TestMkdirAllMakesParentsAndRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	must(t, atomicfile.MkdirAll(filepath.Join(dir, "a", "b", "c"), 0o700))
	must(t, atomicfile.MkdirAll(filepath.Join(dir, "a", "b", "c"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	if err := atomicfile.MkdirAll(filepath.Join(dir, "f"), 0o700); err == nil {
		t.Error("a file was taken for a directory")
	}
}

func TestSweepRemovesOnlyTemporaries(t *testing.T) {
	dir := t.TempDir()
	f, err := atomicfile.Create(filepath.Join(dir, "f"), 0o600)
	must(t, err)
	must(t, f.Close())
	must(t, os.WriteFile(filepath.Join(dir, "keep"), []byte("x"), 0o600))
	must(t, atomicfile.Sweep(dir))
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 || strings.HasPrefix(entries[0].Name(), ".") {
		t.Fatalf("left: %v", entries)
	}
	must(t, atomicfile.Remove(filepath.Join(dir, "keep")))
	must(t, atomicfile.Remove(filepath.Join(dir, "keep")))
}
