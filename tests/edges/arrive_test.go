//go:build linux

package edges

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// appliers are the processes that make steps for an agent.
func appliers(t *testing.T, agent int) (pids []int) {
	t.Helper()
	out, err := exec.Command("ps", "--no-headers", "--ppid", fmt.Sprint(agent), "-o", "pid").Output()
	if err != nil {
		return nil
	}
	for _, f := range strings.Fields(string(out)) {
		var pid int
		if _, err := fmt.Sscan(f, &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// stuck lists processes of a machine that cannot be interrupted.
func stuck(t *testing.T, m machine) string {
	t.Helper()
	return world.Sh(t, "/", `for i in 1 2 3 4 5; do s=$(ps --no-headers -eo stat,pid,args | awk -v h="$HOME_DIR" '$1 ~ /^D/ && index($0, h)'); [ -z "$s" ] && exit; sleep 1; done; echo "$s"`, "HOME_DIR="+m.Dir)
}

// Whoever is killed while a tree arrives: the machine gets all of it, shows no
// half of a file, and nothing of ours stays behind.
func TestKillsWhileATreeArrives(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	rounds := 5
	if soak() {
		rounds = 200
	}
	for round := range rounds {
		top := filepath.Join(p.a.dir, fmt.Sprint("tree", round))
		for i := range 150 {
			dir := filepath.Join(top, fmt.Sprint(i%7))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			text := strings.Repeat(fmt.Sprintf("round %d file %d\n", round, i), 1+i*i/4)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if round > 0 { // something goes and something changes as well
			world.Sh(t, p.a.dir, fmt.Sprintf(`rm -r tree%[1]d/3; echo changed > tree%[1]d/4/4; mv tree%[1]d/5 moved%[1]d`, round-1))
		}
		world.Eventually(t, patience, "the tree begins to arrive", func() error {
			_, err := os.Lstat(filepath.Join(p.b.dir, fmt.Sprint("tree", round)))
			return err
		})
		for range 1 + rand.IntN(3) {
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
			for _, pid := range appliers(t, p.b.Pid()) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		if round%2 == 0 {
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
			p.b.KillAgent()
			if s := stuck(t, p.b); s != "" {
				t.Fatalf("round %d: cannot be ended:\n%s", round, s)
			}
			p.b.StartAgent()
		}
		// What is there is whole.
		err := filepath.WalkDir(filepath.Join(p.b.dir, fmt.Sprint("tree", round)), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil // it is still arriving
			}
			data, err := os.ReadFile(path)
			var i int
			if _, serr := fmt.Sscan(d.Name(), &i); err != nil || serr != nil {
				return nil
			}
			if want := strings.Repeat(fmt.Sprintf("round %d file %d\n", round, i), 1+i*i/4); string(data) != want {
				return fmt.Errorf("%s has %d bytes, want %d", path, len(data), len(want))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.settled()
	p.clean()
	p.b.StopAgent()
	if left := world.Sh(t, p.b.dir, `find . -name '.syncfs-stage*' -exec find {} -mindepth 1 \; | head`); left != "" {
		t.Errorf("left behind below the mount:\n%s", left)
	}
	p.b.StartAgent()
	p.settled()
}

// watched are the names that inotify tells of below dir, from another program.
func watched(t *testing.T, dir string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "inotifywait", "-m", "-r", "-q", "--format", "%e %w%f", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("inotifywait (package inotify-tools): %v", err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	time.Sleep(time.Second) // it has no way to say that it is ready
	return lines
}

func TestProgramsSeeWhatArrives(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(dir string) {
		write(t, dir, "read", "before")
		write(t, dir, "written", "before")
		write(t, dir, "going", "before")
	})
	lines := watched(t, p.b.dir)

	reader, err := os.Open(filepath.Join(p.b.dir, "read"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	writer, err := os.OpenFile(filepath.Join(p.b.dir, "written"), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()

	for _, name := range []string{"read", "written", "new"} {
		write(t, p.a.dir, name, "of a")
	}
	if err := os.Remove(filepath.Join(p.a.dir, "going")); err != nil {
		t.Fatal(err)
	}
	comes(t, p.b.dir, "read", "of a")
	comes(t, p.b.dir, "new", "of a")
	goes(t, p.b.dir, "going")

	want := map[string]bool{"new": true, "read": true, "going": true}
	for deadline := time.After(patience); len(want) > 0; {
		select {
		case line := <-lines:
			delete(want, filepath.Base(line))
		case <-deadline:
			t.Fatalf("inotify told nothing of %v", want)
		}
	}

	if data, err := io.ReadAll(reader); err != nil || string(data) != "before" {
		t.Errorf("who has a file open reads %q, %v, want what he opened", data, err)
	}
	// Whoever writes keeps writing into the file that others see under the name.
	if err := has(p.b.dir, "written", "before"); err != nil {
		t.Errorf("changed under an open writer: %v", err)
	}
	if _, err := writer.WriteString(", and of b"); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	p.settled()
	// Both contents are kept: one under the name, one beside it.
	found := map[string]bool{}
	names, err := filepath.Glob(filepath.Join(p.a.dir, "written*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found[string(data)] = true
	}
	if len(names) != 2 || !found["of a"] || !found["before, and of b"] {
		t.Errorf("%q hold %v", names, found)
	}
}
