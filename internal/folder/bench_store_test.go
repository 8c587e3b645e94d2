//go:build linux

package folder_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// BenchmarkRealStore is the life of a folder with nothing replaced: the first
// build into sealed packs that are synced, a scan with nothing changed, one
// file changed, everything restored.
func BenchmarkRealStore(b *testing.B) {
	dir := benchTree(b)
	for b.Loop() {
		state := b.TempDir()
		remote, err := blob.OpenDir(filepath.Join(state, "remote"), blob.DirOptions{})
		must(b, err)
		keys, err := seal.NewKeys(rand.Reader)
		must(b, err)
		s, err := store.Open(b.Context(), remote, keys, store.Options{
			SpoolDir: filepath.Join(state, "spool"), CacheDir: filepath.Join(state, "cache"),
		})
		must(b, err)
		db, err := meta.Open(filepath.Join(state, "meta"), nil)
		must(b, err)
		root, err := disk.OpenRoot(dir)
		must(b, err)
		f, err := folder.Open(folder.Options{Root: root, Records: db.Folder("bench").Records(), TempDir: state})
		must(b, err)
		trees, contents := versions.NewTrees(s, keys.NameSecret()), versions.NewContents(s, keys.GearSecret())

		b.ReportMetric(peak(b), "peak-before-MB")
		begun := time.Now()
		must(b, f.Scan(b.Context(), nil))
		built, err := f.Build(b.Context(), trees, contents, folder.BuildOptions{})
		must(b, err)
		b.ReportMetric(time.Since(begun).Seconds(), "build-s")
		must(b, s.Flush(b.Context()))
		b.ReportMetric(time.Since(begun).Seconds(), "flushed-s")
		must(b, f.Record(built))
		b.ReportMetric(time.Since(begun).Seconds(), "recorded-s")
		b.ReportMetric(peak(b), "peak-build-MB")

		begun = time.Now()
		must(b, f.Scan(b.Context(), nil))
		b.ReportMetric(time.Since(begun).Seconds(), "scan-s")
		if n, _ := f.Pending(); n != 0 {
			b.Fatalf("%d entries are dirty", n)
		}

		begun = time.Now()
		target := filepath.Join(state, "restored")
		rep, err := disk.Restore(b.Context(), trees, contents, built.Root, target, disk.RestoreOptions{})
		must(b, err)
		if len(rep.Failed)+len(rep.Refused) > 0 {
			b.Fatalf("restored: %+v", rep)
		}
		b.ReportMetric(time.Since(begun).Seconds(), "restore-s")
		b.ReportMetric(peak(b), "peak-all-MB")
		must(b, db.Close())
		must(b, s.Close())
		must(b, remote.Close())
		must(b, root.Close())
	}
}

// peak is the most memory that this process had, in MB.
func peak(b *testing.B) float64 {
	b.Helper()
	data, err := os.ReadFile("/proc/self/status")
	must(b, err)
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			must(b, err)
			return float64(kb) / 1024
		}
	}
	b.Fatal("no VmHWM")
	return 0
}
