//go:build linux

package fs_test

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Directories are renamed while files are made, read and removed below them:
// nothing is lost, and all errors are those of a disk.
func TestRenamesAndCreationsAtOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		const dirs, workers, rounds = 4, 4, 150
		for i := range dirs {
			must(t, os.MkdirAll(fmt.Sprintf("%s/d%d/sub", m.dir, i), 0o755))
		}
		var made sync.Map
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range rounds {
					name := fmt.Sprintf("w%d-%d", w, i)
					path := fmt.Sprintf("%s/d%d/sub/%s", m.dir, i%dirs, name)
					f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
					if errors.Is(err, iofs.ErrNotExist) {
						continue // just renamed away
					}
					if err != nil {
						t.Errorf("create: %v", err)
						return
					}
					if _, err := f.WriteString(name); err != nil {
						t.Errorf("write: %v", err)
					}
					if st, err := f.Stat(); err != nil || st.Size() != int64(len(name)) {
						t.Errorf("stat of an open file: %v, %v", st, err)
					}
					f.Close()
					made.Store(name, true)
				}
			})
		}
		wg.Go(func() {
			for i := range rounds {
				a, b := fmt.Sprintf("%s/d%d", m.dir, i%dirs), fmt.Sprintf("%s/d%d", m.dir, (i+1)%dirs)
				if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
					t.Errorf("exchange: %v", err)
				}
				if err := os.Rename(a, a+"-away"); err != nil {
					t.Errorf("rename: %v", err)
				}
				if err := os.Rename(a+"-away", a); err != nil {
					t.Errorf("rename back: %v", err)
				}
			}
		})
		wg.Wait()
		found := map[string]bool{}
		must(t, filepath.WalkDir(m.dir, func(path string, d iofs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if got := read(t, path); got != d.Name() {
					t.Errorf("%s holds %q", path, got)
				}
				found[d.Name()] = true
			}
			return err
		}))
		made.Range(func(name, _ any) bool {
			if !found[name.(string)] {
				t.Errorf("%s is lost", name)
			}
			return true
		})
		if len(found) == 0 {
			t.Error("nothing was made")
		}
	})
}

// A program that saves by renaming over a file never leaves a reader without it.
func TestAFileThatIsReplacedIsAlwaysThere(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		f := m.dir + "/f"
		write(t, f, "0")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 500 {
				if err := os.WriteFile(f+".tmp", fmt.Append(nil, i), 0o644); err != nil {
					t.Errorf("write: %v", err)
				}
				if err := os.Rename(f+".tmp", f); err != nil {
					t.Errorf("rename: %v", err)
				}
			}
		}()
		for {
			b, err := os.ReadFile(f)
			if err != nil || len(b) == 0 {
				t.Errorf("read %q: %v", b, err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
}

// What the agent may use stays small with a tree of the size of the kernel's.
func TestAKnownFileCostsLittleMemory(t *testing.T) {
	m := mountAt(t, workDir(t))
	const files = 20000
	for i := range files {
		if i%200 == 0 {
			must(t, os.Mkdir(fmt.Sprintf("%s/dir-%d", m.dir, i/200), 0o755))
		}
		fd, err := m.disk.Openat(fmt.Sprintf("dir-%d/source-file-%d.c", i/200, i), unix.O_CREAT|unix.O_WRONLY, 0o644)
		must(t, err)
		unix.Close(fd)
	}
	before, nodes := heap(), m.Stats().Nodes
	var st unix.Stat_t
	for i := range files {
		must(t, unix.Stat(fmt.Sprintf("%s/dir-%d/source-file-%d.c", m.dir, i/200, i), &st))
	}
	after, known := heap(), m.Stats().Nodes-nodes
	if known < files {
		t.Fatalf("only %d nodes are known", known)
	}
	// Less what the readers keep for requests, which does not grow with the tree.
	each := max(0, float64(after-before-3<<20)) / float64(known)
	t.Logf("%.0f bytes a node", float64(after-before)/float64(known))
	if each > 220 {
		t.Errorf("%.0f bytes a node", each)
	}
	// The kernel's word frees them.
	must(t, os.RemoveAll(m.dir+"/dir-0"))
	eventually(t, "removed files are forgotten", func() bool { return m.Stats().Nodes <= known+nodes-200 })
}

func heap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
