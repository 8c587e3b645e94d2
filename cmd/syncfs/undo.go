package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/versions"
)

type undoOptions struct {
	since  string
	dryRun bool
	yes    bool
}

func newUndoCommand(e *env) *cobra.Command {
	var o undoOptions
	cmd := &cobra.Command{
		Use:   "undo [FOLDER|PATH]",
		Short: "Take back deletions that are held, or bring a folder back to how it was",
		Long: `Without --since: take back deletions that are held, of one folder or of all.
What was deleted on this machine comes back; what was deleted on another machine
is given back to all.

` + heldHelp + `

With --since: bring a folder, or a file or directory in it, back to how it was
on this machine then. That is a change like any other, on top of all that there
is: only what differs is touched, nothing of the past is lost, and what exists
now is put into a version first, so ` + "`syncfs undo`" + ` can itself be undone. Files
that were made since are deleted; they stay in .versions/. When there are any,
the command asks on a terminal, and needs --yes elsewhere.

The time is an age (10m, 2h, 3d), an instant (20250131_201530, in UTC),
2025-01-31T20:15, 2025-01-31 or yesterday.`,
		Example: `  syncfs undo docs
  syncfs undo --since 10m ~/Documents/letters
  syncfs undo --since 2h docs --dry-run
  syncfs undo --since 20250131_201530 docs:report.docx --yes`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error {
			if o.since != "" {
				return runRewind(ctx, e, o, args)
			}
			if o.dryRun || o.yes {
				return usage("--dry-run and --yes go with --since; `syncfs status` tells what is held")
			}
			return runDecide(ctx, e, args, true)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "bring back the state of this `time`, such as 10m")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only tell what would change")
	f.BoolVarP(&o.yes, "yes", "y", false, "delete what was made since without asking")
	e.addJSON(cmd)
	return cmd
}

// undoRow is what was done to one path, in JSON.
type undoRow struct {
	Path    string `json:"path"`
	RawPath string `json:"path_quoted,omitempty"` // Go syntax, when the name is not UTF-8
	What    string `json:"what"`
	Type    string `json:"type"`
	Size    int64  `json:"size"`
}

// undoDocument is what `undo --since --json` prints.
type undoDocument struct {
	Folder  string    `json:"folder"`
	Instant string    `json:"instant"`
	DryRun  bool      `json:"dry_run"`
	Changes []undoRow `json:"changes"`
	Left    []string  `json:"left"`
}

func runRewind(ctx context.Context, e *env, o undoOptions, args []string) error {
	when, err := e.parseSince(o.since)
	if err != nil {
		return err
	}
	var place agent.Place
	if len(args) == 0 {
		args = []string{"."}
	}
	err = e.withReader(ctx, func(r *agent.Reader) error {
		list, err := r.Folders(ctx)
		if err == nil {
			place, err = folderOrPath(ctx, r, list, args[0])
		}
		return err
	})
	if err != nil {
		return err
	}
	if place.Folder.Path == "" {
		return hinted(fmt.Errorf("the folder %s is not on this machine", place.Folder.Name), "`syncfs restore` brings a path of any folder back, to any place")
	}
	if place.At != nil {
		return usage("%s is in a version: name the path as it is now", args[0])
	}
	return e.withAgent(func(c *agent.Client) error {
		r := agent.RewindRequest{Name: place.Folder.Name, Path: []byte(place.Rel), Spelled: when.Spelled, At: when.At, DryRun: true}
		if !when.Exact.IsZero() {
			r.Instant = when.Exact.String()
		}
		plan, err := c.Rewind(ctx, r)
		if err != nil {
			return err
		}
		if o.dryRun || len(plan.Changes) == 0 {
			return e.printRewind(place, plan, true)
		}
		if err := e.maySweep(place, plan, o); err != nil {
			return err
		}
		r.DryRun = false
		// What is found now is what was asked about, whatever the time is.
		r.Instant = plan.Instant
		done, err := c.Rewind(ctx, r)
		if err != nil {
			return err
		}
		return e.printRewind(place, done, false)
	})
}

// parseSince reads an age or a time.
func (e *env) parseSince(text string) (versions.When, error) {
	var age config.Duration
	if err := age.Set(text); err == nil && age >= 0 {
		return versions.When{At: e.now().Add(-time.Duration(age)), Spelled: text}, nil
	}
	w, err := versions.ParseWhen(text, e.now(), e.loc)
	if err != nil {
		return w, usage("--since: %q is neither an age (10m, 2h, 3d) nor a time; use %s", text, versions.Spellings)
	}
	if w.Latest {
		w.At = e.now()
	}
	return w, nil
}

// maySweep asks before anything is deleted that was made since.
func (e *env) maySweep(place agent.Place, plan agent.RewindResult, o undoOptions) error {
	var gone []string
	for _, c := range plan.Changes {
		if c.What == "delete" && c.Kind != byte(versions.Dir) {
			gone = append(gone, string(c.Path))
		}
	}
	if len(gone) == 0 || o.yes {
		return nil
	}
	what := fmt.Sprintf("%s made since %s, such as %s:%s, would be deleted (and stay in .versions)",
		count(int64(len(gone)), "file", "files"), plan.Instant, place.Folder.Name, clean(gone[0]))
	return e.goOn(what)
}

// goOn asks whether to do what a user may not expect; without a terminal that is
// refused.
func (e *env) goOn(what string) error {
	if _, tty := terminal(e.stdin); !tty || e.json {
		return hinted(errors.New(what), "--dry-run lists all, --yes does it")
	}
	fmt.Fprintf(e.stderr, "%s. Go on? [y/N] ", what)
	answer, err := bufio.NewReader(e.stdin).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return errors.New("nothing was changed")
}

func (e *env) printRewind(place agent.Place, r agent.RewindResult, dry bool) error {
	var err error
	if e.json {
		doc := undoDocument{Folder: place.Folder.Name, Instant: r.Instant, DryRun: dry, Changes: []undoRow{}, Left: texts(r.Left)}
		for _, c := range r.Changes {
			doc.Changes = append(doc.Changes, undoRow{
				Path: string(c.Path), RawPath: quotedUnlessUTF8(c.Path), What: c.What, Type: typeName(versions.Kind(c.Kind)), Size: c.Size,
			})
		}
		err = e.document(doc)
	} else {
		e.sayRewind(place, r, dry)
	}
	if err == nil && len(r.Left) > 0 {
		err = silently(exitPartial)
	}
	return err
}

func (e *env) sayRewind(place agent.Place, r agent.RewindResult, dry bool) {
	name := strings.TrimSuffix(clean(place.Folder.Name+":"+place.Rel), ":")
	counts := map[string]int64{}
	for _, c := range r.Changes {
		if dry || e.verbose > 0 {
			e.say("%-7s  %s", c.What, clean(string(c.Path)))
		}
		counts[c.What]++
	}
	switch {
	case len(r.Changes) == 0:
		e.say("%s is as it was in version %s: there is nothing to undo", name, r.Instant)
	case dry:
		e.say("%s would be as in version %s: %d restored, %d changed back, %d deleted", name, r.Instant, counts["restore"], counts["change"], counts["delete"])
	default:
		e.say("%s is as in version %s again: %d restored, %d changed back, %d deleted; what it held is in .versions",
			name, r.Instant, counts["restore"], counts["change"], counts["delete"])
	}
	if n := len(r.Left); n > 0 {
		e.note("but %s, such as %s: in use, or changed just now; close it and try again",
			count(int64(n), "path stays", "paths stay"), clean(string(r.Left[0])))
	}
}

func texts(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}
