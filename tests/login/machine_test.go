//go:build linux

package login_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// patience is how long something may take on a machine that has much to do.
const patience = 2 * time.Minute

// server is where the server of a machine listens: both are in one network, which
// has nothing but loopback.
const server = "http://127.0.0.1:5000"

// machine is a Debian that was booted by systemd, with a user named ann, and a
// file server beside it.
type machine struct {
	t      *testing.T
	docker *world.Docker
	debs   string // directory of the packages, /debs inside
}

// bootMachine starts it. The package is not installed yet.
func bootMachine(t *testing.T) *machine {
	t.Helper()
	archive := world.Debian(t, "systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "fuse3", "procps")
	m := &machine{t: t, docker: world.NewDocker(t), debs: t.TempDir()}
	if err := os.Chmod(m.debs, 0o755); err != nil {
		t.Fatal(err)
	}
	m.docker.Import(archive, "debian")
	m.docker.Run("run", "-d", "--name", "network", "--network", "none", "debian", "sleep", "infinity")
	m.docker.Run("run", "-d", "--name", "server", "--network", "container:network",
		"-v", world.Binary(t)+":/usr/local/bin/syncfs:ro", "debian", "sleep", "infinity")
	m.startServer()
	m.docker.Run("run", "-d", "--name", "machine", "--network", "container:network", "--stop-signal", "SIGRTMIN+3",
		"--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--device", "/dev/fuse", "--tmpfs", "/run", "--tmpfs", "/tmp", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
		"-v", m.debs+":/debs:ro", "debian", "/sbin/init")
	m.booted()
	m.root("useradd -m -s /bin/bash ann")
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := m.docker.Try("exec", "machine", "journalctl", "--no-pager", "-n", "150")
			t.Logf("the machine's journal:\n%s", log)
		}
	})
	return m
}

func (m *machine) booted() {
	m.t.Helper()
	m.until("the machine has booted", func() error {
		// It is not 0 while a unit has failed, which is not what is asked.
		out, _ := m.docker.Try("exec", "machine", "systemctl", "is-system-running")
		if out != "running" && out != "degraded" {
			return errors.New(out)
		}
		return nil
	})
}

// reboot stops everything as a shutdown does, and boots again.
func (m *machine) reboot() {
	m.t.Helper()
	m.docker.Run("restart", "-t", "60", "machine")
	m.booted()
}

func (m *machine) startServer() {
	m.t.Helper()
	m.docker.Run("exec", "-d", "server", "syncfs", "serve", "--data", "/srv/data", "--listen", "127.0.0.1:5000", "--key", world.Key)
	m.until("the server listens", func() error {
		_, err := m.docker.Try("exec", "server", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5000")
		return err
	})
}

func (m *machine) stopServer() {
	m.t.Helper()
	m.docker.Run("exec", "server", "bash", "-c", `for p in /proc/[0-9]*; do
		[ "$(readlink $p/exe)" = /usr/local/bin/syncfs ] && kill ${p#/proc/}; done; true`)
}

// install builds a package of this version and installs it with apt.
func (m *machine) install(version string) {
	m.t.Helper()
	world.Sh(m.t, filepath.Join("..", ".."), "scripts/deb.sh", "VERSION="+version, "OUT="+m.debs,
		"PROGRAM="+world.Binary(m.t), "COMPRESS=none", "NO_LINTIAN=1")
	m.root("DEBIAN_FRONTEND=noninteractive apt-get install -y /debs/syncfs_" + version + "_*.deb")
}

// root runs a script as root; it must succeed.
func (m *machine) root(script string) string {
	m.t.Helper()
	return m.docker.Run("exec", "machine", "bash", "-euc", script)
}

// tryAnn runs a script as ann, with the environment of her sessions.
func (m *machine) tryAnn(script string) (string, error) {
	return m.docker.Try("exec", "machine", "runuser", "-u", "ann", "--", "env", "-i",
		"HOME=/home/ann", "USER=ann", "LOGNAME=ann", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "NO_COLOR=1",
		"XDG_RUNTIME_DIR=/run/user/1000", "SYNCFS_PASSWORD="+world.Passphrase,
		"bash", "-euc", "cd; "+script)
}

// ann is tryAnn; it must succeed.
func (m *machine) ann(script string) string {
	m.t.Helper()
	out, err := m.tryAnn(script)
	if err != nil {
		m.t.Fatalf("ann: %s: %v", script, err)
	}
	return out
}

// annUntil repeats a script of ann's until it succeeds.
func (m *machine) annUntil(what, script string) {
	m.t.Helper()
	m.until(what, func() error { _, err := m.tryAnn(script); return err })
}

func (m *machine) until(what string, f func() error) {
	m.t.Helper()
	world.Eventually(m.t, patience, what, f)
}

// login opens a session of ann's, as PAM does for anybody who logs in, and
// returns what ends it.
func (m *machine) login() (logout func()) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := m.docker.Command(ctx, "exec", "-i", "machine", "su", "-l", "ann", "-c", "exec cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	logout = func() {
		in.Close()
		select {
		case <-done:
		case <-time.After(patience):
			cancel()
			<-done
			m.t.Error("the session did not end")
		}
		cancel()
	}
	m.until("ann has a session and a manager", func() error {
		_, err := m.docker.Try("exec", "machine", "bash", "-euc", "test -S /run/user/1000/systemd/private && loginctl list-sessions --no-legend | grep -w ann")
		return err
	})
	return logout
}

// mounted fails unless the folder is served in place.
const mounted = `grep -q ' /home/ann/Documents fuse.syncfs ' /proc/mounts`

// pid of the agent, which must be the service's.
func (m *machine) pid() string {
	m.t.Helper()
	pid := m.ann("systemctl --user show -P MainPID syncfs")
	if pid == "0" || pid == "" {
		m.t.Fatalf("the service has no process: %s", m.ann("systemctl --user status syncfs || true"))
	}
	return pid
}

// gone waits until ann's manager has ended after her last logout.
func (m *machine) gone() {
	m.t.Helper()
	m.until("ann's manager has ended", func() error {
		if out, err := m.docker.Try("exec", "machine", "test", "!", "-e", "/run/user/1000"); err != nil {
			return fmt.Errorf("/run/user/1000 is there: %s", out)
		}
		return nil
	})
}
