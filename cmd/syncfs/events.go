package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newEventsCommand(e *env) *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "events [FOLDER]",
		Short: "Tell what happens as it happens: what arrives, leaves, fails",
		Long: `Tell what happens in the folders of this machine as it happens, until
interrupted: which files arrived from other machines and which left for them
(the first 100 of a round, and how many there are), versions, conflicts, holds,
problems and their end, pauses, and when the remote goes and comes back. With
FOLDER only what is about that folder, or about none.

It reads the same log that ` + "`syncfs log`" + ` prints; --since begins with what
happened before. With --json one line a message: its message_type is the kind
of the event, and the first is "listening". A reader that is too slow holds up
nobody: it is told how much it has missed (message_type "dropped").

When the agent stops it ends with exit code 0 and says so; interrupted, with
130.`,
		Example: `  syncfs events
  syncfs events docs --since 1h
  syncfs events --json | jq -r 'select(.message_type=="arrived").files[].path'`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error {
			folder := ""
			if len(args) > 0 {
				folder = args[0]
			}
			if since < 0 {
				return usage("--since: %v is less than nothing", since)
			}
			return runEvents(ctx, e, folder, since)
		}),
	}
	cmd.Flags().DurationVar(&since, "since", 0, "begin with what happened in this `time` before")
	e.addJSON(cmd)
	return cmd
}

// eventLine is one event in JSON.
type eventLine struct {
	MessageType string `json:"message_type"`
	Time        string `json:"time"`
	Folder      string `json:"folder,omitempty"`
	Instant     string `json:"instant,omitempty"`
	Path        string `json:"path,omitempty"`
	RawPath     string `json:"path_quoted,omitempty"`
	Text        string `json:"text,omitempty"`
	Total       int64  `json:"total,omitempty"`

	Files []agent.FileChange `json:"files,omitempty"`
}

func runEvents(ctx context.Context, e *env, folder string, since time.Duration) error {
	err := e.withAgent(func(c *agent.Client) error {
		return c.Events(ctx, folder, since, func(o agent.Operation) error {
			if e.json {
				e.jsonLine(e.stdout, eventLine{
					MessageType: o.What, Time: rfc3339(o.Time), Folder: o.Folder, Instant: o.Instant,
					Path: o.Path, RawPath: o.RawPath, Text: o.Text, Total: o.Total, Files: o.Files,
				})
				return nil
			}
			return e.printEvent(o)
		})
	})
	if errors.Is(err, agent.ErrStopped) {
		e.note("the agent has stopped")
		return nil
	}
	return err
}

func (e *env) printEvent(o agent.Operation) error {
	if o.What == agent.EventListening {
		e.detail("listening")
		return nil
	}
	head := strings.TrimRight(fmt.Sprintf("%s  %-10s  %-9s", o.Time.In(e.loc).Format("15:04:05"), clean(o.Folder), o.What), " ")
	lines := []string{head + "  " + operationText(o)}
	if len(o.Files) > 0 {
		lines = nil
	}
	for _, f := range o.Files {
		lines = append(lines, fmt.Sprintf("%s  %s (%s)", head, clean(f.Path), changeText(f)))
	}
	if more := o.Total - int64(len(o.Files)); more > 0 && len(o.Files) > 0 {
		lines = append(lines, fmt.Sprintf("%s  and %d more", head, more))
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(e.stdout, strings.TrimRight(l, " ")); err != nil {
			return err
		}
	}
	return nil
}

func changeText(f agent.FileChange) string {
	if f.Type != "file" || f.Change == "deleted" {
		return f.Change
	}
	return f.Change + ", " + size(f.Size)
}

// operationText is an operation on one line.
func operationText(o agent.Operation) string {
	text := o.Text
	if text == "" {
		text = o.Path
	}
	if o.Path != "" && text != o.Path && !strings.Contains(text, o.Path) {
		text = o.Path + ": " + text
	}
	if o.Total > 0 && o.What != agent.EventDropped {
		text = strings.TrimSpace(count(o.Total, "change", "changes") + " " + text)
	}
	return clean(strings.TrimSpace(o.Instant + " " + text))
}
