package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

// heldHelp is in the help of confirm and undo.
const heldHelp = `When very much of a folder is deleted within ten minutes - over 30 % and over
100 of its files, or all of more than 5 - the deletions are held until you
decide: on the machine that made them, they are not passed on; on a machine
that receives them, its files stay. Everything else goes on syncing, both ways.
` + "`syncfs status`" + ` tells what is held. A file that is edited meanwhile is kept, and
a file that was only moved does not count.`

func newConfirmCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "confirm [FOLDER|DIR]",
		Short: "Let deletions that are held go on",
		Long: `Let deletions that are held go on, of one folder or of all: what was deleted on
this machine is deleted in the folder, what was deleted on another machine is
deleted here. What goes stays in .versions/. Every machine asks for itself.

` + heldHelp,
		Example: `  syncfs confirm
  syncfs confirm docs`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error { return runDecide(ctx, e, args, false) }),
	}
	e.addJSON(cmd)
	return cmd
}

// decidedRow is what became of what a folder held, in JSON.
type decidedRow struct {
	Folder    string   `json:"folder"`
	Here      int64    `json:"here"`
	Elsewhere int64    `json:"elsewhere"`
	Left      []string `json:"left"`
}

// runDecide confirms or undoes what is held, of one folder or of all.
func runDecide(ctx context.Context, e *env, args []string, undo bool) error {
	return e.withAgent(func(c *agent.Client) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		names, err := foldersNamed(s.Folders, args)
		if err != nil {
			return err
		}
		rows := []decidedRow{}
		left := 0
		for _, name := range names {
			done, err := c.Decide(ctx, agent.HeldRequest{Name: name, Undo: undo})
			if agent.NothingHeld(err) || agent.IsBusy(err) && len(args) == 0 {
				continue
			}
			if err != nil {
				return err
			}
			left += len(done.Left)
			rows = append(rows, decidedRow{Folder: name, Here: done.Here, Elsewhere: done.Elsewhere, Left: done.Left})
		}
		if e.json {
			err = e.document(rows)
		} else {
			e.printDecided(rows, undo)
		}
		if err == nil && left > 0 {
			err = silently(exitPartial)
		}
		return err
	})
}

func (e *env) printDecided(rows []decidedRow, undo bool) {
	if len(rows) == 0 {
		e.say("no deletions are held")
	}
	for _, r := range rows {
		here, elsewhere := "are deleted in the folder now", "are deleted here now"
		if undo {
			here, elsewhere = "are back", "are in the folder again, for all machines"
		}
		if r.Here > 0 {
			e.say("%s: %s that had been deleted here %s", r.Folder, count(r.Here, "file", "files"), here)
		}
		if r.Elsewhere > 0 {
			e.say("%s: %s that had been deleted elsewhere %s", r.Folder, count(r.Elsewhere, "file", "files"), elsewhere)
		}
		if n := len(r.Left); n > 0 {
			e.note("%s: but %s, such as %s: in use, or changed just now; try again", r.Folder, count(int64(n), "path is still held", "paths are still held"), clean(r.Left[0]))
		}
	}
}

// foldersNamed are the names of the folders that are meant: all without a name.
func foldersNamed(list []agent.FolderStatus, args []string) (names []string, err error) {
	path := ""
	if len(args) > 0 {
		if path, err = abs(args[0]); err != nil {
			return nil, err
		}
	}
	for _, f := range list {
		if len(args) == 0 || f.Name == args[0] || f.Path == path {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 && len(args) > 0 {
		return nil, fmt.Errorf("%w on this machine: %q", agent.ErrUnknown, args[0])
	}
	return names, nil
}

// holdText is the line of `status` about what is held.
func holdText(name string, h agent.Hold) string {
	what := fmt.Sprintf("%d of %d files", h.Files, h.Most)
	if h.Files >= h.Most {
		what = "all " + count(h.Files, "file", "files")
	}
	examples := make([]string, 0, len(h.Examples))
	for _, p := range h.Examples[:min(3, len(h.Examples))] {
		examples = append(examples, clean(p))
	}
	if int64(len(examples)) < h.Files && !strings.HasSuffix(strings.Join(examples, ""), "/") {
		examples = append(examples, "…")
	}
	of := strings.Join(examples, ", ")
	if h.Here {
		return fmt.Sprintf("%s were deleted here (%s) and are kept everywhere else: `syncfs confirm %s` deletes them there too, `syncfs undo %s` brings them back", what, of, name, name)
	}
	return fmt.Sprintf("%s were deleted on %s (%s) and are kept here: `syncfs confirm %s` deletes them here too, `syncfs undo %s` gives them back to all", what, clean(h.Host), of, name, name)
}
