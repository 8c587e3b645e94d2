package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
)

// applyCommand is how the agent starts the child that makes visible steps.
const applyCommand = "__apply"

// newAgentCommand is the agent itself, in the foreground. Others start it when
// they need it; a service manager may as well.
func newAgentCommand(e *env) *cobra.Command {
	var noPassthrough, detach, clean bool
	var limits limitFlags
	cmd := &cobra.Command{
		Use:    "agent",
		Short:  "Serve all folders of this machine, in the foreground",
		Hidden: true,
		Long: `Serve all folders of this machine until interrupted. Other commands start it in
the background when they need it; this is for service managers. Under systemd it
tells when it is ready, and that it is alive.`,
		Example: `  syncfs agent`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			if clean {
				return e.cleanMounts()
			}
			if detach {
				return e.withStartedAgent(ctx, func(*agent.Client) error { return nil })
			}
			o, err := e.agentOptions()
			if err != nil {
				return err
			}
			o.NoPassthrough = o.NoPassthrough || noPassthrough
			o.Limits, _ = limits.over(o.Limits)
			e.boundMemory()
			// The log is what the agent prints; its own stdout stays empty.
			return e.supervised(ctx, o)
		}),
	}
	cmd.Flags().BoolVar(&noPassthrough, "no-passthrough", false, "serve every read and write ourselves")
	cmd.Flags().BoolVar(&detach, "detach", false, "start it in the background unless one runs")
	cmd.Flags().BoolVar(&clean, "clean", false, "take away the mounts of an agent that was killed, and end")
	limits.add(cmd.Flags(), "limit-")
	return cmd
}

// cleanMounts takes away what an agent that was killed has left mounted, so that
// the folders are plain directories.
func (e *env) cleanMounts() error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	return agent.CleanMounts(dirs, e.logger())
}

// agentOptions are the agent's options as the user set them.
func (e *env) agentOptions() (agent.Options, error) {
	dirs, err := e.dirs()
	if err != nil {
		return agent.Options{}, err
	}
	c, err := e.settings(dirs)
	if err != nil {
		return agent.Options{}, err
	}
	level := c.Log.Level
	if e.verbose > 0 {
		level = slog.LevelDebug
	}
	return agent.Options{
		Dirs:          dirs,
		Exe:           []string{e.exe, applyCommand},
		Command:       e.scheduled,
		GuardExe:      []string{e.exe, guardCommand},
		NoPassthrough: !c.Mount.Passthrough || e.getenv("SYNCFS_NO_PASSTHROUGH") != "",
		AllowOther:    allowOther(c.Mount.AllowOther),
		SpoolLimit:    int64(c.Spool.Limit),
		CacheLimit:    int64(c.Cache.Limit),
		OnDemandLimit: int64(c.OnDemand.Limit),
		NoFetch:       c.OnDemand.NoFetch,
		Settle:        time.Duration(c.Sync.Settle),
		CommitEvery:   time.Duration(c.Sync.CommitEvery),
		Limits:        agent.Limits{Upload: int64(c.Limit.Upload), Download: int64(c.Limit.Download)},
		Secrets:       e.unlockSecrets(dirs, c.Unlock),
		Version:       buildInfo().Version,
		Logger:        slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level})),
		Now:           e.now,
	}, nil
}

// allowOther decides whether other users may enter a mount.
func allowOther(c config.Choice) bool {
	return c == config.Yes || c == config.Auto && mayAllowOther()
}

func newStopCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the background process and unmount everything",
		Long: `Stop the background process and unmount everything. The folders are plain
directories then, complete and readable; what changes in them meanwhile is found
at the next start.`,
		Example: `  syncfs stop`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			err := e.withAgent(func(c *agent.Client) error { return c.Stop(ctx) })
			if errors.Is(err, agent.ErrNotRunning) || errors.Is(err, agent.ErrNotConnected) {
				e.say("nothing is running")
				return nil
			}
			if err == nil {
				e.say("stopped; the folders are plain directories now")
			}
			return err
		}),
	}
}
