//go:build linux

package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// TestAKilledAgentDiesThoughProgramsWaitForIt kills the agent while it tells the
// kernel that names lead elsewhere, for which it waits for programs that wait
// for it. It is let die by its guard, or by the next start when the guard was
// killed as well; the programs get an error, and what is in the folder is there.
func TestAKilledAgentDiesThoughProgramsWaitForIt(t *testing.T) {
	srv := world.NewServer(t, "")
	h := world.NewHome(t, "")
	h.Init(srv)
	h.StartAgent()
	dir := h.Path("Documents")
	if err := os.MkdirAll(filepath.Join(dir, "busy"), 0o755); err != nil {
		t.Fatal(err)
	}
	below, err := os.Open(filepath.Join(dir, "busy")) // the way past the mount
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	past := fmt.Sprintf("/proc/self/fd/%d/", below.Fd())
	h.Run("add", dir, "--name", "docs")
	for round := range rounds(6, 200) {
		stop := make(chan struct{})
		var work sync.WaitGroup
		// busy repeats fn until the round ends, or the mount is dead.
		busy := func(fn func(i int) error) {
			work.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if fn(i) != nil {
						return
					}
				}
			})
		}
		for w := range 4 {
			busy(func(i int) error {
				name := filepath.Join(dir, "busy", fmt.Sprintf("w%d-%d", w, i%50))
				_ = os.Remove(name)
				return os.WriteFile(name, nil, 0o644)
			})
		}
		busy(func(i int) error {
			a, b := fmt.Sprintf("%sa%d", past, i%20), fmt.Sprintf("%sb%d", past, i%20)
			time.Sleep(time.Millisecond)
			return errors.Join(os.WriteFile(a, []byte("below"), 0o644), os.Rename(a, b))
		})
		time.Sleep(time.Duration(500+137*round%400) * time.Millisecond)
		agent := h.Pid()
		alone := round%2 == 1
		if alone {
			world.KillChildren(t, agent)
		}
		if err := syscall.Kill(agent, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if alone {
			h.StartAgent()
		}
		close(stop)
		ended := make(chan struct{})
		go func() { defer close(ended); work.Wait() }()
		select {
		case <-ended:
		case <-time.After(90 * time.Second):
			t.Fatalf("round %d: programs wait for an agent that was killed", round)
		}
		if !alone {
			h.KillAgent() // waits for its end
			h.StartAgent()
		}
		world.Eventually(t, 90*time.Second, "the folder is mounted again", func() error {
			if m := world.Mounts(dir); len(m) != 1 {
				return fmt.Errorf("round %d: mounts: %v", round, m)
			}
			return os.WriteFile(filepath.Join(dir, "after"), []byte(fmt.Sprint(round)), 0o644)
		})
	}
	h.Run("flush")
	h.StopAgent()
	if got, err := os.ReadFile(filepath.Join(dir, "after")); err != nil || string(got) != fmt.Sprint(rounds(6, 200)-1) {
		t.Errorf("the last write: %q, %v", got, err)
	}
}
