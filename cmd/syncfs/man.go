package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newManCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all commands into a directory",
		Example: `  syncfs man ~/.local/share/man/man1
  man syncfs-restore`,
		Args: exactArgs("DIR"),
	}
	cmd.RunE = runE(func(_ context.Context, args []string) error {
		if err := os.MkdirAll(args[0], 0o755); err != nil {
			return err
		}
		header := &doc.GenManHeader{Section: "1", Source: "syncfs " + buildInfo().Version, Manual: "syncfs"}
		if at, err := time.Parse(time.RFC3339, buildInfo().Time); err == nil {
			header.Date = &at
		}
		root := cmd.Root()
		root.DisableAutoGenTag = true
		return doc.GenManTree(root, header, args[0])
	})
	return cmd
}
