package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newGetCommand(e *env) *cobra.Command {
	var o addOptions
	var onDemand bool
	cmd := &cobra.Command{
		Use:   "get NAME DIR",
		Short: "Bring a folder of the repository to this machine",
		Long: `Bring a folder of the repository to this machine, into a directory that is new
or empty, mount it there, and follow it from now on.

With --on-demand everything is visible at once, and content comes when it is
read: see pin and evict. What is here lies in a directory of its own then, and
DIR is empty while nothing is mounted there.`,
		Example: `  syncfs get docs ~/Documents
  syncfs get videos ~/Videos --on-demand`,
		Args: exactArgs("NAME", "DIR"),
		RunE: runE(func(ctx context.Context, args []string) error {
			return runGet(ctx, e, o, onDemand, args[0], args[1])
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&o.noMount, "no-mount", false, "do not mount it: watch it as a plain directory")
	f.BoolVar(&onDemand, "on-demand", false, "bring names now, and content when it is read")
	f.StringVar(&o.versionsName, "versions-name", "", "call its .versions by another `name`")
	f.StringVar(&o.show, "show", "", "list .versions in the `root` only, in none, or in all directories (it answers by name in every one)")
	e.addJSON(cmd)
	return cmd
}

func runGet(ctx context.Context, e *env, o addOptions, onDemand bool, name, dir string) error {
	path, err := abs(dir)
	if err != nil {
		return err
	}
	show, err := e.show(o.show)
	if err != nil {
		return err
	}
	return e.withStartedAgent(ctx, func(c *agent.Client) error {
		bar := e.newProgress()
		status, err := c.Get(ctx, agent.GetRequest{
			Name: name, Path: path, NoMount: o.noMount, VersionsName: o.versionsName, Show: show,
			OnDemand: onDemand,
		}, bar.update)
		bar.done()
		if err != nil {
			return err
		}
		return e.showAdded(status)
	})
}
