package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
)

func newContainerExportCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "export PROJECT[@TIME] DIR",
		Short: "Write a backup of a project as files for people without syncfs",
		Long: `Write a backup of a project to DIR, which is made or must be empty: dumps and
configuration as they are, each volume and each image a .tar.gz (tar and docker
load take them), and a backup_manifest.txt for sha256sum -c. The files hold the
project's secrets in the clear; only their owner can read them.

` + containerHelp,
		Example: `  syncfs container export moodle@20250131_201530 /mnt/usb/moodle`,
		Args:    exactArgs("PROJECT", "DIR"),
		RunE:    runE(func(ctx context.Context, args []string) error { return runContainerExport(ctx, e, args[0], args[1]) }),
	}
}

func runContainerExport(ctx context.Context, e *env, arg, to string) error {
	e.boundMemory()
	dir, err := abs(to)
	if err != nil {
		return err
	}
	return e.withReader(ctx, func(r *agent.Reader) error {
		b, err := e.findBackup(ctx, r, arg)
		if err != nil {
			return err
		}
		if err := containerbackup.Export(ctx, r.Trees(), r.Contents(), b.snapshot.Root, dir, e.detail); err != nil {
			return err
		}
		e.say("%s is in %s; it holds the project's secrets in the clear", b.spelled(), dir)
		return nil
	})
}
