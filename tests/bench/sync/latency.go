//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// fill makes p content that was nowhere before.
func fill(p []byte) []byte {
	for i := 0; i < len(p); i += 8 {
		n := rand.Uint64()
		for j := i; j < min(i+8, len(p)); j++ {
			p[j], n = byte(n), n>>8
		}
	}
	return p
}

// operation on one small file.
type operation struct {
	name string
	// do makes the change below dir, which is in A, and returns how B shows it.
	do func(dir string, i int) (there func(dir string) bool, err error)
}

func file(dir string, i int) string  { return filepath.Join(dir, fmt.Sprintf("file %d", i)) }
func moved(dir string, i int) string { return file(dir, i) + ", moved" }

// write writes content of 1 KB; of another size than before, since some tools
// look at size and time alone.
func write(dir string, i, size int) (func(dir string) bool, error) {
	content := fill(make([]byte, size))
	return func(dir string) bool {
		got, err := os.ReadFile(file(dir, i))
		return err == nil && bytes.Equal(got, content)
	}, os.WriteFile(file(dir, i), content, 0o644)
}

// operations in this order: each works on what those before it left.
var operations = []operation{
	{"create", func(dir string, i int) (func(string) bool, error) { return write(dir, i, 1024) }},
	{"change", func(dir string, i int) (func(string) bool, error) { return write(dir, i, 1025) }},
	{"rename", func(dir string, i int) (func(string) bool, error) {
		return func(dir string) bool { return gone(file(dir, i)) && !gone(moved(dir, i)) },
			os.Rename(file(dir, i), moved(dir, i))
	}},
	{"delete", func(dir string, i int) (func(string) bool, error) {
		return func(dir string) bool { return gone(moved(dir, i)) }, os.Remove(moved(dir, i))
	}},
}

// latency measures from the close of one small file on A until it is whole on B.
func (t *turn) latency() error {
	const dir = "bench latency"
	if err := os.Mkdir(filepath.Join(t.a, dir), 0o755); err != nil {
		return err
	}
	// What stays in it, since some tools keep no empty directory.
	if err := os.WriteFile(filepath.Join(t.a, dir, "stays"), []byte("x"), 0o644); err != nil {
		return err
	}
	if err := t.arrives(dir, func() bool { return !gone(filepath.Join(t.b, dir, "stays")) }); err != nil {
		return err
	}
	samples := t.load.samples
	for _, op := range operations {
		var all []float64
		begin := time.Now()
		for i := range samples {
			if t.s.continuous() {
				// As a person saves, not a machine: after quiet.
				if err := rest(t.ctx, time.Duration(1100+rand.IntN(900))*time.Millisecond); err != nil {
					return err
				}
			} else if i >= 3 && time.Since(begin) > t.load.patience {
				samples = i // slow tools: those files are all there are
				break
			}
			there, err := op.do(filepath.Join(t.a, dir), i)
			closed := time.Now()
			if err != nil {
				return fmt.Errorf("%s: %w", op.name, err)
			}
			changed := filepath.Join(dir, fmt.Sprintf("file %d", i))
			if op.name == "rename" || op.name == "delete" {
				changed += "\n" + moved(dir, i)
			}
			at, err := t.arrivesEvery(changed, time.Millisecond, func() bool { return there(filepath.Join(t.b, dir)) })
			if err != nil {
				return fmt.Errorf("%s: %w", op.name, err)
			}
			all = append(all, at.Sub(closed).Seconds()*1000)
		}
		t.put(rowLatency(op.name, "median"), measure.Median(all))
		t.put(rowLatency(op.name, "95 %"), measure.Percentile(all, 0.95))
	}
	return nil
}
