//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// oneshot is a tool that compares and copies when it is run, with something on
// machine B that it talks to.
type oneshot struct {
	programs
	serve []string // the program on B, with PORT for its port
	// run is the command on A, with PORT for the proxy's. path is what changed,
	// "" for the whole folder.
	run   func(path string) []string
	setup func(ctx context.Context) error
	begin []string // run before the first sync in place of run, if not nil

	remote *exec.Cmd
	port   string
	proxy  *proxy
}

func newRsync(dir, a, b string) system {
	conf := filepath.Join(dir, "rsyncd.conf")
	s := &oneshot{programs: programs{dir: dir}}
	s.serve = []string{"rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port=PORT", "--config=" + conf}
	s.setup = func(context.Context) error {
		return os.WriteFile(conf, fmt.Appendf(nil, "use chroot = %t\nmunge symlinks = no\nuid = %d\ngid = %d\n[folder]\npath = %s\nread only = no\n", os.Getuid() == 0, os.Getuid(), os.Getgid(), b), 0o600)
	}
	s.run = func(string) []string {
		return []string{"rsync", "-a", "--delete", "--no-whole-file", "--port=PORT", a + "/", "rsync://127.0.0.1/folder/"}
	}
	return s
}

func newUnison(dir, a, b string) system {
	s := &oneshot{programs: programs{dir: dir, env: []string{"HOME=" + dir, "UNISON=" + filepath.Join(dir, "unison-a")}}}
	s.serve = []string{"env", "UNISON=" + filepath.Join(dir, "unison-b"), "unison", "-socket", "PORT"}
	s.run = func(path string) []string {
		cmd := []string{"unison", a, "socket://127.0.0.1:PORT/" + b, "-batch", "-ui", "text", "-times", "-perms", "-1", "-confirmbigdel=false", "-silent", "-contactquietly"}
		if path != "" {
			for p := range strings.SplitSeq(path, "\n") {
				cmd = append(cmd, "-path", p)
			}
		}
		return cmd
	}
	return s
}

func newRclone(dir, a, b string) system {
	s := &oneshot{programs: programs{dir: dir, env: []string{
		"HOME=" + dir, "XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "RCLONE_CONFIG=" + filepath.Join(dir, "rclone.conf"),
	}}}
	s.serve = []string{"rclone", "serve", "sftp", b, "--addr", "127.0.0.1:PORT", "--user", "bench", "--pass", "bench", "--dir-cache-time", "0s", "--vfs-cache-mode", "off"}
	s.setup = func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "rclone", "obscure", "bench").Output()
		if err != nil {
			return err
		}
		text := fmt.Sprintf("[b]\ntype = sftp\nhost = 127.0.0.1\nport = %s\nuser = bench\npass = %s\nshell_type = unix\n", s.proxy.port(), strings.TrimSpace(string(out)))
		return os.WriteFile(filepath.Join(dir, "rclone.conf"), []byte(text), 0o600)
	}
	bisync := []string{"rclone", "bisync", a, "b:", "--skip-links", "--transfers", "8", "--checkers", "16", "--workdir", filepath.Join(dir, "bisync"), "-q", "--force", "--remove-empty-dirs"}
	s.run = func(string) []string { return bisync }
	s.begin = append(append([]string(nil), bisync...), "--resync")
	return s
}

func (s *oneshot) prepare(ctx context.Context) error { return s.start(ctx) }

func (s *oneshot) start(ctx context.Context) error {
	if s.proxy == nil {
		addr, port, err := freePort()
		if err != nil {
			return err
		}
		s.port = port
		if s.proxy, err = newProxy(addr); err != nil {
			return err
		}
		if s.setup != nil {
			if err := s.setup(ctx); err != nil {
				return err
			}
		}
	}
	args := s.with(s.serve, s.port)
	var err error
	if s.remote, err = s.spawn("remote.log", nil, args[0], args[1:]...); err != nil {
		return err
	}
	return measure.WaitFor(args[0], func() bool { return answers("127.0.0.1:" + s.port) })
}

func (s *oneshot) stop(context.Context) error {
	err := end(s.remote)
	s.remote = nil
	return err
}

func (s *oneshot) with(args []string, port string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = strings.ReplaceAll(a, "PORT", port)
	}
	return out
}

func (s *oneshot) do(ctx context.Context, args []string) error {
	args = s.with(args, s.proxy.port())
	_, err := measure.Run(ctx, s.env, args[0], args[1:]...)
	return err
}

func (s *oneshot) first(ctx context.Context) error {
	if s.begin != nil {
		return s.do(ctx, s.begin)
	}
	return s.do(ctx, s.run(""))
}

func (s *oneshot) bring(ctx context.Context, path string) error { return s.do(ctx, s.run(path)) }
func (s *oneshot) unchanged(ctx context.Context) error          { return s.do(ctx, s.run("")) }
func (s *oneshot) continuous() bool                             { return false }
func (s *oneshot) processes() (a, b, server []int)              { return nil, pids(s.remote), nil }
func (s *oneshot) wire() int64                                  { return s.proxy.bytes.Load() }

func (s *oneshot) close() error {
	return errors.Join(s.stop(context.Background()), s.proxy.close())
}
