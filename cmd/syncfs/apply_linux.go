package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/fs"
)

// newApplyCommand is the child that makes visible steps through a mount. The
// agent starts it, with its socket as descriptor 3; it is of no use otherwise.
func newApplyCommand(*env) *cobra.Command {
	return &cobra.Command{
		Use:    applyCommand,
		Hidden: true,
		Args:   exactArgs("MOUNTPOINT"),
		RunE: runE(func(ctx context.Context, args []string) error {
			return fs.ApplierMain(ctx, os.NewFile(3, "agent"), args[0])
		}),
	}
}
