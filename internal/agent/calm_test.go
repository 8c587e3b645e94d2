package agent

import "testing"

func TestMemoryIsGivenBackOnceAfterWork(t *testing.T) {
	var r rest
	total := uint64(0)
	tick := func(bytes uint64) bool {
		total += bytes
		due := r.due(total)
		if due {
			r.given = total
		}
		return due
	}
	for range 20 {
		if tick(10 << 20) {
			t.Fatal("in the middle of work")
		}
	}
	given := 0
	for range 100 {
		if tick(1 << 10) {
			given++
		}
	}
	if given != 1 {
		t.Errorf("given back %d times after work, not once", given)
	}
	// What little is always done adds up.
	for range 100 {
		if tick(calmBytes / 2) {
			given++
		}
	}
	if given != 1+100*calmBytes/2/worthBytes {
		t.Errorf("given back %d times in all", given)
	}
}

func TestAllocationsAreSeen(t *testing.T) {
	before := allocated()
	kept := make([][]byte, 64)
	for i := range kept {
		kept[i] = make([]byte, 64<<10)
	}
	if grown := allocated() - before; grown < 64*64<<10 {
		t.Errorf("4 MiB were allocated, %d bytes of it seen", grown)
	}
}
