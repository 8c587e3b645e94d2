package meta_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/versions"
)

// records are those of a tree of 5,000 directories and 80,000 files, about 120
// bytes a file.
func records() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 1))
	list := map[string][]byte{}
	for i := range 5000 {
		value := make([]byte, 16*120)
		for k := range value {
			value[k] = byte(rng.Uint32())
		}
		list[fmt.Sprintf("drivers/net/ethernet/vendor%d/dir%d", i%100, i)] = value
	}
	return list
}

func fillRecords(b *testing.B, r *meta.Records, list map[string][]byte) {
	b.Helper()
	err := r.Update(func(set func(string, []byte) error) error {
		for dir, record := range list {
			if err := set(dir, record); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkFirstRecords(b *testing.B) {
	list := records()
	for b.Loop() {
		b.StopTimer()
		db := open(b, b.TempDir())
		b.StartTimer()
		fillRecords(b, db.Folder("one").Records(), list)
	}
}

func BenchmarkEachRecord(b *testing.B) {
	r := open(b, b.TempDir()).Folder("one").Records()
	fillRecords(b, r, records())
	for b.Loop() {
		n := 0
		if err := r.Each(func(string, []byte) error { n++; return nil }); err != nil || n != 5000 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkHistory puts 10,000 snapshots of 5 directories each, and then reads
// the moments of the root.
func BenchmarkHistory(b *testing.B) {
	f := open(b, b.TempDir()).Folder("one")
	start := time.Now()
	fillHistory(b, f)
	b.Logf("10,000 snapshots put in %v", time.Since(start))
	for b.Loop() {
		if list, err := f.Moments(""); err != nil || len(list) != 10_000 {
			b.Fatal(len(list), err)
		}
	}
}

func fillHistory(b *testing.B, f *meta.Folder) {
	b.Helper()
	for n := 0; n < 10_000; n += 500 {
		var list []meta.Snapshot
		for i := range 500 {
			changes := []versions.DirChange{change("", n+i+1)}
			for k := range 4 {
				changes = append(changes, change(fmt.Sprintf("a/b%d/c%d", k, (n+i)%1000), n+i+1))
			}
			list = append(list, snap(uint64(n+i+1), at(int64(1000+n+i)), changes...))
		}
		put(b, f, list...)
	}
}

// BenchmarkMemory reports what a database with all of the above adds to the
// process at rest, after it was written, and after it was opened again.
func BenchmarkMemory(b *testing.B) {
	dir := b.TempDir()
	list := records()
	for b.Loop() {
		empty := resident(b)
		db := open(b, dir)
		fillRecords(b, db.Folder("one").Records(), list)
		fillHistory(b, db.Folder("one"))
		b.ReportMetric(resident(b)-empty, "MiB-written")
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		closed := resident(b)
		db = open(b, dir)
		b.ReportMetric(resident(b)-closed, "MiB-opened")
		if err := db.Folder("one").Records().Each(func(string, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
		if _, err := db.Folder("one").Moments(""); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(resident(b)-closed, "MiB-read")
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// resident is VmRSS in MiB.
func resident(b *testing.B) float64 {
	b.Helper()
	time.Sleep(20 * time.Second) // Badger flushes and compacts
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}
