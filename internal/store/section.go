package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
)

// entry says that a chunk lies in a pack.
type entry struct {
	frame
	pack uint32 // ordinal in the section's table, or in the index's
}

// packRef is a pack as an index blob names it.
type packRef struct {
	digest digest
	size   int64
	tree   bool                  // holds listings, not content of files
	header [seal.PackHeader]byte // gives the pack's key, so that any part of it can be read alone
}

// section is a sorted part of the index, as deltas and shards hold it: a table
// of packs and, column by column, where chunks lie. It is kept as it was read
// and searched in place.
type section struct {
	packs []packRef
	n     int
	ids   []byte // 32 bytes each, ascending
	kinds []byte
	nums  []byte // columns of 4 bytes: pack, offset, length, plain
}

const (
	sectionVersion = 1
	packRefSize    = 32 + 8 + 1 + seal.PackHeader
	entrySize      = 32 + 1 + 4*4
)

// compareEntries orders entries by id, then place.
func compareEntries(a, b entry) int {
	if c := bytes.Compare(a.id[:], b.id[:]); c != 0 {
		return c
	}
	if a.pack != b.pack {
		return int(a.pack) - int(b.pack)
	}
	return int(a.offset) - int(b.offset)
}

// encodeSection writes entries, which it sorts.
func encodeSection(packs []packRef, entries []entry) []byte {
	slices.SortFunc(entries, compareEntries)
	b := make([]byte, 0, 9+len(packs)*packRefSize+len(entries)*entrySize)
	b = append(b, sectionVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(packs)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)))
	for _, p := range packs {
		b = append(b, p.digest[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(p.size))
		b = append(b, boolByte(p.tree))
		b = append(b, p.header[:]...)
	}
	for _, e := range entries {
		b = append(b, e.id[:]...)
	}
	for _, e := range entries {
		b = append(b, byte(e.kind))
	}
	for _, column := range []func(entry) uint32{
		func(e entry) uint32 { return e.pack },
		func(e entry) uint32 { return e.offset },
		func(e entry) uint32 { return e.length },
		func(e entry) uint32 { return e.plain },
	} {
		for _, e := range entries {
			b = binary.LittleEndian.AppendUint32(b, column(e))
		}
	}
	return b
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// decodeSection reads what encodeSection wrote. It keeps b.
func decodeSection(b []byte) (*section, error) {
	r := reader{b: b}
	if v := r.byte(); v != sectionVersion {
		return nil, fmt.Errorf("an index of version %d", v)
	}
	packs, n := int64(r.uint32()), int64(r.uint32())
	if packs*int64(packRefSize)+n*entrySize != int64(len(r.b)) {
		return nil, fmt.Errorf("an index of %d packs and %d chunks in %d bytes", packs, n, len(b))
	}
	s := &section{n: int(n), packs: make([]packRef, packs)}
	for i := range s.packs {
		copy(s.packs[i].digest[:], r.bytes(32))
		s.packs[i].size = int64(r.uint64())
		s.packs[i].tree = r.byte() == 1
		copy(s.packs[i].header[:], r.bytes(seal.PackHeader))
	}
	s.ids, s.kinds, s.nums = r.bytes(32*s.n), r.bytes(s.n), r.bytes(16*s.n)
	if err := r.done(); err != nil {
		return nil, err
	}
	for i := range s.n {
		e := s.at(i)
		if int64(e.pack) >= packs {
			return nil, fmt.Errorf("a chunk in pack %d of %d", e.pack, packs)
		}
		if i > 0 && bytes.Compare(s.ids[32*(i-1):32*i], e.id[:]) > 0 {
			return nil, fmt.Errorf("an index that is not sorted")
		}
	}
	return s, nil
}

// at is the entry with number i.
func (s *section) at(i int) entry {
	var e entry
	copy(e.id[:], s.ids[32*i:])
	e.kind = chunk.Kind(s.kinds[i])
	column := func(c int) uint32 { return binary.LittleEndian.Uint32(s.nums[4*(c*s.n+i):]) }
	e.pack, e.offset, e.length, e.plain = column(0), column(1), column(2), column(3)
	return e
}

// find is the numbers of the entries of id.
func (s *section) find(id chunk.ID) (from, to int) {
	from = sort.Search(s.n, func(i int) bool { return bytes.Compare(s.ids[32*i:32*i+32], id[:]) >= 0 })
	for to = from; to < s.n && bytes.Equal(s.ids[32*to:32*to+32], id[:]); to++ {
	}
	return from, to
}

// memory is about what the section costs.
func (s *section) memory() int { return s.n*entrySize + len(s.packs)*packRefSize }
