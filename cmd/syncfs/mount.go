package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/versions"
)

type mountOptions struct {
	atFlag
	all    bool
	detach bool
	alone  bool // begin a session once it is mounted
	limits limitFlags
}

func newMountCommand(e *env) *cobra.Command {
	var o mountOptions
	cmd := &cobra.Command{
		Use:   "mount NAME [DIR]",
		Short: "Mount a folder, in place or read-only anywhere",
		Long: `Mount a folder of this machine in place. In the foreground Ctrl-C unmounts; with
--detach, or when a background process runs already, it serves the mount.

With DIR any folder of the repository is mounted there, read-only: its newest
version with .versions/, or with --at as it was then. DIR must be an empty
directory.`,
		Example: `  syncfs mount docs
  syncfs mount --all --detach
  syncfs mount docs /mnt/docs
  syncfs mount docs /mnt/then --at 2025-01-31`,
		Args: rangeArgs(2),
		RunE: runE(func(ctx context.Context, args []string) error { return runMount(ctx, e, o, args) }),
	}
	o.add(cmd.Flags())
	cmd.Flags().BoolVarP(&o.detach, "detach", "d", false, "return once it is mounted")
	cmd.Flags().BoolVar(&o.alone, ownSessionFlag, false, "begin a session of its own once it is mounted")
	_ = cmd.Flags().MarkHidden(ownSessionFlag) // it is there
	o.limits.add(cmd.Flags(), "limit-")
	cmd.Flags().BoolVar(&o.all, "all", false, "mount all folders of this machine")
	return cmd
}

// ownSessionFlag is how a mount in the background is told to outlive a terminal.
const ownSessionFlag = "own-session"

func runMount(ctx context.Context, e *env, o mountOptions, args []string) error {
	switch {
	case o.all && len(args) > 0:
		return usage("--all mounts every folder, so no NAME can be given")
	case !o.all && len(args) == 0:
		return hinted(errors.New("mount: NAME is missing"), "`syncfs folders` lists the names; --all mounts all")
	case o.at != "" && len(args) < 2:
		return usage("--at needs a DIR: a folder in place is always as it is now")
	case len(args) == 2:
		return mountReadOnly(ctx, e, o, args[0], args[1])
	case o.detach || e.running():
		return mountByAgent(ctx, e, o, args)
	}
	return mountForeground(ctx, e, o, args)
}

// mountByAgent lets the background process serve one folder, or all.
func mountByAgent(ctx context.Context, e *env, m mountOptions, args []string) error {
	return e.withStartedAgent(ctx, func(c *agent.Client) error {
		if err := m.limits.tell(ctx, c); err != nil {
			return err
		}
		names := args
		if len(names) == 0 {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			for _, f := range s.Folders {
				names = append(names, f.Name)
			}
		}
		if len(names) == 0 {
			return hinted(errors.New("this machine has no folders"), "`syncfs add DIR` makes one, `syncfs get NAME DIR` brings one here")
		}
		var errs []error
		for _, name := range names {
			s, err := c.Mount(ctx, name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if s.Mounted {
				e.say("%s is mounted at %s", s.Name, s.Path)
			} else {
				e.say("%s is watched at %s", s.Name, s.Path)
			}
		}
		return errors.Join(errs...)
	})
}

// mountForeground serves one folder, or all, until it is interrupted.
func mountForeground(ctx context.Context, e *env, m mountOptions, names []string) error {
	o, err := e.agentOptions()
	if err != nil {
		return err
	}
	o.Only = names
	o.Limits, _ = m.limits.over(o.Limits)
	if len(names) == 1 {
		if err := e.knownHere(ctx, names[0]); err != nil {
			return err
		}
	}
	if e.verbose == 0 {
		o.Logger = nil
	}
	o.Ready = func(s agent.Status) {
		for _, f := range s.Folders {
			switch {
			case f.Mounted:
				e.say("%s is mounted at %s; Ctrl-C unmounts", f.Name, f.Path)
			case f.NoMount:
				e.say("%s is watched at %s; Ctrl-C ends", f.Name, f.Path)
			default:
				e.note("%s is not mounted: %s", f.Name, f.Error)
			}
		}
	}
	e.boundMemory()
	return endedByUser(ctx, agent.Run(ctx, o))
}

// knownHere refuses the name of a folder that is not on this machine.
func (e *env) knownHere(ctx context.Context, name string) error {
	return e.withReader(ctx, func(r *agent.Reader) error {
		list, err := r.Folders(ctx)
		if err != nil {
			return err
		}
		f, err := folderByName(list, name)
		if err == nil && f.Path == "" {
			return hinted(fmt.Errorf("%s is not on this machine", name), "`syncfs get %s DIR` brings it here; `syncfs mount %s DIR` mounts it read-only", name, name)
		}
		return err
	})
}

// endedByUser is what Ctrl-C means for something that serves until then: the
// ordinary end.
func endedByUser(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// mountReadOnly mounts any folder anywhere, as it is or as it was.
func mountReadOnly(ctx context.Context, e *env, o mountOptions, name, dir string) error {
	path, err := abs(dir)
	if err != nil {
		return err
	}
	if ours, err := mountedHere(path); err != nil {
		return err
	} else if ours {
		return hinted(coded(exitBusy, fmt.Errorf("something of syncfs is mounted at %s already", path)), "`syncfs umount %s` unmounts it", path)
	}
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	var at *versions.When
	if o.at != "" {
		w, err := versions.ParseWhen(o.at, e.now(), e.loc)
		if err != nil {
			return err
		}
		at = &w
	}
	if o.detach {
		// Until it is mounted it is of our process group: where autofs waits for
		// this very mount, all others would wait with it.
		args := []string{"mount", name, path, "--" + ownSessionFlag}
		if at != nil {
			// Said as this process understands it: the other one may differ in time.
			args = append(args, "--at", fixed(*at))
		}
		if limits, said := o.limits.over(agent.Limits{}); said {
			args = append(args, "--limit-download", config.Rate(limits.Download).String())
		}
		b, err := e.spawn(dirs, "mount.log", nil, args...)
		if err != nil {
			return err
		}
		if _, err := b.firstLine(ctx); err != nil {
			return err
		}
		e.say("%s is mounted read-only at %s; `syncfs umount %s` unmounts it", name, path, path)
		return nil
	}
	c, err := e.settings(dirs)
	if err != nil {
		return err
	}
	limits, _ := o.limits.over(agent.Limits{Upload: int64(c.Limit.Upload), Download: int64(c.Limit.Download)})
	e.boundMemory()
	return endedByUser(ctx, agent.MountReadOnly(ctx, agent.ReadOnlyOptions{
		Dirs: dirs, Folder: name, Dir: path, At: at, Logger: e.logger(),
		AllowOther: allowOther(c.Mount.AllowOther), Limits: limits,
		Ready: func() {
			if o.alone {
				if err := beginSession(); err != nil {
					e.note("begin a session: %v", err)
				}
			}
			fmt.Fprintf(e.stdout, "%s is mounted read-only at %s; Ctrl-C unmounts\n", name, path)
		},
	}))
}

// fixed spells a time so that it means the same a moment later.
func fixed(w versions.When) string {
	switch {
	case w.Latest:
		return "latest"
	case !w.Exact.IsZero():
		return w.Exact.String()
	}
	return w.At.UTC().Format(time.RFC3339)
}
