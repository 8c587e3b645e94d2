package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/versions"
)

const containerHelp = `PROJECT@TIME is a backup of a project: TIME is an instant (20250131_201530, in
UTC), 2025-01-31, 2025-01-31T20:15, yesterday, 2h-ago or latest, or the name
that the backup was given; without it the newest is meant.`

func newContainerCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "container",
		Short: "Back up Docker Compose projects, and bring them back",
		Long: `Back up Docker Compose projects: databases dumped by their own tools, volumes
file by file, images, configuration, all of one instant, into the repository.
Each project is a folder; syncfs mount PROJECT DIR shows its backups.

The engine is the one that the docker command would use (DOCKER_HOST, its
context, the usual socket). Labels on a container say more:

  syncfs.backup=false        its data is not saved
  syncfs.backup.stop=true    stop it while its volumes are read (pause: only
                             pause it, the default; false: leave it alone)
  syncfs.backup.pre=COMMAND  run in it before; .post: after; .timeout=90s
  syncfs.backup.user=NAME    who dumps its database and runs these
  syncfs.backup.exclude=PATH,...  paths in it that are not saved
  syncfs.backup.binds=PATH,...    bind mounts that are saved; all: every one`,
		Example: `  syncfs container backup moodle
  syncfs container list
  syncfs container restore moodle --as moodle-test`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newContainerBackupCommand(e), newContainerListCommand(e), newContainerShowCommand(e), newContainerVerifyCommand(e),
		newContainerRestoreCommand(e), newContainerExportCommand(e))
	return cmd
}

// withEngine connects with the container engine for fn, and first lets go on what
// a backup that was killed has paused.
func (e *env) withEngine(ctx context.Context, dirs config.Dirs, fn func(*containerbackup.Engine) error) error {
	engine, err := containerbackup.Open(ctx, e.getenv)
	if err != nil {
		return err
	}
	err = e.putRight(ctx, dirs, engine)
	if err == nil {
		err = fn(engine)
	}
	return errors.Join(err, engine.Close())
}

func (e *env) putRight(ctx context.Context, dirs config.Dirs, engine *containerbackup.Engine) error {
	list, err := agent.HeldProjects(dirs)
	if err != nil {
		return err
	}
	for _, project := range list {
		journal, unlock, err := agent.LockProject(dirs, project)
		if errors.Is(err, agent.ErrBusy) {
			continue // its backup runs
		}
		if err != nil {
			return err
		}
		err = e.letGo(ctx, engine, project, journal)
		if err := errors.Join(err, unlock()); err != nil {
			return err
		}
	}
	return nil
}

// letGo is putRight for one project, whose lock the caller has.
func (e *env) letGo(ctx context.Context, engine *containerbackup.Engine, project, journal string) error {
	names, err := engine.PutRight(ctx, journal)
	if len(names) > 0 {
		e.note("a backup of %s was cut off; running again: %s", project, strings.Join(names, ", "))
	}
	return err
}

// savedBackup is a backup that was found.
type savedBackup struct {
	folder   agent.FolderInfo
	snapshot agent.SnapshotInfo
	info     *containerbackup.Info
}

// spelled is what a user calls it.
func (b savedBackup) spelled() string { return b.folder.Name + "@" + b.snapshot.Instant.String() }

// findBackup finds PROJECT[@TIME].
func (e *env) findBackup(ctx context.Context, r *agent.Reader, arg string) (savedBackup, error) {
	name, at, timed := cutLast(arg, "@")
	if !timed {
		at = "latest"
	}
	list, err := r.Folders(ctx)
	if err != nil {
		return savedBackup{}, err
	}
	b := savedBackup{}
	if b.folder, err = containerFolder(list, name); err != nil {
		return savedBackup{}, err
	}
	when, err := versions.ParseWhen(at, e.now(), e.loc)
	if err != nil {
		return e.findNamed(ctx, r, b.folder, at, err)
	}
	found, err := r.At(ctx, agent.Place{Folder: b.folder}, when)
	if err != nil {
		return savedBackup{}, err
	}
	b.snapshot = found.Snapshot
	b.info, err = containerbackup.ReadInfo(ctx, r.Trees(), r.Contents(), found.Entry)
	return b, err
}

// findNamed finds the newest backup that was given a name.
func (e *env) findNamed(ctx context.Context, r *agent.Reader, folder agent.FolderInfo, name string, noTime error) (savedBackup, error) {
	list, err := r.Snapshots(ctx, folder)
	if err != nil {
		return savedBackup{}, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		info, err := containerbackup.ReadInfo(ctx, r.Trees(), r.Contents(), list[i].Root)
		if err != nil {
			return savedBackup{}, err
		}
		if info.Name == name {
			return savedBackup{folder: folder, snapshot: list[i], info: info}, nil
		}
	}
	return savedBackup{}, hinted(fmt.Errorf("no backup of %s is called %q, and as a time: %w", folder.Name, name, noTime),
		"`syncfs container list %s` lists its backups", folder.Name)
}

func containerFolder(list []agent.FolderInfo, name string) (agent.FolderInfo, error) {
	var names []string
	for _, f := range list {
		if f.Kind != containerbackup.Kind {
			continue
		}
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return agent.FolderInfo{}, hinted(fmt.Errorf("there is no backup of a project %q, nor of any other", name), "`syncfs container backup %s` makes one", name)
	}
	return agent.FolderInfo{}, hinted(fmt.Errorf("there is no backup of a project %q", name), "there are backups of %s", strings.Join(names, ", "))
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
