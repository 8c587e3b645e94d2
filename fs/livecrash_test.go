//go:build linux

package fs_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/fs"
	"golang.org/x/sys/unix"
)

// serveElsewhere mounts dir in another process.
func serveElsewhere(t *testing.T, dir, mode string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "__mount", dir, mode)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
		fs.CleanStale(dir)
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "mounted\n" {
		t.Fatalf("the serving process says %q: %v", line, err)
	}
	return cmd
}

// A serving process that is killed leaves no process hanging, all that was
// written on the disk, and a mount that the next start takes away. Who has a
// passed-through file open goes on writing to it, below.
func TestAKilledMountLosesNothingAndHangsNobody(t *testing.T) {
	for round := range 10 {
		mode := []string{"pass", "served"}[round%2]
		dir := workDir(t)
		cmd := serveElsewhere(t, dir, mode)
		w := startHelper(t, dir, "write-on", dir+"/log")
		w.expect("open")
		var want strings.Builder
		for i := range 50 {
			w.say(fmt.Sprint("before ", i))
			w.expect("done")
			fmt.Fprintln(&want, "before", i)
		}
		busy := exec.Command("sh", "-c", `cd "$1" && while :; do echo x >f; mv f g; ls -l >/dev/null; cat g >/dev/null || exit; done`, "sh", dir)
		must(t, busy.Start())
		time.Sleep(time.Duration(20+round*7) * time.Millisecond)
		must(t, cmd.Process.Kill())
		ended := make(chan struct{})
		go func() { cmd.Wait(); busy.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("round %d: a process hangs", round)
		}
		if mode == "pass" {
			for i := range 20 {
				w.say(fmt.Sprint("after ", i))
				w.expect("done")
				fmt.Fprintln(&want, "after", i)
			}
		}
		if _, err := os.ReadDir(dir); !errors.Is(err, unix.ENOTCONN) {
			t.Fatalf("round %d: the dead mount says %v", round, err)
		}
		if cleaned, err := fs.CleanStale(dir); err != nil || !cleaned {
			t.Fatalf("round %d: clean up: %v, %v", round, cleaned, err)
		}
		if got := read(t, dir+"/log"); got != want.String() {
			t.Fatalf("round %d: the log has %d bytes, want %d", round, len(got), want.Len())
		}
		// The next mount shows it all, and takes over.
		m := mountAt(t, dir, passthrough(mode == "pass"))
		if got := read(t, m.dir+"/log"); got != want.String() {
			t.Fatalf("round %d: through the next mount the log differs", round)
		}
		if mode == "pass" { // the old descriptor still writes below the new mount
			w.say("late")
			w.expect("done")
			m.Invalidate("log")
			eventually(t, "the late write", func() bool { return strings.HasSuffix(read(t, m.dir+"/log"), "late\n") })
		}
		w.cmd.Process.Kill()
		w.cmd.Wait()
		must(t, m.Unmount())
	}
}

func TestOnlyADeadMountOfOursIsCleanedUp(t *testing.T) {
	dir := workDir(t)
	if cleaned, err := fs.CleanStale(dir); cleaned || err != nil {
		t.Errorf("a plain directory: %v, %v", cleaned, err)
	}
	serveElsewhere(t, dir, "pass")
	if cleaned, err := fs.CleanStale(dir); cleaned || err != nil {
		t.Errorf("a live mount: %v, %v", cleaned, err)
	}
	other := t.TempDir()
	must(t, unix.Mount("tmpfs", other, "tmpfs", 0, ""))
	defer unix.Unmount(other, 0)
	if cleaned, err := fs.CleanStale(other); cleaned || err != nil {
		t.Errorf("a mount of another kind: %v, %v", cleaned, err)
	}
}

func TestUnmountAlwaysWorksAndSaysWhoHeldIt(t *testing.T) {
	dir := workDir(t)
	m := mountAt(t, dir)
	w := startHelper(t, dir, "write-on", dir+"/log")
	w.expect("open")
	err := m.Unmount()
	var held *fs.HeldError
	if !errors.As(err, &held) {
		t.Fatalf("got %v, want a HeldError", err)
	}
	if len(held.Holders) != 1 || held.Holders[0].PID != w.cmd.Process.Pid || !strings.Contains(err.Error(), fmt.Sprint(w.cmd.Process.Pid)) {
		t.Errorf("holders are %+v: %v", held.Holders, err)
	}
	// It goes on with what it has open, and the folder is a plain one at once.
	w.say("still here")
	w.expect("done")
	if got := read(t, dir+"/log"); got != "still here\n" {
		t.Errorf("got %q", got)
	}
	select {
	case <-m.Done():
		t.Error("the mount ended while it was in use")
	default:
	}
	w.in.Close()
	w.cmd.Wait()
	select {
	case <-m.Done():
	case <-time.After(10 * time.Second):
		t.Error("the mount does not end with its last user")
	}
}

func TestTheMountEndsWithItsContextOrFromOutside(t *testing.T) {
	m := mountAt(t, workDir(t))
	write(t, m.dir+"/f", "x")
	must(t, unix.Unmount(m.dir, 0))
	select {
	case <-m.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("a mount that was unmounted from outside goes on")
	}
	m.Wait()
	if got := read(t, m.dir+"/f"); got != "x" {
		t.Errorf("the plain folder has %q", got)
	}
	entries, err := os.ReadDir(m.dir)
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), fs.StagePrefix) {
			t.Errorf("%s is left", e.Name())
		}
	}
}
