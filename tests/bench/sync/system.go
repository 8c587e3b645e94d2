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
)

// system is one tool that keeps two directories equal.
type system interface {
	// prepare starts whatever has to run before the first sync.
	prepare(ctx context.Context) error
	// first begins to keep the directories equal: a holds the tree, b is empty.
	// It returns when the tool says that b is as a.
	first(ctx context.Context) error
	// bring sees to it that what changed in a at path comes to b. A tool that
	// runs all the time returns at once, others when they are done.
	bring(ctx context.Context, path string) error
	// unchanged returns when the tool has found that there is nothing to do.
	unchanged(ctx context.Context) error
	// stop ends all that runs, and start starts it again, up to the point where
	// unchanged can be called.
	stop(ctx context.Context) error
	start(ctx context.Context) error
	// continuous tells that the tool runs all the time.
	continuous() bool
	// processes of machine A, machine B and, if any, a server between them.
	processes() (a, b, server []int)
	// wire is how many bytes have gone between the machines, all legs and both
	// directions.
	wire() int64
	close() error
}

// candidate is a tool that may be installed.
type candidate struct {
	name string
	note string   // how it was run
	need []string // programs
	make func(dir, a, b string) system
	// version prints which one it is.
	version []string
	// skipsLinks: it does not keep symbolic links.
	skipsLinks bool
}

func (c candidate) installed() bool {
	for _, p := range c.need {
		if _, err := exec.LookPath(p); err != nil {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", c.name, err)
			return false
		}
	}
	return true
}

// systems are all tools, in the order of the table's columns.
func systems(bin string) []candidate {
	return []candidate{
		{
			name: "syncfs", need: []string{bin, "fusermount3"}, version: []string{bin, "version"},
			note: "two agents and one server between them, both folders mounted; the bytes are those of both legs",
			make: func(dir, a, b string) system { return newSyncfs(dir, bin, a, b, false) },
		}, {
			name: "syncfs --no-mount", need: []string{bin}, version: []string{bin, "version"},
			note: "the same with plain directories that are watched",
			make: func(dir, a, b string) system { return newSyncfs(dir, bin, a, b, true) },
		}, {
			name: "Syncthing", need: []string{"syncthing"}, version: []string{"syncthing", "--version"},
			note: "two instances connected directly (TLS), changes watched with a delay of 1 s instead of the usual 10 s",
			make: newSyncthing,
		}, {
			name: "rsync", need: []string{"rsync"}, version: []string{"rsync", "--version"},
			note: "`rsync -a --delete --no-whole-file` to a daemon (not encrypted); it does not watch: started on the whole folder at the moment at which a file was closed, as if by a perfect watcher",
			make: newRsync,
		}, {
			name: "unison", need: []string{"unison"}, version: []string{"unison", "-version"},
			note: "over its socket (not encrypted); Debian has no `unison-fsmonitor`, so it is started at the moment of the change and told the changed path (`-path`), as if by a perfect watcher",
			make: newUnison,
		}, {
			name: "rclone bisync", need: []string{"rclone"}, version: []string{"rclone", "version"}, skipsLinks: true,
			note: "to `rclone serve sftp`; started on the whole folder at the moment of the change; symbolic links are skipped",
			make: newRclone,
		},
	}
}

// programs are the processes that a tool keeps running.
type programs struct {
	dir string
	env []string
}

// spawn starts a program whose output goes into a file below dir.
func (p programs) spawn(log string, env []string, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(append(os.Environ(), p.env...), env...)
	cmd.Dir = "/"
	f, err := os.OpenFile(filepath.Join(p.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return cmd, cmd.Start()
}

// end ends a program and waits for it; nil is none.
func end(cmd *exec.Cmd) error {
	if cmd == nil || cmd.Process == nil {
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("%s did not end within a minute", cmd.Path)
	}
}

func pids(cmds ...*exec.Cmd) (list []int) {
	for _, c := range cmds {
		if c != nil && c.Process != nil {
			list = append(list, c.Process.Pid)
		}
	}
	return list
}

// freePort is an address on loopback that nobody listens on.
func freePort() (addr, port string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	addr = l.Addr().String()
	_, port, err = net.SplitHostPort(addr)
	return addr, port, errors.Join(err, l.Close())
}

func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	return err == nil && c.Close() == nil
}
