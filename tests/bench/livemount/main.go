//go:build linux

// Livemount compares the live mount with the bare disk and with other FUSE
// file systems that pass a directory on, in one interleaved run.
//
//	go build -o /tmp/livemount ./tests/bench/livemount && /tmp/livemount [-rounds 5] [-files 2000] [-only ours,disk] [DIR]
//
// It prints, for each operation, the bare disk's rate and each file system's
// share of it: 1.00 is as fast as the disk. What is not installed is left out.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/tests/bench/measure"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "__serve" {
		exit(serve(os.Args[2], os.Args[3] == "pass"))
	}
	rounds := flag.Int("rounds", 5, "how often each file system is measured")
	files := flag.Int("files", 2000, "files per round")
	megabytes := flag.Int("mb", 128, "size of the file that is read and written")
	only := flag.String("only", "", "comma-separated file systems instead of all")
	flag.Parse()
	dir := flag.Arg(0)
	if dir == "" {
		dir = os.TempDir()
	}
	exit(compare(dir, *rounds, load{files: *files, bytes: int64(*megabytes) << 20}, *only))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "livemount:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve mounts dir over itself until standard input ends.
func serve(dir string, pass bool) error {
	root, err := disk.OpenRoot(dir)
	if err != nil {
		return err
	}
	l, err := fs.MountLive(context.Background(), fs.LiveOptions{
		Root: root, MountPoint: dir, Folder: "bench", Passthrough: pass, AllowOther: true,
	})
	if err != nil {
		return err
	}
	stopProfile, err := profile(os.Getenv("LIVEMOUNT_PROFILE"))
	if err != nil {
		return err
	}
	fmt.Println("mounted")
	os.Stdin.Read(make([]byte, 1))
	stopProfile()
	err = l.Unmount()
	l.Wait()
	return err
}

// compare measures all file systems in turn, rounds times.
func compare(dir string, rounds int, work load, only string) error {
	dir, err := os.MkdirTemp(dir, "livemount")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	systems, err := available(dir)
	if err != nil {
		return err
	}
	systems = slices.DeleteFunc(systems, func(s system) bool {
		return only != "" && s.name != "disk" && !slices.Contains(strings.Split(only, ","), s.name)
	})
	times := map[string]map[string][]float64{}
	for round := range rounds {
		for _, s := range systems {
			fmt.Fprintf(os.Stderr, "\rround %d of %d: %-20s", round+1, rounds, s.name)
			rates, err := oneRound(s, filepath.Join(dir, s.name), work)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if times[s.name] == nil {
				times[s.name] = map[string][]float64{}
			}
			for op, rate := range rates {
				times[s.name][op] = append(times[s.name][op], rate)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "\r%40s\r", "")
	return report(systems, times)
}

func report(systems []system, rates map[string]map[string][]float64) error {
	fmt.Printf("%s, %d processors; the bare disk's rate, then shares of it (median of all rounds)\n\n", measure.Kernel(), runtime.NumCPU())
	w := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\tdisk\t")
	for _, s := range systems[1:] {
		fmt.Fprintf(w, "%s\t", s.name)
	}
	fmt.Fprintln(w)
	for _, op := range operations {
		bare := measure.Median(rates["disk"][op.name])
		fmt.Fprintf(w, "%s\t%.0f %s\t", op.name, bare, op.unit)
		for _, s := range systems[1:] {
			fmt.Fprintf(w, "%.2f\t", measure.Median(rates[s.name][op.name])/bare)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
