package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newRemoteCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remote",
		Short: "Decide about a remote that is not as this machine left it",
		Long: `Decide about a remote that is not as this machine left it: it was restored from
an old copy, or has lost a folder. Until then nothing is sent to it or taken
from it, and ` + "`syncfs status`" + ` says why.`,
		Example: `  syncfs remote accept --dry-run`,
		Args:    noCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAcceptCommand(e))
	return cmd
}

func newAcceptCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "accept [FOLDER|DIR]",
		Short: "Take the remote as it is, and send again what it lacks",
		Long: `Take the remote as it is, for one folder or for all that are refused: what it
lacks of the files of this machine is sent again, and both are merged as when
they meet for the first time. Nothing is deleted on either side: a file that
was deleted since that copy was made comes back. Of a file that both have
changed since the last version they have in common, both contents are kept.

Each machine decides for itself. Versions that only the remote had are lost.`,
		Example: `  syncfs remote accept docs --dry-run
  syncfs remote accept`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error { return runAccept(ctx, e, args, dry) }),
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "only tell what it would mean")
	e.addJSON(cmd)
	return cmd
}

// acceptedRow is what was accepted, in JSON.
type acceptedRow struct {
	Folder string `json:"folder"`
	DryRun bool   `json:"dry_run"`
	agent.Accepted
}

func runAccept(ctx context.Context, e *env, args []string, dry bool) error {
	return e.withAgent(func(c *agent.Client) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		names, err := foldersNamed(s.Folders, args)
		if err != nil {
			return err
		}
		rows := []acceptedRow{}
		for _, name := range names {
			done, err := c.Accept(ctx, agent.AcceptRequest{Name: name, DryRun: dry})
			if agent.NotReplaced(err) || agent.IsBusy(err) && len(args) == 0 {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			rows = append(rows, acceptedRow{name, dry, done})
		}
		if e.json {
			return e.document(rows)
		}
		if len(rows) == 0 {
			e.say("the remote is as this machine left it: there is nothing to accept")
		}
		for _, r := range rows {
			e.sayAccepted(r)
		}
		return nil
	})
}

func (e *env) sayAccepted(r acceptedRow) {
	e.say("%s: %s", r.Folder, clean(r.Why))
	if r.Instant != "" {
		e.say("  the newest version that both have is %s", r.Instant)
	}
	be, does := "are", "is deleted"
	if r.DryRun {
		be, does = "would be", "would be deleted"
	}
	e.say("  %s %s sent again, %s %s brought here, %s made; nothing %s",
		count(r.Send, "file", "files"), be, count(r.Arrive, "file", "files"), be, count(r.Copies, "conflict copy", "conflict copies"), does)
}
