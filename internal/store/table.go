package store

import (
	"encoding/binary"

	"github.com/syncfs/syncfs/internal/chunk"
)

// table is a compact hash table of entries: the part of the index that is not
// in shards. An id may have several places. The zero table is empty.
type table struct {
	pages [][]entry // entries in order of insertion, pageEntries each
	n     int
	slots []uint32 // open addressing: number of an entry plus one
}

const pageEntries = 512

func (t *table) entry(i int) *entry { return &t.pages[i/pageEntries][i%pageEntries] }

// slotOf is where the search for id begins: ids are uniformly distributed.
func (t *table) slotOf(id *chunk.ID) int {
	return int(binary.LittleEndian.Uint64(id[:]) & uint64(len(t.slots)-1))
}

// find calls fn for every place of id until fn returns false.
func (t *table) find(id chunk.ID, fn func(e entry) bool) {
	if t.n == 0 {
		return
	}
	for i := t.slotOf(&id); t.slots[i] != 0; i = (i + 1) & (len(t.slots) - 1) {
		if e := t.entry(int(t.slots[i] - 1)); e.id == id && !fn(*e) {
			return
		}
	}
}

// add adds a place unless it is there.
func (t *table) add(e entry) {
	known := false
	t.find(e.id, func(o entry) bool {
		known = o.pack == e.pack && o.offset == e.offset
		return !known
	})
	if known {
		return
	}
	if 4*(t.n+1) > 3*len(t.slots) {
		t.grow()
	}
	if t.n%pageEntries == 0 {
		t.pages = append(t.pages, make([]entry, pageEntries))
	}
	*t.entry(t.n) = e
	t.place(t.n)
	t.n++
}

func (t *table) place(n int) {
	i := t.slotOf(&t.entry(n).id)
	for t.slots[i] != 0 {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = uint32(n + 1)
}

func (t *table) grow() {
	t.slots = make([]uint32, max(1024, 2*len(t.slots)))
	for n := range t.n {
		t.place(n)
	}
}

func (t *table) all(fn func(entry)) {
	for n := range t.n {
		fn(*t.entry(n))
	}
}
