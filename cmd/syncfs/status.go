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

func newStatusCommand(e *env) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say in one line a folder whether everything is safe",
		Long: `Say in one line a folder whether everything is safe on the remote. The exit code
is 0 when all is well or on its way, 3 when something needs you, 5 when the
remote cannot be reached, 1 when no agent is running. With --watch it is said
again whenever it changes, until Ctrl-C.`,
		Example: `  syncfs status
  syncfs status --watch
  syncfs status --json | jq -r '.folders[].state'`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			if watch {
				return watchStatus(ctx, e)
			}
			return runStatus(ctx, e)
		}),
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "say it again whenever it changes (--json: one line each)")
	e.addJSON(cmd)
	return cmd
}

func runStatus(ctx context.Context, e *env) error {
	return e.withAgent(func(c *agent.Client) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if e.json {
			if s.Folders == nil {
				s.Folders = []agent.FolderStatus{}
			}
			if err := e.document(s); err != nil {
				return err
			}
		} else if err := e.printStatus(s); err != nil {
			return err
		}
		return silently(statusCode(s))
	})
}

// statusCode is the exit code of a state.
func statusCode(s agent.Status) int {
	code := exitOK
	if s.Locked {
		return exitPartial
	}
	if !s.Online {
		code = exitOffline
	}
	for _, f := range s.Folders {
		switch f.State {
		case agent.StateProblem, agent.StateUnprotected, agent.StateStopped, agent.StateHeld:
			return exitPartial
		case agent.StateOffline:
			code = exitOffline // the folder may know before the agent does
		}
	}
	return code
}

// errSaid ends a command whose output has said all already.
var errSaid = errors.New("")

// silently ends with a code and without a message.
func silently(code int) error {
	if code == exitOK {
		return nil
	}
	return coded(code, errSaid)
}

func (e *env) printStatus(s agent.Status) error {
	t := e.newTable()
	for _, f := range s.Folders {
		if s.Locked {
			t.row(f.Name, e.paint(f.State), "a plain directory until it is unlocked", f.Path)
			continue
		}
		t.row(f.Name, e.paint(f.State), stateText(f, e.loc), "last version "+newest(f.FolderInfo, e.now()), where(f.FolderInfo))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if s.Locked {
		fmt.Fprintln(e.stdout, "  locked: `syncfs unlock` asks for the passphrase and opens everything")
		if s.Error != "" {
			e.say("  %s", clean(s.Error))
		}
		return nil
	}
	if len(s.Folders) == 0 {
		fmt.Fprintln(e.stdout, "no folders yet: `syncfs add DIR` makes a directory one")
	}
	for _, f := range s.Folders {
		e.printProblems(f)
		if f.Error != "" {
			fmt.Fprintf(e.stdout, "  %s: %s\n", f.Name, clean(f.Error))
		}
		if f.Refused {
			fmt.Fprintf(e.stdout, "  %s: nothing is sent or applied until you decide: `syncfs remote accept %s --dry-run` tells what it means to take the remote as it is\n", f.Name, f.Name)
		}
		for _, h := range f.Holds {
			fmt.Fprintf(e.stdout, "  %s: %s\n", f.Name, holdText(f.Name, h))
		}
		if f.Conflicts > 0 {
			e.say("  %s: `syncfs conflicts %s` lists the conflict copies", f.Name, f.Name)
		}
	}
	if !s.Online {
		why := s.Error
		if why == "" {
			why = "it has not answered yet"
		}
		fmt.Fprintf(e.stdout, "  %s: %s\n", s.URL, clean(why))
	}
	if l := s.Limits; l != (agent.Limits{}) {
		e.say("  limited: upload %s, download %s", rateText(l.Upload), rateText(l.Download))
	}
	for _, n := range s.Notes {
		fmt.Fprintf(e.stdout, "  note: %s\n", clean(n))
	}
	e.detail("repository %s at %s; agent pid %d since %s; spool %s, cache %s",
		s.Repository, s.URL, s.PID, rfc3339(s.Since), size(s.SpoolBytes), size(s.CacheBytes))
	return nil
}

// stateText says in words what the state's word leaves open.
func stateText(f agent.FolderStatus, loc *time.Location) string {
	var parts []string
	switch {
	case f.Paused && !f.PausedUntil.IsZero():
		parts = append(parts, "paused until "+f.PausedUntil.In(loc).Format("2006-01-02 15:04:05"))
	case f.Paused && f.State != agent.StatePaused:
		parts = append(parts, "paused")
	}
	if f.PendingFiles > 0 || f.PendingBytes > 0 {
		parts = append(parts, fmt.Sprintf("%s, %s pending", count(f.PendingFiles, "file", "files"), size(f.PendingBytes)))
	}
	if f.Queued > 0 {
		parts = append(parts, count(int64(f.Queued), "version", "versions")+" to send")
	}
	if f.Waiting > 0 {
		parts = append(parts, count(int64(f.Waiting), "change", "changes")+" from others wait for files in use here")
	}
	for _, h := range f.Holds {
		parts = append(parts, count(h.Files, "deletion", "deletions")+" held")
	}
	if n := warnings(f.Problems); n > 0 {
		parts = append(parts, count(int64(n), "problem", "problems"))
	}
	if f.Conflicts > 0 {
		parts = append(parts, count(int64(f.Conflicts), "conflict", "conflicts"))
	}
	if a := f.Activity; a != nil {
		text := stageText(a.Stage)
		if a.TotalBytes > 0 {
			text += fmt.Sprintf(" %s of %s", size(a.Bytes), size(a.TotalBytes))
		} else if a.Files > 0 {
			text += " " + count(a.Files, "file", "files")
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return fmt.Sprintf("%s, %s", count(f.Files, "file", "files"), size(f.Bytes))
	}
	return strings.Join(parts, ", ")
}

func warnings(list []agent.Problem) (n int) {
	for _, p := range list {
		if !p.Note {
			n++
		}
	}
	return n
}

// paint colours a state on a terminal.
func (e *env) paint(s agent.State) painted {
	if !e.colour() {
		return painted(s)
	}
	colour := "33" // yellow: on its way
	switch s {
	case agent.StateSafe:
		colour = "32"
	case agent.StateProblem, agent.StateUnprotected, agent.StateStopped, agent.StateHeld, agent.StateLocked:
		colour = "31"
	}
	return painted("\x1b[" + colour + "m" + string(s) + "\x1b[0m")
}
