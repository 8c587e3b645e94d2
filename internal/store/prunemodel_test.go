package store_test

import "testing"

// The protocol by which packs are deleted, as a model whose interleavings are
// all tried. Writers reuse packs that their index names; pruners delete what no
// head refers to. A state in which a head refers to a deleted pack is a loss.
//
// prune: list packs, then read every head; put a mark naming the unreferenced
// packs; replace every head by itself; read all heads again; delete what is
// still unreferenced. A writer reads its head, then the marks, then decides; a
// marked pack counts as absent; whoever loses the compare-and-set decides anew.

// rules are the steps that can be left out.
type rules struct {
	bump   bool // heads are replaced after the mark
	reread bool // heads are read again before deleting
	honour bool // writers do not reuse marked packs
	redo   bool // a writer that lost its compare-and-set decides anew
}

var protocol = rules{bump: true, reread: true, honour: true, redo: true}

// packSet is a set of packs: bit 0 the old one, the others what writers upload.
type packSet uint16

type modelHead struct {
	exists bool
	number uint8
	refs   packSet
}

type modelWriter struct {
	pc     uint8
	folder uint8
	seen   modelHead
	marked packSet
	use    packSet
	tries  uint8
}

type modelPruner struct {
	pc      uint8
	listed  packSet
	garbage packSet
	refs    packSet
	next    uint8 // head
}

type modelState struct {
	heads   [2]modelHead
	packs   packSet
	marked  packSet
	writers [2]modelWriter
	pruners [2]modelPruner
}

// Program counters.
const (
	readHead = iota
	readMarks
	decide
	commit
	writerDone

	listPacks = iota - writerDone - 1
	readHeads
	putMark
	bumpHeads
	readAgain
	deletePacks
	prunerDone
)

type model struct {
	rules            rules
	writers, pruners int
	maxTries         uint8
}

func (m model) start(newFolder bool) modelState {
	s := modelState{packs: 1}
	s.heads[0] = modelHead{exists: true}
	if newFolder {
		s.writers[m.writers-1].folder = 1
	}
	return s
}

// next calls fn for every state that one step leads to.
func (m model) next(s modelState, fn func(modelState)) {
	for i := range m.writers {
		if n, ok := m.write(s, i); ok {
			fn(n)
		}
	}
	for k := range m.pruners {
		if n, ok := m.prune(s, k); ok {
			fn(n)
		}
	}
}

func (m model) write(s modelState, i int) (modelState, bool) {
	w := &s.writers[i]
	h := &s.heads[w.folder]
	switch w.pc {
	case readHead:
		if !h.exists { // a new folder creates its empty head first
			h.exists = true
			return s, true
		}
		w.seen, w.pc = *h, readMarks
	case readMarks:
		w.marked, w.pc = s.marked, decide
	case decide:
		if w.marked&1 == 0 || !m.rules.honour {
			w.use = 1 // its index may be old: it does not look whether the pack is there
		} else {
			w.use = 1 << (1 + 4*uint(i) + uint(w.tries))
			s.packs |= w.use
		}
		w.pc = commit
	case commit:
		switch {
		case h.number == w.seen.number:
			h.number, h.refs, w.pc = h.number+1, w.use, writerDone
		case w.tries >= m.maxTries:
			return s, false
		case m.rules.redo:
			w.tries++
			*w = modelWriter{folder: w.folder, tries: w.tries}
		default: // only the head is read again
			w.tries++
			w.seen = *h
		}
	default:
		return s, false
	}
	return s, true
}

func (m model) prune(s modelState, k int) (modelState, bool) {
	p := &s.pruners[k]
	// skipMissing moves to the next folder that has a head.
	for int(p.next) < len(s.heads) && !s.heads[p.next].exists {
		p.next++
	}
	atEnd := int(p.next) >= len(s.heads)
	goTo := func(pc uint8) { p.pc, p.next = pc, 0 }
	switch p.pc {
	case listPacks:
		p.listed = s.packs
		goTo(readHeads)
	case readHeads:
		if !atEnd {
			p.refs |= s.heads[p.next].refs
			p.next++
			break
		}
		p.garbage = p.listed &^ p.refs
		goTo(putMark)
	case putMark:
		s.marked |= p.garbage
		p.refs = 0
		switch {
		case m.rules.bump:
			goTo(bumpHeads)
		case m.rules.reread:
			goTo(readAgain)
		default:
			goTo(deletePacks)
		}
	case bumpHeads:
		if !atEnd {
			s.heads[p.next].number++
			p.next++
			break
		}
		if m.rules.reread {
			goTo(readAgain)
		} else {
			goTo(deletePacks)
		}
	case readAgain:
		if !atEnd {
			p.refs |= s.heads[p.next].refs
			p.next++
			break
		}
		goTo(deletePacks)
	case deletePacks:
		s.packs &^= p.garbage &^ p.refs
		goTo(prunerDone)
	default:
		return s, false
	}
	return s, true
}

// loses tells whether some interleaving leaves a head that refers to a deleted
// pack, and how many states there are.
func (m model) loses(newFolder bool) (bool, int) {
	start := m.start(newFolder)
	seen := map[modelState]struct{}{start: {}}
	queue := []modelState{start}
	lost := false
	for len(queue) > 0 && !lost {
		s := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		m.next(s, func(n modelState) {
			if _, known := seen[n]; known || lost {
				return
			}
			seen[n] = struct{}{}
			queue = append(queue, n)
			for _, h := range n.heads {
				lost = lost || h.refs&^n.packs != 0
			}
		})
	}
	return lost, len(seen)
}

func TestThePruneProtocolLosesNothing(t *testing.T) {
	for _, test := range []struct {
		name             string
		writers, pruners int
		tries            uint8
		newFolder        bool
	}{
		{"one writer, one pruner", 1, 1, 3, false},
		{"two writers, one pruner", 2, 1, 3, false},
		{"two writers, one with a new folder", 2, 1, 3, true},
		{"one writer, two pruners", 1, 2, 3, false},
		{"two writers, two pruners", 2, 2, 1, false},
		{"two writers, one with a new folder, two pruners", 2, 2, 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := model{rules: protocol, writers: test.writers, pruners: test.pruners, maxTries: test.tries}
			lost, states := m.loses(test.newFolder)
			t.Logf("%d states", states)
			if lost {
				t.Fatal("a pack that a head refers to was deleted")
			}
		})
	}
}

func TestEveryShortcutOfThePruneProtocolLoses(t *testing.T) {
	for name, change := range map[string]func(*rules){
		"heads are not replaced after the mark":         func(r *rules) { r.bump = false },
		"heads are not read again before deleting":      func(r *rules) { r.reread = false },
		"writers reuse what is marked":                  func(r *rules) { r.honour = false },
		"a writer that lost does not decide anew":       func(r *rules) { r.redo = false },
		"no mark at all, only a second look before it":  func(r *rules) { r.honour, r.bump = false, false },
		"no second look and no replacement of the head": func(r *rules) { r.bump, r.reread = false, false },
	} {
		t.Run(name, func(t *testing.T) {
			r := protocol
			change(&r)
			for _, newFolder := range []bool{false, true} {
				if lost, _ := (model{rules: r, writers: 2, pruners: 1, maxTries: 3}).loses(newFolder); lost {
					return
				}
			}
			t.Fatal("no interleaving loses anything: the model does not see this step")
		})
	}
}
