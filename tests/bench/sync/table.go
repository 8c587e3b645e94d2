//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// The rows of the table; the unit is what stands after the last comma.
const (
	rowFirst        = "first sync of the tree, s"
	rowFirstCPU     = "processor time of it, s"
	rowUnchanged    = "find that nothing changed, s"
	rowUnchangedCPU = "processor time of that, s"
	rowRestart      = "the same after a restart, s"
	rowRestartCPU   = "processor time of that restart, s"
	rowRestCPU      = "at rest for a minute: processor time of a machine, s"
	rowRestMemory   = "at rest: memory of a machine, MiB"
	rowRestServer   = "at rest: memory of the server, MiB"
	rowBurst        = "burst of small files, s"
	rowRename       = "rename their directory, s"
	rowRenameWire   = "bytes moved for it, MiB"
	rowDelete       = "delete it, s"
	rowBig          = "a new large file, s"
	rowPatch        = "4 KB changed in it, s"
	rowPatchCPU     = "processor time of the change, s"
	rowPatchWire    = "bytes moved for the change, MiB"
)

func rowLatency(op, what string) string {
	return fmt.Sprintf("1 KB file, %s: %s, ms", op, what)
}

// rows in the order in which they are printed.
func rows() []string {
	list := []string{
		rowFirst, rowFirstCPU, rowUnchanged, rowUnchangedCPU, rowRestart, rowRestartCPU,
		rowRestCPU, rowRestMemory, rowRestServer,
	}
	for _, op := range operations {
		list = append(list, rowLatency(op.name, "median"), rowLatency(op.name, "95 %"))
	}
	return append(list, rowBurst, rowRename, rowRenameWire, rowDelete, rowBig, rowPatch, rowPatchCPU, rowPatchWire)
}

// results: tool, row, one value a round.
type results map[string]map[string][]float64

func (r results) add(tool, row string, v float64) {
	if r[tool] == nil {
		r[tool] = map[string][]float64{}
	}
	r[tool][row] = append(r[tool][row], v)
}

// table prints medians; in brackets what the first tool, which is ours, needs
// of each other's: below 1 is better.
func (r results) table(names []string, all []candidate, l load, rounds int) error {
	fmt.Printf("%s, %d processors; medians of %d rounds. A burst is %d files, the large file has %d MiB, latencies are of %d files.\n",
		measure.Kernel(), runtime.NumCPU(), rounds, l.burst, l.big>>20, l.samples)
	fmt.Print("In brackets: what the first column needs of it, below 1.00 is less.\n\n")
	fmt.Printf("| work | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	for _, row := range rows() {
		first := measure.Median(r[names[0]][row])
		cells := make([]string, len(names))
		some := false
		for i, n := range names {
			v, ok := r[n][row]
			switch m := measure.Median(v); {
			case !ok:
			case i == 0 || m == 0 || len(r[names[0]][row]) == 0:
				cells[i] = figure(m)
			default:
				cells[i] = fmt.Sprintf("%s (%.2f)", figure(m), first/m)
			}
			some = some || ok
		}
		if some {
			fmt.Printf("| %s | %s |\n", row, strings.Join(cells, " | "))
		}
	}
	fmt.Println()
	for _, c := range all {
		out, err := exec.CommandContext(context.Background(), c.version[0], c.version[1:]...).CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", strings.Join(c.version, " "), err)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		fmt.Printf("* **%s** (%s): %s.\n", c.name, line, c.note)
	}
	return nil
}

// figure prints three digits or so.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
