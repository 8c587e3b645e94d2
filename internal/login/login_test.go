//go:build linux

package login_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/login"
)

// machine is a system below a directory, and what programs were run on it.
type machine struct {
	root, home string
	ran        []string
	manager    bool // the user's manager answers
}

func newMachine(t *testing.T, systemd, manager bool) *machine {
	t.Helper()
	m := &machine{root: t.TempDir(), home: t.TempDir(), manager: manager}
	if systemd {
		if err := os.MkdirAll(m.root+"/run/systemd/system", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *machine) login(t *testing.T, exe string, env map[string]string) *login.Login {
	t.Helper()
	l, err := login.New(login.Options{
		Exe: exe, Root: m.root,
		Getenv: func(name string) string {
			if name == "HOME" {
				return m.home
			}
			return env[name]
		},
		Run: func(_ context.Context, _ []string, name string, args ...string) (string, error) {
			m.ran = append(m.ran, name+" "+strings.Join(args, " "))
			if name == "systemctl" && !m.manager {
				return "", errors.New("failed to connect to bus")
			}
			return "", nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEnableWritesAUnitAndItsLink(t *testing.T) {
	m := newMachine(t, true, true)
	l := m.login(t, "/opt/my tools/syncfs", map[string]string{"XDG_STATE_HOME": "/srv/100%/state"})
	s, err := l.Enable(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(m.home, ".config/systemd/user/syncfs.service")
	if !s.Enabled || s.By != login.BySystemd || s.File != unit {
		t.Errorf("got %+v", s)
	}
	data, err := os.ReadFile(filepath.Join(m.home, ".config/systemd/user/default.target.wants/syncfs.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`ExecStart="/opt/my tools/syncfs" agent`, `Environment="XDG_STATE_HOME=/srv/100%%/state"`,
		"Type=notify", "WatchdogSec=", "Restart=on-failure", "WantedBy=default.target",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %q in\n%s", want, data)
		}
	}
	if !slices.Contains(m.ran, "systemctl --user daemon-reload") || !slices.ContainsFunc(m.ran, func(s string) bool { return strings.HasPrefix(s, "loginctl enable-linger ") }) {
		t.Errorf("ran %q", m.ran)
	}

	if err := l.Disable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := l.Status(t.Context()); err != nil || s.Enabled {
		t.Errorf("after disable: %+v, %v", s, err)
	}
	if _, err := os.Lstat(unit); err == nil {
		t.Error("the unit is still there")
	}
}

// In the manager of a user each of them sets no_new_privs, or hides the mount.
func TestTheUnitHasNothingThatBreaksFUSE(t *testing.T) {
	unit := login.Unit("/usr/bin/syncfs", nil)
	for _, directive := range []string{
		"NoNewPrivileges", "Private", "Protect", "SystemCall", "Restrict", "MountFlags", "Capabilit", "Lock",
		"MemoryDeny", "ReadOnly", "ReadWrite", "Inaccessible", "DynamicUser", "RootDirectory", "SecureBits",
	} {
		if strings.Contains(unit, "\n"+directive) {
			t.Errorf("the unit has %s…", directive)
		}
	}
}

func TestEnableTakesTheUnitOfAPackage(t *testing.T) {
	m := newMachine(t, true, false)
	packaged := m.root + "/usr/lib/systemd/user/syncfs.service"
	if err := os.MkdirAll(filepath.Dir(packaged), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(packaged, []byte(login.Unit("/usr/bin/syncfs", nil)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, exe string
		env       map[string]string
		packaged  bool
	}{
		{"another program", "/home/me/bin/syncfs", nil, false},
		{"the packaged program", "/usr/bin/syncfs", nil, true},
		{"other directories", "/usr/bin/syncfs", map[string]string{"XDG_DATA_HOME": "/data"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := m.login(t, tc.exe, tc.env).Enable(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			own := filepath.Join(m.home, ".config/systemd/user/syncfs.service")
			if got := s.File == packaged; got != tc.packaged {
				t.Errorf("the unit is %s", s.File)
			}
			if _, err := os.Lstat(own); (err == nil) == tc.packaged {
				t.Errorf("a unit of its own: %v", err)
			}
			if slices.Contains(m.ran, "systemctl --user daemon-reload") {
				t.Error("a manager that does not answer was told to reload")
			}
		})
	}
}

func TestWithoutSystemdTheDesktopStartsIt(t *testing.T) {
	m := newMachine(t, false, false)
	l := m.login(t, "/usr/bin/syncfs", nil)
	if _, err := l.Enable(t.Context(), true); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("linger without systemd: %v", err)
	}
	s, err := l.Enable(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(m.home, ".config/autostart/syncfs.desktop"))
	if err != nil {
		t.Fatal(err)
	}
	if s.By != login.ByAutostart || !strings.Contains(string(data), "\nExec=/usr/bin/syncfs agent --detach\n") {
		t.Errorf("got %+v and\n%s", s, data)
	}
	if len(m.ran) != 0 {
		t.Errorf("ran %q", m.ran)
	}
	if err := l.Disable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := l.Status(t.Context()); err != nil || s.Enabled {
		t.Errorf("after disable: %+v, %v", s, err)
	}
}
