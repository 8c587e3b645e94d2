//go:build linux

// Package faults breaks what a user's work depends on (the server, its key, a
// disk, the local database) and looks that nothing is lost, that it is said,
// and that work goes on by itself.
package faults

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

const patience = 90 * time.Second

// status is what `status --json` tells.
type status struct {
	Online  bool
	Error   string
	Notes   []string
	Folders []struct {
		Name, State, Error string
		Queued             int
	}
}

// setUp is a server and a home with a folder of one file, all safe.
func setUp(t *testing.T, data, home string) (*world.Server, *world.Home, string) {
	t.Helper()
	srv := world.NewServer(t, data)
	h := world.NewHome(t, home)
	h.Init(srv)
	h.StartAgent()
	dir := filepath.Join(t.TempDir(), "docs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Run("add", dir)
	write(t, dir, "first", "first")
	h.Run("flush")
	return srv, h, dir
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// has finds a file with its content.
func has(dir, name, content string) error {
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err == nil && string(got) != content {
		err = fmt.Errorf("%s: %d bytes, want %d", name, len(got), len(content))
	}
	return err
}

// safe waits until everything is on the remote and status says so, with no help.
func safe(t *testing.T, h *world.Home) {
	t.Helper()
	world.Eventually(t, patience, "all is safe", func() error {
		out, errs, code := h.Try("status")
		if code != 0 || !strings.Contains(out, " safe ") {
			return fmt.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		return nil
	})
}

// elsewhere looks for files on another machine.
func elsewhere(t *testing.T, srv *world.Server, want map[string]string) {
	t.Helper()
	other := world.NewHome(t, "")
	other.Connect(srv)
	out := filepath.Join(t.TempDir(), "out")
	other.Run("restore", "docs:@latest", "--target", out)
	for name, content := range want {
		if err := has(out, name, content); err != nil {
			t.Errorf("another machine: %v", err)
		}
	}
}

// garbage answers nonsense at the server's address.
func garbage(t *testing.T, srv *world.Server) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<html>It works!</html>")
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(l) }()
	stop = func() { s.Close(); <-ended }
	t.Cleanup(stop)
	return stop
}

// broken are ways in which a server is there and of no use.
func broken(t *testing.T) []struct {
	name, says string
	code       int // of flush
	breaks     func(*world.Server) (mend func())
} {
	return []struct {
		name, says string
		code       int
		breaks     func(*world.Server) (mend func())
	}{
		{"it refuses the key", "this key is not accepted", 12, func(s *world.Server) func() {
			s.Stop()
			s.Key = "another-key-for-testing"
			s.Start()
			return func() {
				s.Stop()
				s.Key = world.Key
				s.Start()
			}
		}},
		{"it answers garbage", "not a syncfs server", 5, func(s *world.Server) func() {
			s.Stop()
			stop := garbage(t, s)
			return func() {
				stop()
				s.Start()
			}
		}},
		{"the repository is gone", "not in the repository any more", 5, func(s *world.Server) func() {
			s.Stop()
			if err := os.Rename(s.Data, s.Data+".away"); err != nil {
				t.Fatal(err)
			}
			s.Start()
			return func() {
				s.Stop()
				if err := os.RemoveAll(s.Data); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(s.Data+".away", s.Data); err != nil {
					t.Fatal(err)
				}
				s.Start()
			}
		}},
		{"nobody answers", "cannot be reached", 5, func(s *world.Server) func() {
			s.Kill()
			return s.Start
		}},
	}
}

func TestWorkGoesOnWhateverTheServerSays(t *testing.T) {
	for _, restarted := range []bool{true, false} {
		for _, tc := range broken(t) {
			name := tc.name + " while the agent runs"
			if restarted {
				name = tc.name + " when the agent starts"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel() // most of it is waiting
				srv, h, dir := setUp(t, "", "")
				if restarted {
					h.StopAgent()
				}
				mend := tc.breaks(srv)
				if restarted {
					h.StartAgent()
				}
				world.Eventually(t, patience, "the folder is mounted", func() error {
					if m := world.Mounts(dir); len(m) != 1 {
						return fmt.Errorf("mounts: %v", m)
					}
					return nil
				})
				write(t, dir, "second", tc.name)
				world.Eventually(t, patience, "a version is taken", func() error {
					return has(dir, ".versions/latest/second", tc.name)
				})
				// When it has found out, which takes a machine that is busy a while.
				world.Eventually(t, patience, "flush and status say what is wrong", func() error {
					if _, errs, code := h.Try("flush", "--timeout", "6s"); code != tc.code || !strings.Contains(errs, tc.says) {
						return fmt.Errorf("flush: exit code %d, want %d with %q\n%s", code, tc.code, tc.says, errs)
					}
					if out, _, code := h.Try("status"); code == 0 || !strings.Contains(out, tc.says) {
						return fmt.Errorf("status: exit code %d, want %q\n%s", code, tc.says, out)
					}
					return nil
				})
				mend()
				safe(t, h)
				elsewhere(t, srv, map[string]string{"first": "first", "second": tc.name})
			})
		}
	}
}

func TestStatusKnowsAtOnceThatTheServerIsBack(t *testing.T) {
	srv, h, dir := setUp(t, "", "")
	srv.Kill()
	write(t, dir, "second", "second")
	if _, _, code := h.Try("flush", "--timeout", "8s"); code == 0 {
		t.Error("flush without a server succeeded")
	}
	srv.Start()
	h.Run("flush")
	if out, errs, code := h.Try("status"); code != 0 {
		t.Errorf("status after a flush: exit code %d\n%s%s", code, out, errs)
	}
}

func TestAConnectedMachineTakesAnotherKey(t *testing.T) {
	srv, h, dir := setUp(t, "", "")
	srv.Stop()
	srv.Key = "another-key-for-testing"
	srv.Start()
	write(t, dir, "second", "second")
	if _, _, code := h.Try("flush"); code != 12 {
		t.Errorf("flush with the old key: exit code %d", code)
	}
	if _, _, code := h.Try("connect", srv.URL, "--key", srv.Key); code != 11 {
		t.Errorf("connect while the agent runs: exit code %d", code)
	}
	h.StopAgent()
	if _, _, code := h.Try("connect", srv.URL, "--key", "wrong"); code != 12 {
		t.Errorf("connect with a wrong key: exit code %d", code)
	}
	h.Run("connect", srv.URL, "--key", srv.Key)
	other := world.NewServer(t, "")
	world.NewHome(t, "").Init(other)
	if _, errs, code := h.Try("connect", other.URL, "--key", world.Key); code != 1 || !strings.Contains(errs, "connected to a repository already") {
		t.Errorf("connect with another repository: exit code %d\n%s", code, errs)
	}
	h.StartAgent()
	safe(t, h)
	h.Run("restore", "docs:second", "--target", filepath.Join(t.TempDir(), "out"))
}

func TestAnEmbeddedRepositoryWhoseDiskIsAway(t *testing.T) {
	repository := filepath.Join(t.TempDir(), "disk", "repository")
	h := world.NewHome(t, "")
	h.Run("init", repository)
	h.StartAgent()
	dir := filepath.Join(t.TempDir(), "docs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Run("add", dir)
	write(t, dir, "first", "first")
	h.Run("flush")
	h.StopAgent()
	disk := filepath.Dir(repository)
	if err := os.Rename(disk, disk+".away"); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := h.Try("check"); code != 10 || !strings.Contains(errs, repository) {
		t.Errorf("check: exit code %d\n%s%s", code, out, errs)
	}
	h.StartAgent()
	write(t, dir, "second", "second")
	world.Eventually(t, patience, "a version is taken", func() error { return has(dir, ".versions/latest/second", "second") })
	if out, _, code := h.Try("status"); code != 5 || !strings.Contains(out, "is its disk mounted?") {
		t.Errorf("status: exit code %d\n%s", code, out)
	}
	if _, err := os.Lstat(repository); err == nil {
		t.Error("a repository was made where there was none")
	}
	if err := os.Rename(disk+".away", disk); err != nil {
		t.Fatal(err)
	}
	safe(t, h)
	out := filepath.Join(t.TempDir(), "out")
	h.Run("restore", "docs:@latest", "--target", out)
	if err := has(out, "second", "second"); err != nil {
		t.Error(err)
	}
}
