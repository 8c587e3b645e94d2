//go:build linux

// Package edges tries two machines with one folder at the edges of what a disk,
// a network and a tree can be: nothing is lost, nothing is doubled, it is said,
// and the machines go on by themselves.
package edges

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// patience is how long a test waits for what must happen.
const patience = 90 * time.Second

// soak tells that there are hours.
func soak() bool { return os.Getenv("SYNCFS_SOAK") != "" }

// status is what `status --json` tells.
type status struct {
	Online  bool
	Error   string
	Folders []struct {
		Name, State, Error string
		Queued             int
		Activity           *struct{ Stage string }
		PendingFiles       int64 `json:"pending_files"`
		Problems           []struct {
			Path, Text string
			Note       bool
		}
	}
}

func statusOf(t *testing.T, h *world.Home) (s status, code int) {
	t.Helper()
	out, errs, code := h.Try("status", "--json")
	if err := decode(out, &s); err != nil {
		t.Fatalf("status: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	return s, code
}

// machine is a home with the folder "docs" mounted at dir.
type machine struct {
	*world.Home
	dir string
}

// pair is a server and two machines with one mounted folder.
type pair struct {
	t    *testing.T
	srv  *world.Server
	a, b machine
}

// newPair sets up a and b; fill puts what shall be there from the beginning
// into a's directory.
func newPair(t *testing.T, fill func(dir string)) *pair {
	t.Helper()
	p := &pair{t: t, srv: world.NewServer(t, "")}
	p.a = first(t, p.srv, fill)
	p.b = join(t, p.srv, machine{Home: world.NewHome(t, "")})
	return p
}

// first is the machine that makes the repository.
func first(t *testing.T, srv *world.Server, fill func(dir string)) machine {
	t.Helper()
	a := machine{Home: world.NewHome(t, "")}
	a.Init(srv)
	a.StartAgent()
	a.dir = a.Path("docs")
	if err := os.Mkdir(a.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if fill != nil {
		fill(a.dir)
	}
	a.Run("add", a.dir, "--name", "docs")
	a.Run("flush", "--timeout", "120s")
	return a
}

// join makes b one more machine of the folder, at b.dir if that is set.
func join(t *testing.T, srv *world.Server, b machine) machine {
	t.Helper()
	b.Connect(srv)
	b.StartAgent()
	if b.dir == "" {
		b.dir = b.Path("docs")
	}
	b.Run("get", "docs", b.dir)
	return b
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

// comes waits for a file with its content.
func comes(t *testing.T, dir, name, content string) {
	t.Helper()
	world.Eventually(t, patience, name+" comes", func() error { return has(dir, name, content) })
}

// goes waits until a name is no more.
func goes(t *testing.T, dir, name string) {
	t.Helper()
	world.Eventually(t, patience, name+" goes", func() error {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return errors.New("it is still there")
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// settled waits until both trees are the same and both agents say that all is
// safe.
func (p *pair) settled() {
	p.t.Helper()
	p.settle(patience, "")
}

// settledBut leaves one path out of the comparison.
func (p *pair) settledBut(but string) {
	p.t.Helper()
	p.settle(patience, but)
}

func (p *pair) settledWithin(limit time.Duration) {
	p.t.Helper()
	p.settle(limit, "")
}

func (p *pair) settle(limit time.Duration, but string) {
	p.t.Helper()
	last := time.Time{}
	world.Eventually(p.t, limit, "both machines have the same and are safe", func() error {
		if d := 300*time.Millisecond - time.Since(last); d > 0 {
			time.Sleep(d)
		}
		defer func() { last = time.Now() }()
		for _, m := range []machine{p.a, p.b} {
			if out, errs, code := m.Try("status"); code != 0 || !strings.Contains(out, " safe ") {
				return fmt.Errorf("exit code %d\n%s%s", code, out, errs)
			}
		}
		a, err := world.TryDescribe(p.a.dir, but, true)
		if err != nil {
			return err
		}
		b, err := world.TryDescribe(p.b.dir, but, true)
		if err != nil {
			return err
		}
		if a != b {
			return fmt.Errorf("a is not as b:\n%s", world.Differences(a, b))
		}
		return nil
	})
}

// clean fails if either machine has a conflict copy or a name of ours.
func (p *pair) clean() {
	p.t.Helper()
	for _, m := range []machine{p.a, p.b} {
		if left := world.Sh(p.t, m.dir, `find . -name .versions -prune -o \( -name '*(conflict *' -o -name '.syncfs*' \) -print | head`); left != "" {
			p.t.Errorf("in %s:\n%s", m.dir, left)
		}
	}
}

func decode(out string, v any) error { return json.Unmarshal([]byte(out), v) }
