package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/upkeep"
)

// defaultGrace spares uploads that are under way: what is committed later than
// that commits in parts.
const defaultGrace = time.Hour

type pruneOptions struct {
	grace  time.Duration
	dryRun bool
}

// pruneReport is the last line of `prune --json`.
type pruneReport struct {
	MessageType string `json:"message_type"`
	DryRun      bool   `json:"dry_run"`
	Packs       int64  `json:"packs"`
	Bytes       int64  `json:"bytes"`
	UsedChunks  int64  `json:"used_chunks"`
	Deleted     int64  `json:"deleted_packs"`
	Merged      int64  `json:"merged_packs"`
	FreedBytes  int64  `json:"freed_bytes"`
	CopiedBytes int64  `json:"copied_bytes"`
	Young       int64  `json:"young_packs"`
	Kept        int64  `json:"kept_packs"`
	Unreadable  int64  `json:"unreadable_packs"`
}

func newPruneCommand(e *env) *cobra.Command {
	o := pruneOptions{}
	grace := config.Duration(defaultGrace)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Free what no version needs any more",
		Long: `Delete what was stored and no version of any folder needs any more, and merge
small and mostly unused packs. All machines may go on meanwhile, several prunes
may run at once, and one that was interrupted is simply started again.

What is younger than --grace is left alone, because its upload may still be
running. A grace of 0 loses nothing either: who was about to use it stores it
again.`,
		Example: `  syncfs forget docs --older-than 90d && syncfs prune
  syncfs prune --dry-run --json`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			if o.grace = time.Duration(grace); o.grace < 0 {
				return usage("--grace cannot be negative")
			}
			return e.withReader(ctx, func(r *agent.Reader) error { return e.prune(ctx, r, o) })
		}),
	}
	cmd.Flags().Var(&grace, "grace", "leave alone what is younger than that `AGE`")
	cmd.Flags().BoolVarP(&o.dryRun, "dry-run", "n", false, "only tell what would be freed")
	e.addJSON(cmd)
	return cmd
}

func (e *env) prune(ctx context.Context, r *agent.Reader, o pruneOptions) error {
	bar := e.newProgress()
	begun := e.now()
	res, err := r.Store().Prune(ctx, upkeep.Roots{Lines: r.Lines(), Chunks: r.Store()}, store.PruneOptions{
		Grace: o.grace, DryRun: o.dryRun, Progress: bar.count,
	})
	bar.done()
	if !o.dryRun {
		e.record(ctx, r.Repository(), oplog.Operation{What: oplog.Prune, Bytes: res.Freed}, begun, err)
	}
	if err != nil {
		return pruneFailed(err)
	}
	if e.json {
		e.jsonLine(e.stdout, pruneReport{
			MessageType: "summary", DryRun: o.dryRun, Packs: res.Packs, Bytes: res.Bytes, UsedChunks: res.UsedChunks,
			Deleted: res.Deleted, Merged: res.Merged, FreedBytes: res.Freed, CopiedBytes: res.Copied,
			Young: res.Young, Kept: res.Kept, Unreadable: res.Unreadable,
		})
		return nil
	}
	freed, was := "freed", ""
	if o.dryRun {
		freed, was = "would free", "about "
	}
	e.say("%s %s%s of %s (%s of %d deleted, %d of them merged into %s)", freed, was, size(max(0, res.Freed-res.Copied)),
		size(res.Bytes), count(res.Deleted, "pack", "packs"), res.Packs, res.Merged, size(res.Copied))
	if res.Young > 0 {
		e.detail("%s younger than %s left alone", count(res.Young, "pack was", "packs were"), o.grace)
	}
	if res.Kept > 0 {
		e.say("%s in use again meanwhile: the next prune frees more", count(res.Kept, "pack came", "packs came"))
	}
	if res.FullAtMerge {
		e.note("there is no room on the remote to merge packs: what was unused as a whole is freed; run it again for the rest")
	}
	if res.Unreadable > 0 {
		e.note("%s not be read and left alone: `syncfs check --read-data` tells more", count(res.Unreadable, "pack could", "packs could"))
	}
	return nil
}

func pruneFailed(err error) error {
	return hinted(err, "nothing that is in use was deleted; `syncfs check` tells what is damaged, `syncfs repair` mends what can be, and an interrupted prune is simply started again")
}
