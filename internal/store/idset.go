package store

import (
	"encoding/binary"

	"github.com/syncfs/syncfs/internal/chunk"
)

// idSet is the set of chunks that are in use, with a few flags for each. It keeps
// 126 bits of an id, which is a keyed hash: that two are taken for one does not
// happen. It is many small hash tables, so that growing needs no second copy of
// it all: between 20 and 40 bytes for each chunk.
type idSet struct {
	parts [256]idTable
	n     int64
}

// idFlag tells what was found of a chunk.
type idFlag byte

const (
	inSafe   idFlag = 1 // in a pack that stays
	inDoomed idFlag = 2 // in a pack that may be deleted
	allFlags        = inSafe | inDoomed
)

// idKey is what is kept of an id; the flags are the lowest bits of the second
// number. The zero key is a free place: chunks whose ids would give it are kept
// as another.
type idKey [2]uint64

type idTable struct {
	keys []idKey
	n    int
}

func keyOf(id chunk.ID) idKey {
	k := idKey{binary.LittleEndian.Uint64(id[8:]), binary.LittleEndian.Uint64(id[16:]) &^ uint64(allFlags)}
	if k == (idKey{}) {
		k[0] = 1
	}
	return k
}

func (k idKey) same(o idKey) bool { return k[0] == o[0] && k[1]&^uint64(allFlags) == o[1] }

// find is the place of a key, or the free one where it belongs.
func (t *idTable) find(k idKey) int {
	mask := uint64(len(t.keys) - 1)
	i := k[0] & mask
	for t.keys[i] != (idKey{}) && !t.keys[i].same(k) {
		i = (i + 1) & mask
	}
	return int(i)
}

// add adds an id, and tells whether it is new.
func (s *idSet) add(id chunk.ID) bool {
	t, k := &s.parts[id[0]], keyOf(id)
	if 5*(t.n+1) > 4*len(t.keys) {
		old := t.keys
		t.keys = make([]idKey, max(16, 2*len(old)))
		for _, o := range old {
			if o != (idKey{}) {
				t.keys[t.find(idKey{o[0], o[1] &^ uint64(allFlags)})] = o
			}
		}
	}
	i := t.find(k)
	if t.keys[i] != (idKey{}) {
		return false
	}
	t.keys[i] = k
	t.n++
	s.n++
	return true
}

// flags are those of an id; false where it is not in the set.
func (s *idSet) flags(id chunk.ID) (idFlag, bool) {
	t := &s.parts[id[0]]
	if t.n == 0 {
		return 0, false
	}
	i := t.find(keyOf(id))
	return idFlag(t.keys[i][1]) & allFlags, t.keys[i] != (idKey{})
}

// flag sets flags of an id, if it is in the set.
func (s *idSet) flag(id chunk.ID, f idFlag) {
	t := &s.parts[id[0]]
	if t.n == 0 {
		return
	}
	if i := t.find(keyOf(id)); t.keys[i] != (idKey{}) {
		t.keys[i][1] |= uint64(f)
	}
}

// clear takes all flags away.
func (s *idSet) clear() {
	for p := range s.parts {
		for i := range s.parts[p].keys {
			s.parts[p].keys[i][1] &^= uint64(allFlags)
		}
	}
}

// lacking counts the ids that have none of the flags.
func (s *idSet) lacking(f idFlag) (n int64) {
	for p := range s.parts {
		for _, k := range s.parts[p].keys {
			if k != (idKey{}) && idFlag(k[1])&f == 0 {
				n++
			}
		}
	}
	return n
}
