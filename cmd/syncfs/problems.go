package main

import (
	"fmt"

	"github.com/syncfs/syncfs/internal/agent"
)

// mostNotes is how many kinds of notes status prints without -v.
const mostNotes = 5

// printProblems prints what is wrong in a folder: each problem, and of notes,
// which are no more than worth knowing, one of a kind.
func (e *env) printProblems(f agent.FolderStatus) {
	var kinds []string
	first, n := map[string]agent.Problem{}, map[string]int{}
	for _, p := range f.Problems {
		if !p.Note || p.Path == "" || e.verbose > 0 {
			fmt.Fprintf(e.stdout, "  %s: %s\n", f.Name, problemText(p))
			continue
		}
		if n[p.Text]++; n[p.Text] == 1 {
			kinds, first[p.Text] = append(kinds, p.Text), p
		}
	}
	if e.quiet {
		return
	}
	for i, kind := range kinds {
		if i == mostNotes {
			fmt.Fprintf(e.stdout, "  %s: note: %d more; `syncfs status -v` lists them\n", f.Name, len(kinds)-i)
			break
		}
		more := ""
		if n[kind] > 1 {
			more = fmt.Sprintf(" (and %d more like it; `syncfs status -v` lists them)", n[kind]-1)
		}
		fmt.Fprintf(e.stdout, "  %s: note: %s%s\n", f.Name, problemText(first[kind]), more)
	}
}
