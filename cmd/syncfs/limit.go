package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
)

// limitFlags bound the traffic of an agent that is started, or runs.
type limitFlags struct {
	upload, download config.Rate
	flags            *pflag.FlagSet
	prefix           string // of the names
}

func (l *limitFlags) add(flags *pflag.FlagSet, prefix string) {
	l.flags, l.prefix = flags, prefix
	flags.Var(&l.upload, prefix+"upload", "send at most this many bytes a second, such as 1MiB (0: no limit)")
	flags.Var(&l.download, prefix+"download", "fetch at most this many bytes a second (0: no limit)")
}

// over are the limits that l says, and else those of was.
func (l *limitFlags) over(was agent.Limits) (limits agent.Limits, said bool) {
	if l.flags == nil { // a command without them
		return was, false
	}
	up, down := l.flags.Changed(l.prefix+"upload"), l.flags.Changed(l.prefix+"download")
	if up {
		was.Upload = int64(l.upload)
	}
	if down {
		was.Download = int64(l.download)
	}
	return was, up || down
}

// command are the limits that were said, as another process is told them.
func (l *limitFlags) command() (args []string) {
	for _, name := range []string{l.prefix + "upload", l.prefix + "download"} {
		if f := l.flags.Lookup(name); f.Changed {
			args = append(args, "--"+name+"="+f.Value.String())
		}
	}
	return args
}

// tell gives a running agent the limits that were said, if any.
func (l *limitFlags) tell(ctx context.Context, c *agent.Client) error {
	if _, said := l.over(agent.Limits{}); !said {
		return nil
	}
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	limits, _ := l.over(s.Limits)
	return c.SetLimits(ctx, limits)
}

func newLimitCommand(e *env) *cobra.Command {
	var l limitFlags
	cmd := &cobra.Command{
		Use:   "limit",
		Short: "Bound what goes over the network, or tell the bounds",
		Long: `Bound the bytes a second that the agent sends to the server and fetches from it,
all folders together, from now on and also for what is under way. It holds until
the agent ends; for ever it is set in config.toml:

  [limit]
  upload = "1MiB/s"
  download = "0"

Small rounds go at once all the same: 16 KiB may go after a rest. What the
server sends by itself with its events is counted, and what follows waits for
it. Without options it tells the bounds.`,
		Example: `  syncfs limit --upload 500K --download 2MiB
  syncfs limit --upload 0
  syncfs limit --json`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			return e.withAgent(func(c *agent.Client) error {
				if err := l.tell(ctx, c); err != nil {
					return err
				}
				s, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if e.json {
					return e.document(s.Limits)
				}
				fmt.Fprintf(e.stdout, "upload %s, download %s\n", rateText(s.Limits.Upload), rateText(s.Limits.Download))
				return nil
			})
		}),
	}
	l.add(cmd.Flags(), "")
	e.addJSON(cmd)
	return cmd
}

func rateText(bytes int64) string {
	if bytes == 0 {
		return "not limited"
	}
	return config.Rate(bytes).String()
}
