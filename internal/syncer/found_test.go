package syncer_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// What the random sequences have found, each as small as it became.

func TestAnEventThatOvertakesAnAnswerAboutTheHeadIsNotForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a").start(), w.machine("b").start()
	together(t, a, b)
	once := sync.Once{}
	b.net.mu.Lock()
	b.net.asked = func() {
		once.Do(func() {
			a.write("f", "new")
			a.flush()
			time.Sleep(50 * time.Millisecond) // the event reaches b
		})
	}
	b.net.mu.Unlock()
	b.run.s.Stale() // it asks
	eventually(t, "b has followed", func() bool { return b.holds("new") })
}

// The stream is cut while b asks about the head: what is committed before it
// stands again sends no event, and the answer does not know of it.
func TestAnAnswerFromBeforeTheStreamStoodIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a").start(), w.machine("b").start()
	together(t, a, b)
	once := sync.Once{}
	b.net.mu.Lock()
	b.net.deaf = true
	b.net.asked = func() {
		once.Do(func() {
			a.write("f", "new")
			a.flush()
			b.run.s.Stale() // the stream stands again
		})
	}
	b.net.mu.Unlock()
	b.run.s.Stale() // it was cut
	eventually(t, "b has followed", func() bool { return b.holds("new") })
}

// One path waits, so the base stays; but what has been applied beside it is no
// change of this machine's.
func TestWhatWasAppliedBesideAPathThatWaitsMakesNoConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a"), w.machine("b")
	for _, f := range []string{"waits", "edited", "deleted", "elsewhere"} {
		a.write(f, "0")
	}
	a.start().flush()
	b.start()
	together(t, a, b)
	open, err := os.OpenFile(filepath.Join(b.dir, "waits"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, f := range []string{"waits", "edited", "deleted", "elsewhere"} {
		a.write(f, "1")
	}
	a.flush()
	eventually(t, "b has all but what waits", func() bool {
		got := b.tree()
		return got["edited"] == "1" && got["deleted"] == "1" && got["elsewhere"] == "1" && b.run.s.Status().Waiting > 0
	})
	b.write("edited", "2")
	b.remove("deleted")
	a.write("elsewhere", "2")
	a.flush()
	eventually(t, "b has seen that", func() bool { return b.tree()["elsewhere"] == "2" })
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	b.flush()
	together(t, a, b)
	same(t, "all", a.tree(), map[string]string{"waits": "1", "edited": "2", "elsewhere": "2"})
}

// A crash in the middle of an apply leaves a mixture, and the line goes on
// before the machine is back.
func TestWhatWasAppliedBeforeACrashMakesNoConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a"), w.machine("b")
	for i := range 5 {
		a.write("f"+itoa(i), "0")
	}
	a.start().flush()
	b.start()
	together(t, a, b)
	b.stop()
	crashed, reboot := b.crashAt("step", 3)
	for i := range 5 {
		a.write("f"+itoa(i), "1")
	}
	a.flush()
	b.start()
	eventually(t, "the crash", crashed)
	want := map[string]string{"mine": "new"}
	for i := range 5 {
		a.write("f"+itoa(i), "2")
		want["f"+itoa(i)] = "2"
	}
	a.flush()
	b2 := reboot()
	b2.write("mine", "new") // so that it merges
	b2.start().flush()
	together(t, a, b2)
	same(t, "all", a.tree(), want)
}
