//go:build linux

// Command sync measures syncfs beside Syncthing, rsync, unison and rclone
// bisync on the same work in one run: a folder on machine A that shall be the
// same on machine B, both on this computer and connected over loopback.
//
//	go run ./tests/bench/sync -src TREE -syncfs bin/syncfs [-rounds 1] [-only syncfs,rsync] [-scale 0.1]
//
// The tools take turns within each round; what is printed, as a table in
// Markdown, are medians over the rounds. Every tool that is not installed is
// left out. After each tool's work the two folders are compared.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

func main() {
	src := flag.String("src", "", "the tree that is synchronised first (it is copied)")
	work := flag.String("work", "", "scratch directory (default: a new one)")
	bin := flag.String("syncfs", "bin/syncfs", "the binary to measure")
	rounds := flag.Int("rounds", 1, "rounds")
	only := flag.String("only", "", "comma-separated names of the tools to run")
	rows := flag.String("rows", "", "comma-separated steps to run after the first sync: "+strings.Join(stepNames(), ", "))
	scale := flag.Float64("scale", 1, "share of the work after the first sync, for a quick run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{src: *src, bin: *bin, load: newLoad(*scale), steps: split(*rows), results: results{}}
	if err := b.run(ctx, *work, *rounds, split(*only)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// bench is one run over all tools.
type bench struct {
	src, bin string
	load     load
	steps    []string // nil: all
	results  results
}

func (b *bench) run(ctx context.Context, work string, rounds int, only []string) (err error) {
	if b.src == "" {
		return errors.New("-src is missing")
	}
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if work == "" {
		if work, err = os.MkdirTemp("", "syncfs-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(work)
	}
	all := slices.DeleteFunc(systems(b.bin), func(s candidate) bool {
		return only != nil && !slices.Contains(only, s.name) || !s.installed()
	})
	if len(all) == 0 {
		return errors.New("nothing to measure is installed")
	}
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	for round := range rounds {
		for _, s := range all {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, rounds, s.name)
			if err := b.one(ctx, work, s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return b.results.table(names, all, b.load, rounds)
}

// one runs every step of one tool in a directory of its own.
func (b *bench) one(ctx context.Context, work string, c candidate) (err error) {
	dir, err := os.MkdirTemp(work, c.name+"-")
	if err != nil {
		return err
	}
	t := &turn{
		ctx: ctx, load: b.load, links: !c.skipsLinks, a: filepath.Join(dir, "a", "folder"), b: filepath.Join(dir, "b", "folder"),
		put: func(row string, v float64) {
			fmt.Fprintf(os.Stderr, "  %-52s %10.2f\n", row, v)
			b.results.add(c.name, row, v)
		},
	}
	for _, d := range []string{filepath.Dir(t.a), t.b} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if _, err := measure.Run(ctx, nil, "cp", "-a", b.src, t.a); err != nil {
		return err
	}
	syscall.Sync() // nobody pays for what was written before
	t.s = c.make(dir, t.a, t.b)
	defer func() {
		err = errors.Join(err, t.s.close())
		if err == nil { // what failed is left to be looked at
			err = os.RemoveAll(dir)
		}
	}()
	return t.run(b.steps)
}
