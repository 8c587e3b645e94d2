package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newFlushCommand(e *env) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "flush [NAME]",
		Short: "Return when everything is safe on the remote",
		Long: `Return when everything that was written and closed before is safe on the remote:
of one folder, or of all.`,
		Example: `  syncfs flush
  syncfs flush docs --timeout 60s`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return e.withAgent(func(c *agent.Client) error {
				return c.Flush(ctx, name, timeout)
			})
		}),
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this `time` (0: never)")
	return cmd
}
