//go:build linux

// Package world builds the real binary and runs it as users would: several
// homes, a server on loopback, mounts, faults.
package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Passphrase of every repository in a World.
const Passphrase = "correct horse battery staple"

// Key of every server in a World.
const Key = "a-key-for-testing"

var build = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("SYNCFS_TEST_BINARY"); bin != "" {
		return bin, nil
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "syncfs-world-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "syncfs")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/syncfs")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

// Binary is the syncfs under test: $SYNCFS_TEST_BINARY, or built once.
func Binary(t testing.TB) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Server is a running `syncfs serve`.
type Server struct {
	URL, Data string
	Key       string // that it accepts, from the next Start on
	addr      string
	t         testing.TB
	cmd       *exec.Cmd
	done      chan struct{}
	log       *bytes.Buffer
}

// NewServer starts a server with its data below dir (a fresh one when "").
func NewServer(t testing.TB, dir string) *Server {
	t.Helper()
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, Data: dir, Key: Key, addr: l.Addr().String()}
	s.URL = "http://" + s.addr
	l.Close()
	s.Start()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("server:\n%s", tail(s.log.Bytes()))
		}
	})
	return s
}

// Start starts the server again after Kill or Stop, at the same address.
func (s *Server) Start() {
	s.t.Helper()
	s.log = new(bytes.Buffer)
	s.cmd = exec.Command(Binary(s.t), "serve", "--data", s.Data, "--listen", s.addr, "--key", s.Key)
	s.cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(s.Data))
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(s.cmd, s.done)
	Eventually(s.t, 90*time.Second, "the server listens", func() error {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends it gracefully.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(60 * time.Second):
		s.t.Errorf("the server did not end after %v", sig)
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// Home is one machine of a user: an empty HOME of its own.
type Home struct {
	Dir   string
	t     testing.TB
	agent *exec.Cmd
	done  chan struct{}
	Env   []string
	// Through begins every command line: a program that runs the rest of it, in
	// a network of its own, say.
	Through []string
}

// NewHome makes an empty HOME below dir (a fresh directory when "").
func NewHome(t testing.TB, dir string) *Home {
	t.Helper()
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "home")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h := &Home{Dir: dir, t: t}
	t.Cleanup(func() {
		h.StopAgent()
		if t.Failed() {
			if log, err := os.ReadFile(h.logFile()); err == nil {
				t.Logf("agent of %s:\n%s", dir, tail(log))
			}
		}
	})
	return h
}

func tail(b []byte) []byte { return b[max(0, len(b)-6000):] }

func (h *Home) logFile() string { return filepath.Join(h.Dir, "agent.log") }

// Path joins below the home.
func (h *Home) Path(elem ...string) string {
	return filepath.Join(append([]string{h.Dir}, elem...)...)
}

func (h *Home) env() []string {
	env := []string{"HOME=" + h.Dir, "PATH=" + os.Getenv("PATH"), "TZ=UTC", "SYNCFS_PASSWORD=" + Passphrase, "NO_COLOR=1"}
	return append(env, h.Env...)
}

// Command is a syncfs command of this home, not started.
func (h *Home) Command(ctx context.Context, args ...string) *exec.Cmd {
	line := append(append(slices.Clone(h.Through), Binary(h.t)), args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env, cmd.Dir = h.env(), "/"
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// Try runs a command and returns what it printed and its exit code.
func (h *Home) Try(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := h.Command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && cmd.ProcessState == nil {
		h.t.Fatalf("syncfs %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Run runs a command that must succeed and returns its standard output.
func (h *Home) Run(args ...string) string {
	h.t.Helper()
	out, errs, code := h.Try(args...)
	if code != 0 {
		h.t.Fatalf("syncfs %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// JSON runs a command that must succeed and decodes its standard output.
func (h *Home) JSON(v any, args ...string) {
	h.t.Helper()
	out := h.Run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		h.t.Fatalf("syncfs %s --json: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// StartAgent runs the agent as a child of the test and waits until it answers.
func (h *Home) StartAgent() {
	h.t.Helper()
	log, err := os.OpenFile(h.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	h.agent = h.Command(context.Background(), "agent")
	h.agent.Stdout, h.agent.Stderr = log, log
	if err := h.agent.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(h.agent, h.done)
	Eventually(h.t, 90*time.Second, "the agent answers", func() error {
		select {
		case <-h.done:
			return errors.New("it ended")
		default:
		}
		if _, errs, code := h.Try("status", "--json"); code != 0 && code != 3 && code != 4 && code != 5 {
			return errors.New(errs)
		}
		return nil
	})
}

// Pid of the running agent.
func (h *Home) Pid() int { return h.agent.Process.Pid }

// KillAgent ends it with SIGKILL; its mounts stay behind, dead.
func (h *Home) KillAgent() { h.end(syscall.SIGKILL) }

// StopAgent ends it gracefully.
func (h *Home) StopAgent() { h.end(syscall.SIGTERM) }

func (h *Home) end(sig syscall.Signal) {
	if h.agent == nil {
		return
	}
	_ = h.agent.Process.Signal(sig)
	select {
	case <-h.done:
	case <-time.After(60 * time.Second):
		h.t.Errorf("the agent did not end after %v", sig)
		_ = h.agent.Process.Signal(syscall.SIGQUIT)
		time.Sleep(time.Second)
		_ = h.agent.Process.Kill()
		<-h.done
	}
	h.agent = nil
	for _, m := range Mounts(h.Dir) {
		if sig == syscall.SIGTERM {
			h.t.Errorf("%s is still mounted after the agent stopped", m)
			_ = syscall.Unmount(m, syscall.MNT_DETACH)
		}
	}
}

// Init makes the repository of srv from this home.
func (h *Home) Init(srv *Server) { h.t.Helper(); h.Run("init", srv.URL, "--key", Key) }

// Connect joins the repository of srv.
func (h *Home) Connect(srv *Server) { h.t.Helper(); h.Run("connect", srv.URL, "--key", Key) }

// Mounts lists the syncfs mounts below dir.
func Mounts(dir string) []string {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	var list []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 2 && strings.HasPrefix(f[2], "fuse") && strings.HasPrefix(f[1], dir) {
			list = append(list, f[1])
		}
	}
	return list
}

// Eventually waits until f has no error.
func Eventually(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %v: %v", what, limit, err)
}

// Sh runs a shell script with a bound in time; it must succeed.
func Sh(t testing.TB, dir, script string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return string(out)
}

// KillChildren ends the processes that pid has started, with SIGKILL.
func KillChildren(t *testing.T, pid int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tasks {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				_ = syscall.Kill(child, syscall.SIGKILL)
			}
		}
	}
}
