package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/ignore"
)

type untrackOptions struct {
	addRule bool
	dryRun  bool
}

func newUntrackCommand(e *env) *cobra.Command {
	var o untrackOptions
	cmd := &cobra.Command{
		Use:   "untrack PATH...",
		Short: "Sync ignored paths no more; they stay on every machine's disk",
		Long: `Take out of the folder's tree what a rule ignores but what was there before the
rule: PATH itself, or all such in a directory. It is deleted from no disk, on
this machine or on others; its earlier versions stay.

A path that no rule ignores would be new again at once and is refused, unless
--add-rule writes a rule for it into the .syncfsignore of the folder's root.

` + ignoreHelp,
		Example: `  syncfs untrack node_modules
  syncfs untrack --dry-run ~/src/project  # all in it that rules are against
  syncfs untrack --add-rule secrets.env`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return hinted(errors.New("untrack: PATH is missing"), "called as: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: runE(func(ctx context.Context, args []string) error { return runUntrack(ctx, e, o, args) }),
	}
	cmd.Flags().BoolVar(&o.addRule, "add-rule", false, "write a rule for each PATH that none ignores")
	cmd.Flags().BoolVarP(&o.dryRun, "dry-run", "n", false, "only tell what would be done")
	e.addJSON(cmd)
	return cmd
}

// untrackedRow is one path that left the tree, in JSON.
type untrackedRow struct {
	Folder  string `json:"folder"`
	Path    string `json:"path"`
	RawPath string `json:"path_quoted,omitempty"`
	DryRun  bool   `json:"dry_run"`
}

func runUntrack(ctx context.Context, e *env, o untrackOptions, args []string) error {
	places, err := placesHere(ctx, e, args)
	if err != nil {
		return err
	}
	return e.withAgent(func(c *agent.Client) error {
		var order []agent.FolderInfo
		paths := map[string][][]byte{} // by folder
		rows := []untrackedRow{}
		for i, p := range places {
			if o.addRule {
				made, err := addRule(ctx, e, c, p, o.dryRun)
				if err != nil {
					return fmt.Errorf("%s: %w", args[i], err)
				}
				if made && o.dryRun { // the agent knows of no rule
					rows = append(rows, untrackedRow{Folder: p.Folder.Name, Path: p.Rel, RawPath: quotedUnlessUTF8([]byte(p.Rel)), DryRun: true})
					continue
				}
			}
			if paths[p.Folder.Name] == nil {
				order = append(order, p.Folder)
			}
			paths[p.Folder.Name] = append(paths[p.Folder.Name], []byte(p.Rel))
		}
		for _, f := range order {
			out, err := c.Untrack(ctx, agent.UntrackRequest{Name: f.Name, Paths: paths[f.Name], DryRun: o.dryRun})
			if errors.Is(err, agent.ErrNoRule) {
				err = hinted(err, "write a rule into a .syncfsignore first, or let --add-rule do it")
			}
			if err != nil {
				return err
			}
			for _, p := range out {
				rows = append(rows, untrackedRow{Folder: f.Name, Path: string(p), RawPath: quotedUnlessUTF8(p), DryRun: o.dryRun})
			}
		}
		return e.tellUntracked(rows, o.dryRun)
	})
}

func (e *env) tellUntracked(rows []untrackedRow, dry bool) error {
	if e.json {
		return e.document(rows)
	}
	is := "is not synced any more, and stays on every disk"
	if dry {
		is = "would not be synced any more"
	}
	for _, r := range rows {
		e.say("%s: %s", clean(r.Folder+":"+r.Path), is)
	}
	if len(rows) == 0 {
		e.say("nothing to do: it is not in the tree")
	}
	return nil
}

// addRule writes a rule for a path that none ignores, and tells whether it was
// needed.
func addRule(ctx context.Context, e *env, c *agent.Client, p agent.Place, dry bool) (made bool, err error) {
	if p.Rel == "" {
		return false, errors.New("the whole folder cannot be untracked; `syncfs remove` forgets it on this machine")
	}
	list, err := c.Ignored(ctx, agent.IgnoredRequest{Name: p.Folder.Name, Paths: [][]byte{[]byte(p.Rel)}})
	if err != nil || list[0].Rule != "" {
		return false, err
	}
	if !list[0].Tracked {
		return false, &os.PathError{Op: "untrack", Path: p.Rel, Err: os.ErrNotExist}
	}
	line, err := ignore.For(p.Rel)
	if err != nil || dry {
		return true, err
	}
	file := filepath.Join(p.Folder.Path, ignore.Name)
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
		line = "\n" + line
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return false, err
	}
	_, err = f.WriteString(line + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, err
	}
	e.detail("%s: %s", file, line)
	return true, nil
}
