//go:build unix

package store_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

var treeFlag = flag.String("tree", "", "directory whose files BenchmarkPut stores; made-up text when empty")

// benchFiles are the files of -tree, or made-up ones in a directory.
func benchFiles(b *testing.B) (paths []string) {
	root := *treeFlag
	if root == "" {
		root = b.TempDir()
		for i := range 2000 {
			must(b, os.WriteFile(filepath.Join(root, fmt.Sprint("f", i)), text(i, 20_000), 0o600))
		}
	}
	must(b, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// putFiles stores files with as many goroutines as there are processors.
func putFiles(b *testing.B, s *store.Store, cutter *chunk.Cutter, paths []string) (ids []chunk.ID, total int64) {
	type result struct {
		ids   []chunk.ID
		bytes int64
	}
	jobs := make(chan int)
	results := make([]result, len(paths))
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range jobs {
				data, err := os.ReadFile(paths[i])
				if err != nil {
					b.Error(err)
					continue
				}
				results[i].bytes = int64(len(data))
				for len(data) > 0 {
					n := cutter.Cut(data)
					id, err := s.Put(b.Context(), chunk.Data, data[:n])
					if err != nil {
						b.Error(err)
						break
					}
					results[i].ids = append(results[i].ids, id)
					data = data[n:]
				}
			}
		})
	}
	for i := range paths {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	for _, r := range results {
		ids = append(ids, r.ids...)
		total += r.bytes
	}
	return ids, total
}

// BenchmarkPut stores a tree into an embedded repository, with upload and index:
//
//	go test -run - -bench Put -benchtime 1x ./internal/store -args -tree DIR
func BenchmarkPut(b *testing.B) {
	paths := benchFiles(b)
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		remote, err := blob.OpenDir(filepath.Join(dir, "remote"), blob.DirOptions{})
		must(b, err)
		keys := newKeys(b)
		m := &machine{t: b, remote: remote, keys: keys, o: store.Options{SpoolDir: filepath.Join(dir, "spool"), CacheDir: filepath.Join(dir, "cache")}}
		s := m.open()
		var before, after syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &before)
		start := time.Now()
		b.StartTimer()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Millisecond):
					if err := s.Upload(b.Context(), nil); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
		ids, total := putFiles(b, s, chunk.NewCutter(keys.GearSecret()), paths)
		put := time.Since(start)
		must(b, s.Flush(b.Context()))
		close(stop)
		wg.Wait()
		must(b, s.Upload(b.Context(), nil))
		all := time.Since(start)
		b.StopTimer()
		syscall.Getrusage(syscall.RUSAGE_SELF, &after)
		var size int64
		for _, prefix := range []string{"packs/", "index/"} {
			must(b, remote.List(b.Context(), prefix, "", func(i blob.Info) error { size += i.Size; return nil }))
		}
		cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
		b.Logf("%d chunks, %d MB: put %v, all %v, cpu %v, stored %.1f MB, peak memory %d MB",
			len(ids), total/1e6, put.Round(time.Millisecond), all.Round(time.Millisecond), cpu.Round(time.Millisecond), float64(size)/1e6, after.Maxrss>>10)
		b.SetBytes(total)
		start = time.Now()
		must(b, s.Close())
		for _, p := range []string{"packs/", "index/"} {
			var n int64
			must(b, remote.List(b.Context(), p, "", func(i blob.Info) error { n += i.Size; return nil }))
			b.Logf("%s %.1f MB", p, float64(n)/1e6)
		}
		m.o.SpoolDir, m.o.CacheDir = "", filepath.Join(dir, "cold")
		s = m.open()
		b.Logf("open with an empty cache: %v", time.Since(start))
		start = time.Now()
		n := min(len(ids), 10_000)
		for from := 0; from < n; from += 200 {
			part := ids[from:min(from+200, n)]
			s.Prefetch(b.Context(), chunk.Data, part)
			for _, id := range part {
				if _, err := s.Get(b.Context(), chunk.Data, id); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Logf("%d chunks read cold in %v", n, time.Since(start))
		start = time.Now()
		for _, id := range ids[:n] {
			if _, err := s.Get(b.Context(), chunk.Data, id); err != nil {
				b.Fatal(err)
			}
		}
		b.Logf("%d chunks read warm in %v", n, time.Since(start))
		b.StartTimer()
	}
}
