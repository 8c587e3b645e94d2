package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/syncfs/syncfs/internal/agent"
)

// supervised runs the agent and tells the service manager that started it, if
// one did, when it is ready and that it is alive: what it tells is what the
// agent answers on its socket, so one that hangs is found out.
func (e *env) supervised(ctx context.Context, o agent.Options) error {
	s := supervisor{status: func(ctx context.Context) (agent.Status, error) {
		c, err := agent.Dial(o.Dirs)
		if err != nil {
			return agent.Status{}, err
		}
		defer c.Close()
		return c.Status(ctx)
	}, tell: notifier(o.Logger)}
	if s.tell == nil {
		return agent.Run(ctx, o)
	}
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("the service manager's watchdog: %w", err)
	}
	s.watchdog = interval / 4
	watching, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(ctx, watching)
	}()
	err = agent.Run(ctx, o)
	end()
	<-ended
	return err
}

// notifier sends to the service manager; nil when none has started us. The
// variables stay set: the programs that are started are no main process.
func notifier(log *slog.Logger) func(state string) {
	if sent, err := daemon.SdNotify(false, "STATUS=starting"); !sent || err != nil {
		return nil
	}
	return func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("tell the service manager", "err", err)
		}
	}
}

// supervisor looks after the agent of this process.
type supervisor struct {
	status   func(context.Context) (agent.Status, error)
	tell     func(state string)
	watchdog time.Duration // 0: none is wanted
}

const (
	// lookEvery is how often the agent is asked until it is ready.
	lookEvery = 50 * time.Millisecond
	// restEvery is how often when it is.
	restEvery = 30 * time.Second
	// readyAnyway is how long folders may take before who waits for the agent
	// goes on: a first scan, or a download, can take hours.
	readyAnyway = 15 * time.Second
)

// run tells until end; when stopping is done it says so.
func (s supervisor) run(stopping, end context.Context) {
	s.untilReady(stopping)
	every := restEvery
	if s.watchdog > 0 {
		every = min(every, s.watchdog)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	told := false
	for {
		select {
		case <-end.Done():
			return
		case <-stopping.Done():
			if !told {
				s.tell(daemon.SdNotifyStopping)
				told = true
			}
			stopping = end // what is left to wait for
		case <-tick.C:
			s.look(end)
		}
	}
}

// untilReady returns when every folder is served or has told why it is not.
func (s supervisor) untilReady(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var answered time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		st, err := s.status(ctx)
		if err != nil {
			continue // not listening yet
		}
		if answered.IsZero() {
			answered = time.Now()
		}
		if settled(st) || time.Since(answered) > readyAnyway {
			s.tell(daemon.SdNotifyReady + "\n" + daemon.SdNotifyWatchdog + "\nSTATUS=" + oneLine(st))
			return
		}
	}
}

// look asks the agent, which answers when it is alive.
func (s supervisor) look(ctx context.Context) {
	st, err := s.status(ctx)
	if err != nil {
		return // the watchdog ends what does not answer for long
	}
	s.tell(daemon.SdNotifyWatchdog + "\nSTATUS=" + oneLine(st))
}

// settled tells whether every folder can be used, or cannot for a reason.
func settled(st agent.Status) bool {
	if st.Locked {
		return st.Error != ""
	}
	for _, f := range st.Folders {
		if f.Error == "" && f.State == agent.StateStarting && !f.Mounted {
			return false
		}
	}
	return true
}

// oneLine is what `systemctl status` shows.
func oneLine(st agent.Status) string {
	if st.Locked {
		return "locked: `syncfs unlock` opens it"
	}
	states := map[agent.State]int{}
	for _, f := range st.Folders {
		states[f.State]++
	}
	text := count(int64(len(st.Folders)), "folder", "folders")
	for _, state := range []agent.State{
		agent.StateSafe, agent.StatePending, agent.StateStarting, agent.StatePaused, agent.StateOffline,
		agent.StateStopped, agent.StateHeld, agent.StateUnprotected, agent.StateProblem,
	} {
		if n := states[state]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, state)
		}
	}
	return text
}
