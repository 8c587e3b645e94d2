package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/remote"
)

func newTokenCommand(e *env) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "List, add and remove the keys that a server accepts",
		Long: `List, add and remove the keys that a server accepts. A running server notices
within a second. Roles: read (read only), append (adds versions, deletes
nothing: for machines that are not trusted with history), write, admin.`,
		Example: `  syncfs serve token list --data /srv/syncfs
  syncfs serve token add --data /srv/syncfs --role append laptop
  syncfs serve token remove --data /srv/syncfs laptop`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&data, "data", "", "the server's `directory`")
	tokens := func() (*remote.Tokens, error) {
		dir, err := serveOptions{data: data}.dataDir(e)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, hinted(fmt.Errorf("%s does not exist", dir), "--data is the directory that `syncfs serve` was given")
		}
		if err := os.MkdirAll(filepath.Dir(remote.TokenFile(dir)), 0o700); err != nil {
			return nil, err
		}
		return remote.LoadTokens(remote.TokenFile(dir), e.now)
	}
	cmd.AddCommand(newTokenListCommand(e, tokens), newTokenAddCommand(e, tokens), newTokenRemoveCommand(e, tokens))
	return cmd
}

type openTokens func() (*remote.Tokens, error)

func newTokenListCommand(e *env, open openTokens) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the keys by name",
		Example: `  syncfs serve token list --data /srv/syncfs`,
		Args:    exactArgs(),
		RunE: runE(func(context.Context, []string) error {
			tokens, err := open()
			if err != nil {
				return err
			}
			list, err := tokens.List()
			if err != nil {
				return err
			}
			if e.json {
				return e.document(append([]remote.Token{}, list...))
			}
			t := e.newTable("NAME", "ROLE", "MADE")
			for _, k := range list {
				t.row(k.Name, k.Role, k.Created.In(e.loc).Format("2006-01-02 15:04:05"))
			}
			return t.flush()
		}),
	}
	e.addJSON(cmd)
	return cmd
}

func newTokenAddCommand(e *env, open openTokens) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Make a key and print it once",
		Example: `  syncfs serve token add --data /srv/syncfs --role append laptop`,
		Args:    exactArgs("NAME"),
		RunE: runE(func(_ context.Context, args []string) error {
			r, err := remote.ParseRole(role)
			if err != nil {
				return usage("--role: %w", err)
			}
			tokens, err := open()
			if err != nil {
				return err
			}
			key, err := tokens.Add(args[0], r)
			if errors.Is(err, fs.ErrExist) {
				return hinted(fmt.Errorf("there is a key named %q already", args[0]), "`syncfs serve token remove` takes it away")
			}
			if err != nil {
				return err
			}
			if e.json {
				return e.document(message{"name": args[0], "role": r, "key": key})
			}
			_, err = fmt.Fprintln(e.stdout, key)
			return err
		}),
	}
	cmd.Flags().StringVar(&role, "role", string(remote.RoleWrite), "what the key allows: `read`, append, write or admin")
	e.addJSON(cmd)
	return cmd
}

func newTokenRemoveCommand(e *env, open openTokens) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Take a key away",
		Example: `  syncfs serve token remove --data /srv/syncfs laptop`,
		Args:    exactArgs("NAME"),
		RunE: runE(func(_ context.Context, args []string) error {
			tokens, err := open()
			if err != nil {
				return err
			}
			err = tokens.Remove(args[0])
			if errors.Is(err, fs.ErrNotExist) {
				return hinted(fmt.Errorf("there is no key named %q", args[0]), "`syncfs serve token list` lists them")
			}
			if err != nil {
				return err
			}
			e.say("the key %s is accepted no more", args[0])
			return nil
		}),
	}
}
