//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// syncfs runs two agents with a HOME each, and a server.
type syncfs struct {
	programs
	bin     string
	folder  [2]string
	home    [2]string
	noMount bool

	server *exec.Cmd
	proxy  *proxy
	agents [2]*exec.Cmd
}

func newSyncfs(dir, bin, a, b string, noMount bool) system {
	return &syncfs{
		programs: programs{dir: dir}, bin: bin, noMount: noMount, folder: [2]string{a, b},
		home: [2]string{filepath.Join(dir, "home-a"), filepath.Join(dir, "home-b")},
	}
}

func (s *syncfs) env(machine int) []string {
	return []string{
		"HOME=" + s.home[machine], "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "XDG_CACHE_HOME=", "XDG_DATA_HOME=", "XDG_RUNTIME_DIR=",
		"SYNCFS_PASSWORD=a passphrase for measuring",
	}
}

func (s *syncfs) command(ctx context.Context, machine int, args ...string) ([]byte, error) {
	out, _, err := measure.Output(ctx, s.env(machine), s.bin, args...)
	return out, err
}

func (s *syncfs) prepare(ctx context.Context) error {
	addr, _, err := freePort()
	if err != nil {
		return err
	}
	s.server, err = s.spawn("server.log", s.env(0), s.bin, "serve", "--data", filepath.Join(s.dir, "server"), "--listen", addr, "--key", "bench")
	if err != nil {
		return err
	}
	if err := measure.WaitFor("the server", func() bool { return answers(addr) }); err != nil {
		return err
	}
	if s.proxy, err = newProxy(addr); err != nil {
		return err
	}
	url := "http://" + s.proxy.addr()
	for machine, verb := range []string{"init", "connect"} {
		if err := os.MkdirAll(s.home[machine], 0o700); err != nil {
			return err
		}
		if _, err := s.command(ctx, machine, verb, url, "--key", "bench"); err != nil {
			return err
		}
	}
	return s.start(ctx)
}

func (s *syncfs) start(ctx context.Context) error {
	for machine := range s.agents {
		var err error
		if s.agents[machine], err = s.spawn(fmt.Sprintf("agent-%d.log", machine), s.env(machine), s.bin, "agent"); err != nil {
			return err
		}
	}
	for machine := range s.agents {
		err := measure.WaitFor("the agent", func() bool {
			_, err := os.Stat(filepath.Join(s.home[machine], ".local", "state", "syncfs", "run"))
			if err != nil {
				return false
			}
			_, err = s.status(ctx, machine)
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *syncfs) stop(context.Context) error {
	var errs []error
	for machine, a := range s.agents {
		errs = append(errs, end(a))
		s.agents[machine] = nil
	}
	return errors.Join(errs...)
}

// status is how the folder stands on a machine.
type status struct {
	State   string `json:"state"`
	Instant string `json:"instant"`
	Queued  int    `json:"queued"`
	Error   string `json:"error"`
}

func (s *syncfs) status(ctx context.Context, machine int) (status, error) {
	// What is not well has an exit code of its own, and a status all the same.
	out, runErr := s.command(ctx, machine, "status", "--json")
	var all struct {
		Folders []status `json:"folders"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return status{}, errors.Join(runErr, err)
	}
	if len(all.Folders) == 0 {
		return status{}, runErr // or what was printed was the reason
	}
	return all.Folders[0], nil
}

func (s *syncfs) first(ctx context.Context) error {
	add, get := []string{"add", s.folder[0], "--name", "bench"}, []string{"get", "bench", s.folder[1]}
	if s.noMount {
		add, get = append(add, "--no-mount"), append(get, "--no-mount")
	}
	if _, err := s.command(ctx, 0, add...); err != nil {
		return err
	}
	if _, err := s.command(ctx, 0, "flush", "bench", "--timeout", "600s"); err != nil {
		return err
	}
	if _, err := s.command(ctx, 1, get...); err != nil {
		return err
	}
	return s.settled(ctx, 15*time.Minute, 200*time.Millisecond)
}

// settled waits until both machines are safe at the same instant.
func (s *syncfs) settled(ctx context.Context, limit, every time.Duration) error {
	var a, b status
	for end := time.Now().Add(limit); time.Now().Before(end); {
		var err error
		if b, err = s.status(ctx, 1); err != nil {
			return err
		}
		if b.State == "safe" && b.Instant != "" {
			if a, err = s.status(ctx, 0); err != nil {
				return err
			}
			if a.State == "safe" && a.Instant == b.Instant {
				return nil
			}
		}
		if err := rest(ctx, every); err != nil {
			return err
		}
	}
	return fmt.Errorf("not settled within %v: A is %+v, B is %+v", limit, a, b)
}

func (s *syncfs) bring(context.Context, string) error { return nil }

func (s *syncfs) unchanged(ctx context.Context) error {
	for machine := range s.agents {
		if _, err := s.command(ctx, machine, "flush", "bench", "--timeout", "600s"); err != nil {
			return err
		}
	}
	return s.settled(ctx, time.Minute, 10*time.Millisecond)
}

func (s *syncfs) continuous() bool { return true }

func (s *syncfs) processes() (a, b, server []int) {
	return pids(s.agents[0]), pids(s.agents[1]), pids(s.server)
}

func (s *syncfs) wire() int64 { return s.proxy.bytes.Load() }

func (s *syncfs) close() error {
	return errors.Join(s.stop(context.Background()), end(s.server), s.proxy.close())
}
