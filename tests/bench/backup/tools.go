//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// syncfs runs the real thing: a server on loopback, an agent that keeps the
// input as a folder (watched, not mounted, so that it is compared with tools
// that read plain directories).
type syncfs struct {
	dir, bin, url string
	env           []string
	server, agent *exec.Cmd
	mount         *exec.Cmd
}

func newSyncfs(dir, bin string) *syncfs {
	home := filepath.Join(dir, "home")
	return &syncfs{dir: dir, bin: bin, env: []string{
		"HOME=" + home, "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "XDG_CACHE_HOME=", "XDG_DATA_HOME=", "XDG_RUNTIME_DIR=",
		"SYNCFS_PASSWORD=a passphrase for measuring",
	}}
}

func (s *syncfs) Name() string { return "syncfs" }

func (s *syncfs) start(args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(s.bin, args...)
	cmd.Env = append(os.Environ(), s.env...)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, cmd.Start()
}

func (s *syncfs) First(ctx context.Context, src string) (measure.Cost, error) {
	if err := os.MkdirAll(filepath.Join(s.dir, "home"), 0o700); err != nil {
		return measure.Cost{}, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return measure.Cost{}, err
	}
	addr := l.Addr().String()
	l.Close()
	s.url = "http://" + addr
	if s.server, err = s.start("serve", "--data", filepath.Join(s.dir, "server"), "--listen", addr, "--key", "bench"); err != nil {
		return measure.Cost{}, err
	}
	if err := measure.WaitFor("the server", func() bool { c, err := net.Dial("tcp", addr); return err == nil && c.Close() == nil }); err != nil {
		return measure.Cost{}, err
	}
	if _, err := measure.Run(ctx, s.env, s.bin, "init", s.url, "--key", "bench"); err != nil {
		return measure.Cost{}, err
	}
	if err := s.startAgent(); err != nil {
		return measure.Cost{}, err
	}
	return s.counted(func() error {
		_, err := measure.Run(ctx, s.env, s.bin, "add", src, "--name", "bench", "--no-mount")
		if err == nil {
			_, err = measure.Run(ctx, s.env, s.bin, "flush", "bench", "--timeout", "600s")
		}
		return err
	})
}

// Again restarts the agent, so that it has to look for what changed: a scan
// and not what it saw happen.
func (s *syncfs) Again(ctx context.Context, _ string) (measure.Cost, error) {
	if err := s.stopAgent(); err != nil {
		return measure.Cost{}, err
	}
	return s.counted(func() error {
		if err := s.startAgent(); err != nil {
			return err
		}
		_, err := measure.Run(ctx, s.env, s.bin, "flush", "bench", "--timeout", "600s")
		return err
	})
}

func (s *syncfs) counted(f func() error) (measure.Cost, error) {
	start := time.Now()
	err := f()
	return measure.Cost{Wall: time.Since(start), Peak: measure.PeakOf(s.agent.Process.Pid)}, err
}

func (s *syncfs) startAgent() (err error) {
	if s.agent, err = s.start("agent"); err != nil {
		return err
	}
	return measure.WaitFor("the agent", func() bool {
		_, err := measure.Run(context.Background(), s.env, s.bin, "status", "--json")
		return err == nil
	})
}

func (s *syncfs) stopAgent() error {
	if s.agent == nil {
		return nil
	}
	err := s.agent.Process.Signal(syscall.SIGTERM)
	_ = s.agent.Wait()
	s.agent = nil
	return err
}

// Restore fetches the folder on a second machine that has nothing cached.
func (s *syncfs) Restore(ctx context.Context, dst string) (measure.Cost, error) {
	home := filepath.Join(s.dir, "home2")
	env := append(s.env, "HOME="+home)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return measure.Cost{}, err
	}
	if _, err := measure.Run(ctx, env, s.bin, "connect", s.url, "--key", "bench"); err != nil {
		return measure.Cost{}, err
	}
	return measure.Run(ctx, env, s.bin, "restore", "bench:@latest", "--target", dst)
}

func (s *syncfs) Mount(ctx context.Context) (string, error) {
	home := filepath.Join(s.dir, "home3")
	env := append(s.env, "HOME="+home)
	mnt := filepath.Join(s.dir, "mnt")
	if err := errors.Join(os.MkdirAll(home, 0o700), os.MkdirAll(mnt, 0o700)); err != nil {
		return "", err
	}
	if _, err := measure.Run(ctx, env, s.bin, "connect", s.url, "--key", "bench"); err != nil {
		return "", err
	}
	old := s.env
	s.env = env
	var err error
	s.mount, err = s.start("mount", "bench", mnt)
	s.env = old
	if err != nil {
		return "", err
	}
	if err := measure.WaitFor("the mount", func() bool { return measure.Mounted(mnt) }); err != nil {
		return "", err
	}
	// As with the others: a fixed version, not the root, which follows the folder.
	return filepath.EvalSymlinks(filepath.Join(mnt, ".versions", "latest"))
}

func (s *syncfs) Unmount() error {
	err := s.mount.Process.Signal(syscall.SIGINT)
	_ = s.mount.Wait()
	return err
}

func (s *syncfs) Size() (int64, error) { return measure.SizeOf(filepath.Join(s.dir, "server")) }

func (s *syncfs) Server() int64 { return measure.PeakOf(s.server.Process.Pid) }

func (s *syncfs) Close() error {
	err := s.stopAgent()
	if s.server != nil {
		err = errors.Join(err, s.server.Process.Signal(syscall.SIGTERM))
		_ = s.server.Wait()
	}
	return err
}

// external is a tool that is one command line a step.
type external struct {
	name, dir           string
	env                 []string
	init, backup, mount []string
	restore             func(ctx context.Context, dst string) (measure.Cost, error)
	newest              func(mnt, src string) (string, error)
	src                 string
	mounting            *exec.Cmd
}

func (e *external) Name() string { return e.name }

func (e *external) First(ctx context.Context, src string) (measure.Cost, error) {
	e.src = src
	if _, err := measure.Run(ctx, e.env, e.init[0], e.init[1:]...); err != nil {
		return measure.Cost{}, err
	}
	return e.Again(ctx, src)
}

func (e *external) Again(ctx context.Context, src string) (measure.Cost, error) {
	args := append([]string(nil), e.backup[1:]...)
	return measure.Run(ctx, e.env, e.backup[0], append(args, src)...)
}

func (e *external) Restore(ctx context.Context, dst string) (measure.Cost, error) {
	return e.restore(ctx, dst)
}

func (e *external) Mount(context.Context) (string, error) {
	mnt := filepath.Join(e.dir, "mnt")
	if err := os.MkdirAll(mnt, 0o700); err != nil {
		return "", err
	}
	e.mounting = exec.Command(e.mount[0], append(append([]string(nil), e.mount[1:]...), mnt)...)
	e.mounting.Env = append(os.Environ(), e.env...)
	if err := e.mounting.Start(); err != nil {
		return "", err
	}
	if err := measure.WaitFor("the mount", func() bool { return measure.Mounted(mnt) }); err != nil {
		return "", err
	}
	return e.newest(mnt, e.src)
}

func (e *external) Unmount() error {
	_, err := measure.Run(context.Background(), nil, "umount", filepath.Join(e.dir, "mnt"))
	_ = e.mounting.Wait()
	return err
}

func (e *external) Size() (int64, error) { return measure.SizeOf(filepath.Join(e.dir, "repo")) }
func (e *external) Server() int64        { return 0 }
func (e *external) Close() error         { return nil }

func newRestic(dir string) tool {
	e := &external{name: "restic", dir: dir}
	repo := filepath.Join(dir, "repo")
	e.env = []string{"RESTIC_PASSWORD=x", "RESTIC_REPOSITORY=" + repo, "RESTIC_CACHE_DIR=" + filepath.Join(dir, "cache")}
	e.init = []string{"restic", "init", "--repository-version", "2"}
	e.backup = []string{"restic", "backup", "-q"}
	e.mount = []string{"restic", "mount", "-q"}
	e.restore = func(ctx context.Context, dst string) (measure.Cost, error) {
		tmp := dst + ".restic"
		c, err := measure.Run(ctx, e.env, "restic", "restore", "-q", "latest", "--target", tmp)
		if err != nil {
			return c, err
		}
		return c, errors.Join(os.Rename(filepath.Join(tmp, e.src), dst), os.RemoveAll(tmp))
	}
	e.newest = func(mnt, src string) (string, error) { return filepath.Join(mnt, "snapshots", "latest", src), nil }
	return e
}

func newBorg(dir string) tool {
	e := &external{name: "borg", dir: dir}
	repo := filepath.Join(dir, "repo")
	e.env = []string{"BORG_PASSPHRASE=x", "BORG_BASE_DIR=" + dir}
	e.init = []string{"borg", "init", "-e", "repokey-blake2", repo}
	e.backup = []string{"borg", "create", "-C", "zstd,1", repo + "::{now:%Y%m%d%H%M%S.%f}"}
	e.mount = []string{"borg", "mount", "-f", "--last", "1", repo}
	e.restore = func(ctx context.Context, dst string) (measure.Cost, error) {
		tmp := dst + ".borg"
		if err := os.MkdirAll(tmp, 0o700); err != nil {
			return measure.Cost{}, err
		}
		c, err := measure.Run(ctx, e.env, "sh", "-c", `cd "$0" && borg extract "$1::$(borg list --last 1 --short "$1")"`, tmp, repo)
		if err != nil {
			return c, err
		}
		return c, errors.Join(os.Rename(filepath.Join(tmp, e.src), dst), os.RemoveAll(tmp))
	}
	e.newest = func(mnt, src string) (string, error) {
		list, err := os.ReadDir(mnt)
		if err != nil || len(list) == 0 {
			return "", fmt.Errorf("no archive below %s: %w", mnt, err)
		}
		return filepath.Join(mnt, list[len(list)-1].Name(), src), nil
	}
	return e
}
