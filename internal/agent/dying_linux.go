package agent

import (
	"bufio"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	live "github.com/syncfs/syncfs/fs"
)

// exiting is PF_EXITING of the kernel's task flags: it is on its way out.
const exiting = 0x4

// dying tells whether a process was killed: its first thread has SIGKILL before
// it, is on its way out, or has ended, or all of it has.
func dying(pid int) bool {
	if unix.Kill(pid, 0) == unix.ESRCH {
		return true
	}
	dir := "/proc/" + strconv.Itoa(pid)
	data, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return false
	}
	// PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS; a name may hold anything.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 7 {
		return false
	}
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	return fields[0] == "Z" || flags&exiting != 0 || killed(dir)
}

// killed tells whether SIGKILL waits for a process.
func killed(dir string) bool {
	f, err := os.Open(dir + "/status")
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "SigPnd" && name != "ShdPnd" {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err == nil && set&(1<<(uint(unix.SIGKILL)-1)) != 0 {
			return true
		}
	}
	return false
}

func endConnection(name string) error { return live.EndConnection(name) }

// connectionOf names what the kernel asks through; "" for a plain directory.
func connectionOf(m mounting) string {
	if l, ok := m.(liveMount); ok {
		return l.Connection()
	}
	return ""
}

// startGuard starts the process that calls Guard; stop ends it.
func startGuard(command []string, log *slog.Logger) (stop func()) {
	if len(command) == 0 {
		return func() {}
	}
	g, err := live.StartGuard(command)
	if err != nil {
		log.Warn("no guard: if the agent is killed, its mounts may hang until it is started again", "err", err)
		return func() {}
	}
	return g.Stop
}
