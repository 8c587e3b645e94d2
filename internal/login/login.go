// Package login makes the agent start when the user logs in: by a unit of the
// user's systemd, or, where there is no systemd, by an autostart entry of the
// desktop. It is for commands: the agent never calls it.
package login

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// ErrUnsupported says that this system has neither systemd nor a desktop's
// autostart.
var ErrUnsupported = errors.New("starting at login works on Linux only")

// The ways to start at login.
const (
	BySystemd   = "systemd"
	ByAutostart = "autostart"
)

// packagedUnit is where a package of the distribution puts the unit.
const packagedUnit = "/usr/lib/systemd/user/" + UnitName

// Options of a Login.
type Options struct {
	Exe    string              // this program
	Getenv func(string) string // HOME, XDG_*
	// Root is put before the paths of the system; "" outside tests.
	Root string
	// Run runs a program and returns what it printed; nil: as os/exec does.
	Run func(ctx context.Context, env []string, name string, args ...string) (string, error)
}

// Login is how one user's agent starts.
type Login struct {
	o          Options
	configHome string
	own        []string // variables that say where this HOME keeps its things
}

// Status tells what is set up.
type Status struct {
	Enabled bool   `json:"enabled"`
	By      string `json:"by,omitempty"`   // "systemd" or "autostart"
	File    string `json:"file,omitempty"` // the unit or the entry
	Active  string `json:"active,omitempty"`
	Linger  bool   `json:"linger"` // runs from boot on, and after logout
}

// New finds out where things lie; ErrUnsupported.
func New(o Options) (*Login, error) {
	if runtime.GOOS != "linux" {
		return nil, ErrUnsupported
	}
	if o.Run == nil {
		o.Run = runProgram
	}
	l := &Login{o: o}
	home := o.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return nil, errors.New("HOME is not set to an absolute path")
	}
	l.configHome = filepath.Join(home, ".config")
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"} {
		if dir := o.Getenv(name); filepath.IsAbs(dir) {
			l.own = append(l.own, name+"="+dir)
		}
	}
	if dir := o.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		l.configHome = dir
	}
	return l, nil
}

// Systemd tells whether systemd runs this machine.
func (l *Login) Systemd() bool {
	_, err := os.Lstat(l.o.Root + "/run/systemd/system")
	return err == nil
}

// Enable makes the agent start at login from now on.
func (l *Login) Enable(ctx context.Context, linger bool) (Status, error) {
	if !l.Systemd() {
		if linger {
			return Status{}, fmt.Errorf("there is no systemd here, so nothing can start before the login: %w", errors.ErrUnsupported)
		}
		err := write(l.entryPath(), desktopEntry(l.o.Exe))
		return l.statusAfter(ctx, err)
	}
	err := l.enableUnit()
	if err == nil && linger {
		err = l.linger(ctx, "enable-linger")
	}
	if err == nil && l.managerAnswers(ctx) {
		_, err = l.systemctl(ctx, "daemon-reload")
	}
	return l.statusAfter(ctx, err)
}

func (l *Login) statusAfter(ctx context.Context, err error) (Status, error) {
	if err != nil {
		return Status{}, err
	}
	return l.Status(ctx)
}

// enableUnit writes the unit, unless a package has brought it, and the link that
// enables it: as `systemctl --user enable` does, which needs a running manager.
func (l *Login) enableUnit() error {
	unit := l.o.Root + packagedUnit
	if l.packaged() {
		// What an earlier version wrote would come before the package's.
		if err := removeFile(l.unitPath()); err != nil {
			return err
		}
	} else {
		unit = l.unitPath()
		if err := write(unit, Unit(l.o.Exe, l.own)); err != nil {
			return err
		}
	}
	link := l.linkPath()
	if err := atomicfile.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := removeFile(link); err != nil {
		return err
	}
	return os.Symlink(unit, link)
}

// packaged tells whether the unit of a package starts just this program.
func (l *Login) packaged() bool {
	if len(l.own) > 0 {
		return false
	}
	data, err := os.ReadFile(l.o.Root + packagedUnit)
	return err == nil && strings.Contains(string(data), "\nExecStart="+quoteExec(l.o.Exe)+" agent\n")
}

// Disable takes back what Enable did, linger as well.
func (l *Login) Disable(ctx context.Context) error {
	for _, path := range []string{l.linkPath(), l.unitPath(), l.entryPath()} {
		if err := removeFile(path); err != nil {
			return err
		}
	}
	if !l.Systemd() {
		return nil
	}
	if l.managerAnswers(ctx) {
		if _, err := l.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	if on, err := l.lingers(); err != nil || !on {
		return err
	}
	return l.linger(ctx, "disable-linger")
}

// Status looks at what is set up.
func (l *Login) Status(ctx context.Context) (Status, error) {
	var s Status
	if target, err := os.Readlink(l.linkPath()); err == nil {
		s = Status{Enabled: true, By: BySystemd, File: target}
	} else if _, err := os.Lstat(l.entryPath()); err == nil {
		s = Status{Enabled: true, By: ByAutostart, File: l.entryPath()}
	}
	if !l.Systemd() {
		return s, nil
	}
	var err error
	if s.Linger, err = l.lingers(); err != nil {
		return s, err
	}
	if l.managerAnswers(ctx) {
		out, _ := l.systemctl(ctx, "is-active", UnitName) // its exit code says the same
		s.Active = strings.TrimSpace(out)
	}
	return s, nil
}

// CanStart tells whether the user's manager has the unit and can be asked to
// start it now.
func (l *Login) CanStart(ctx context.Context) bool {
	_, err := os.Lstat(l.linkPath())
	return err == nil && l.Systemd() && l.managerAnswers(ctx)
}

// Start starts the unit and returns when the agent is ready.
func (l *Login) Start(ctx context.Context) error {
	_, err := l.systemctl(ctx, "start", UnitName)
	return err
}

// linger has logind keep the user's manager when the user has no session.
func (l *Login) linger(ctx context.Context, what string) error {
	name, err := userName()
	if err != nil {
		return err
	}
	if _, err := l.o.Run(ctx, nil, "loginctl", what, name); err != nil {
		return fmt.Errorf("loginctl %s %s (an administrator may have to do it): %w", what, name, err)
	}
	return nil
}

func (l *Login) lingers() (bool, error) {
	name, err := userName()
	if err != nil {
		return false, err
	}
	_, err = os.Lstat(l.o.Root + "/var/lib/systemd/linger/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func userName() (string, error) {
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("who is the user: %w", err)
	}
	return u.Username, nil
}

func (l *Login) unitPath() string {
	return filepath.Join(l.configHome, "systemd", "user", UnitName)
}

func (l *Login) linkPath() string {
	return filepath.Join(l.configHome, "systemd", "user", "default.target.wants", UnitName)
}

func (l *Login) entryPath() string {
	return filepath.Join(l.configHome, "autostart", "syncfs.desktop")
}

// managerAnswers tells whether the user's systemd runs: it does not in a shell
// that no login made, such as that of su.
func (l *Login) managerAnswers(ctx context.Context) bool {
	_, err := l.systemctl(ctx, "show-environment")
	return err == nil
}

func (l *Login) systemctl(ctx context.Context, args ...string) (string, error) {
	var env []string
	if l.o.Getenv("XDG_RUNTIME_DIR") == "" {
		env = append(env, fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", os.Getuid()))
	}
	out, err := l.o.Run(ctx, env, "systemctl", append([]string{"--user"}, args...)...)
	if err != nil {
		err = fmt.Errorf("systemctl --user %s: %w", strings.Join(args, " "), err)
	}
	return out, err
}

// runProgram is the default of Options.Run; the error has what the program said.
func runProgram(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = string(filepath.Separator)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}

func write(path, text string) error {
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, []byte(text), 0o644)
}

// removeFile removes a file that may be absent.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
