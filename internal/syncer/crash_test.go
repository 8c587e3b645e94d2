package syncer_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/syncer"
)

// crashAt makes a machine stand still for ever when it comes to the nth call of
// a point, and returns a function that waits for that and gives the machine
// that boots from the disk as it was then. What the old one would still have
// done never reaches the remote.
func (m *machine) crashAt(point string, nth int) (crashed func() bool, reboot func() *machine) {
	var mu sync.Mutex
	hit := make(chan struct{})
	ctx, release := context.WithCancel(context.Background())
	m.w.t.Cleanup(release) // or a test that fails before would wait for the dead
	calls := 0
	before := m.opts
	m.opts = func(o *syncer.Options) {
		if before != nil {
			before(o)
		}
		o.Hook = func(p string) {
			mu.Lock()
			if p != point {
				mu.Unlock()
				return
			}
			calls++
			now := calls == nth
			mu.Unlock()
			if now {
				m.net.set(func() { m.net.down = fmt.Errorf("dead: %w", blob.ErrOffline) })
				close(hit)
				<-ctx.Done()
				runtime.Goexit()
			}
		}
	}
	crashed = func() bool {
		select {
		case <-hit:
			return true
		default:
			return false
		}
	}
	return crashed, func() *machine {
		image := m.w.machine(m.name)
		for _, d := range [][2]string{{m.home, image.home}, {m.dir, image.dir}} {
			// What still runs of the dead one may remove a file under cp's hands.
			eventually(m.w.t, "a copy of "+d[0], func() bool {
				if err := os.RemoveAll(d[1]); err != nil {
					m.w.t.Fatal(err)
				}
				return exec.Command("cp", "-a", d[0], d[1]).Run() == nil
			})
		}
		// Badger was open: what it holds is taken for lost.
		if err := os.RemoveAll(filepath.Join(image.home, "db")); err != nil {
			m.w.t.Fatal(err)
		}
		release()
		return image
	}
}

func TestACrashWhileSendingLosesAndDoublesNothing(t *testing.T) {
	for _, point := range []string{"built", "flushed", "queued", "recorded", "uploaded", "committed", "based", "spooled"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.machine("a")
			a.write("f", "0")
			crashed, reboot := a.crashAt(point, 2) // the second round
			a.start()
			eventually(t, "the first round", func() bool { return len(w.records()) == 1 || crashed() })
			a.write("f", "1")
			a.write("g/h", "new")
			eventually(t, "the crash", crashed)
			a2 := reboot()
			a2.start().flush()
			same(t, "the head", a2.run.treeOf(t, w.head().Root), map[string]string{"f": "1", "g": "dir", "g/h": "new"})
			list := w.records()
			for i := 1; i < len(list); i++ {
				if list[i].Root.Tree == list[i-1].Root.Tree {
					t.Errorf("snapshots %s and %s hold the same", list[i-1].Instant, list[i].Instant)
				}
			}
			if n := a2.run.s.Status().Queued; n != 0 {
				t.Errorf("%d are still queued", n)
			}
			if left, err := os.ReadDir(filepath.Join(a2.home, "queue")); err != nil || len(left) != 0 {
				t.Errorf("left in the queue: %v %v", left, err)
			}
			// And nobody sees anything else.
			b := w.machine("b").start()
			together(t, a2, b)
		})
	}
}

func TestACrashWhileApplyingGoesOn(t *testing.T) {
	for _, point := range []string{"staged", "step", "applied"} {
		for nth := 1; nth <= 3; nth++ {
			if point != "step" && nth > 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s %d", point, nth), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				a, b := w.machine("a"), w.machine("b")
				a.write("f", "0")
				a.write("gone", "0")
				a.write("dir/x", "0")
				a.start().flush()
				b.start()
				together(t, a, b)
				b.stop()
				crashed, reboot := b.crashAt(point, nth)
				a.write("f", "1")
				a.remove("gone")
				a.write("dir/y", "new")
				a.write("new/z", "new")
				a.flush()
				b.start()
				eventually(t, "the crash", crashed)
				b2 := reboot()
				b2.start()
				together(t, a, b2)
				onlyBy(t, w, a, "a")
				eventually(t, "staging is swept", func() bool { return len(stages(t, b2.dir)) == 0 })
			})
		}
	}
}

// stages are the staging directories in a folder's root.
func stages(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, ".syncfs-stage-*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i] = strings.TrimPrefix(list[i], dir)
	}
	return list
}
