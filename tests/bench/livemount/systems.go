//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// system is a file system under test. start makes it answer at mnt, backed by
// below (which may be the same), and returns what ends it.
type system struct {
	name  string
	start func(below, mnt string) (stop func() error, err error)
}

// available are the bare disk, ours, and what of the others is installed.
func available(dir string) ([]system, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := []system{
		{"disk", func(below, mnt string) (func() error, error) {
			return func() error { return nil }, unix.Mount(below, mnt, "", unix.MS_BIND, "")
		}},
		{"ours", ours(self, "pass")},
		{"ours-served", ours(self, "served")},
	}
	if _, err := exec.LookPath("bindfs"); err == nil {
		all = append(all, system{"bindfs", foreground(func(below, mnt string) []string {
			return []string{"bindfs", "-f", below, mnt}
		})})
	}
	if _, err := exec.LookPath("gocryptfs"); err == nil {
		all = append(all, system{"gocryptfs", gocryptfs})
	}
	if _, err := exec.LookPath("rclone"); err == nil {
		all = append(all, system{"rclone", foreground(func(below, mnt string) []string {
			return []string{"rclone", "mount", "--config", os.DevNull, "--cache-dir", filepath.Join(dir, "rclone"), "--vfs-cache-mode", "full", "--dir-cache-time", "1h", "--attr-timeout", "1h", "--log-level", "ERROR", ":local:" + below, mnt}
		})})
	}
	loopback := filepath.Join(dir, "loopback")
	if out, err := exec.Command("go", "build", "-o", loopback, "github.com/hanwen/go-fuse/v2/example/loopback").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go-fuse's loopback is left out: %s\n", out)
	} else {
		all = append(all, system{"go-fuse", foreground(func(below, mnt string) []string {
			return []string{loopback, "-allow-other", mnt, below}
		})})
	}
	return all, nil
}

func ours(self, mode string) func(below, mnt string) (func() error, error) {
	return func(below, mnt string) (func() error, error) {
		// Mounted over itself: seen at mnt by a bind made of it afterwards.
		cmd := exec.Command(self, "__serve", below, mode)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			return nil, fmt.Errorf("serve: %q: %w", line, err)
		}
		go io.Copy(io.Discard, out)
		stop := func() error { in.Close(); return cmd.Wait() }
		if err := unix.Mount(below, mnt, "", unix.MS_BIND, ""); err != nil {
			return nil, err
		}
		return stop, nil
	}
}

// foreground runs a program that mounts at mnt and serves until unmounted.
func foreground(args func(below, mnt string) []string) func(below, mnt string) (func() error, error) {
	return func(below, mnt string) (func() error, error) {
		a := args(below, mnt)
		cmd := exec.Command(a[0], a[1:]...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return cmd.Wait, waitMounted(mnt)
	}
}

func gocryptfs(below, mnt string) (func() error, error) {
	if _, err := os.Stat(filepath.Join(below, "gocryptfs.conf")); err != nil {
		cmd := exec.Command("gocryptfs", "-q", "-init", "-scryptn", "10", "-extpass", "echo x", below)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w", out, err)
		}
	}
	return foreground(func(below, mnt string) []string {
		return []string{"gocryptfs", "-q", "-fg", "-extpass", "echo x", below, mnt}
	})(below, mnt)
}

func waitMounted(mnt string) error {
	for range 500 {
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			return err
		}
		if strings.Contains(string(mounts), " "+mnt+" ") {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s is not mounted after 5 s", mnt)
}

// profile writes a CPU profile of a serving process, where asked.
func profile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}
