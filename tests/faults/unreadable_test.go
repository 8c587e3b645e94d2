//go:build linux

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// TestAFileThatCannotBeReadStopsNoOther: it is named, all others travel, what was
// taken of it before stays, and it is tried again by itself.
func TestAFileThatCannotBeReadStopsNoOther(t *testing.T) {
	t.Parallel()
	srv := world.NewServer(t, "")
	h := world.NewHome(t, "")
	h.Init(srv)
	h.StartAgent()
	dir := filepath.Join(t.TempDir(), "docs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "bad", "as it was")
	h.Run("add", dir, "--no-mount")
	h.Run("flush")

	mend := failReads(t, h.Pid(), filepath.Join(dir, "bad"))
	write(t, dir, "bad", "as it is")
	write(t, dir, "good", "good")
	out := says(t, h, 3, "bad: ")
	if !strings.Contains(out, "input/output error") {
		t.Errorf("status:\n%s", out)
	}
	h.Run("flush", "--timeout", "30s")
	elsewhere(t, srv, map[string]string{"good": "good", "bad": "as it was"})
	mend()
	safe(t, h)
	elsewhere(t, srv, map[string]string{"bad": "as it is"})
}

// failReads has every read of a file by a process fail, until mend.
func failReads(t *testing.T, pid int, path string) (mend func()) {
	t.Helper()
	cmd := exec.Command("strace", "-f", "-qq", "-p", strconv.Itoa(pid), "-P", path, "-e", "trace=read,pread64",
		"-e", "inject=read,pread64:error=EIO", "-o", filepath.Join(t.TempDir(), "strace"))
	if err := cmd.Start(); err != nil {
		t.Fatalf("strace: %v", err)
	}
	ended := false
	mend = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(mend)
	world.Eventually(t, 90*time.Second, "the agent is traced", func() error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
			err = fmt.Errorf("not yet")
		}
		return err
	})
	return mend
}
