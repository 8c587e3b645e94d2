package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/doctor"
)

func newDoctorCommand(e *env) *cobra.Command {
	var fix bool
	var only []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything that syncfs needs, and say what to do",
		Long: `Look at everything that syncfs needs on this machine, and say what to do: FUSE,
kernel, limits, who may enter, the background process and its mounts, the server
with its certificate and clock, keyring, disks. With --fix what can be put right
is, also an agent that was killed and cannot end. The exit code is 3 when
something does not work or will do harm, 0 otherwise.`,
		Example: `  syncfs doctor
  sudo syncfs doctor --fix --only updatedb,inotify
  syncfs doctor --json | jq -r '.[] | select(.level != "ok") | .text'`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error { return runDoctor(ctx, e, fix, only) }),
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "put right what can be")
	cmd.Flags().StringSliceVar(&only, "only", nil, "look at these `checks` only")
	e.addJSON(cmd)
	return cmd
}

func runDoctor(ctx context.Context, e *env, fix bool, only []string) error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	checks := e.examine(ctx, dirs, only)
	if fix {
		for i := range checks {
			checks[i] = repair(ctx, checks[i])
		}
	}
	if e.json {
		if err := e.document(checks); err != nil {
			return err
		}
	} else if err := e.printChecks(checks); err != nil {
		return err
	}
	for _, c := range checks {
		if !c.Fixed && (c.Level == doctor.Problem || c.Level == doctor.Warning) {
			return silently(exitPartial)
		}
	}
	return nil
}

// examine makes all checks, or those that are named.
func (e *env) examine(ctx context.Context, dirs config.Dirs, only []string) []doctor.Check {
	status, running := e.agentStatus(ctx, dirs)
	o := doctor.Options{UID: os.Geteuid(), Path: e.getenv("PATH"), State: []string{dirs.State, dirs.Cache}}
	for _, f := range status.Folders {
		o.Folders = append(o.Folders, f.Path)
	}
	checks := append(doctor.System(o), e.agentChecks(ctx, dirs, status, running)...)
	wanted := func(name string) bool { return len(only) == 0 || slices.Contains(only, name) }
	if wanted("server") || wanted("clock") || wanted("certificate") {
		checks = append(checks, e.serverChecks(ctx, dirs)...)
	}
	checks = append(checks, e.keyringCheck(dirs), e.loginCheck(ctx))
	kept := []doctor.Check{}
	for _, c := range checks {
		if wanted(c.Name) {
			kept = append(kept, c)
		}
	}
	return kept
}

// repair puts one thing right, if that can be done.
func repair(ctx context.Context, c doctor.Check) doctor.Check {
	if c.Fix == nil {
		return c
	}
	if err := c.Fix(ctx); err != nil {
		c.Text += fmt.Sprintf(" (it could not be put right: %v)", err)
		return c
	}
	c.Fixed = true
	return c
}

func (e *env) printChecks(checks []doctor.Check) error {
	t := e.newTable()
	for _, c := range checks {
		level := string(c.Level)
		if c.Fixed {
			level = "fixed"
		}
		t.row(level, c.Name, c.Text)
		if c.Do != "" && !c.Fixed {
			t.row("", "", "-> "+c.Do)
		}
	}
	return t.flush()
}

// agentStatus asks the agent; false when none answers.
func (e *env) agentStatus(ctx context.Context, dirs config.Dirs) (agent.Status, bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := agent.Dial(dirs)
	if err != nil {
		return agent.Status{}, false
	}
	defer c.Close()
	s, err := c.Status(ctx)
	return s, err == nil
}

// agentChecks look at the background process and its folders.
func (e *env) agentChecks(ctx context.Context, dirs config.Dirs, s agent.Status, running bool) []doctor.Check {
	c := doctor.Check{Name: "agent", Level: doctor.OK}
	_, err := agent.Connected(dirs)
	switch {
	case errors.Is(err, agent.ErrNotConnected):
		c.Level, c.Text, c.Do = doctor.Note, "there is no repository yet", noRepositoryHint
		return []doctor.Check{c}
	case err != nil:
		c.Level, c.Text, c.Do = doctor.Problem, err.Error(), "bring back "+dirs.State+" from a backup, or connect anew"
		return []doctor.Check{c}
	case !running:
		return e.leftChecks(ctx, dirs)
	case s.Locked:
		c.Level, c.Text, c.Do = doctor.Warning, "it is locked: "+s.Error, "`syncfs unlock`"
		return []doctor.Check{c}
	}
	c.Text = fmt.Sprintf("pid %d runs since %s", s.PID, s.Since.In(e.loc).Format("2006-01-02 15:04:05"))
	if own := buildInfo().Version; s.Version != own {
		c.Level, c.Text = doctor.Note, fmt.Sprintf("pid %d is version %s, and this is %s", s.PID, s.Version, own)
		c.Do = "`syncfs stop && syncfs mount --all --detach`"
	}
	checks := []doctor.Check{c}
	for _, n := range s.Notes {
		checks = append(checks, doctor.Check{Name: "database", Level: doctor.Note, Text: n})
	}
	if len(s.Notes) == 0 {
		checks = append(checks, doctor.Check{Name: "database", Level: doctor.OK, Text: "it was opened as it was left"})
	}
	for _, f := range s.Folders {
		checks = append(checks, folderCheck(f))
	}
	return checks
}

// leftChecks look at what is there while no agent answers.
func (e *env) leftChecks(ctx context.Context, dirs config.Dirs) []doctor.Check {
	c := doctor.Check{Name: "agent", Level: doctor.Note, Text: "it does not run: folders are plain directories", Do: "`syncfs mount --all --detach` starts it, `syncfs login enable` at every login"}
	pid, dead, err := agent.Leftover(dirs)
	clean := func(context.Context) error { return agent.CleanMounts(dirs, e.logger()) }
	const do = "`syncfs doctor --fix` takes them away; so does the next start"
	switch {
	case err != nil:
		c.Level, c.Text, c.Do = doctor.Problem, err.Error(), "look at "+dirs.State
	case pid != 0:
		c.Level, c.Do, c.Fix = doctor.Problem, do, clean
		c.Text = fmt.Sprintf("pid %d was killed and cannot end: its mounts hang", pid)
	case len(dead) > 0:
		c.Level, c.Do, c.Fix = doctor.Problem, do, clean
		c.Text = "it was killed and has left mounts that answer nobody: " + strings.Join(dead, ", ")
	}
	if pid != 0 {
		return []doctor.Check{c}
	}
	db := doctor.Check{Name: "database", Level: doctor.OK, Text: "it can be opened"}
	if r, err := agent.OpenReader(ctx, dirs, e.logger()); err != nil {
		db.Level, db.Text, db.Do = doctor.Warning, err.Error(), "an agent that starts builds a broken one anew; nothing is lost but time"
		if errors.Is(err, agent.ErrLocked) {
			db = doctor.Check{Name: "database", Level: doctor.Note, Text: "it cannot be looked at: " + err.Error(), Do: "`syncfs unlock`"}
		}
	} else if err := r.Close(); err != nil {
		db.Level, db.Text = doctor.Warning, err.Error()
	}
	return []doctor.Check{c, db}
}

// folderCheck tells how a folder is mounted, and how its files are read.
func folderCheck(f agent.FolderStatus) doctor.Check {
	c := doctor.Check{Name: "folder", Level: doctor.OK, Text: f.Name + " is served at " + f.Path}
	switch {
	case f.Error != "":
		c.Level, c.Text, c.Do = doctor.Problem, f.Name+": "+f.Error, "`syncfs status` says more"
	case f.NoMount:
		c.Text = f.Name + " is watched as a plain directory at " + f.Path
	case f.State == agent.StateStopped:
		c.Level, c.Text, c.Do = doctor.Note, f.Name+" is not mounted", "`syncfs mount "+f.Name+"`"
	case f.Passthrough == nil:
		c.Text = f.Name + " is being mounted at " + f.Path
	case !f.Passthrough.On:
		c.Level = doctor.Note
		c.Text = fmt.Sprintf("%s is mounted at %s, without passthrough: the agent has read and written %s itself", f.Name, f.Path, count(f.Passthrough.Served, "file", "files"))
	default:
		c.Text = fmt.Sprintf("%s is mounted at %s, with passthrough: %s passed, %s refused", f.Name, f.Path,
			count(f.Passthrough.Passed, "file", "files"), count(f.Passthrough.Served, "file", "files"))
	}
	if n := warnings(f.Problems); n > 0 && c.Level == doctor.OK {
		c.Level, c.Do = doctor.Warning, "`syncfs status` lists "+count(int64(n), "problem", "problems")
	}
	return c
}

// A clock that is off by more makes versions hard to find by their time.
const clockTolerance = 10 * time.Second

// soon is how long before its end a certificate is worth a word.
const soon = 21 * 24 * time.Hour

// serverChecks ask the server.
func (e *env) serverChecks(ctx context.Context, dirs config.Dirs) []doctor.Check {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s, err := agent.LookAtServer(ctx, dirs, e.logger())
	c := doctor.Check{Name: "server", Level: doctor.OK}
	switch {
	case errors.Is(err, agent.ErrNotConnected):
		return nil
	case err != nil:
		_, hint := classify(err)
		c.Level, c.Text, c.Do = doctor.Problem, err.Error(), hint
		return []doctor.Check{c}
	case !isServer(s.URL):
		c.Text = "the repository is in the directory " + s.URL
		return []doctor.Check{c}
	}
	c.Text = fmt.Sprintf("%s (%s) answered within %d ms; this machine may %s", s.URL, s.Version, s.Took.Milliseconds(), s.Role)
	checks := []doctor.Check{c}
	clock := doctor.Check{Name: "clock", Level: doctor.OK, Text: "it agrees with the server's"}
	if off := s.Ahead.Abs(); off > clockTolerance+s.Took {
		clock.Level, clock.Do = doctor.Warning, "set the clock, by systemd-timesyncd or another time service: versions are named by it"
		clock.Text = fmt.Sprintf("it is %v behind the server's", off)
		if s.Ahead < 0 {
			clock.Text = fmt.Sprintf("it is %v ahead of the server's", off)
		}
	}
	checks = append(checks, clock)
	cert := doctor.Check{Name: "certificate", Level: doctor.OK}
	switch {
	case s.Expires.IsZero():
		cert.Level, cert.Text = doctor.Note, "the connection is not encrypted: contents are, but the server's key can be overheard"
		cert.Do = "`syncfs serve --tls`, and connect again by https"
	case s.Pinned:
		cert.Text = "the server's is known by its fingerprint"
	case s.Expires.Before(e.now().Add(soon)):
		cert.Level, cert.Do = doctor.Warning, "renew it on the server"
		cert.Text = "the server's ends at " + s.Expires.In(e.loc).Format("2006-01-02 15:04")
	default:
		cert.Text = "the server's is valid until " + s.Expires.In(e.loc).Format("2006-01-02")
	}
	return append(checks, cert)
}

// keyringCheck looks whether a Secret Service answers.
func (e *env) keyringCheck(dirs config.Dirs) doctor.Check {
	c := doctor.Check{Name: "keyring", Level: doctor.OK, Text: "a keyring is there"}
	lacking := func(text string) doctor.Check {
		c.Text = text + ", and none is needed: no passphrase protects this machine's key"
		if agent.Protected(dirs) {
			c.Level, c.Text = doctor.Note, text+": the passphrase must come from elsewhere"
			c.Do = "start a keyring (gnome-keyring, keepassxc), or set unlock.file or unlock.command in config.toml"
		}
		return c
	}
	if !e.sessionBus() {
		return lacking("there is no session bus, and so no keyring")
	}
	conn, err := dbus.ConnectSessionBus()
	if err != nil {
		return lacking("the session bus does not answer")
	}
	defer conn.Close()
	var owned bool
	var startable []string
	if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&owned); err != nil {
		return lacking("the session bus does not answer")
	}
	if err := conn.BusObject().Call("org.freedesktop.DBus.ListActivatableNames", 0).Store(&startable); err == nil {
		owned = owned || slices.Contains(startable, "org.freedesktop.secrets")
	}
	if !owned {
		return lacking("no keyring is there")
	}
	return c
}

// loginCheck tells whether syncfs starts by itself.
func (e *env) loginCheck(ctx context.Context) doctor.Check {
	c := doctor.Check{Name: "login", Level: doctor.OK}
	l, err := e.login()
	if err != nil {
		c.Level, c.Text = doctor.Note, err.Error()
		return c
	}
	s, err := l.Status(ctx)
	switch {
	case err != nil:
		c.Level, c.Text = doctor.Note, err.Error()
	case !s.Enabled:
		c.Level, c.Text, c.Do = doctor.Note, "syncfs does not start at login", "`syncfs login enable`"
	default:
		c.Text = "syncfs starts at login, by " + s.By
		if s.Linger {
			c.Text += ", and from the machine's start on"
		}
	}
	return c
}
