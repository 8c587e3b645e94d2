//go:build linux

// Package measure holds what the benchmarks share: running other programs and
// saying what they cost.
package measure

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cost of one step.
type Cost struct {
	Wall, CPU time.Duration
	Peak      int64 // bytes, the largest single process
}

// Run runs a program and returns what it cost; its output goes into the error.
func Run(ctx context.Context, env []string, name string, args ...string) (Cost, error) {
	_, c, err := Output(ctx, env, name, args...)
	return c, err
}

// Output is Run that also returns what the program printed.
func Output(ctx context.Context, env []string, name string, args ...string) ([]byte, Cost, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	c := Cost{Wall: time.Since(start)}
	if s := cmd.ProcessState; s != nil {
		c.CPU = s.UserTime() + s.SystemTime()
		if u, ok := s.SysUsage().(*syscall.Rusage); ok {
			c.Peak = u.Maxrss * 1024
		}
	}
	if err != nil {
		return out, c, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return out, c, nil
}

// PeakOf is the peak resident memory of a running process, in bytes; 0 when
// there is none.
func PeakOf(pid int) int64 { return status(pid, "VmHWM:") }

// MemoryOf is the resident memory of a running process, in bytes.
func MemoryOf(pid int) int64 { return status(pid, "VmRSS:") }

func status(pid int, field string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n * 1024
		}
	}
	return 0
}

// SizeOf is what the files below dir hold, in bytes.
func SizeOf(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

// WaitFor polls until ok, for at most a minute.
func WaitFor(what string, ok func() bool) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return fmt.Errorf("%s did not come", what)
}

// Mounted tells whether something is mounted at dir.
func Mounted(dir string) bool {
	data, err := os.ReadFile("/proc/self/mounts")
	return err == nil && bytes.Contains(data, []byte(" "+dir+" "))
}

// Median of v; 0 when it is empty.
func Median(v []float64) float64 { return Percentile(v, 0.5) }

// Percentile is the value below which the share p of v lies; 0 when v is empty.
func Percentile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, int(float64(len(v))*p))]
}

// Kernel is the name and release of the running one.
func Kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}
