package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

// guardCommand is how the agent starts the process that guards its end.
const guardCommand = "__guard"

// newGuardCommand is the process that ends the mounts of an agent that was
// killed and cannot die. The agent starts it; it is of no use otherwise.
func newGuardCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    guardCommand,
		Hidden: true,
		Args:   exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			o, err := e.agentOptions()
			if err != nil {
				return err
			}
			// A service manager tells all processes at once to end; the guard's
			// work is after that.
			return agent.Guard(context.WithoutCancel(ctx), o.Dirs, os.Getppid(), e.stdin, o.Logger)
		}),
	}
}
