package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newPauseCommand(e *env) *cobra.Command {
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "pause [FOLDER]",
		Short: "Send and apply nothing for a while",
		Long: `Send nothing of FOLDER (without one: of each folder that is here) and apply
nothing of other machines to it, until ` + "`syncfs resume`" + ` or for a time. What
changes here goes on being taken into versions, which are kept on this machine
and are in .versions/ at once; ` + "`syncfs status`" + ` says how much waits. A pause
outlives a restart. ` + "`syncfs flush`" + ` of a paused folder fails at once.

What is under way is broken off, and goes on where it was. Old versions can
still be read from the remote.`,
		Example: `  syncfs pause
  syncfs pause docs --for 2h`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error {
			if length < 0 {
				return usage("--for: %v is less than nothing", length)
			}
			r := agent.PauseRequest{Name: nameArg(args), For: length}
			return e.withAgent(func(c *agent.Client) error {
				if err := c.Pause(ctx, r); err != nil {
					return err
				}
				if length > 0 {
					e.say("paused until %s", e.now().Add(length).In(e.loc).Format("2006-01-02 15:04:05"))
				} else {
					e.say("paused; `syncfs resume` lets it go on")
				}
				return nil
			})
		}),
	}
	cmd.Flags().DurationVar(&length, "for", 0, "resume after this `time` (0: not by itself)")
	return cmd
}

func newResumeCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "resume [FOLDER]",
		Short: "Go on after a pause",
		Long: `Go on with FOLDER (without one: with every folder) after ` + "`syncfs pause`" + `: what
waits is sent, and what other machines have sent is applied.`,
		Example: `  syncfs resume
  syncfs resume docs && syncfs flush docs`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error {
			return e.withAgent(func(c *agent.Client) error {
				if err := c.Resume(ctx, nameArg(args)); err != nil {
					return err
				}
				e.say("resumed")
				return nil
			})
		}),
	}
}

// nameArg is an optional name of a folder.
func nameArg(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
