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
are, and the folder with all its versions stays in the repository. Of an
on-demand folder, what is here stays in the directory that is named then.`,
		Example: `  syncfs remove docs`,
		Args:    exactArgs("NAME"),
		RunE: runE(func(ctx context.Context, args []string) error {
			return e.withStartedAgent(ctx, func(c *agent.Client) error {
				content, err := onDemandContent(ctx, c, args[0])
				if err != nil {
					return err
				}
				if err := c.Remove(ctx, args[0]); err != nil {
					return err
				}
				if content != "" {
					e.say("%s is no folder of this machine any more; what of it was here is in %s, which you may delete", args[0], content)
					return nil
				}
				e.say("%s is no folder of this machine any more; its files are where they were", args[0])
				return nil
			})
		}),
	}
}

// onDemandContent is where what is here of an on-demand folder lies; "" for
// others.
func onDemandContent(ctx context.Context, c *agent.Client, name string) (string, error) {
	st, err := c.Status(ctx)
	if err != nil {
		return "", err
	}
	for _, f := range st.Folders {
		if f.Name == name || f.Path == name {
			return f.Content, nil
		}
	}
	return "", nil
}
