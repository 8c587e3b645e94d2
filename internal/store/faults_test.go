package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

// replace damages a blob on the remote.
func replace(t testing.TB, remote blob.Store, name string, data []byte) {
	t.Helper()
	must(t, remote.Delete(t.Context(), name))
	must(t, remote.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))))
}

func readAll(t testing.TB, remote blob.Store, name string) []byte {
	t.Helper()
	r, err := remote.Get(t.Context(), name, 0, -1)
	must(t, err)
	defer r.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	must(t, err)
	return b.Bytes()
}

func check(t testing.TB, s *store.Store, readData bool) (problems []store.Problem) {
	t.Helper()
	var part func(string) bool
	if readData {
		part = everyPack
	}
	must(t, s.Check(t.Context(), part, nil, func(p store.Problem) { problems = append(problems, p) }))
	return problems
}

func TestDamageOnTheRemoteIsNamedAndTheRestReadable(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, remote blob.Store, victim, other string)
		quick  bool // found without reading the data
	}{
		{"a bit flipped", func(t *testing.T, remote blob.Store, victim, other string) {
			data := readAll(t, remote, victim)
			data[len(data)/3] ^= 4
			replace(t, remote, victim, data)
		}, false},
		{"a bit of the directory flipped", func(t *testing.T, remote blob.Store, victim, other string) {
			data := readAll(t, remote, victim)
			data[len(data)-20] ^= 4
			replace(t, remote, victim, data)
		}, false},
		{"cut short", func(t *testing.T, remote blob.Store, victim, other string) {
			data := readAll(t, remote, victim)
			replace(t, remote, victim, data[:len(data)/2])
		}, true},
		{"emptied", func(t *testing.T, remote blob.Store, victim, other string) {
			replace(t, remote, victim, nil)
		}, true},
		{"gone", func(t *testing.T, remote blob.Store, victim, other string) {
			must(t, remote.Delete(t.Context(), victim))
		}, true},
		{"another pack in its place", func(t *testing.T, remote blob.Store, victim, other string) {
			replace(t, remote, victim, readAll(t, remote, other))
		}, true},
		{"longer", func(t *testing.T, remote blob.Store, victim, other string) {
			replace(t, remote, victim, append(readAll(t, remote, victim), 0))
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			remote, keys := blob.NewMem(nil), newKeys(t)
			s := newMachine(t, remote, keys).open()
			first := putMany(t, s, 0, 8, 30_000)
			round(t, s)
			victim := listNames(t, remote, "packs/")[0]
			second := putMany(t, s, 100, 9, 31_000)
			round(t, s)
			var other string
			for _, name := range listNames(t, remote, "packs/") {
				if name != victim {
					other = name
				}
			}
			if p := check(t, s, true); len(p) > 0 {
				t.Fatalf("problems before any damage: %v", p)
			}
			test.damage(t, remote, victim, other)

			fresh := newMachine(t, remote, keys).open()
			second.wantIn(t, fresh)
			bad := 0
			for id, data := range first {
				got, err := fresh.Get(t.Context(), chunk.Data, id)
				if err == nil && bytes.Equal(got, data) {
					continue
				}
				bad++
				if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), victim) || !strings.Contains(err.Error(), id.Short()) {
					t.Errorf("Get: %v; want ErrCorrupt naming %s and %s", err, victim, id.Short())
				}
			}
			for _, readData := range []bool{false, true} {
				problems := check(t, fresh, readData)
				if len(problems) == 0 && (readData || test.quick) {
					t.Errorf("check (readData %v) found nothing", readData)
				}
				named := map[chunk.ID]bool{}
				for _, p := range problems {
					if p.Blob != victim || p.Err == nil {
						t.Errorf("problem with %s: %v; only %s is damaged", p.Blob, p.Err, victim)
					}
					named[p.Chunk] = true
				}
				delete(named, chunk.ID{})
				if readData && len(named) < bad {
					t.Errorf("check named %d chunks, %d cannot be read", len(named), bad)
				}
			}
			// A machine that still has the content puts it again, elsewhere: then
			// all places are tried.
			m := newMachine(t, remote, keys)
			_, err := fresh.Mark(t.Context(), []string{victim})
			must(t, err)
			s = m.open()
			putMany(t, s, 0, 8, 30_000)
			round(t, s)
			first.wantIn(t, newMachine(t, remote, keys).open())
		})
	}
}

func TestADamagedIndexIsNamedAndRebuiltFromThePacks(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		for _, how := range []string{"flipped", "cut", "gone", "swapped", "false entries"} {
			t.Run(fmt.Sprint(how, ", compacted ", compacted), func(t *testing.T) {
				remote, keys := blob.NewMem(nil), newKeys(t)
				s := newMachine(t, remote, keys).open()
				all := putMany(t, s, 0, 8, 3000)
				round(t, s)
				for id, data := range putMany(t, s, 100, 8, 3000) {
					all[id] = data
				}
				round(t, s)
				prefix := "index/delta/"
				if compacted {
					must(t, s.CompactIndex(t.Context()))
					prefix = "index/shard/"
				}
				names := listNames(t, remote, prefix)
				victim, data := names[0], readAll(t, remote, names[0])
				switch how {
				case "flipped":
					data[len(data)/2] ^= 1
					replace(t, remote, victim, data)
				case "cut":
					replace(t, remote, victim, data[:len(data)-1])
				case "gone":
					must(t, remote.Delete(t.Context(), victim))
				case "swapped":
					replace(t, remote, victim, readAll(t, remote, listNames(t, remote, "packs/")[0]))
				case "false entries":
					// Well made, by somebody with the key, and wrong.
					store.PutFalseIndex(t, remote, keys, all.ids(), listNames(t, remote, "packs/"))
				}
				fresh := newMachine(t, remote, keys).open()
				if how == "false entries" {
					all.wantIn(t, fresh)
					return
				}
				problems := check(t, fresh, true)
				named := false
				for _, p := range problems {
					named = named || p.Blob == victim || how == "gone" && !compacted && strings.HasPrefix(p.Blob, "packs/")
				}
				if !named {
					t.Errorf("problems %v do not name %s", problems, victim)
				}
				must(t, fresh.RebuildIndex(t.Context(), nil, func(p store.Problem) { t.Errorf("rebuild: %+v", p) }))
				all.wantIn(t, fresh)
				again := newMachine(t, remote, keys).open()
				all.wantIn(t, again)
				if p := check(t, again, true); len(p) > 0 {
					t.Errorf("problems after the rebuild: %v", p)
				}
			})
		}
	}
}

func (st stored) ids() (ids []chunk.ID) {
	for id := range st {
		ids = append(ids, id)
	}
	return ids
}

var errCrash = errors.New("crash")

// crashAt makes the n-th call of a hook at point, and all after it, fail.
func crashAt(point string, n int) func(string) error {
	dead := false
	var mu sync.Mutex // guards dead, n
	return func(p string) error {
		mu.Lock()
		defer mu.Unlock()
		if p == point {
			if n--; n == 0 {
				dead = true
			}
		}
		if dead {
			return errCrash
		}
		return nil
	}
}

func TestACrashAtAnyArrowLosesNothingThatWasFlushed(t *testing.T) {
	for _, point := range []string{"frame", "pack", "pack sealed", "pack named", "upload pack", "pack uploaded", "upload index", "index uploaded", "remove index"} {
		for n := 1; n <= 2; n++ {
			t.Run(fmt.Sprint(point, " ", n), func(t *testing.T) {
				remote, keys := blob.NewMem(nil), newKeys(t)
				m := newMachine(t, remote, keys)
				s := m.open()
				acknowledged := putMany(t, s, 0, 5, 2000)
				round(t, s)
				must(t, s.Close())

				m.o.Hook = crashAt(point, n)
				s = m.open()
				crashed := false
				for r := 1; r < 4 && !crashed; r++ {
					crashed = runRound(t, s, r, acknowledged) != nil
				}
				if !crashed {
					t.Fatal("nothing crashed")
				}
				// The process is gone: its files stay as they are.
				store.Kill(s)

				m.o.Hook = nil
				s = m.open()
				acknowledged.wantIn(t, s)
				for r := 1; r < 4; r++ {
					must(t, runRound(t, s, r, acknowledged))
				}
				acknowledged.wantIn(t, newMachine(t, remote, keys).open())
				if p := check(t, s, true); len(p) > 0 {
					t.Errorf("problems: %v", p)
				}
				if left := filesIn(t, m.o.SpoolDir, ".tmp"); len(left) > 0 {
					t.Errorf("left in the spool: %v", left)
				}
			})
		}
	}
}

// runRound puts, flushes, uploads, commits and compacts, and notes what was
// acknowledged.
func runRound(t testing.TB, s *store.Store, r int, acknowledged stored) error {
	fresh := stored{}
	for i := range 5 {
		data := text(100*r+i, 2000)
		id, err := s.Put(t.Context(), chunk.Data, data)
		if err != nil {
			return err
		}
		fresh[id] = data
		if _, err := s.Put(t.Context(), chunk.Tree, data); err != nil {
			return err
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		return err
	}
	for id, data := range fresh {
		acknowledged[id] = data
	}
	if err := s.Upload(t.Context(), nil); err != nil {
		return err
	}
	names, _ := s.Pending()
	if err := s.Committed(t.Context(), names); err != nil {
		return err
	}
	return s.CompactIndex(t.Context())
}

func filesIn(t testing.TB, dir, part string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.Contains(e.Name(), part) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestAFailedFlushIsNotAcknowledgedAndCanBeRepeated(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	m := newMachine(t, remote, keys)
	broken := true
	m.o.Hook = func(point string) error {
		if broken && point == "pack sealed" {
			return errCrash
		}
		return nil
	}
	s := m.open()
	all := putMany(t, s, 0, 10, 1000)
	for range 2 {
		if err := s.Flush(t.Context()); !errors.Is(err, errCrash) {
			t.Fatalf("Flush: %v", err)
		}
		all.wantIn(t, s)
	}
	broken = false
	must(t, s.Flush(t.Context()))
	store.Kill(s)
	s = m.open()
	all.wantIn(t, s)
	round(t, s)
	all.wantIn(t, newMachine(t, remote, keys).open())
}

func TestADamagedPackInTheSpoolIsNotUploaded(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	putMany(t, s, 0, 10, 1000)
	must(t, s.Flush(t.Context()))
	must(t, s.Close())
	path := filepath.Join(m.o.SpoolDir, filesIn(t, m.o.SpoolDir, ".pack")[0])
	data, err := os.ReadFile(path)
	must(t, err)
	data[60] ^= 1
	must(t, os.WriteFile(path, data, 0o600))
	s = m.open()
	if err := s.Upload(t.Context(), nil); !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("Upload: %v, want ErrCorrupt", err)
	}
	if names := listNames(t, remote, ""); len(names) > 0 {
		t.Fatalf("on the remote: %v", names)
	}
	round(t, s)
	must(t, s.Close())
	must(t, os.WriteFile(path, data[:len(data)-3], 0o600))
	s = m.open()
	if names, _ := s.Pending(); len(names) > 0 {
		t.Fatalf("a pack without its end is pending: %v", names)
	}
	putMany(t, s, 0, 10, 1000)
	round(t, s)
}

func TestOneDamagedChunkInTheSpoolHoldsNothingElseUp(t *testing.T) {
	for _, small := range []bool{false, true} {
		t.Run(fmt.Sprint("small ", small), func(t *testing.T) {
			remote, keys := blob.NewMem(nil), newKeys(t)
			m := newMachine(t, remote, keys)
			s := m.open()
			all := stored{}
			for i := range 10 {
				data := noise(uint64(i), 1000)
				all[put(t, s, chunk.Data, data)] = data
			}
			must(t, s.Flush(t.Context()))
			must(t, s.Close())
			path := filepath.Join(m.o.SpoolDir, filesIn(t, m.o.SpoolDir, ".pack")[0])
			data, err := os.ReadFile(path)
			must(t, err)
			data[2500] ^= 1
			must(t, os.WriteFile(path, data, 0o600))
			s = m.open()
			if small {
				_, err = s.Small(1 << 20)
			} else {
				err = s.Upload(t.Context(), nil)
			}
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("%v, want ErrCorrupt, once", err)
			}
			s = reopened(t, m, s)
			round(t, s)
			fresh := newMachine(t, remote, keys).open()
			var lost []chunk.ID
			for id, data := range all {
				got, err := fresh.Get(t.Context(), chunk.Data, id)
				if err != nil {
					lost = append(lost, id)
				} else if !bytes.Equal(got, data) {
					t.Errorf("chunk %s is another", id.Short())
				}
			}
			if len(lost) != 1 {
				t.Fatalf("%d chunks are lost, one was damaged", len(lost))
			}
			put(t, s, chunk.Data, all[lost[0]])
			round(t, s)
			all.wantIn(t, newMachine(t, remote, keys).open())
		})
	}
}

// reopened is s after a crash.
func reopened(t *testing.T, m *machine, s *store.Store) *store.Store {
	store.Kill(s)
	return m.open()
}

// smallDisk is a filesystem of 1 MiB.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Fatalf("no small disks on %s", runtime.GOOS)
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

func TestAFullDiskUnderTheSpoolLosesNothing(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	m := newMachine(t, remote, keys)
	m.o.SpoolDir = filepath.Join(smallDisk(t, "1m"), "spool")
	s := m.open()
	all := stored{}
	for r := range 4 { // it goes on by itself when there is room
		var err error
		for i := 0; err == nil && i < 500; i++ {
			data := noise(uint64(1000*r+i), 7000)
			var id chunk.ID
			if id, err = s.Put(t.Context(), chunk.Data, data); err == nil {
				all[id] = data
			}
		}
		if !errors.Is(err, store.ErrSpoolFull) {
			t.Fatalf("round %d, after %d chunks: %v, want ErrSpoolFull", r, len(all), err)
		}
		must(t, s.Flush(t.Context()))
		all.wantIn(t, s)
		if r == 2 {
			store.Kill(s)
			s = m.open()
			all.wantIn(t, s)
		}
		round(t, s)
		if left := filesIn(t, m.o.SpoolDir, ".pack"); len(left) > 0 {
			t.Fatalf("left in the spool: %v", left)
		}
	}
	all.wantIn(t, newMachine(t, remote, keys).open())
}
