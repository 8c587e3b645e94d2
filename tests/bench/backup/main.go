//go:build linux

// Command backup measures syncfs beside restic, borgbackup and rclone on the
// same input in one run: first backup, nothing changed, one file changed,
// restore, repository size, peak memory, find and tar over a mounted version.
//
// The tools take turns within each round, and what is printed are medians over
// the rounds, each with its ratio to syncfs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// tool is one program under test. Every method runs to completion; the
// returned cost is that of the programs it ran.
type tool interface {
	Name() string
	// First makes a new repository (not counted) and backs src up into it.
	First(ctx context.Context, src string) (measure.Cost, error)
	// Again backs src up once more.
	Again(ctx context.Context, src string) (measure.Cost, error)
	// Restore writes the newest state to dst, which does not exist yet.
	Restore(ctx context.Context, dst string) (measure.Cost, error)
	// Mount makes the newest state readable and returns where; Unmount ends it.
	Mount(ctx context.Context) (string, error)
	Unmount() error
	// Size is what the repository occupies, in bytes.
	Size() (int64, error)
	// Server is the peak memory of a server process, in bytes; 0: it has none.
	Server() int64
	Close() error
}

func main() {
	src := flag.String("src", "", "directory to back up (it is copied first, and the copy is changed)")
	work := flag.String("work", "", "scratch directory (default: a new one)")
	bin := flag.String("syncfs", "bin/syncfs", "the binary to measure")
	rounds := flag.Int("rounds", 3, "rounds")
	sub := flag.String("sub", "drivers/net/ethernet", "subdirectory of src that tar reads out of the mounted version")
	only := flag.String("only", "", "comma-separated names of the tools to run")
	flag.Parse()
	if err := run(context.Background(), *src, *work, *bin, *sub, *only, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, src, work, bin, sub, only string, rounds int) error {
	if src == "" {
		return errors.New("-src is missing")
	}
	if work == "" {
		dir, err := os.MkdirTemp("", "syncfs-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		work = dir
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	input := filepath.Join(work, "input")
	if err := quiet(ctx, "cp", "-a", src, input); err != nil {
		return err
	}
	results := map[string]map[string][]float64{}
	var names []string
	add := func(tool, row string, v float64) {
		if results[tool] == nil {
			results[tool] = map[string][]float64{}
			names = append(names, tool)
		}
		results[tool][row] = append(results[tool][row], v)
	}
	for round := range rounds {
		for _, make := range []func(string) tool{
			func(d string) tool { return newSyncfs(d, bin) },
			func(d string) tool { return newRestic(d) },
			func(d string) tool { return newBorg(d) },
		} {
			dir, err := os.MkdirTemp(work, "tool-")
			if err != nil {
				return err
			}
			t := make(dir)
			if only != "" && !slices.Contains(strings.Split(only, ","), t.Name()) {
				continue
			}
			err = oneRound(ctx, t, input, filepath.Join(dir, "restored"), sub, round, func(row string, v float64) {
				fmt.Fprintf(os.Stderr, "round %d  %-8s %-34s %10.2f\n", round+1, t.Name(), row, v)
				add(t.Name(), row, v)
			})
			err = errors.Join(err, t.Close(), os.RemoveAll(dir))
			if err != nil {
				return fmt.Errorf("%s: %w", t.Name(), err)
			}
		}
		// cp -a is what a restore is held against.
		plain := filepath.Join(work, "plain")
		c, err := measure.Run(ctx, nil, "cp", "-a", input, plain)
		if err != nil {
			return err
		}
		add("cp -a", "restore, s", c.Wall.Seconds())
		if err := os.RemoveAll(plain); err != nil {
			return err
		}
	}
	return table(names, results, rounds)
}

// oneRound runs every step of one tool once.
func oneRound(ctx context.Context, t tool, input, restored, sub string, round int, put func(string, float64)) error {
	const mib = 1 << 20
	step := func(row string, f func() (measure.Cost, error)) error {
		c, err := f()
		if err != nil {
			return fmt.Errorf("%s: %w", row, err)
		}
		put(row+", s", c.Wall.Seconds())
		if backsUp := !strings.HasPrefix(row, "find") && !strings.HasPrefix(row, "tar"); c.Peak > 0 && backsUp {
			put(row+", peak MiB", float64(c.Peak)/mib)
		}
		return nil
	}
	if err := step("first backup", func() (measure.Cost, error) { return t.First(ctx, input) }); err != nil {
		return err
	}
	size, err := t.Size()
	if err != nil {
		return err
	}
	put("repository, MiB", float64(size)/mib)
	if err := step("nothing changed", func() (measure.Cost, error) { return t.Again(ctx, input) }); err != nil {
		return err
	}
	changed := filepath.Join(input, "MAINTAINERS")
	if err := appendLine(changed, fmt.Sprintf("one more line %d\n", round)); err != nil {
		return err
	}
	if err := step("one file changed", func() (measure.Cost, error) { return t.Again(ctx, input) }); err != nil {
		return err
	}
	if err := step("restore", func() (measure.Cost, error) { return t.Restore(ctx, restored) }); err != nil {
		return err
	}
	if err := quiet(ctx, "diff", "-r", "--no-dereference", "-q", "-x", ".syncfs-stage-*", input, restored); err != nil {
		return fmt.Errorf("what was restored differs: %w", err)
	}
	if err := os.RemoveAll(restored); err != nil {
		return err
	}
	mnt, err := t.Mount(ctx)
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	err = errors.Join(
		step("find, cold", func() (measure.Cost, error) { return walk(ctx, mnt) }),
		step("find, warm", func() (measure.Cost, error) { return walk(ctx, mnt) }),
		step("tar of "+sub, func() (measure.Cost, error) {
			return measure.Run(ctx, nil, "sh", "-c", `tar -C "$0" -cf - . | cat >/dev/null`, filepath.Join(mnt, sub))
		}),
	)
	if err := errors.Join(err, t.Unmount()); err != nil {
		return err
	}
	if m := t.Server(); m > 0 {
		put("server, peak MiB", float64(m)/mib)
	}
	return nil
}

func walk(ctx context.Context, dir string) (measure.Cost, error) {
	return measure.Run(ctx, nil, "sh", "-c", `find "$0" -size +100000k -print | wc -l >/dev/null`, dir)
}

func table(tools []string, results map[string]map[string][]float64, rounds int) error {
	var rows []string
	for _, t := range tools {
		for row := range results[t] {
			if !slices.Contains(rows, row) {
				rows = append(rows, row)
			}
		}
	}
	slices.Sort(rows)
	fmt.Printf("%d CPUs, %s/%s, medians of %d rounds; (x) is the ratio syncfs/other, below 1 is better\n\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', tabwriter.Debug)
	fmt.Fprintf(w, " work \t %s \n", strings.Join(tools, " \t "))
	for _, row := range rows {
		ours := measure.Median(results["syncfs"][row])
		fmt.Fprintf(w, " %s ", row)
		for _, t := range tools {
			switch v := measure.Median(results[t][row]); {
			case v == 0:
				fmt.Fprint(w, "\t – ")
			case t == "syncfs" || ours == 0:
				fmt.Fprintf(w, "\t %.2f ", v)
			default:
				fmt.Fprintf(w, "\t %.2f (%.2f) ", v, ours/v)
			}
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

func quiet(ctx context.Context, name string, args ...string) error {
	_, err := measure.Run(ctx, nil, name, args...)
	return err
}
