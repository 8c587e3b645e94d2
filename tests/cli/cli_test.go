//go:build linux

// Package cli runs the real binary as a user does, by scripts: testdata holds
// one scenario a file, with an empty HOME each.
package cli_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/syncfs/syncfs/tests/world"
)

// Every script has, besides the commands of testscript,
//
//	home NAME               be another machine: an empty HOME the first time
//	serve NAME [ARG...]     start a server with its data in NAME; $NAME is its URL
//	unserve NAME            stop it
//	exits CODE PROGRAM ...  run a program that must end with this code
//	answers NAME TEXT       start something that answers TEXT to all; $NAME is its URL
//	json PATH WANT          look into the JSON that was printed last: 0.name, folders.0.state
//	until PROGRAM ...       repeat a program until it succeeds, for a minute
//	since NAME INDEX        $NAME is the instant of the INDEXth of `versions --json`, just printed
//	damage GLOB             flip a bit in the middle of every file that matches
//	background PROGRAM ...  run a program until the script ends
//
// At its end nothing may be mounted or running.
func TestScripts(t *testing.T) {
	bin := world.Binary(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			m := &machines{bin: bin, work: env.WorkDir, homes: map[string]bool{}, servers: map[string]*exec.Cmd{}, t: env.T()}
			env.Values[machinesKey{}] = m
			for _, v := range [][2]string{
				{"PATH", filepath.Dir(bin) + ":" + os.Getenv("PATH")}, {"NO_COLOR", "1"}, {"TZ", "UTC"}, {"KEY", world.Key},
				{"PASS", world.Passphrase}, {"SYNCFS_PASSWORD", world.Passphrase},
				{"XDG_CONFIG_HOME", ""}, {"XDG_STATE_HOME", ""}, {"XDG_CACHE_HOME", ""}, {"XDG_DATA_HOME", ""}, {"XDG_RUNTIME_DIR", ""},
			} {
				env.Setenv(v[0], v[1])
			}
			env.Defer(m.end)
			home, err := m.home("home")
			env.Setenv("HOME", home)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"home": cmdHome, "serve": cmdServe, "unserve": cmdUnserve, "exits": cmdExits, "answers": cmdAnswers,
			"json": cmdJSON, "until": cmdUntil, "since": cmdSince, "damage": cmdDamage, "background": cmdBackground,
		},
	})
}

type machinesKey struct{}

// machines are the homes and servers of one script.
type machines struct {
	bin  string // syncfs
	work string
	t    testscript.T

	mu      sync.Mutex // guards all below
	homes   map[string]bool
	servers map[string]*exec.Cmd
	others  []*exec.Cmd
	closers []func()
}

func of(ts *testscript.TestScript) *machines { return ts.Value(machinesKey{}).(*machines) }

func (m *machines) home(name string) (string, error) {
	dir := filepath.Join(m.work, name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.homes[dir] = true
	return dir, os.MkdirAll(dir, 0o700)
}

// end stops everything and complains of what is left.
func (m *machines) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cmd := range m.others {
		stop(cmd, syscall.SIGINT)
	}
	for home := range m.homes {
		m.stopAgent(home)
	}
	for _, cmd := range m.servers {
		stop(cmd, syscall.SIGTERM)
	}
	for _, c := range m.closers {
		c()
	}
	for _, mount := range world.Mounts(m.work) {
		_ = syscall.Unmount(mount, syscall.MNT_DETACH)
		m.t.Log("left mounted: " + mount)
		m.t.FailNow()
	}
}

func (m *machines) stopAgent(home string) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.bin, "stop")
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "not connected") {
		m.t.Log(fmt.Sprintf("stop the agent of %s: %v\n%s", home, err, out))
		if log, err := os.ReadFile(filepath.Join(home, ".local/state/syncfs/agent.log")); err == nil {
			m.t.Log(string(log[max(0, len(log)-4000):]))
		}
		m.t.FailNow()
	}
}

// stop ends a program that the script has started.
func stop(cmd *exec.Cmd, sig syscall.Signal) {
	_ = cmd.Process.Signal(sig)
	timer := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
}

func cmdHome(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: home NAME")
	}
	dir, err := of(ts).home(args[0])
	ts.Check(err)
	ts.Setenv("HOME", dir)
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: serve NAME [ARG...]")
	}
	name, scheme := args[0], "http://"
	address := strings.TrimPrefix(strings.TrimPrefix(ts.Getenv(name), "http://"), "https://")
	if address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		address = l.Addr().String()
		ts.Check(l.Close())
	}
	m := of(ts)
	log, err := os.OpenFile(ts.MkAbs(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	cmd := exec.Command(m.bin, append([]string{"serve", "--data", ts.MkAbs(name), "--listen", address}, args[1:]...)...)
	cmd.Env = []string{"HOME=" + ts.Getenv("WORK"), "PATH=" + os.Getenv("PATH"), "NO_COLOR=1"}
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	m.mu.Lock()
	m.servers[name] = cmd
	m.mu.Unlock()
	for _, a := range args[1:] {
		if strings.HasPrefix(a, "--tls") {
			scheme = "https://"
		}
	}
	ts.Setenv(name, scheme+address)
	// It answers only after it has printed all that it prints at its start.
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	ts.Check(eventually(func() error {
		answer, err := client.Get(scheme + address + "/healthz")
		if err == nil {
			err = answer.Body.Close()
		}
		return err
	}))
}

func cmdUnserve(ts *testscript.TestScript, neg bool, args []string) {
	m := of(ts)
	m.mu.Lock()
	cmd := m.servers[args[0]]
	delete(m.servers, args[0])
	m.mu.Unlock()
	if neg || cmd == nil {
		ts.Fatalf("usage: unserve NAME")
	}
	stop(cmd, syscall.SIGTERM)
}

// cmdBackground runs a program until the script ends.
func cmdBackground(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: background PROGRAM [ARG...]")
	}
	m := of(ts)
	program := args[0]
	if program == "syncfs" {
		program = m.bin
	}
	cmd := exec.Command(program, args[1:]...)
	cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + filepath.Dir(m.bin) + ":" + os.Getenv("PATH"), "NO_COLOR=1", "TZ=UTC"}
	cmd.Dir = ts.MkAbs(".")
	ts.Check(cmd.Start())
	m.mu.Lock()
	m.others = append(m.others, cmd)
	m.mu.Unlock()
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: until PROGRAM [ARG...]")
	}
	if err := eventually(func() error { return ts.Exec(args[0], args[1:]...) }); err != nil {
		ts.Fatalf("%v did not come: %v", args, err)
	}
}

func eventually(f func() error) (err error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}
