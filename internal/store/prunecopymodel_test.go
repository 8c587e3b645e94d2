package store_test

import "testing"

// The same protocol where one chunk may lie in several packs: prunes copy what is
// in use out of a pack, and drop the second copy of what two packs have. A loss
// is a head that uses the chunk while no pack has it.
//
// A prune lists packs and marks, reads the heads, and either dooms what it has
// listed but for one unmarked pack that stays, or copies the chunk and dooms all.
// It marks, replaces the heads, reads the marks and the heads again, and deletes
// what it doomed unless the chunk is in use and lies in no other unmarked pack.

// copyRules are the steps that can be left out.
type copyRules struct {
	bump   bool // heads are replaced after the mark
	reread bool // heads are read again before deleting
	remark bool // marks are read again before deleting
}

var copyProtocol = copyRules{bump: true, reread: true, remark: true}

type usesHead struct {
	number uint8
	uses   bool
}

type copyWriter struct {
	pc     uint8
	seen   usesHead
	marked packSet
	tries  uint8
}

type copyPruner struct {
	pc     uint8
	listed packSet
	marked packSet
	doomed packSet
	uses   bool
}

type copyState struct {
	head    usesHead
	packs   packSet // that exist
	ever    packSet // that an index may name
	marked  packSet
	writers [2]copyWriter
	pruners [2]copyPruner
}

type copyModel struct {
	rules   copyRules
	writers int
	drops   int // writers from this number on take the chunk out of use
	pruners int
	tries   uint8 // after a lost compare-and-set
}

func (m copyModel) next(s copyState, fn func(copyState)) {
	for i := range m.writers {
		m.write(s, i, fn)
	}
	for k := range m.pruners {
		m.prune(s, k, fn)
	}
}

func (m copyModel) write(s copyState, i int, fn func(copyState)) {
	w := &s.writers[i]
	switch w.pc {
	case readHead:
		w.seen, w.pc = s.head, readMarks
	case readMarks:
		w.marked, w.pc = s.marked, decide
	case decide:
		if i < m.drops && s.ever&^w.marked == 0 {
			up := packSet(1) << (1 + 2*uint(i) + uint(w.tries))
			s.packs, s.ever = s.packs|up, s.ever|up
		}
		w.pc = commit
	case commit:
		if s.head.number != w.seen.number {
			if w.tries >= m.tries {
				return
			}
			*w = copyWriter{tries: w.tries + 1}
			break
		}
		s.head = usesHead{number: s.head.number + 1, uses: i < m.drops}
		w.pc = writerDone
	default:
		return
	}
	fn(s)
}

// Program counters of a pruner.
const (
	pruneList = iota
	pruneRead
	pruneMark
	pruneBump
	pruneMarks
	pruneAgain
	pruneDelete
)

func (m copyModel) prune(s copyState, k int, fn func(copyState)) {
	p := &s.pruners[k]
	switch p.pc {
	case pruneList:
		p.listed, p.marked = s.packs, s.marked
	case pruneRead:
		p.uses = s.head.uses
		m.choose(s, k, fn)
		return
	case pruneMark:
		s.marked |= p.doomed
		p.uses = false
	case pruneBump:
		if m.rules.bump {
			s.head.number++
		}
	case pruneMarks:
		p.marked = 0
		if m.rules.remark {
			p.marked = s.marked
		}
	case pruneAgain:
		p.uses = m.rules.reread && s.head.uses
	case pruneDelete:
		// What was listed and is unmarked is there; of others it is asked.
		safe := (p.listed | s.packs) &^ p.doomed &^ p.marked
		if !p.uses || safe != 0 {
			s.packs &^= p.doomed
		}
	default:
		return
	}
	p.pc++
	fn(s)
}

// choose tries every way to choose what is doomed.
func (m copyModel) choose(s copyState, k int, fn func(copyState)) {
	p := &s.pruners[k]
	p.pc++
	if !p.uses {
		p.doomed = p.listed
		fn(s)
		return
	}
	stays := p.listed &^ p.marked
	for b := packSet(1); b != 0 && b <= stays; b <<= 1 {
		if stays&b != 0 {
			n := s
			n.pruners[k].doomed = p.listed &^ b
			fn(n)
		}
	}
	up := packSet(1) << (8 + uint(k))
	s.packs, s.ever = s.packs|up, s.ever|up
	p.doomed = p.listed
	fn(s)
}

func (m copyModel) loses(start copyState) (lost bool, states int) {
	seen := map[copyState]struct{}{start: {}}
	queue := []copyState{start}
	for len(queue) > 0 && !lost {
		s := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		m.next(s, func(n copyState) {
			if _, known := seen[n]; known {
				return
			}
			seen[n] = struct{}{}
			queue = append(queue, n)
			lost = lost || n.head.uses && n.packs == 0
		})
	}
	return lost, len(seen)
}

// copyStarts are where the models begin: the chunk in one pack or two, in use or
// not, one of the packs perhaps marked by a prune that was cut off.
func copyStarts() (list []copyState) {
	for _, packs := range []packSet{1 << 12, 1<<12 | 1<<13} {
		for _, marked := range []packSet{0, 1 << 12} {
			for _, uses := range []bool{false, true} {
				list = append(list, copyState{head: usesHead{uses: uses}, packs: packs, ever: packs, marked: marked})
			}
		}
	}
	return list
}

func TestCopyingPrunesLoseNothing(t *testing.T) {
	for _, m := range []copyModel{
		{copyProtocol, 1, 1, 2, 1}, {copyProtocol, 2, 1, 1, 1}, {copyProtocol, 2, 2, 1, 1}, {copyProtocol, 2, 1, 2, 0},
	} {
		total := 0
		for _, start := range copyStarts() {
			lost, states := m.loses(start)
			total += states
			if lost {
				t.Errorf("%+v: a chunk in use was deleted, from %+v", m, start)
			}
		}
		t.Logf("%d writers, %d pruners: %d states", m.writers, m.pruners, total)
	}
}

func TestEveryShortcutOfCopyingPrunesLoses(t *testing.T) {
	for name, change := range map[string]func(*copyRules){
		"heads are not replaced after the mark":        func(r *copyRules) { r.bump = false },
		"heads are not read again before deleting":     func(r *copyRules) { r.reread = false },
		"marks of others are not read before deleting": func(r *copyRules) { r.remark = false },
	} {
		t.Run(name, func(t *testing.T) {
			r := copyProtocol
			change(&r)
			for _, start := range copyStarts() {
				if lost, _ := (copyModel{r, 2, 1, 2, 0}).loses(start); lost {
					return
				}
			}
			t.Fatal("no interleaving loses anything: the model does not see this step")
		})
	}
}
