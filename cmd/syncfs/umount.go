package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newUmountCommand(e *env) *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:     "umount NAME|DIR",
		Aliases: []string{"unmount"},
		Short:   "Unmount a folder, or what is mounted at a directory",
		Long: `Unmount a folder: its directory is a plain directory again, and nothing is
synced until it is mounted again. Of a read-only mount, give the directory.`,
		Example: `  syncfs umount docs
  syncfs umount /mnt/then`,
		Args: exactArgs("NAME or DIR"),
		RunE: runE(func(ctx context.Context, args []string) error { return runUmount(ctx, e, args[0], lazy) }),
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "z", false, "do not mind who uses it: take it out of sight now, end it when nobody does")
	return cmd
}

func runUmount(ctx context.Context, e *env, arg string, lazy bool) error {
	path, err := abs(arg)
	if err != nil {
		return err
	}
	// This process must not be one of those that use the mount.
	if err := os.Chdir(string(filepath.Separator)); err != nil {
		return err
	}
	name := ""
	err = e.withAgent(func(c *agent.Client) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		for _, f := range s.Folders {
			if f.Name == arg || f.Path == path {
				name = f.Name
				return e.umountFolder(ctx, c, name, lazy)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, agent.ErrNotRunning) && !errors.Is(err, agent.ErrNotConnected) {
		return err
	}
	if name != "" {
		e.say("%s is a plain directory now; `syncfs mount %s` serves it again", name, name)
		return nil
	}
	ours, err := mountedHere(path)
	if err != nil {
		return err
	}
	if !ours {
		return hinted(fmt.Errorf("%q is neither a folder that is mounted nor a mount of syncfs", arg), "`syncfs folders` shows what is mounted where")
	}
	if err := unmount(ctx, path, lazy); err != nil {
		return err
	}
	e.say("%s is unmounted", path)
	return nil
}

// umountFolder unmounts a folder of the agent's. One that is in use is taken
// off all the same, and the user is told who uses it.
func (e *env) umountFolder(ctx context.Context, c *agent.Client, name string, lazy bool) error {
	err := c.Umount(ctx, name, lazy)
	if err == nil {
		return nil
	}
	s, serr := c.Status(ctx)
	if serr != nil {
		return errors.Join(err, serr)
	}
	for _, f := range s.Folders {
		if f.Name == name && f.Mounted {
			return err
		}
	}
	e.note("%v", err)
	return nil
}
