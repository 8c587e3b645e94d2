package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/store"
)

func newKeyCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List, add, remove and change what opens the repository",
		Long: `List, add, remove and change what opens the repository: passphrases, and the
keys of the machines that are connected. A machine that was lost is locked out
by removing its key.`,
		Example: `  syncfs key list
  syncfs key add --label safe
  syncfs key passwd
  syncfs key remove 1f2e3d4c`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyListCommand(e), newKeyAddCommand(e), newKeyRemoveCommand(e), newKeyPasswdCommand(e),
		newKeyProtectCommand(e), newKeyUnprotectCommand(e))
	return cmd
}

func newKeyListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the passphrases and machines that open the repository",
		Example: `  syncfs key list --json`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			return e.withRepository(ctx, func(r *agent.Repository) error {
				list, err := store.ListKeys(ctx, r.Remote)
				if err != nil {
					return err
				}
				if e.json {
					return e.document(append([]store.KeyInfo{}, list...))
				}
				t := e.newTable("ID", "KIND", "LABEL", "MADE")
				for _, k := range list {
					t.row(k.ID, k.Kind, k.Label, k.Created.In(e.loc).Format("2006-01-02 15:04:05"))
				}
				return t.flush()
			})
		}),
	}
	e.addJSON(cmd)
	return cmd
}

func newKeyAddCommand(e *env) *cobra.Command {
	var p passphraseFlags
	var label string
	cmd := &cobra.Command{
		Use:     "add",
		Short:   "Add another passphrase",
		Example: `  syncfs key add --label safe --new-password-file p.txt`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			return e.withRepository(ctx, func(r *agent.Repository) error {
				passphrase, err := p.fresh(ctx, e, "another passphrase for the repository")
				if err != nil {
					return err
				}
				info, err := store.AddPassphrase(ctx, r.Remote, r.Keys, passphrase, label)
				if err != nil {
					return err
				}
				return e.showKey(info, "added")
			})
		}),
	}
	p.add(cmd.Flags(), "new-", "new passphrase")
	cmd.Flags().StringVar(&label, "label", "", "`name` of the key in the list")
	e.addJSON(cmd)
	return cmd
}

func (e *env) showKey(info store.KeyInfo, what string) error {
	if e.json {
		return e.document(info)
	}
	e.say("%s key %s", what, info.ID)
	return nil
}

func newKeyRemoveCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a passphrase, or lock a machine out",
		Long: `Remove a passphrase, or lock a machine out. The last passphrase is refused. What
a machine has read before, it knows.`,
		Example: `  syncfs key remove 1f2e3d4c`,
		Args:    exactArgs("ID"),
		RunE: runE(func(ctx context.Context, args []string) error {
			return e.withRepository(ctx, func(r *agent.Repository) error {
				id, err := wholeKeyID(ctx, r, args[0])
				if err != nil {
					return err
				}
				if err := store.RemoveKey(ctx, r.Remote, id); err != nil {
					return err
				}
				e.say("removed key %s", id)
				return nil
			})
		}),
	}
}

// wholeKeyID completes the beginning of a key's id.
func wholeKeyID(ctx context.Context, r *agent.Repository, begin string) (string, error) {
	list, err := store.ListKeys(ctx, r.Remote)
	if err != nil {
		return "", err
	}
	var found []string
	for _, k := range list {
		if k.ID == begin {
			return begin, nil
		}
		if len(begin) >= 4 && len(k.ID) > len(begin) && k.ID[:len(begin)] == begin {
			found = append(found, k.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", hinted(fmt.Errorf("there is no key %q", begin), "`syncfs key list` lists them")
	}
	return "", hinted(fmt.Errorf("%q is the beginning of %d keys", begin, len(found)), "give more of it")
}

func newKeyPasswdCommand(e *env) *cobra.Command {
	var p passphraseFlags
	cmd := &cobra.Command{
		Use:   "passwd [ID]",
		Short: "Change a passphrase",
		Long: `Change a passphrase: a key for the new one is added, then the old one is
removed. ID is needed where there are several. The old passphrase is not asked
for, since this machine has a key of its own. Machines that are connected stay
connected.`,
		Example: `  syncfs key passwd
  syncfs key passwd 1f2e3d4c --new-password-file new.txt`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error { return runKeyPasswd(ctx, e, p, args) }),
	}
	p.add(cmd.Flags(), "new-", "new passphrase")
	e.addJSON(cmd)
	return cmd
}

func runKeyPasswd(ctx context.Context, e *env, p passphraseFlags, args []string) error {
	return e.withRepository(ctx, func(r *agent.Repository) error {
		old, err := passphraseKey(ctx, r, args)
		if err != nil {
			return err
		}
		passphrase, err := p.fresh(ctx, e, "new passphrase for the repository")
		if err != nil {
			return err
		}
		info, err := store.AddPassphrase(ctx, r.Remote, r.Keys, passphrase, old.Label)
		if err != nil {
			return err
		}
		if err := store.RemoveKey(ctx, r.Remote, old.ID); err != nil {
			return fmt.Errorf("the new passphrase holds, but the old one is still there as key %s: %w", old.ID, err)
		}
		return e.showKey(info, "changed the passphrase: it is now")
	})
}

// passphraseKey is the passphrase that args name, or the only one there is.
func passphraseKey(ctx context.Context, r *agent.Repository, args []string) (found store.KeyInfo, err error) {
	id := ""
	if len(args) > 0 {
		if id, err = wholeKeyID(ctx, r, args[0]); err != nil {
			return found, err
		}
	}
	list, err := store.ListKeys(ctx, r.Remote)
	if err != nil {
		return found, err
	}
	n := 0
	for _, k := range list {
		switch {
		case k.ID == id && k.Kind != "passphrase":
			return found, hinted(fmt.Errorf("key %s is no passphrase", id), "`syncfs key list` lists them")
		case k.ID == id, id == "" && k.Kind == "passphrase":
			found = k
			n++
		}
	}
	if n != 1 {
		return found, hinted(fmt.Errorf("there are %d passphrases", n), "say which: `syncfs key list` lists their ids")
	}
	return found, nil
}
