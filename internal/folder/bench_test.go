//go:build linux

package folder_test

import (
	"os"
	"runtime"
	"testing"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

// benchTree is a large tree to read, from the environment: the Linux sources.
func benchTree(b *testing.B) string {
	dir := os.Getenv("SYNCFS_BENCH_TREE")
	if dir == "" {
		b.Fatal("SYNCFS_BENCH_TREE names no directory")
	}
	return dir
}

func BenchmarkFirstBuild(b *testing.B) {
	dir := benchTree(b)
	for b.Loop() {
		root, err := disk.OpenRoot(dir)
		if err != nil {
			b.Fatal(err)
		}
		chunks := versionstest.New()
		trees, contents := versions.NewTrees(chunks, [32]byte{1}), versions.NewContents(chunks, [32]byte{2})
		f, err := folder.Open(folder.Options{Root: root, Records: newRecords()})
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Scan(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
		built, err := f.Build(b.Context(), trees, contents, folder.BuildOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Record(built); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(built.Files), "files")
		b.ReportMetric(float64(built.Bytes), "bytes")
		root.Close()
	}
}

func BenchmarkScanNothingChanged(b *testing.B) {
	dir := benchTree(b)
	root, err := disk.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	records := newRecords()
	f, err := folder.Open(folder.Options{Root: root, Records: records})
	if err != nil {
		b.Fatal(err)
	}
	built := firstBuild(b, f)
	if err := f.Record(built); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	for b.Loop() {
		if err := f.Scan(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if n, _ := f.Pending(); n != 0 {
		b.Fatalf("%d entries are dirty", n)
	}
}

// firstBuild stores contents nowhere.
func firstBuild(b *testing.B, f *folder.Folder) *folder.Built {
	b.Helper()
	chunks := versionstest.New()
	if err := f.Scan(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	built, err := f.Build(b.Context(), versions.NewTrees(chunks, [32]byte{1}), versions.NewContents(chunks, [32]byte{2}), folder.BuildOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return built
}

func BenchmarkRestore(b *testing.B) {
	dir := benchTree(b)
	root, err := disk.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	f, err := folder.Open(folder.Options{Root: root, Records: newRecords()})
	if err != nil {
		b.Fatal(err)
	}
	chunks := versionstest.New()
	trees, contents := versions.NewTrees(chunks, [32]byte{1}), versions.NewContents(chunks, [32]byte{2})
	if err := f.Scan(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	built, err := f.Build(b.Context(), trees, contents, folder.BuildOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		target, err := os.MkdirTemp("/tmp", "restore-bench")
		if err != nil {
			b.Fatal(err)
		}
		rep, err := disk.Restore(b.Context(), trees, contents, built.Root, target, disk.RestoreOptions{})
		if err != nil || len(rep.Failed) > 0 {
			b.Fatal(err, rep.Failed)
		}
		b.StopTimer()
		os.RemoveAll(target)
		b.StartTimer()
	}
}
