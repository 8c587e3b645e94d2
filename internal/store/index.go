package store

import (
	"github.com/syncfs/syncfs/internal/chunk"
)

// index is what a Store knows of where chunks lie: what it has put itself and
// the deltas are in the table, the runs know their shards. Guarded by Store.mu.
type index struct {
	table  table
	packs  []packState
	byName map[digest]uint32 // finished packs of the table
	deltas map[string]struct{}
	runs   map[string]*run
	marks  map[string]struct{} // names of marks that were read
	marked map[digest]struct{} // packs that they name
	// vouched tells that every mark was read: only then is a chunk that lies on
	// the remote sure to stay there.
	vouched bool
}

// packState is one pack of the table.
type packState struct {
	packRef
	open     *openPack // being written; nil afterwards
	spooled  bool      // its file lies in the spool
	damaged  bool      // its file is not what was written
	uploaded bool      // it is on the remote
	indexed  bool      // an index blob on the remote names it
	pending  bool      // no head refers to it yet
	deltas   []string  // deltas on the remote that name it
}

// addDelta notes an index blob that names the pack.
func (p *packState) addDelta(name string) {
	p.indexed = true
	p.deltas = append(p.deltas, name)
}

func newIndex() index {
	return index{
		byName: map[digest]uint32{}, deltas: map[string]struct{}{}, runs: map[string]*run{},
		marks: map[string]struct{}{}, marked: map[digest]struct{}{},
	}
}

// addPack gives a pack an ordinal, or finds the one that it has.
func (x *index) addPack(ref packRef) uint32 {
	if n, ok := x.byName[ref.digest]; ok {
		return n
	}
	n := uint32(len(x.packs))
	x.packs = append(x.packs, packState{packRef: ref})
	x.byName[ref.digest] = n
	return n
}

// addSection takes the content of a delta on the remote.
func (x *index) addSection(name string, sec *section) {
	ordinals := make([]uint32, len(sec.packs))
	for i, ref := range sec.packs {
		n := x.addPack(ref)
		ordinals[i] = n
		p := &x.packs[n]
		p.uploaded = true
		p.addDelta(name)
	}
	for i := range sec.n {
		e := sec.at(i)
		e.pack = ordinals[e.pack]
		x.table.add(e)
	}
	x.deltas[name] = struct{}{}
}

// dropDeltas forgets deltas that are no more and what only they told.
func (x *index) dropDeltas(gone func(name string) bool) {
	dropped := false
	for name := range x.deltas {
		if gone(name) {
			delete(x.deltas, name)
			dropped = true
		}
	}
	if !dropped {
		return
	}
	for i := range x.packs {
		p := &x.packs[i]
		var left []string
		for _, name := range p.deltas {
			if _, ok := x.deltas[name]; ok {
				left = append(left, name)
			}
		}
		p.deltas = left
	}
	x.sweep()
}

// sweep forgets packs that nothing tells of any more, and what is in them.
func (x *index) sweep() {
	live := make([]uint32, len(x.packs)) // new ordinal plus one
	old := x.packs
	x.packs, x.byName = nil, map[digest]uint32{}
	for i, p := range old {
		if p.open == nil && !p.pending && len(p.deltas) == 0 {
			continue
		}
		live[i] = uint32(len(x.packs) + 1)
		if p.open != nil {
			p.open.ordinal = uint32(len(x.packs))
		} else {
			x.byName[p.digest] = uint32(len(x.packs))
		}
		x.packs = append(x.packs, p)
	}
	before := x.table
	x.table = table{}
	before.all(func(e entry) {
		if n := live[e.pack]; n != 0 {
			e.pack = n - 1
			x.table.add(e)
		}
	})
}

// isMarked tells whether a prune may delete the pack at any time.
func (x *index) isMarked(d digest) bool {
	_, marked := x.marked[d]
	return marked
}

func (s *Store) isMarked(d digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.isMarked(d)
}

// has tells whether the table knows an unmarked place of a chunk that can be
// relied on.
func (x *index) has(id chunk.ID) bool {
	found := false
	x.table.find(id, func(e entry) bool {
		p := &x.packs[e.pack]
		found = p.open != nil || !p.damaged && (p.spooled || x.vouched) && !x.isMarked(p.digest)
		return !found
	})
	return found
}
