package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/backup"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/versions"
)

type containerBackupOptions struct {
	name     string
	tags     []string
	noImages bool
	every    string
	limits   limitFlags
}

func newContainerBackupCommand(e *env) *cobra.Command {
	var o containerBackupOptions
	cmd := &cobra.Command{
		Use:   "backup PROJECT",
		Short: "Back up a Docker Compose project",
		Long: `Back up a Docker Compose project, or a container that was started without
Compose, into the folder of its name: a dump of each database (PostgreSQL,
MariaDB, MySQL, Redis) made in its container, volumes file by file, images,
networks, the files that Compose was given.

Who writes to the volumes is paused while they are read, and runs on afterwards,
whatever happens: what is paused is written down first, and the next syncfs
container command lets go on what a backup that was killed has left. A dump that
fails fails the backup.

What the last backup has is neither exported nor read again. Volumes are read
from the engine's own directory: the engine must be on this machine, and the
user must be root.

With --every the background process repeats the backup, after a duration such
as 24h or by a cron expression; "syncfs schedule" lists and removes what is
repeated.`,
		Example: `  syncfs container backup moodle
  syncfs container backup moodle --name pre_deploy --tag v3.0.1 --no-images
  syncfs container backup moodle --every '0 2 * * *'`,
		Args: exactArgs("PROJECT"),
		RunE: runE(func(ctx context.Context, args []string) error { return runContainerBackup(ctx, e, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "call the backup so: PROJECT@`NAME` finds it")
	f.StringArrayVar(&o.tags, "tag", nil, "a `word` that marks the backup (repeatable)")
	f.BoolVar(&o.noImages, "no-images", false, "leave images out")
	f.StringVar(&o.every, "every", "", "repeat it: a duration or a cron `expression`")
	o.limits.add(f, "limit-")
	e.addJSON(cmd)
	return cmd
}

// command is the same backup as another process is told it.
func (o containerBackupOptions) command(project string) []string {
	args := []string{"container", "backup", "--json"}
	if o.name != "" {
		args = append(args, "--name="+o.name)
	}
	for _, tag := range o.tags {
		args = append(args, "--tag="+tag)
	}
	if o.noImages {
		args = append(args, "--no-images")
	}
	return append(append(args, o.limits.command()...), "--", project)
}

func runContainerBackup(ctx context.Context, e *env, o containerBackupOptions, project string) error {
	if o.every != "" {
		return e.repeat(ctx, o.every, []string{project}, map[string][]string{project: o.command(project)})
	}
	e.boundMemory()
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	if _, err := agent.Connected(dirs); err != nil {
		return err
	}
	journal, unlock, err := agent.LockProject(dirs, project)
	if err != nil {
		return err
	}
	defer unlock()
	return e.withEngine(ctx, dirs, func(engine *containerbackup.Engine) error {
		if err := e.letGo(ctx, engine, project, journal); err != nil {
			return err
		}
		if err := engine.Find(ctx, project); err != nil {
			return err
		}
		return e.pushContainer(ctx, dirs, engine, o, project, journal)
	})
}

// pushContainer makes a backup and commits it to the project's folder.
func (e *env) pushContainer(ctx context.Context, dirs config.Dirs, engine *containerbackup.Engine, o containerBackupOptions, project, journal string) error {
	begun := e.now()
	return e.withRepository(ctx, func(r *agent.Repository) (err error) {
		defer func() { err = errors.Join(err, r.Close()) }()
		base, err := e.backupOptions(r, dirs, backupOptions{name: project, tags: o.tags, limits: o.limits})
		if err != nil {
			return err
		}
		base.Name, base.Kind = project, containerbackup.Kind
		bar := e.newProgress()
		base.Progress = backupProgress(bar, project)
		var made *containerbackup.Made
		rep, err := backup.TakeTree(ctx, base, func(ctx context.Context, trees *versions.Trees, contents *versions.Contents, last versions.Entry) (backup.Tree, error) {
			made, err = engine.Backup(ctx, containerbackup.BackupOptions{
				Project: project, Name: o.name, NoImages: o.noImages, Last: last, Journal: journal,
				Host: base.Host, UID: os.Getuid(), GID: os.Getgid(), Trees: trees, Contents: contents, Now: e.now, Note: e.detail,
			})
			if err != nil {
				return backup.Tree{}, err
			}
			return backup.Tree{Root: made.Root, At: made.At}, nil
		})
		bar.done()
		op := oplog.Operation{What: oplog.Backup, Folder: project, Path: project}
		if err == nil {
			op.Instant, op.Files, op.Bytes = rep.Instant.String(), made.Root.Count, made.Root.Size
		}
		e.record(ctx, r, op, begun, err)
		if err != nil {
			return err
		}
		e.tellContainerBackup(project, rep, made, e.now().Sub(begun).Seconds())
		return nil
	})
}

func (e *env) tellContainerBackup(project string, rep backup.Report, made *containerbackup.Made, seconds float64) {
	dumps := 0
	for _, d := range made.Info.Databases {
		dumps += len(d.Dumps)
	}
	for _, w := range made.Info.Warnings {
		e.note("%s", clean(w))
	}
	if e.json {
		e.jsonLine(e.stdout, message{
			"message_type": "summary", "folder": project, "project": project, "instant": rep.Instant.String(), "name": made.Info.Name,
			"files": made.Root.Count, "bytes": made.Root.Size, "bytes_read": made.Read, "bytes_sent": rep.SentBytes,
			"dumps": dumps, "volumes": len(made.Info.Volumes), "images": len(made.Info.Images),
			"warnings": len(made.Info.Warnings), "skew_seconds": made.Info.Skew, "seconds": seconds,
		})
		return
	}
	e.say("%s: saved as %s: %s, %s, %s", project, rep.Instant, count(int64(dumps), "dump", "dumps"),
		count(int64(len(made.Info.Volumes)), "volume", "volumes"), count(int64(len(made.Info.Images)), "image", "images"))
	e.say("%s in %s, %s sent; %.1f s", size(made.Root.Size), count(made.Root.Count, "file", "files"), size(rep.SentBytes), seconds)
}
