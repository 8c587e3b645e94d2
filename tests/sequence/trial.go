package sequence

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// trial runs something that takes a testing.TB, so that its failure is not that
// of the test.
type trial struct {
	testing.TB
	dir string

	mu       sync.Mutex // guards all below
	log      strings.Builder
	failures []string
	cleanups []func()
	dirs     int
}

// Try runs fn and returns why it failed; "" if it did not.
func Try(t testing.TB, fn func(t testing.TB)) (why, log string) {
	dir, err := os.MkdirTemp("", "syncfs-trial-")
	if err != nil {
		t.Fatal(err)
	}
	r := &trial{TB: t, dir: dir}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				buf := make([]byte, 8<<10)
				r.Errorf("panic: %v\n%s", p, buf[:runtime.Stack(buf, false)])
			}
			for i := len(r.cleanups) - 1; i >= 0; i-- {
				r.cleanups[i]()
			}
		}()
		fn(r)
	}()
	<-done
	if err := os.RemoveAll(dir); err != nil {
		t.Log(err)
	}
	return strings.Join(r.failures, "\n"), r.log.String()
}

func (r *trial) Cleanup(fn func()) { r.cleanups = append(r.cleanups, fn) }
func (r *trial) Helper()           {}
func (r *trial) TempDir() string {
	r.mu.Lock()
	r.dirs++
	dir := filepath.Join(r.dir, strconv.Itoa(r.dirs))
	r.mu.Unlock()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.Fatal(err)
	}
	return dir
}

func (r *trial) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, strings.TrimSuffix(text, "\n"))
}

func (r *trial) Error(args ...any)            { r.fail(fmt.Sprintln(args...)) }
func (r *trial) Errorf(f string, args ...any) { r.fail(fmt.Sprintf(f, args...)) }
func (r *trial) Fatal(args ...any)            { r.Error(args...); runtime.Goexit() }
func (r *trial) Fatalf(f string, args ...any) { r.Errorf(f, args...); runtime.Goexit() }
func (r *trial) FailNow()                     { r.fail("failed"); runtime.Goexit() }
func (r *trial) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *trial) Logf(f string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.log, f+"\n", args...)
}

// Write takes the log of the engines.
func (r *trial) Write(b []byte) (int, error) {
	r.Logf("%s", strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

func (r *trial) Log(args ...any) { r.Logf("%s", fmt.Sprintln(args...)) }
