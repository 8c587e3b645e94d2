package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
)

type containerRestoreOptions struct {
	as     string
	only   []string
	yes    bool
	dryRun bool
	wait   time.Duration
}

func newContainerRestoreCommand(e *env) *cobra.Command {
	var o containerRestoreOptions
	cmd := &cobra.Command{
		Use:   "restore PROJECT[@TIME]",
		Short: "Bring a project back",
		Long: `Bring a project back as a backup has it: images the engine has not are loaded,
networks and volumes made, volumes filled with owners and modes, databases
started and their dumps imported, then the rest in the order of its
dependencies, until all health checks are content. Compose's labels are kept,
so that docker compose goes on with the project.

What is there is replaced: containers of these names, and the content of these
volumes. That is asked first; --yes answers, and is needed where nobody can.
Whatever fails half-way, the command can be run again.

With --as the original is left alone: project, containers, volumes and networks
get names of their own, ports the engine's choice, and bind mounts that are
written to become volumes. What cannot be renamed is refused by name.

` + containerHelp,
		Example: `  syncfs container restore moodle
  syncfs container restore moodle@20250131_201530 --as moodle-test
  syncfs container restore moodle@production_pre_deploy --only db,app --yes`,
		Args: exactArgs("PROJECT"),
		RunE: runE(func(ctx context.Context, args []string) error { return runContainerRestore(ctx, e, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.as, "as", "", "make another `project` of it")
	f.StringSliceVar(&o.only, "only", nil, "only these `services`")
	f.BoolVar(&o.yes, "yes", false, "replace what is there without asking")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be done")
	f.DurationVar(&o.wait, "wait", 5*time.Minute, "how long a database or a health check may take")
	e.addJSON(cmd)
	return cmd
}

func runContainerRestore(ctx context.Context, e *env, o containerRestoreOptions, arg string) error {
	e.boundMemory()
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	return e.withReader(ctx, func(r *agent.Reader) error {
		b, err := e.findBackup(ctx, r, arg)
		if err != nil {
			return err
		}
		project := b.info.Project
		if o.as != "" {
			project = o.as
		}
		_, unlock, err := agent.LockProject(dirs, project)
		if err != nil {
			return err
		}
		defer unlock()
		return e.withEngine(ctx, dirs, func(engine *containerbackup.Engine) error { return e.restoreContainer(ctx, engine, r, b, o) })
	})
}

func (e *env) restoreContainer(ctx context.Context, engine *containerbackup.Engine, r *agent.Reader, b savedBackup, o containerRestoreOptions) error {
	begun := e.now()
	base := containerbackup.RestoreOptions{
		Root: b.snapshot.Root, As: o.as, Only: o.only, Wait: o.wait, Trees: r.Trees(), Contents: r.Contents(),
		Note: func(format string, args ...any) { e.say(format, args...) },
		Confirm: func(there containerbackup.Replaces) error {
			if o.yes {
				return nil
			}
			return e.goOn(replaceText(there))
		},
	}
	if o.dryRun {
		there, names, err := engine.Plan(ctx, base)
		if err != nil {
			return err
		}
		return e.printPlan(b, there, names)
	}
	done, err := engine.Restore(ctx, base)
	if done != nil {
		for _, n := range done.Notes {
			e.note("%s", clean(n))
		}
	}
	if err != nil {
		if done != nil && len(done.Containers)+len(done.Volumes) > 0 {
			e.note("made so far: %s", clean(strings.Join(append(append([]string{}, done.Volumes...), done.Containers...), ", ")))
		}
		return err
	}
	seconds := e.now().Sub(begun).Seconds()
	if e.json {
		e.jsonLine(e.stdout, message{
			"message_type": "summary", "backup": b.spelled(), "project": done.Project, "containers": none(done.Containers), "started": none(done.Started),
			"volumes": none(done.Volumes), "databases": none(done.Databases), "ports": none(done.Ports), "notes": none(done.Notes), "seconds": seconds,
		})
		return nil
	}
	for _, p := range done.Ports {
		e.say("port %s", p)
	}
	e.say("%s is back as %s: %s, %s running, %s; %.1f s", b.spelled(), done.Project,
		count(int64(len(done.Containers)), "container", "containers"), count(int64(len(done.Started)), "of them", "of them"),
		count(int64(len(done.Volumes)), "volume", "volumes"), seconds)
	return nil
}

// none makes a list of nil, for programs.
func none(list []string) []string { return append([]string{}, list...) }

func replaceText(r containerbackup.Replaces) string {
	var parts []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			parts = append(parts, what+" "+clean(strings.Join(list, ", ")))
		}
	}
	add("containers", r.Containers)
	add("the content of volumes", r.Volumes)
	add("files in", r.Binds)
	return fmt.Sprintf("project %s is there: %s would be replaced; what no backup has of it would be gone", r.Project, strings.Join(parts, "; "))
}

func (e *env) printPlan(b savedBackup, there containerbackup.Replaces, names []string) error {
	if e.json {
		return e.document(map[string]any{
			"backup": b.spelled(), "project": there.Project, "containers": none(names),
			"replaces": map[string]any{"containers": none(there.Containers), "volumes": none(there.Volumes), "binds": none(there.Binds)},
		})
	}
	if len(names) == 0 {
		return errors.New("there would be nothing to do")
	}
	e.say("would make %s of %s: %s", there.Project, b.spelled(), clean(strings.Join(names, ", ")))
	if !there.None() {
		e.say("%s", replaceText(there))
	}
	return nil
}
