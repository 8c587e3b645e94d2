package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncfs/syncfs/internal/agent"
)

// watchEvery is how often the agent is asked for what may have changed.
const watchEvery = 500 * time.Millisecond

// watchStatus prints the status whenever it has changed, until ctx ends: in
// place on a terminal, one after the other elsewhere.
func watchStatus(ctx context.Context, e *env) error {
	_, tty := terminal(e.stdout)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last []byte
	for {
		now, state, err := e.statusText(ctx)
		if tty {
			state = now // how long ago something was changes as well
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		if ctx.Err() == nil && !bytes.Equal(state, last) {
			if tty && !e.json {
				fmt.Fprint(e.stdout, "\x1b[H\x1b[2J")
			}
			if _, err := e.stdout.Write(now); err != nil {
				return err
			}
			last = state
		}
		select {
		case <-ctx.Done():
			return nil // Ctrl-C is its ordinary end
		case <-tick.C:
		}
	}
}

// statusText is what status prints, and what it depends on.
func (e *env) statusText(ctx context.Context) (text, state []byte, err error) {
	var out, line bytes.Buffer
	inner := *e
	inner.stdout = &out
	err = e.withAgent(func(c *agent.Client) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if s.Folders == nil {
			s.Folders = []agent.FolderStatus{}
		}
		e.jsonLine(&line, s)
		if e.json {
			out.Write(line.Bytes())
			return nil
		}
		return inner.printStatus(s)
	})
	if errors.Is(err, agent.ErrNotRunning) {
		// It may be started again, by a service manager.
		out.Reset()
		fmt.Fprintln(&out, "no agent is running")
		if e.json {
			out.Reset()
			e.jsonLine(&out, message{"folders": []agent.FolderStatus{}, "error": err.Error()})
		}
		return out.Bytes(), out.Bytes(), nil
	}
	return out.Bytes(), line.Bytes(), err
}
