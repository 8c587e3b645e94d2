//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// load is how much is done after the first sync.
type load struct {
	samples  int           // files whose latency is measured, per operation
	burst    int           // small files at once
	big      int64         // size of the file of which 4 KB change
	rest     time.Duration // how long nothing is done
	patience time.Duration // for all samples of one operation
}

func newLoad(scale float64) load {
	return load{
		samples:  max(3, int(25*scale)),
		burst:    max(50, int(5000*scale)),
		big:      max(8, int64(scale*1024)) << 20,
		rest:     max(5*time.Second, time.Duration(scale*float64(time.Minute))),
		patience: max(10*time.Second, time.Duration(scale*float64(time.Minute))),
	}
}

// turn is one tool's work in one round.
type turn struct {
	ctx  context.Context
	load load
	s    system
	a, b string // the two folders
	// links: symbolic links are kept by the tool.
	links bool
	put   func(row string, v float64)
}

// step is one part of the work after the first sync.
type step struct {
	name string
	run  func(t *turn) error
}

func steps() []step {
	return []step{
		{"unchanged", (*turn).unchanged},
		{"restart", (*turn).restart},
		{"rest", (*turn).atRest},
		{"latency", (*turn).latency},
		{"burst", (*turn).burst},
		{"big", (*turn).bigFile},
	}
}

func stepNames() (names []string) {
	for _, s := range steps() {
		names = append(names, s.name)
	}
	return names
}

const limit = 20 * time.Minute // for anything

func (t *turn) run(only []string) error {
	if err := t.s.prepare(t.ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	tree, err := list(t.a, t.links)
	if err != nil {
		return err
	}
	// So few that nobody takes their removal for a mistake.
	t.load.burst = min(t.load.burst, max(10, len(tree)/5))
	err = t.timed(rowFirst, rowFirstCPU, func() error { return t.s.first(t.ctx) })
	if err == nil {
		err = t.compare("")
	}
	if err != nil {
		return fmt.Errorf("first sync: %w", err)
	}
	if err := t.calm(); err != nil {
		return err
	}
	for _, s := range steps() {
		if only != nil && !slices.Contains(only, s.name) {
			continue
		}
		if err := s.run(t); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := t.calm(); err != nil {
			return err
		}
	}
	return t.compare("")
}

// timed puts how long f took, and the processor time of all machines with it.
func (t *turn) timed(wall, cpu string, f func() error) error {
	before, start := t.cpu(), time.Now()
	if err := f(); err != nil {
		return err
	}
	took := time.Since(start)
	t.put(wall, took.Seconds())
	if cpu != "" {
		t.put(cpu, (t.cpu() - before).Seconds())
	}
	return nil
}

func (t *turn) cpu() time.Duration {
	a, b, server := t.s.processes()
	return cpuOf(a) + cpuOf(b) + cpuOf(server) + cpuOfCommands()
}

// calm lets what goes on in the background come to an end, and the disk. Tools
// that compare times by the second see a later one after it.
func (t *turn) calm() error {
	if err := rest(t.ctx, 3*time.Second); err != nil {
		return err
	}
	syscall.Sync()
	return nil
}

func (t *turn) unchanged() error {
	return t.timed(rowUnchanged, rowUnchangedCPU, func() error { return t.s.unchanged(t.ctx) })
}

func (t *turn) restart() error {
	if err := t.s.stop(t.ctx); err != nil {
		return err
	}
	return t.timed(rowRestart, rowRestartCPU, func() error {
		if err := t.s.start(t.ctx); err != nil {
			return err
		}
		return t.s.unchanged(t.ctx)
	})
}

// atRest looks at what runs while nothing happens.
func (t *turn) atRest() error {
	if !t.s.continuous() {
		return nil // nothing runs
	}
	if err := rest(t.ctx, min(t.load.rest, 15*time.Second)); err != nil { // what a restart left to do
		return err
	}
	a, b, server := t.s.processes()
	begin := []time.Duration{cpuOf(a), cpuOf(b), cpuOf(server)}
	if err := rest(t.ctx, t.load.rest); err != nil {
		return err
	}
	perMinute := float64(time.Minute) / float64(t.load.rest)
	used := max(cpuOf(a)-begin[0], cpuOf(b)-begin[1])
	t.put(rowRestCPU, used.Seconds()*perMinute)
	t.put(rowRestMemory, float64(max(memoryOf(a), memoryOf(b)))/(1<<20))
	if len(server) > 0 {
		t.put(rowRestServer, float64(memoryOf(server))/(1<<20))
	}
	return nil
}

// burst writes many small files, renames their directory and deletes it.
func (t *turn) burst() error {
	const dir, moved = "bench burst", "bench burst, moved"
	content := make([]byte, 4096)
	err := t.timed(rowBurst, "", func() error {
		if err := os.Mkdir(filepath.Join(t.a, dir), 0o755); err != nil {
			return err
		}
		for i := range t.load.burst {
			name := filepath.Join(t.a, dir, fmt.Sprintf("file %d", i))
			if err := os.WriteFile(name, fill(content[:1+(i*37)%4096]), 0o644); err != nil {
				return err
			}
		}
		return t.arrives(dir, func() bool { return t.count(dir) == t.load.burst && t.compare(dir) == nil })
	})
	if err != nil {
		return err
	}
	if err := t.calm(); err != nil {
		return err
	}
	before := t.s.wire()
	err = t.timed(rowRename, "", func() error {
		if err := os.Rename(filepath.Join(t.a, dir), filepath.Join(t.a, moved)); err != nil {
			return err
		}
		return t.arrives(dir+"\n"+moved, func() bool {
			return gone(filepath.Join(t.b, dir)) && t.count(moved) == t.load.burst && t.compare(moved) == nil
		})
	})
	if err != nil {
		return err
	}
	if err := t.calm(); err != nil {
		return err
	}
	t.put(rowRenameWire, float64(t.s.wire()-before)/(1<<20))
	return t.timed(rowDelete, "", func() error {
		if err := os.RemoveAll(filepath.Join(t.a, moved)); err != nil {
			return err
		}
		return t.arrives(moved, func() bool { return gone(filepath.Join(t.b, moved)) })
	})
}

// bigFile changes 4 KB in the middle of a large file.
func (t *turn) bigFile() error {
	const name = "bench big"
	err := t.timed(rowBig, "", func() error {
		f, err := os.Create(filepath.Join(t.a, name))
		if err != nil {
			return err
		}
		block := make([]byte, 1<<20)
		for n := int64(0); n < t.load.big; n += int64(len(block)) {
			if _, err := f.Write(fill(block)); err != nil {
				return errors.Join(err, f.Close())
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
		return t.arrives(name, func() bool {
			st, err := os.Stat(filepath.Join(t.b, name))
			return err == nil && st.Size() == t.load.big
		})
	})
	if err != nil {
		return err
	}
	if err := t.compare(name); err != nil {
		return err
	}
	if err := t.calm(); err != nil {
		return err
	}
	before := t.s.wire()
	changed, got := fill(make([]byte, 4096)), make([]byte, 4096)
	at := t.load.big / 2
	err = t.timed(rowPatch, rowPatchCPU, func() error {
		f, err := os.OpenFile(filepath.Join(t.a, name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(changed, at)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		return t.arrives(name, func() bool {
			f, err := os.Open(filepath.Join(t.b, name))
			if err != nil {
				return false
			}
			defer f.Close()
			_, err = f.ReadAt(got, at)
			return err == nil && slices.Equal(got, changed)
		})
	})
	if err != nil {
		return err
	}
	if err := t.calm(); err != nil {
		return err
	}
	t.put(rowPatchWire, float64(t.s.wire()-before)/(1<<20))
	if _, err := measure.Run(t.ctx, nil, "cmp", filepath.Join(t.a, name), filepath.Join(t.b, name)); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(t.a, name)); err != nil {
		return err
	}
	return t.arrives(name, func() bool { return gone(filepath.Join(t.b, name)) })
}

// arrives has what changed at path (several: one a line) brought to B and waits
// until it is there.
func (t *turn) arrives(path string, there func() bool) error {
	_, err := t.arrivesEvery(path, 20*time.Millisecond, there)
	return err
}

// arrivesEvery is arrives that looks every so often, and returns when it saw
// that it was there.
func (t *turn) arrivesEvery(path string, every time.Duration, there func() bool) (time.Time, error) {
	brought := make(chan error, 1)
	go func() { brought <- t.s.bring(t.ctx, path) }()
	running := true
	for end := time.Now().Add(limit); time.Now().Before(end); {
		if there() {
			at := time.Now()
			if running {
				return at, <-brought
			}
			return at, nil
		}
		select {
		case <-t.ctx.Done():
			return time.Time{}, t.ctx.Err()
		case err := <-brought:
			if err != nil {
				return time.Time{}, err
			}
			if !t.s.continuous() && !there() {
				return time.Time{}, fmt.Errorf("%q is not on B although the tool says it is done", path)
			}
			running, brought = false, nil
		case <-time.After(every):
		}
	}
	return time.Time{}, fmt.Errorf("%q did not arrive within %v", path, limit)
}

// count is how many names a directory on B has.
func (t *turn) count(dir string) int {
	list, err := os.ReadDir(filepath.Join(t.b, dir))
	if err != nil {
		return -1
	}
	return len(list)
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
