package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newLogCommand(e *env) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "log",
		Short:   "Tell what the agent did lately",
		Example: `  syncfs log --limit 50`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			if limit < 1 {
				return usage("--limit: %d is less than 1", limit)
			}
			return e.withAgent(func(c *agent.Client) error {
				list, err := c.Operations(ctx, limit)
				if err != nil {
					return err
				}
				if e.json {
					return e.document(append([]agent.Operation{}, list...))
				}
				t := e.newTable()
				for _, o := range list {
					t.row(o.Time.In(e.loc).Format("2006-01-02 15:04:05"), o.Folder, o.What, operationText(o))
				}
				return t.flush()
			})
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "at most this `many`, the newest")
	e.addJSON(cmd)
	return cmd
}
