package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newRemoveCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Stop keeping a directory as a folder on this machine",
		Long: `Stop keeping a directory as a folder on this machine. Its files stay where they
are, and the folder with all its versions stays in the repository.`,
		Example: `  syncfs remove docs`,
		Args:    exactArgs("NAME"),
		RunE: runE(func(ctx context.Context, args []string) error {
			return e.withStartedAgent(ctx, func(c *agent.Client) error {
				if err := c.Remove(ctx, args[0]); err != nil {
					return err
				}
				e.say("%s is no folder of this machine any more; its files are where they were", args[0])
				return nil
			})
		}),
	}
}
