package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newConnectCommand(e *env) *cobra.Command {
	var o setupOptions
	cmd := &cobra.Command{
		Use:   "connect URL",
		Short: "Connect this machine with a repository that is there",
		Long: `Connect this machine with a repository that is there. The passphrase is needed
this once: the machine gets a key of its own, which "syncfs key remove" can
take away again.

On a machine that is connected already it changes how the same repository is
reached: another address, another access key. Stop the background process first.`,
		Example: `  syncfs connect http://server:5000 --key K
  syncfs connect /mnt/disk/repository`,
		Args: exactArgs("URL"),
		RunE: runE(func(ctx context.Context, args []string) error { return runConnect(ctx, e, o, args[0]) }),
	}
	o.add(e, cmd, "passphrase")
	return cmd
}

func runConnect(ctx context.Context, e *env, o setupOptions, url string) error {
	setup, err := e.setup(o, url)
	if err != nil {
		return err
	}
	if setup.Pin, err = e.greet(ctx, setup, true); err != nil {
		return err
	}
	if _, err := agent.Connected(setup.Dirs); err == nil {
		return e.reconnect(ctx, setup)
	}
	if setup.Passphrase, err = o.passphrase.existing(ctx, e, url, "passphrase of the repository"); err != nil {
		return err
	}
	made, err := agent.ConnectRepository(ctx, setup)
	if err != nil {
		return err
	}
	if err := o.passphrase.remember(url, setup.Passphrase); err != nil {
		return err
	}
	if e.json {
		return e.document(made)
	}
	e.say("connected with repository %s at %s", made.Repository[:min(16, len(made.Repository))], made.URL)
	e.say("Next: `syncfs folders` lists what is there, `syncfs get NAME DIR` brings a folder here.")
	return nil
}

// reconnect changes how the repository of this machine is reached.
func (e *env) reconnect(ctx context.Context, setup agent.SetupOptions) error {
	is, err := agent.Reconnect(ctx, setup)
	if errors.Is(err, agent.ErrConnected) {
		return hinted(err, "`syncfs disconnect` lets go of it; another HOME can be connected with another repository")
	}
	if err != nil {
		return err
	}
	if e.json {
		return e.document(is)
	}
	e.say("repository %s is reached at %s from now on", is.Repository[:min(16, len(is.Repository))], is.URL)
	return nil
}

func newDisconnectCommand(e *env) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "disconnect",
		Short: "Let go of the repository on this machine",
		Long: `Let go of the repository on this machine. Folders stay where they are, as plain
directories; the repository keeps everything. It refuses while the agent runs
and while something is not on the remote yet.`,
		Example: `  syncfs stop && syncfs disconnect`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			dirs, err := e.dirs()
			if err != nil {
				return err
			}
			was, err := agent.Connected(dirs)
			if err != nil {
				return err
			}
			if err := agent.Disconnect(ctx, dirs, force); err != nil {
				return err
			}
			e.say("disconnected from %s; its folders are plain directories now", was.URL)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "also when something is not on the remote yet")
	return cmd
}
