package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/versions"
)

func newCatCommand(e *env) *cobra.Command {
	var o atFlag
	cmd := &cobra.Command{
		Use:   "cat PATH[@TIME]...",
		Short: "Print files as they were",
		Long:  "Print files as they were.\n\n" + timeHelp,
		Example: `  syncfs cat notes.txt@yesterday
  syncfs cat docs:notes.txt@20250131_201530 > old.txt`,
		Args: rangeArgs(1000, "PATH"),
		RunE: runE(func(ctx context.Context, args []string) error {
			return e.withReader(ctx, func(r *agent.Reader) error {
				for _, arg := range args {
					if err := catOne(ctx, e, r, arg, o.at); err != nil {
						return err
					}
				}
				return nil
			})
		}),
	}
	o.add(cmd.Flags())
	return cmd
}

func catOne(ctx context.Context, e *env, r *agent.Reader, arg, at string) error {
	s, err := e.look(ctx, r, arg, at)
	if err != nil {
		return err
	}
	switch s.Entry.Kind {
	case versions.File:
	case versions.Dir:
		return hinted(fmt.Errorf("%s is a directory", s.label()), "`syncfs ls` lists it, `syncfs restore` brings it back")
	default:
		return fmt.Errorf("%s is a %s, not a file", s.label(), typeName(s.Entry.Kind))
	}
	content, err := r.Contents().Open(ctx, s.Entry)
	if err != nil {
		return fmt.Errorf("%s: %w", s.label(), err)
	}
	_, err = content.WriteTo(e.stdout)
	if err = errors.Join(err, content.Close()); err != nil {
		return fmt.Errorf("%s: %w", s.label(), err)
	}
	return nil
}
