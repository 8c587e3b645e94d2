package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

type setupOptions struct {
	key        keyFlags
	passphrase passphraseFlags
	pin        string
	label      string
}

func (o *setupOptions) add(e *env, cmd *cobra.Command, what string) {
	o.key.add(cmd.Flags(), "the server's access key")
	o.passphrase.add(cmd.Flags(), "", what)
	o.passphrase.addKeyring(cmd.Flags())
	cmd.Flags().StringVar(&o.pin, "fingerprint", "", "trust the server's certificate with this `fingerprint` (the server prints it)")
	cmd.Flags().StringVar(&o.label, "label", "", "`name` of this machine in the list of keys (the host's name)")
	e.addJSON(cmd)
}

func newInitCommand(e *env) *cobra.Command {
	var o setupOptions
	cmd := &cobra.Command{
		Use:   "init URL",
		Short: "Make a new repository on a server or in a directory",
		Long: `Make a new repository on a syncfs server, or in a directory of this machine,
and connect this machine with it. A passphrase is asked for twice: it is the
only way back to the data when all machines are lost, so the recovery sheet that
is printed belongs on paper.`,
		Example: `  syncfs init http://server:5000 --key K
  syncfs init https://server:5000 --key-file k.txt --fingerprint sha256:…
  syncfs init /mnt/disk/repository --password-file p.txt`,
		Args: exactArgs("URL"),
		RunE: runE(func(ctx context.Context, args []string) error { return runInit(ctx, e, o, args[0]) }),
	}
	o.add(e, cmd, "new passphrase")
	return cmd
}

func runInit(ctx context.Context, e *env, o setupOptions, url string) error {
	setup, err := e.setup(o, url)
	if err != nil {
		return err
	}
	if _, err := agent.Connected(setup.Dirs); err == nil {
		return connectedAlready(setup)
	}
	if setup.Pin, err = e.greet(ctx, setup, false); err != nil {
		return err
	}
	if setup.Passphrase, err = o.passphrase.fresh(ctx, e, "new passphrase for the repository"); err != nil {
		return err
	}
	made, err := agent.InitRepository(ctx, setup)
	if err != nil {
		return err
	}
	if err := o.passphrase.remember(url, setup.Passphrase); err != nil {
		return err
	}
	if e.json {
		return e.document(made)
	}
	e.say("made a repository at %s\n", made.URL)
	e.recoverySheet(made, "")
	e.say("\nNext: `syncfs add DIR` makes a directory a folder.")
	return nil
}

// setup gathers what init, connect and up have in common, but the passphrase.
func (e *env) setup(o setupOptions, url string) (s agent.SetupOptions, err error) {
	dirs, err := e.dirs()
	if err != nil {
		return s, err
	}
	key, err := o.key.value(e)
	if err != nil {
		return s, err
	}
	return agent.SetupOptions{Dirs: dirs, URL: url, Key: key, Pin: o.pin, Label: o.label, Logger: e.logger()}, nil
}

func connectedAlready(s agent.SetupOptions) error {
	is, err := agent.Connected(s.Dirs)
	if err != nil {
		return err
	}
	return hinted(fmt.Errorf("%w, the one at %s", agent.ErrConnected, is.URL),
		"`syncfs disconnect` lets go of it; another HOME can be connected with another repository")
}

// recoverySheet prints what is needed to get back at the data from nothing. A
// passphrase is only shown when the user does not know it yet.
func (e *env) recoverySheet(s agent.Setup, passphrase string) {
	fmt.Fprintln(e.stdout, "-------------------- recovery sheet: print it, keep it safe --------------------")
	fmt.Fprintf(e.stdout, "repository   %s\n", s.Repository)
	fmt.Fprintf(e.stdout, "at           %s\n", s.URL)
	if s.Pin != "" {
		fmt.Fprintf(e.stdout, "fingerprint  %s\n", s.Pin)
	}
	if passphrase != "" {
		fmt.Fprintf(e.stdout, "passphrase   %s\n", passphrase)
	} else {
		fmt.Fprintln(e.stdout, "passphrase   ________________________________ (the one you gave)")
	}
	fmt.Fprintf(e.stdout, "made         %s\n", e.now().UTC().Format("2006-01-02 15:04:05 UTC"))
	how := "To get everything back on another machine:"
	if !isServer(s.URL) {
		how = "To get everything back, here or where there is a copy of that directory:"
	}
	fmt.Fprintf(e.stdout, `
%s
    syncfs connect %s
    syncfs folders
    syncfs get NAME DIR
Without the passphrase, or a machine that is still connected, nobody can read
the repository: there is no other way in.
`, how, s.URL)
	fmt.Fprintln(e.stdout, "--------------------------------------------------------------------------------")
}
