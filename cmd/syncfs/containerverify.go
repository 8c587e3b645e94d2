package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
)

type containerVerifyOptions struct {
	drill bool
	wait  time.Duration
}

func newContainerVerifyCommand(e *env) *cobra.Command {
	var o containerVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify PROJECT[@TIME]",
		Short: "Compare every file of a backup with its checksum",
		Long: `Read every file of a backup of a project and compare it with the SHA-256 that
backup_manifest.txt has of it. What differs is named, and the exit code is 6.
In a mount, sha256sum -c backup_manifest.txt does the same.

With --drill the backup is then restored as a project of its own, which
publishes no port and shares nothing with the original: databases are imported,
volumes filled, health checks awaited. Whatever comes of it, all that was made
is removed.

` + containerHelp,
		Example: `  syncfs container verify moodle
  syncfs container verify moodle@20250131_201530 --json
  syncfs container verify moodle --drill`,
		Args: exactArgs("PROJECT"),
		RunE: runE(func(ctx context.Context, args []string) error { return runContainerVerify(ctx, e, o, args[0]) }),
	}
	cmd.Flags().BoolVar(&o.drill, "drill", false, "restore it into a project that is thrown away")
	cmd.Flags().DurationVar(&o.wait, "wait", 5*time.Minute, "with --drill: how long a database or a health check may take")
	e.addJSON(cmd)
	return cmd
}

func runContainerVerify(ctx context.Context, e *env, o containerVerifyOptions, arg string) error {
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
		if !o.drill {
			return nil
		}
		return e.drill(ctx, r, b, o)
	})
}

// drill restores a backup to see whether it can be.
func (e *env) drill(ctx context.Context, r *agent.Reader, b savedBackup, o containerVerifyOptions) error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	begun := e.now()
	return e.withEngine(ctx, dirs, func(engine *containerbackup.Engine) error {
		done, err := engine.Drill(ctx, containerbackup.RestoreOptions{
			Root: b.snapshot.Root, Wait: o.wait, Trees: r.Trees(), Contents: r.Contents(), Note: e.detail,
		})
		if err != nil {
			return hinted(coded(exitDamaged, fmt.Errorf("the drill of %s failed: %w", b.spelled(), err)), "other backups are in `syncfs container list %s`", b.folder.Name)
		}
		seconds := e.now().Sub(begun).Seconds()
		if e.json {
			e.jsonLine(e.stdout, message{"message_type": "drill", "backup": b.spelled(), "checked": done.Checked, "seconds": seconds})
			return nil
		}
		for _, c := range done.Checked {
			e.say("  %s", clean(c))
		}
		e.say("%s can be restored: the drill took %.1f s, and all that it made is removed", b.spelled(), seconds)
		return nil
	})
}
