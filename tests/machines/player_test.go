//go:build linux

package machines

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/sequence"
	"github.com/syncfs/syncfs/tests/world"
)

// patience is how long something may take that must happen.
const patience = 3 * time.Minute

// settle is how long files rest here before they are captured: less than
// usual, so that more versions are made.
const settle = 200 * time.Millisecond

// player is a machine with an agent, and with the programs that work in its
// folder, which is mounted while the agent runs.
type player struct {
	*world.Home
	*sequence.Program
	t       testing.TB
	l       *sequence.Ledger
	name    string
	dir     string
	wire    *world.Wire
	running bool
	offline bool
}

// newPlayer sets a machine up that has the folder "docs".
func newPlayer(t testing.TB, l *sequence.Ledger, srv *world.Server, name string, first bool) *player {
	h := world.NewHome(t, filepath.Join(t.TempDir(), name))
	p := &player{Home: h, t: t, l: l, name: name, dir: h.Path("docs"), wire: world.NewWire(t, srv, "127.0.0.1:0")}
	p.Program = sequence.NewProgram(l, name, p.dir)
	// After a failure an agent may be dead, and its mount with it.
	t.Cleanup(func() {
		p.Abandon()
		if !p.running {
			for _, m := range world.Mounts(p.Dir) {
				_ = syscall.Unmount(m, syscall.MNT_DETACH)
			}
		}
	})
	p.configure()
	if first {
		h.Init(srv.By(p.wire))
	} else {
		h.Connect(srv.By(p.wire))
	}
	p.running = true
	h.StartAgent()
	if !first {
		h.Run("get", "docs", p.dir)
		return p
	}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Run("add", p.dir, "--name", "docs")
	return p
}

// configure sets what is not as it is by default.
func (p *player) configure() {
	text := fmt.Sprintf("[sync]\nsettle = %q\n", settle)
	if *logDir != "" {
		text += "[log]\nlevel = \"debug\"\n"
		p.t.Cleanup(func() {
			data, err := os.ReadFile(p.Path("agent.log"))
			if err == nil && p.t.Failed() {
				err = os.WriteFile(filepath.Join(*logDir, filepath.Base(filepath.Dir(filepath.Dir(p.Dir)))+"-"+p.name), data, 0o600)
			}
			if err != nil {
				p.t.Log(err)
			}
		})
	}
	dir := p.Path(".config", "syncfs")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// up makes sure that an agent runs and has the folder mounted.
func (p *player) up() {
	if p.running {
		return
	}
	p.running = true
	p.StartAgent()
	world.Eventually(p.t, patience, p.name+" has the folder mounted", func() error {
		m := world.Mounts(p.dir)
		if len(m) != 1 {
			return fmt.Errorf("mounts: %q", m)
		}
		_, err := os.Lstat(p.dir) // not that of the agent before
		return err
	})
}

// down ends the agent as a logout does; the folder is a plain directory then.
func (p *player) down() {
	if p.running {
		p.Release()
		p.StopAgent()
		p.running = false
	}
}

// crash ends the agent where it stands.
func (p *player) crash() {
	if p.running {
		p.KillAgent()
		p.running = false
		p.Abandon()
		p.l.Crashed(p.name)
	}
}

// setOffline makes the line to the server dead, or mends it.
func (p *player) setOffline(off, silent bool) {
	if off == p.offline {
		return
	}
	p.offline = off
	switch {
	case !off:
		p.wire.Heal()
	case silent:
		p.wire.Spoil(`timeout {"timeout":0}`)
	default:
		p.wire.Spoil(`reset_peer {"timeout":0}`)
	}
}

// status is what of `status --json` matters here.
type status struct {
	Online  bool
	Error   string
	Folders []struct {
		State, Error, Instant string
		Queued, Waiting       int
		PendingFiles          int64 `json:"pending_files"`
		Holds                 []json.RawMessage
		Problems              json.RawMessage
	}
}

func (p *player) status() (s status, err error) {
	out, errs, _ := p.Try("status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, fmt.Errorf("status of %s: %w\n%s%s", p.name, err, out, errs)
	}
	if len(s.Folders) != 1 {
		return s, fmt.Errorf("%s has %d folders", p.name, len(s.Folders))
	}
	return s, nil
}

// behind tells what the agent still has to do.
func (p *player) behind() (instant string, err error) {
	s, err := p.status()
	if err != nil {
		return "", err
	}
	f := s.Folders[0]
	if f.State == "held" { // the user says that they are meant
		if _, errs, code := p.Try("confirm", "docs"); code != 0 {
			return "", fmt.Errorf("%s: confirm: exit code %d: %s", p.name, code, errs)
		}
	}
	if f.State != "safe" || !s.Online || f.Queued+f.Waiting > 0 || f.PendingFiles > 0 {
		return "", fmt.Errorf("%s is not at rest: %+v", p.name, s)
	}
	return f.Instant, nil
}

// rest waits until what stands in the folder is captured, online or not.
func (p *player) rest() {
	p.Release()
	before := sequence.TreeOf(p.dir)
	world.Eventually(p.t, patience, p.name+" captures everything", func() error {
		s, err := p.status()
		if err == nil && (s.Folders[0].State == "starting" || s.Folders[0].PendingFiles > 0) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	p.Captured(before)
}

// push waits until everything is on the remote.
func (p *player) push() {
	before := sequence.TreeOf(p.dir)
	world.Eventually(p.t, patience, p.name+" sends everything", func() error {
		if _, errs, code := p.Try("flush", "docs", "--timeout", "60s"); code != 0 {
			return fmt.Errorf("flush: exit code %d\n%s", code, errs)
		}
		return nil
	})
	p.Captured(before)
}

// versions lists the instants in .versions, which are those of want unless that
// is nil.
func (p *player) versions(want []string) (instants []string) {
	world.Eventually(p.t, patience, p.name+" shows all versions", func() error {
		list, err := os.ReadDir(filepath.Join(p.dir, ".versions"))
		if err != nil {
			return err
		}
		instants = nil
		for _, e := range list {
			if e.Name() == ".incomplete" {
				return errors.New("it is still reading")
			}
			if e.IsDir() {
				instants = append(instants, e.Name())
			}
		}
		if want != nil && !slices.Equal(instants, want) {
			return fmt.Errorf("it has\n%s\nand not\n%s", strings.Join(instants, " "), strings.Join(want, " "))
		}
		return nil
	})
	return instants
}

// left are names of ours that stand in the folder of an agent that was stopped.
func (p *player) left() error {
	list, err := filepath.Glob(filepath.Join(p.dir, ".syncfs*"))
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%s leaves %q", p.name, list)
	}
	if m := world.Mounts(p.Dir); len(m) > 0 {
		err = errors.Join(err, fmt.Errorf("%s is still mounted", m))
	}
	return err
}
