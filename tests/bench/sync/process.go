//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/tests/bench/measure"
)

// tick is the unit of times in /proc, the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpuOf is the processor time that processes and all below them have used,
// including those that have ended and were waited for.
func cpuOf(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The name, in brackets, may hold anything.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			sum += time.Duration(n) * tick
		}
		sum += cpuOf(childrenOf(pid))
	}
	return sum
}

func childrenOf(pid int) (list []int) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range tasks {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		for _, f := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(f); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// memoryOf is the resident memory of processes, and what those below them have
// for themselves.
func memoryOf(pids []int) (sum int64) {
	for _, pid := range pids {
		sum += measure.MemoryOf(pid)
		for _, c := range childrenOf(pid) {
			sum += privateOf(c)
		}
	}
	return sum
}

func privateOf(pid int) (sum int64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "Private_") {
			n, _ := strconv.ParseInt(strings.Fields(line)[1], 10, 64)
			sum += n * 1024
		}
	}
	return sum
}

// cpuOfCommands is the processor time of all programs that this one has run to
// their end.
func cpuOfCommands() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
