//go:build linux

package fs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/versions"
	"golang.org/x/sys/unix"
)

// A walk over all of .versions must not leave a record of every directory.
func TestAWalkOverThePastLeavesLittle(t *testing.T) {
	s := newPastSource()
	for i := range 40 {
		var dirs []versions.Entry
		for d := range 20 {
			name := fmt.Sprintf("d%02d", d)
			dirs = append(dirs, s.dir(t, name, s.file(t, "a", fmt.Sprint(i)), s.file(t, "b", name)))
		}
		s.land(t, instant(i*10), s.dir(t, "", dirs...))
	}
	dir, m := mountPast(t, s, withClock, func(o *fs.HistoryMountOptions) { o.Nodes = 100 })
	const walk = `cd .versions; find 2* -printf '%p %y %s %T@\n' | sort | md5sum; cat 2*/d*/a | md5sum`
	first := sh(t, dir, walk)
	// All is there as before, and what somebody stands in stays.
	h := startHelper(t, dir+"/.versions/"+instant(0).String()+"/d07", "poll")
	defer h.in.Close()
	for range 3 {
		if again := sh(t, dir, walk); again != first {
			t.Fatalf("another walk finds something else:\n%s%s", first, again)
		}
	}
	if !kernelPrunes(t) {
		return // only a lack of memory makes this kernel forget
	}
	// 820 directories and 1,600 files were walked.
	for begin := time.Now(); m.Stats().Nodes > 400; time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%d nodes are left", m.Stats().Nodes)
		}
	}
}

// kernelPrunes tells Linux 6.18 and newer.
func kernelPrunes(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 18
}
