package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/upkeep"
	"github.com/syncfs/syncfs/versions"
)

type forgetOptions struct {
	keep       keepFlags
	dryRun     bool
	allowEmpty bool
	prune      bool
}

// forgetRow is one folder of `forget --json`.
type forgetRow struct {
	Folder    string         `json:"folder"`
	Rules     string         `json:"rules"`
	Kept      int            `json:"kept"`
	Forgotten int            `json:"forgotten"`
	DryRun    bool           `json:"dry_run"`
	Versions  []forgetDetail `json:"versions"`
}

type forgetDetail struct {
	Instant  string    `json:"instant"`
	Received time.Time `json:"received"`
	Host     string    `json:"host"`
	User     string    `json:"user"`
	Tags     []string  `json:"tags,omitempty"`
	Keep     bool      `json:"keep"`
	Reasons  []string  `json:"reasons"`
}

func newForgetCommand(e *env) *cobra.Command {
	var o forgetOptions
	cmd := &cobra.Command{
		Use:   "forget FOLDER[@TIME]...",
		Short: "Forget versions of folders, by rules or one by one",
		Long: `Forget versions of folders of the repository. Of each hour, day, … that holds
versions the newest counts, by the clock of the remote. What no rule keeps is
forgotten; without rules on the command line those count that are stored for the
folder (see retention). The newest version, what is pinned, and what a machine
needs for its next merge stay in any case. FOLDER@TIME forgets that version.

Forgetting frees nothing yet: that is what prune does.`,
		Example: `  syncfs forget docs --keep-daily 7 --keep-weekly 5 --keep-monthly all --dry-run
  syncfs forget docs --older-than 90d --prune
  syncfs forget docs@20250131_201530`,
		Args: cobra.MinimumNArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error { return runForget(ctx, e, o, args) }),
	}
	f := cmd.Flags()
	o.keep.add(f)
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only tell what would be forgotten, and why the rest is kept")
	f.BoolVar(&o.allowEmpty, "allow-empty", false, "even when no rule keeps any version")
	f.BoolVar(&o.prune, "prune", false, "free what is not needed any more afterwards")
	e.addJSON(cmd)
	return cmd
}

func runForget(ctx context.Context, e *env, o forgetOptions, args []string) error {
	rules, err := o.keep.rules()
	if err != nil {
		return err
	}
	if o.prune && e.json {
		return usage("--prune and --json do not go together: call prune --json afterwards")
	}
	return e.withReader(ctx, func(r *agent.Reader) error {
		var plans []upkeep.Plan
		var rows []forgetRow
		for _, arg := range args { // all are planned before anything is done
			plan, said, err := e.planForget(ctx, r, arg, rules)
			if err != nil {
				return err
			}
			if plan.KeepsNothing() && !o.allowEmpty && !strings.Contains(arg, "@") {
				return hinted(fmt.Errorf("folder %s: %w (%s): only the newest of %d would stay", plan.Folder.Name,
					upkeep.ErrKeepsNothing, said, len(plan.All)), "other rules, or --allow-empty if that is meant")
			}
			plans, rows = append(plans, plan), append(rows, forgetRowOf(plan, said, o.dryRun))
		}
		for _, plan := range plans {
			if o.dryRun {
				break
			}
			if err := r.Forget(ctx, plan); err != nil {
				return err
			}
		}
		if e.json {
			return e.document(rows)
		}
		if err := e.printForget(rows, o); err != nil || !o.prune || o.dryRun {
			return err
		}
		return e.prune(ctx, r, pruneOptions{grace: defaultGrace})
	})
}

// planForget decides about what one argument names. said are the rules in words.
func (e *env) planForget(ctx context.Context, r *agent.Reader, arg string, rules versions.Retention) (p upkeep.Plan, said string, err error) {
	name, _, one := strings.Cut(arg, "@")
	if one {
		if !rules.IsZero() {
			return p, "", usage("%s: a single version is forgotten without rules", arg)
		}
		folder, snap, err := e.folderVersion(ctx, r, arg)
		if err != nil {
			return p, "", err
		}
		return planOne(ctx, r, folder.ID, snap.ID)
	}
	folder, err := e.namedFolder(ctx, r, name)
	if err != nil {
		return p, "", err
	}
	head, err := r.Lines().Folder(ctx, folder.ID)
	if err != nil {
		return p, "", err
	}
	if rules.IsZero() {
		policy, err := r.Lines().Policy(ctx, folder.ID)
		if err != nil {
			return p, "", err
		}
		if rules = policy.Rules; !policy.Set {
			rules = upkeep.DefaultRules(head.Kind)
		}
		if rules.IsZero() {
			return p, "", hinted(fmt.Errorf("folder %s: there are no rules by which to forget", folder.Name),
				"such as --keep-daily 7 --keep-monthly all; `syncfs retention set` stores them")
		}
	}
	p, err = upkeep.Decide(ctx, r.Lines(), head, rules, e.loc)
	return p, rules.String(), err
}

// planOne forgets one version, unless something needs it.
func planOne(ctx context.Context, r *agent.Reader, folder string, id chunk.ID) (p upkeep.Plan, said string, err error) {
	head, err := r.Lines().Folder(ctx, folder)
	if err != nil {
		return p, "", err
	}
	p, err = upkeep.Decide(ctx, r.Lines(), head, versions.Retention{}, time.UTC)
	if err != nil {
		return p, "", err
	}
	for i := range p.All {
		d := &p.All[i]
		if d.ID != id {
			continue
		}
		for _, why := range d.Reasons {
			if why != "no rule" {
				return p, "", fmt.Errorf("version %s of %s stays: it is %s", d.Instant, head.Name, reasonText(why))
			}
		}
		d.Verdict = versions.Verdict{}
	}
	return p, "one version", nil
}

func reasonText(why string) string {
	if why == "newest" {
		return "the newest"
	}
	return why
}

func forgetRowOf(p upkeep.Plan, said string, dry bool) forgetRow {
	row := forgetRow{Folder: p.Folder.Name, Rules: said, DryRun: dry, Versions: []forgetDetail{}}
	for _, d := range p.All {
		if d.Keep {
			row.Kept++
		} else {
			row.Forgotten++
		}
		row.Versions = append(row.Versions, forgetDetail{
			Instant: d.Instant.String(), Received: d.Received.UTC(), Host: d.Host, User: d.User, Tags: d.Tags,
			Keep: d.Keep, Reasons: append([]string{}, d.Reasons...),
		})
	}
	return row
}

func (e *env) printForget(rows []forgetRow, o forgetOptions) error {
	for _, row := range rows {
		if o.dryRun {
			t := e.newTable("VERSION", "RECEIVED", "BY", "", "WHY")
			for _, v := range row.Versions {
				what, why := "keep", strings.Join(v.Reasons, ", ")
				if !v.Keep {
					what, why = "forget", "no rule keeps it"
				}
				t.row(v.Instant, v.Received.In(e.loc).Format("2006-01-02 15:04:05"), by(v.User, v.Host), what, why)
			}
			if err := t.flush(); err != nil {
				return err
			}
		}
		verb := "forgot"
		if o.dryRun {
			verb = "would forget"
		}
		e.say("%s: %s %s, kept %d (rules: %s)", clean(row.Folder), verb,
			count(int64(row.Forgotten), "version", "versions"), row.Kept, row.Rules)
	}
	if !o.dryRun && !o.prune {
		e.detail("`syncfs prune` frees what is not needed any more")
	}
	return nil
}

// namedFolder is a folder of the repository by its name, or by the path at which
// it is on this machine.
func (e *env) namedFolder(ctx context.Context, r *agent.Reader, arg string) (agent.FolderInfo, error) {
	list, err := r.Folders(ctx)
	if err != nil {
		return agent.FolderInfo{}, err
	}
	folder, err := folderByName(list, arg)
	if err == nil || !errors.Is(err, agent.ErrUnknown) {
		return folder, err
	}
	if _, serr := os.Lstat(arg); serr == nil && strings.ContainsRune(arg, os.PathSeparator) {
		place, perr := locate(ctx, r, arg)
		if perr == nil && place.Rel == "" {
			return place.Folder, nil
		}
	}
	return folder, err
}

// folderVersion is the version that FOLDER@TIME names.
func (e *env) folderVersion(ctx context.Context, r *agent.Reader, arg string) (agent.FolderInfo, agent.SnapshotInfo, error) {
	i := strings.LastIndexByte(arg, '@')
	if i <= 0 {
		return agent.FolderInfo{}, agent.SnapshotInfo{}, usage("%s: FOLDER@TIME names a version", arg)
	}
	when, err := versions.ParseWhen(arg[i+1:], e.now(), e.loc)
	if err != nil {
		return agent.FolderInfo{}, agent.SnapshotInfo{}, err
	}
	folder, err := e.namedFolder(ctx, r, strings.TrimSuffix(arg[:i], ":"))
	if err != nil {
		return folder, agent.SnapshotInfo{}, err
	}
	found, err := r.At(ctx, agent.Place{Folder: folder}, when)
	if err == nil && found.Snapshot.Number == 0 {
		err = fmt.Errorf("version %s of %s is not on the remote yet", found.Snapshot.Instant, folder.Name)
	}
	return folder, found.Snapshot, err
}
