package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
)

func newContainerVerifyCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify PROJECT[@TIME]",
		Short: "Compare every file of a backup with its checksum",
		Long: `Read every file of a backup of a project and compare it with the SHA-256 that
backup_manifest.txt has of it. What differs is named, and the exit code is 6.
In a mount, sha256sum -c backup_manifest.txt does the same.

` + containerHelp,
		Example: `  syncfs container verify moodle
  syncfs container verify moodle@20250131_201530 --json`,
		Args: exactArgs("PROJECT"),
		RunE: runE(func(ctx context.Context, args []string) error { return runContainerVerify(ctx, e, args[0]) }),
	}
	e.addJSON(cmd)
	return cmd
}

func runContainerVerify(ctx context.Context, e *env, arg string) error {
	e.boundMemory()
	return e.withReader(ctx, func(r *agent.Reader) error {
		b, err := e.findBackup(ctx, r, arg)
		if err != nil {
			return err
		}
		bar := e.newProgress()
		p := agent.Progress{Stage: "read", Folder: b.folder.Name, TotalBytes: b.snapshot.Root.Size}
		bad := 0
		files, err := containerbackup.Verify(ctx, r.Trees(), r.Contents(), b.snapshot.Root,
			func(n int64) { p.Bytes += n; p.Files++; bar.update(p) },
			func(m containerbackup.Mismatch) {
				bad++
				bar.done()
				if e.json {
					e.jsonLine(e.stdout, message{"message_type": "error", "object": m.Path, "message": m.Err.Error()})
					return
				}
				fmt.Fprintf(e.stdout, "damaged: %s: %v\n", clean(m.Path), m.Err)
			})
		bar.done()
		if err != nil {
			return err
		}
		if e.json {
			e.jsonLine(e.stdout, message{"message_type": "summary", "backup": b.spelled(), "files": files, "problems": bad})
		}
		if bad > 0 {
			return coded(exitDamaged, fmt.Errorf("%s: %s", b.spelled(), count(int64(bad), "file is not as it was saved", "files are not as they were saved")))
		}
		e.say("%s: %s, each as it was saved", b.spelled(), count(files, "file", "files"))
		return nil
	})
}
