package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newScheduleCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "List and remove backups that are repeated",
		Long: `List and remove the backups that the background process repeats. One that is due
while the machine sleeps, or while no background process runs, is made once,
afterwards; one that does not reach the server is tried again soon.`,
		Example: `  syncfs backup ~/Documents --every 60m
  syncfs schedule list
  syncfs schedule remove 1`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newScheduleListCommand(e), newScheduleRemoveCommand(e))
	return cmd
}

func newScheduleListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List what is repeated, and how it went last",
		Example: `  syncfs schedule list --json`,
		Args:    exactArgs(),
		RunE: runE(func(context.Context, []string) error {
			dirs, err := e.dirs()
			if err != nil {
				return err
			}
			list, err := agent.Schedules(dirs)
			if err != nil {
				return err
			}
			if e.json {
				return e.document(shownSchedules(list))
			}
			if len(list) == 0 {
				e.say("nothing is repeated; `syncfs backup PATH --every 60m` begins")
				return nil
			}
			t := e.newTable("ID", "PATH", "EVERY", "NEXT", "LAST", "RESULT")
			for _, s := range list {
				last, result := "-", "-"
				if s.Last != nil {
					last, result = e.shortTime(s.Last.Begun), s.Last.Text
				}
				t.row(s.ID, s.What, s.Every, e.shortTime(s.Next), last, result)
			}
			if !e.running() {
				e.note("no background process runs, so nothing is repeated now; `syncfs mount --all --detach` starts it")
			}
			return t.flush()
		}),
	}
	e.addJSON(cmd)
	return cmd
}

func (e *env) shortTime(t time.Time) string { return t.In(e.loc).Format("2006-01-02 15:04:05") }

// shownSchedules is the list with command lines that can be read.
func shownSchedules(list []agent.Schedule) []message {
	out := []message{}
	for _, s := range list {
		args := make([]string, len(s.Args))
		for i, a := range s.Args {
			args[i] = string(a)
		}
		m := message{"id": s.ID, "path": s.What, "every": s.Every, "command": args, "created": rfc3339(s.Created), "next": rfc3339(s.Next)}
		if s.Last != nil {
			m["last"] = message{"begun": rfc3339(s.Last.Begun), "ended": rfc3339(s.Last.Ended), "code": s.Last.Code, "text": s.Last.Text, "failed": s.Last.Failed}
		}
		out = append(out, m)
	}
	return out
}

func newScheduleRemoveCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "remove ID|PATH",
		Short:   "Repeat a backup no more; what it has saved stays",
		Example: `  syncfs schedule remove 1`,
		Args:    exactArgs("ID"),
		RunE: runE(func(ctx context.Context, args []string) error {
			return e.withStartedAgent(ctx, func(c *agent.Client) error {
				removed, err := c.RemoveSchedule(ctx, args[0])
				if errors.Is(err, agent.ErrUnknown) {
					return hinted(err, "`syncfs schedule list` shows what is")
				}
				if err != nil {
					return err
				}
				for _, s := range removed {
					e.say("%s is saved no more every %s; what was saved stays", s.What, s.Every)
				}
				return nil
			})
		}),
	}
}

// scheduleBackups has the agent repeat a backup of each path.
func (e *env) scheduleBackups(ctx context.Context, o backupOptions, paths []string) error {
	flags, err := o.command()
	if err != nil {
		return err
	}
	lines := map[string][]string{}
	for _, path := range paths {
		lines[path] = append(append([]string{"backup"}, flags...), "--", path)
	}
	return e.repeat(ctx, o.every, paths, lines)
}

// repeat has the agent repeat command lines, each by what it saves.
func (e *env) repeat(ctx context.Context, every string, what []string, lines map[string][]string) error {
	if _, err := agent.ParseEvery(every); err != nil {
		return err
	}
	return e.withStartedAgent(ctx, func(c *agent.Client) error {
		for _, one := range what {
			s := agent.Schedule{Every: every, What: one}
			for _, arg := range lines[one] {
				s.Args = append(s.Args, []byte(arg))
			}
			added, err := c.AddSchedule(ctx, s)
			if err != nil {
				return err
			}
			e.say("%s is saved every %s, for the first time now (schedule %s)", one, every, added.ID)
		}
		return nil
	})
}

// command are the flags of a backup as another process is given them. Files of
// patterns are read anew by each.
func (o *backupOptions) command() ([]string, error) {
	args := []string{"--json"}
	text := func(name, value string) {
		if value != "" {
			args = append(args, "--"+name+"="+value)
		}
	}
	each := func(name string, values []string) {
		for _, v := range values {
			text(name, v)
		}
	}
	on := func(name string, set bool) {
		if set {
			args = append(args, "--"+name)
		}
	}
	text("name", o.name)
	text("host", o.host)
	each("tag", o.tags)
	each("pattern", o.patterns)
	each("exclude", o.excludes)
	for _, f := range o.excludeFiles {
		path, err := abs(f)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
		text("exclude-file", path)
	}
	on("exclude-caches", o.caches)
	if o.larger > 0 {
		text("exclude-larger-than", o.larger.String())
	}
	on("one-file-system", o.oneFileSystem)
	on("force-read", o.forceRead)
	return append(args, o.limits.command()...), nil
}

// scheduled runs one command line of this program at /, away from every mount,
// and reads what it tells of itself.
func (e *env) scheduled(ctx context.Context, args []string) agent.Outcome {
	cmd := exec.CommandContext(ctx, e.exe, args...)
	cmd.Dir = string(filepath.Separator)
	cmd.Env = withoutSecrets(os.Environ())
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := agent.Outcome{}
	if err != nil {
		out.Code, out.Text = exitFailed, err.Error()
		if code := cmd.ProcessState; code != nil && code.ExitCode() > 0 {
			out.Code = code.ExitCode()
		}
	}
	eachMessage(stdout.Bytes(), func(m told) {
		if m.Type == "summary" {
			out.Folder, out.Instant = m.Folder, m.Instant
			out.Text = fmt.Sprintf("%d new, %d changed, %d gone; %s read, %s sent, %.1f s", m.New, m.Changed, m.Gone, size(m.Read), size(m.Sent), m.Seconds)
			if m.Unchanged {
				out.Text = fmt.Sprintf("nothing has changed since %s", m.Instant)
			}
		}
	})
	eachMessage(stderr.Bytes(), func(m told) {
		if m.Type == "exit_error" {
			out.Text = strings.ReplaceAll(m.Message, "\n", "; ")
		}
	})
	return out
}

// told is what a backup tells of itself in JSON.
type told struct {
	Type      string  `json:"message_type"`
	Message   string  `json:"message"`
	Folder    string  `json:"folder"`
	Instant   string  `json:"instant"`
	Unchanged bool    `json:"unchanged"`
	New       int64   `json:"new"`
	Changed   int64   `json:"changed"`
	Gone      int64   `json:"gone"`
	Read      int64   `json:"bytes_read"`
	Sent      int64   `json:"bytes_sent"`
	Seconds   float64 `json:"seconds"`
}

// eachMessage reads lines of JSON; what is none is passed over.
func eachMessage(data []byte, fn func(told)) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m told
		if json.Unmarshal(lines.Bytes(), &m) == nil {
			fn(m)
		}
	}
}
