//go:build linux

package fs

import (
	"math"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel remembers every file that was ever looked at, and we with it.
func TestANodeIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(node{}); size > 64 {
		t.Errorf("a node has %d bytes, not 64: with a million files each 16 more cost 16 MB", size)
	}
}

func TestANodeGoesWithItsLastLookup(t *testing.T) {
	root := unix.Statx_t{Ino: 1, Mode: unix.S_IFDIR}
	table := newNodeTable(-1, &root, 8)
	file := unix.Statx_t{Ino: 2, Mode: unix.S_IFREG}
	n := table.learn(table.root, "a", &file)
	for _, name := range []string{"b", "c", "d", "b"} {
		if table.learn(table.root, name, &file) != n {
			t.Fatal("one inode, two nodes")
		}
	}
	if got := len(table.links(n)); got != 4 {
		t.Errorf("%d names of 4", got)
	}
	table.unlinked(n, table.root, "d") // the newest
	table.unlinked(n, table.root, "b")
	if got := table.paths(n); len(got) != 2 || got[0] != "c" && got[0] != "a" {
		t.Errorf("names that are left: %q", got)
	}
	table.forget(n.id, 4)
	if table.get(n.id) == nil {
		t.Fatal("gone before the last lookup was forgotten")
	}
	table.forget(n.id, 1)
	if table.get(n.id) != nil || table.find(&file) != nil || len(table.more) > 0 || table.root.pins != 1 {
		t.Error("something of it is left")
	}
}

// Losing count must not free what the kernel knows.
func TestACountOfLookupsDoesNotOverflow(t *testing.T) {
	n := &node{lookups: math.MaxUint32 - 1}
	for range 3 {
		n.lookedUp()
	}
	n.forgotten(math.MaxUint32)
	if n.lookups != math.MaxUint32 {
		t.Errorf("%d lookups are left of more than can be counted", n.lookups)
	}
}
