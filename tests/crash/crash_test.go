//go:build linux

// Package crash ends clients and servers at random moments and cuts the power
// of their disks; a ledger outside of both says what must be found afterwards.
package crash

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// rounds is what `make test` runs; `make soak` sets SYNCFS_SOAK.
func rounds(test, soak int) int {
	if os.Getenv("SYNCFS_SOAK") != "" {
		return soak
	}
	return test
}

// ledger is what programs were told: each name was written once, with a content
// that no other write has, and every call returned without an error.
type ledger struct {
	mu      sync.Mutex
	written map[string]string // closed (and synced, where the test says so)
	flushed map[string]string // and then a flush returned
}

func newLedger() *ledger {
	return &ledger{written: map[string]string{}, flushed: map[string]string{}}
}

// write makes one file; it is in the ledger only if nothing failed.
func (l *ledger) write(dir, name string, sync bool) {
	size := []int{0, 1, 4095, 4096, 300_000, 2 << 20}[rand.IntN(6)]
	content := fmt.Sprintf("#%s-%x:", name, rand.Uint64()) + strings.Repeat("x", size)
	path := filepath.Join(dir, name)
	if os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	_, err = io.WriteString(f, content)
	if sync {
		err = errors.Join(err, f.Sync())
		for d := filepath.Dir(path); sync && len(d) >= len(dir); d = filepath.Dir(d) {
			err = errors.Join(err, syncDir(d))
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		l.mu.Lock()
		l.written[name] = content
		l.mu.Unlock()
	}
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// flush notes that all written before the call is safe, if the flush says so.
func (l *ledger) flush(h *world.Home) bool {
	l.mu.Lock()
	before := make(map[string]string, len(l.written))
	for k, v := range l.written {
		before[k] = v
	}
	l.mu.Unlock()
	if _, _, code := h.Try("flush", "docs", "--timeout", "60s"); code != 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, v := range before {
		l.flushed[k] = v
	}
	return true
}

// checkTree finds every entry of want below dir, byte for byte.
func checkTree(t *testing.T, what, dir string, want map[string]string) {
	t.Helper()
	lost := 0
	for name, content := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != content {
			if lost++; lost <= 5 {
				t.Errorf("%s: %s: %d bytes, %v; want %d bytes", what, name, len(got), err, len(content))
			}
		}
	}
	if lost > 0 {
		t.Fatalf("%s: %d of %d lost", what, lost, len(want))
	}
}

func TestKillNineLosesNothing(t *testing.T) {
	srv := world.NewServer(t, "")
	h := world.NewHome(t, "")
	h.Init(srv)
	h.StartAgent()
	dir := h.Path("Documents")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Run("add", dir, "--name", "docs")
	l, n, flushes := newLedger(), 0, 0
	for round := range rounds(30, 500) {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
						l.write(dir, fmt.Sprintf("r%d/w%d/f%d", round, w, i), false)
					}
				}
			}()
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			if l.flush(h) {
				flushes++
			}
		}()
		time.Sleep(time.Duration(rand.IntN(900)) * time.Millisecond)
		agent := rand.IntN(3) > 0
		if agent {
			h.KillAgent()
		} else {
			srv.Kill()
		}
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		if !agent {
			srv.Start()
		}
		close(stop)
		wg.Wait()
		if agent {
			h.StartAgent()
			world.Eventually(t, 90*time.Second, "the folder is mounted again", func() error {
				if m := world.Mounts(dir); len(m) != 1 {
					return fmt.Errorf("round %d: mounts: %v", round, m)
				}
				return nil
			})
		}
		checkTree(t, fmt.Sprintf("round %d, mount", round), dir, l.written)
		n++
	}
	if !l.flush(h) {
		t.Fatal("the last flush failed")
	}
	if len(l.written) < 3*n {
		t.Fatalf("only %d writes in %d rounds: the test tests nothing", len(l.written), n)
	}
	t.Logf("%d rounds, %d files written, %d flushes that returned while something was killed", n, len(l.written), flushes)
	other := world.NewHome(t, "")
	other.Connect(srv)
	out := filepath.Join(t.TempDir(), "out")
	other.Run("restore", "docs:@latest", "--target", out)
	checkTree(t, "another machine", out, l.flushed)
	h.Run("check", "--read-data")
	if left := strings.TrimSpace(world.Sh(t, dir, `find . -name '.syncfs*' -o -name '*conflict*' | head`)); left != "" {
		t.Errorf("left behind in the folder: %s", left)
	}
	h.StopAgent()
	if left := strings.TrimSpace(world.Sh(t, dir, `find . -mindepth 1 -name '.syncfs*' -not -empty | head`)); left != "" {
		t.Errorf("left behind below the mount: %s", left)
	}
}

// disk is an ext4 in a file whose power can be cut.
type disk struct{ image, dir string }

func newDisk(t *testing.T) *disk {
	t.Helper()
	base := t.TempDir()
	d := &disk{image: filepath.Join(base, "image"), dir: filepath.Join(base, "disk")}
	world.Sh(t, base, `truncate -s 1G image && mkfs.ext4 -qF -E lazy_itable_init=0 image && mkdir disk && mount -o loop image disk`)
	t.Cleanup(func() { world.Sh(t, base, `umount -l disk || true`) })
	return d
}

// cut loses all that was not synced.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	world.Sh(t, "/", `xfs_io -x -c shutdown "$DISK"`, "DISK="+d.dir)
}

// back mounts it again, after everything that used it has ended.
func (d *disk) back(t *testing.T) {
	t.Helper()
	world.Sh(t, "/", `umount -l "$DISK"; sleep 0.3; for i in $(seq 50); do losetup -j "$IMAGE" | grep -q . || break; sleep 0.1; done; mount -o loop "$IMAGE" "$DISK"`, "DISK="+d.dir, "IMAGE="+d.image)
}

func TestPowerCutOfTheServerLosesNothingAcknowledged(t *testing.T) {
	d := newDisk(t)
	srv := world.NewServer(t, filepath.Join(d.dir, "server"))
	h := world.NewHome(t, "")
	h.Init(srv)
	h.StartAgent()
	dir := h.Path("Documents")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Run("add", dir, "--name", "docs")
	l := newLedger()
	for round := range rounds(3, 100) {
		for i := range 20 {
			l.write(dir, fmt.Sprintf("r%d/f%d", round, i), false)
		}
		if !l.flush(h) {
			t.Fatalf("round %d: flush failed", round)
		}
		var wg sync.WaitGroup
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 20 {
				l.write(dir, fmt.Sprintf("r%d/g%d", round, i), false)
				time.Sleep(10 * time.Millisecond)
			}
		}()
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		d.cut(t)
		srv.Kill()
		wg.Wait()
		d.back(t)
		srv.Start()
		other := world.NewHome(t, "")
		other.Connect(srv)
		out := filepath.Join(t.TempDir(), "out")
		other.Run("restore", "docs:@latest", "--target", out)
		checkTree(t, fmt.Sprintf("round %d", round), out, l.flushed)
	}
	if !l.flush(h) {
		t.Fatal("the last flush failed")
	}
	h.Run("check", "--read-data")
}

func TestPowerCutOfTheClientLosesNothingAcknowledged(t *testing.T) {
	d := newDisk(t)
	srv := world.NewServer(t, "")
	h := world.NewHome(t, filepath.Join(d.dir, "home"))
	h.Init(srv)
	h.StartAgent()
	dir := h.Path("Documents")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Run("add", dir, "--name", "docs")
	world.Sh(t, "/", "sync")
	synced, loose := newLedger(), newLedger()
	lostLoose := 0
	for round := range rounds(3, 100) {
		for i := range 10 {
			synced.write(dir, fmt.Sprintf("r%d/s%d", round, i), true)
			loose.write(dir, fmt.Sprintf("r%d/l%d", round, i), false)
		}
		if round%2 == 0 {
			if !loose.flush(h) {
				t.Fatalf("round %d: flush failed", round)
			}
		}
		for i := range 10 {
			synced.write(dir, fmt.Sprintf("r%d/t%d", round, i), true)
			loose.write(dir, fmt.Sprintf("r%d/m%d", round, i), false)
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		d.cut(t)
		h.KillAgent()
		for _, m := range world.Mounts(d.dir) {
			world.Sh(t, "/", `umount -l "$M"`, "M="+m)
		}
		d.back(t)
		for name, content := range loose.written {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != content {
				lostLoose++
				delete(loose.written, name) // no later flush can have meant it
			}
		}
		h.StartAgent()
		checkTree(t, fmt.Sprintf("round %d, synced", round), dir, synced.written)
	}
	if lostLoose == 0 {
		t.Error("nothing that was not synced was lost: the power was not really cut")
	}
	if !synced.flush(h) {
		t.Fatal("the last flush failed")
	}
	// What a flush acknowledged is in the history, whatever the disk forgot.
	for name, content := range loose.flushed {
		var list []struct{ Instant, Change string }
		h.JSON(&list, "versions", filepath.Join(dir, name))
		found := false
		for _, v := range list {
			if v.Change != "deleted" {
				found = found || h.Run("cat", filepath.Join(dir, name)+"@"+v.Instant) == content
			}
		}
		if !found {
			t.Errorf("%s was flushed and is in no version: %v", name, list)
		}
	}
	other := world.NewHome(t, "")
	other.Connect(srv)
	out := filepath.Join(t.TempDir(), "out")
	other.Run("restore", "docs:@latest", "--target", out)
	checkTree(t, "another machine", out, synced.flushed)
}
