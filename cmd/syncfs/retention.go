package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/upkeep"
	"github.com/syncfs/syncfs/versions"
)

// retentionRow is one folder of `retention show --json`.
type retentionRow struct {
	Folder string   `json:"folder"`
	Kind   string   `json:"kind"`
	Rules  string   `json:"rules"`
	Set    bool     `json:"set"` // false: the default of its kind
	Pins   []pinRow `json:"pins"`
}

type pinRow struct {
	Instant string    `json:"instant"` // "" when the version is not there any more
	By      string    `json:"by"`
	Pinned  time.Time `json:"pinned"`
}

func newRetentionCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retention",
		Short: "Show and set how long versions are kept, and pin versions",
		Long: `Show and set by which rules versions of a folder are kept, and pin versions that
must stay. Rules and pins are stored in the repository; every agent applies them
once an hour. What nobody watches thins by time alone, and leaves a folder be
that suddenly gained ten times its usual number of versions.

While nobody has said anything a synced folder keeps everything for a day, one
version an hour for a week, one a day for a month, one a week for a year and one
a month for ever; other folders keep everything.`,
		Example: `  syncfs retention show
  syncfs retention set docs --keep-within 7d --keep-daily 60 --keep-monthly all
  syncfs retention pin docs@20250131_201530`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRetentionShowCommand(e), newRetentionSetCommand(e), newRetentionPinCommand(e, true), newRetentionPinCommand(e, false))
	return cmd
}

func newRetentionShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show [FOLDER]",
		Short:   "Tell by which rules versions are kept, and what is pinned",
		Example: `  syncfs retention show --json`,
		Args:    rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error {
			return e.withReader(ctx, func(r *agent.Reader) error { return e.showRetention(ctx, r, args) })
		}),
	}
	e.addJSON(cmd)
	return cmd
}

func (e *env) showRetention(ctx context.Context, r *agent.Reader, args []string) error {
	list, err := r.Folders(ctx)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		one, err := e.namedFolder(ctx, r, args[0])
		if err != nil {
			return err
		}
		list = []agent.FolderInfo{one}
	}
	rows := []retentionRow{}
	for _, f := range list {
		policy, err := r.Lines().Policy(ctx, f.ID)
		if err != nil {
			return err
		}
		rules := policy.Rules
		if !policy.Set {
			rules = upkeep.DefaultRules(f.Kind)
		}
		row := retentionRow{Folder: f.Name, Kind: f.Kind, Rules: rules.String(), Set: policy.Set, Pins: []pinRow{}}
		instants := map[string]string{}
		if len(policy.Pins) > 0 {
			snaps, err := r.Snapshots(ctx, f)
			if err != nil {
				return err
			}
			for _, s := range snaps {
				instants[s.ID.String()] = s.Instant.String()
			}
		}
		for _, p := range policy.Pins {
			row.Pins = append(row.Pins, pinRow{Instant: instants[p.Snapshot.String()], By: p.By, Pinned: p.Put.UTC()})
		}
		rows = append(rows, row)
	}
	if e.json {
		return e.document(rows)
	}
	t := e.newTable("FOLDER", "KEEPS", "")
	for _, row := range rows {
		from := "default"
		if row.Set {
			from = "set"
		}
		t.row(row.Folder, row.Rules, from)
		for _, p := range row.Pins {
			at := p.Instant
			if at == "" {
				at = "a version that is gone"
			}
			t.row("", "pinned: "+at, "by "+p.By)
		}
	}
	return t.flush()
}

type retentionSetOptions struct {
	keep         keepFlags
	all, initial bool
}

func newRetentionSetCommand(e *env) *cobra.Command {
	var o retentionSetOptions
	cmd := &cobra.Command{
		Use:   "set FOLDER",
		Short: "Set the rules by which versions of a folder are kept",
		Long: `Set the rules by which versions of a folder are kept, in place of those before.
Every agent applies them once an hour; ` + "`syncfs forget FOLDER --dry-run`" + ` tells
what they mean. Rules that count versions alone (--keep-last) are refused: who
adds many versions would push the good ones out.`,
		Example: `  syncfs retention set docs --keep-within 7d --keep-daily 60 --keep-monthly all
  syncfs retention set docs --keep-all`,
		Args: exactArgs("FOLDER"),
		RunE: runE(func(ctx context.Context, args []string) error { return e.setRetention(ctx, o, args[0]) }),
	}
	f := cmd.Flags()
	o.keep.add(f)
	f.BoolVar(&o.all, "keep-all", false, "keep every version")
	f.BoolVar(&o.initial, "default", false, "the default of synced folders")
	return cmd
}

func (e *env) setRetention(ctx context.Context, o retentionSetOptions, name string) error {
	rules, err := o.keep.rules()
	switch {
	case err != nil:
		return err
	case !rules.IsZero() && (o.all || o.initial) || o.all && o.initial:
		return usage("--keep-all and --default go with no other rule")
	case o.initial:
		rules = versions.DefaultRetention()
	case !o.all && rules.IsZero():
		return usage("no rule is given")
	case !o.all && !rules.ByTime():
		return hinted(usage("these rules do not go by time: stored rules must"), "such as --keep-within 7d, --keep-daily 30, --older-than 1y")
	}
	return e.withReader(ctx, func(r *agent.Reader) error {
		folder, err := e.namedFolder(ctx, r, name)
		if err != nil {
			return err
		}
		if err := r.Lines().SetRules(ctx, folder.ID, rules); err != nil {
			return err
		}
		e.say("%s keeps %s", clean(folder.Name), rules)
		return nil
	})
}

func newRetentionPinCommand(e *env, pin bool) *cobra.Command {
	verb, short, done := "pin", "Keep versions whatever the rules say", "is kept whatever the rules say"
	if !pin {
		verb, short, done = "unpin", "Let the rules decide about versions again", "is kept as long as the rules say"
	}
	return &cobra.Command{
		Use:     verb + " FOLDER@TIME...",
		Short:   short,
		Example: "  syncfs retention " + verb + " docs@20250131_201530",
		Args:    cobra.MinimumNArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error {
			return e.withReader(ctx, func(r *agent.Reader) error {
				for _, arg := range args {
					folder, snap, err := e.folderVersion(ctx, r, arg)
					if err != nil {
						return err
					}
					if pin {
						err = r.Pin(ctx, folder.ID, snap.ID)
					} else {
						err = r.Lines().DropPin(ctx, folder.ID, snap.ID)
					}
					if err != nil {
						return err
					}
					e.say("version %s of %s %s", snap.Instant, clean(folder.Name), done)
				}
				return nil
			})
		}),
	}
}
