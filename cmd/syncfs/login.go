package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/login"
)

func newLoginCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Mount and sync by itself when the user logs in",
		Long: `Mount and sync by itself when the user logs in: by a unit of the user's systemd,
which also starts the agent again when it was killed, or by an autostart entry
of the desktop where there is no systemd.`,
		Example: `  syncfs login enable
  syncfs login status
  journalctl --user -u syncfs`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLoginEnableCommand(e), newLoginDisableCommand(e), newLoginStatusCommand(e))
	return cmd
}

func newLoginEnableCommand(e *env) *cobra.Command {
	var linger, noStart bool
	cmd := &cobra.Command{
		Use:   "enable",
		Short: "Mount and sync at every login from now on, and now",
		Long: `Mount and sync at every login from now on, and now. With --linger it begins when
the machine starts and goes on after logout.`,
		Example: `  syncfs login enable
  syncfs login enable --linger      # a machine that nobody logs in to`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error { return runLoginEnable(ctx, e, linger, !noStart) }),
	}
	cmd.Flags().BoolVar(&linger, "linger", false, "from the machine's start on, and also when nobody is logged in")
	cmd.Flags().BoolVar(&noStart, "no-start", false, "begin at the next login")
	e.addJSON(cmd)
	return cmd
}

func runLoginEnable(ctx context.Context, e *env, linger, start bool) error {
	l, err := e.login()
	if err != nil {
		return err
	}
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	_, notConnected := agent.Connected(dirs)
	if notConnected != nil && !errors.Is(notConnected, agent.ErrNotConnected) {
		return notConnected
	}
	s, err := l.Enable(ctx, linger)
	if err != nil {
		return err
	}
	if start && notConnected == nil {
		if err := e.handOver(ctx, l); err != nil {
			return fmt.Errorf("it is enabled, and does not run yet: %w", err)
		}
		if s, err = l.Status(ctx); err != nil {
			return err
		}
	}
	if e.json {
		return e.document(s)
	}
	when := "at login"
	if s.Linger {
		when = "when the machine starts"
	}
	e.say("syncfs starts %s from now on (%s)", when, s.File)
	switch {
	case notConnected != nil:
		e.say("Next: `syncfs up`, `syncfs init URL` or `syncfs connect URL`: there is no repository yet, so nothing runs.")
	case start:
		e.say("It runs now: `syncfs status` says whether everything is safe.")
	}
	return nil
}

// handOver has the service manager run the agent; one that was started by hand
// ends first.
func (e *env) handOver(ctx context.Context, l *login.Login) error {
	if !l.CanStart(ctx) {
		return e.withStartedAgent(ctx, func(*agent.Client) error { return nil })
	}
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if s.Active == "active" {
		return nil
	}
	err = e.withAgent(func(c *agent.Client) error { return c.Stop(ctx) })
	if err != nil && !errors.Is(err, agent.ErrNotRunning) {
		return err
	}
	return l.Start(ctx)
}

func newLoginDisableCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disable",
		Short: "Do not start at login any more",
		Long: `Do not start at login any more. What runs goes on until "syncfs stop"; lingering
is switched off.`,
		Example: `  syncfs login disable`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			l, err := e.login()
			if err != nil {
				return err
			}
			if err := l.Disable(ctx); err != nil {
				return err
			}
			e.say("syncfs does not start at login any more")
			return nil
		}),
	}
	return cmd
}

func newLoginStatusCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say whether syncfs starts at login, and how",
		Example: `  syncfs login status --json`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			l, err := e.login()
			if err != nil {
				return err
			}
			s, err := l.Status(ctx)
			if err != nil {
				return err
			}
			if e.json {
				return e.document(s)
			}
			if !s.Enabled {
				fmt.Fprintln(e.stdout, "not enabled: `syncfs login enable` starts syncfs at login")
				return nil
			}
			fmt.Fprintf(e.stdout, "enabled by %s: %s\n", s.By, s.File)
			if s.Active != "" {
				fmt.Fprintf(e.stdout, "the service is %s\n", s.Active)
			}
			if s.Linger {
				fmt.Fprintln(e.stdout, "it runs from the machine's start on, and after logout")
			}
			return nil
		}),
	}
	e.addJSON(cmd)
	return cmd
}

// login is how this user's agent starts at login.
func (e *env) login() (*login.Login, error) {
	exe := e.exe
	// A link, such as those of alternatives, may outlive what it points to.
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	if _, err := os.Stat(exe); err != nil {
		return nil, fmt.Errorf("this program is not where it was started from: %w", err)
	}
	return login.New(login.Options{Exe: exe, Getenv: e.getenv})
}

// unitCommand prints the unit, for packages.
const unitCommand = "__unit"

func newUnitCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     unitCommand + " PROGRAM",
		Short:   "Print the unit of the user's systemd",
		Hidden:  true,
		Example: `  syncfs __unit /usr/bin/syncfs`,
		Args:    exactArgs("PROGRAM"),
		RunE: runE(func(_ context.Context, args []string) error {
			_, err := fmt.Fprint(e.stdout, login.Unit(args[0], nil))
			return err
		}),
	}
}
