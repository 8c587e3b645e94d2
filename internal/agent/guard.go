package agent

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/syncfs/syncfs/internal/config"
)

// guardEvery is how often the guard looks whether the agent is dying.
const guardEvery = 2 * time.Second

// Guard is the process beside an agent that sees to it that a killed agent
// dies. Killed in the moment when it tells the kernel that a name leads
// elsewhere, it waits in the kernel for a program, that waits for it: all that
// use the mount hang, and nobody who waits for the agent's end learns of it. It
// returns when the agent has ended, which is when in does.
func Guard(ctx context.Context, dirs config.Dirs, agent int, in io.Reader, log *slog.Logger) error {
	ended := make(chan struct{})
	go func() { // ends with the process at the latest
		defer close(ended)
		_, _ = io.Copy(io.Discard, in)
	}()
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if o := readOwner(lockFile(dirs)); o.pid == agent && dying(agent) {
			log.Warn("the agent was killed and cannot end: its mounts are ended", "pid", agent)
			if err := o.endMounts(); err != nil {
				return err
			}
		}
	}
}
