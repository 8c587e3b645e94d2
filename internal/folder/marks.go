package folder

import (
	"strings"
	"time"
)

// maxMarks bounds the memory of a dirty set; beyond it single names become
// whole directories.
const maxMarks = 1 << 15

// crowd is how many marked names make their directory marked instead, once
// there are too many.
const crowd = 16

// mark is what is known to need a look at one path and below.
type mark struct {
	below map[string]*mark

	self   bool   // this entry
	all    bool   // every name in this directory
	deep   bool   // everything below
	relist bool   // only the listing: the records changed, not the disk
	from   string // self: a rename brought it here from this recorded path
	// touched: from alone does not explain the change.
	touched bool
	written bool // a program may have written to it
	doubt   bool // the same signature does not prove that it is as recorded

	since, at time.Time // self, all, deep: first and last marked
	size      int64     // self: bytes, as far as known
}

func (m *mark) dirty() bool { return m.self || m.all || m.deep }

func (m *mark) empty() bool { return !m.dirty() && !m.relist && len(m.below) == 0 }

// marks is a set of paths: a tree of their names.
type marks struct {
	root mark
	n    int   // nodes
	size int64 // sum of all sizes
}

// node returns the mark at path, making it and those above it.
func (s *marks) node(path string) *mark {
	m := &s.root
	for name := range names(path) {
		next := m.below[name]
		if next == nil {
			if m.below == nil {
				m.below = make(map[string]*mark)
			}
			next = &mark{}
			m.below[name] = next
			s.n++
		}
		m = next
	}
	return m
}

// find returns the mark at path, or nil.
func (s *marks) find(path string) *mark {
	m := &s.root
	for name := range names(path) {
		if m = m.below[name]; m == nil {
			return nil
		}
	}
	return m
}

// names yields the parts of a path; none of "".
func names(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for path != "" {
			name, rest, _ := strings.Cut(path, "/")
			if !yield(name) {
				return
			}
			path = rest
		}
	}
}

// stamp notes that m was marked at now, and tells whether it was not before.
func (m *mark) stamp(now time.Time) bool {
	fresh := !m.dirty()
	if fresh || m.since.IsZero() {
		m.since = now
	}
	if now.After(m.at) {
		m.at = now
	}
	return fresh
}

// add marks the entry at path.
func (s *marks) add(path string, now time.Time) bool {
	m := s.node(path)
	fresh := m.stamp(now)
	m.self, m.touched = true, true
	return fresh
}

// addDeep marks path and everything below.
func (s *marks) addDeep(path string, now time.Time) bool {
	m := s.node(path)
	fresh := m.stamp(now) || !m.deep
	m.self, m.deep, m.touched = true, true, true
	return fresh
}

// grow notes the size of what was marked.
func (s *marks) grow(path string, size int64) {
	m := s.node(path)
	s.size += size - m.size
	m.size = size
}

// has tells whether path, or anything in or above it, is marked.
func (s *marks) has(path string) bool {
	m := &s.root
	for name := range names(path) {
		// The root alone says nothing of a name in it: it is always the same
		// inode, and who changes a name marks that.
		if m.all || m.deep || m.self && m != &s.root {
			return true
		}
		if m = m.below[name]; m == nil {
			return false
		}
	}
	return m.any()
}

func (m *mark) any() bool {
	if m.dirty() {
		return true
	}
	for _, b := range m.below {
		if b.any() {
			return true
		}
	}
	return false
}

// origin is the recorded path of what is now at path, by the renames noted.
func (s *marks) origin(path string) string {
	m, from, rest := &s.root, "", path
	for name := range names(path) {
		if from != "" {
			from += "/" + name
		}
		_, rest, _ = strings.Cut(rest, "/")
		if m != nil {
			if m = m.below[name]; m != nil && m.from != "" {
				from = m.from
			}
		}
	}
	if from == "" {
		return path
	}
	return from
}

// move notes that what was at from is now at to. touched says that it changed
// in another way as well.
func (s *marks) move(from, to string, touched bool, now time.Time) {
	origin := s.origin(from)
	old := s.cut(from)
	m := s.node(to)
	s.drop(m)
	waits := time.Time{} // since when something of this name waits to be taken
	if m.dirty() {
		waits = m.since
	}
	*m = mark{written: true}
	if old != nil {
		touched = touched || old.self && (old.from == "" || old.touched)
		m.below, m.deep, m.all, m.relist, m.size = old.below, old.deep, old.all, old.relist, old.size
		m.since, m.at, m.doubt = old.since, old.at, old.doubt
		s.n += count(m.below)
		s.size += m.size + sizes(m.below)
	}
	m.stamp(now)
	if !waits.IsZero() && waits.Before(m.since) {
		m.since = waits
	}
	m.self, m.touched, m.from = true, touched, origin
	gone := s.node(from)
	gone.stamp(now)
	gone.self, gone.touched, gone.written = true, true, true
}

// moveBelow gives what is marked below from, not from itself, its new path; it
// tells whether there was anything.
func (s *marks) moveBelow(from, to string) bool {
	m := s.find(from)
	if m == nil || len(m.below) == 0 {
		return false
	}
	s.n -= count(m.below)
	s.size -= sizes(m.below)
	t := &marks{}
	t.node(to).below = m.below
	m.below = nil
	if m.empty() && from != "" {
		s.cut(from)
	}
	s.merge(t)
	return true
}

// cut takes the mark at path and all below out of the set; nil if there is
// none.
func (s *marks) cut(path string) *mark {
	dir, name := split(path)
	parent := s.find(dir)
	if parent == nil || parent.below[name] == nil {
		return nil
	}
	m := parent.below[name]
	delete(parent.below, name)
	s.n--
	s.drop(m)
	return m
}

// drop uncounts what is below m and its size.
func (s *marks) drop(m *mark) {
	s.n -= count(m.below)
	s.size -= m.size + sizes(m.below)
}

func count(below map[string]*mark) int {
	n := len(below)
	for _, m := range below {
		n += count(m.below)
	}
	return n
}

func sizes(below map[string]*mark) (n int64) {
	for _, m := range below {
		n += m.size + sizes(m.below)
	}
	return n
}

// clear unmarks one path, not what is below.
func (s *marks) clear(path string) {
	m := s.find(path)
	if m == nil {
		return
	}
	s.size -= m.size
	*m = mark{below: m.below, relist: m.relist}
	if path != "" && m.empty() {
		s.cut(path)
	}
}

// merge adds everything of t.
func (s *marks) merge(t *marks) { s.mergeAt(&s.root, &t.root) }

func (s *marks) mergeAt(m, t *mark) {
	switch {
	case t.dirty() && !m.dirty():
		m.written, m.doubt = t.written, t.doubt
		m.self, m.all, m.deep, m.from, m.touched, m.since, m.at = t.self, t.all, t.deep, t.from, t.touched, t.since, t.at
	case t.dirty():
		m.self, m.all, m.deep = m.self || t.self, m.all || t.all, m.deep || t.deep
		if m.from == "" {
			m.from = t.from
		}
		m.touched = m.touched || t.touched
		m.written, m.doubt = m.written || t.written, m.doubt || t.doubt
		if t.since.Before(m.since) {
			m.since = t.since
		}
		if t.at.After(m.at) {
			m.at = t.at
		}
	}
	m.relist = m.relist || t.relist
	if m.size == 0 {
		m.size = t.size
		s.size += t.size
	}
	for name, b := range t.below {
		next := m.below[name]
		if next == nil {
			if m.below == nil {
				m.below = make(map[string]*mark)
			}
			next = &mark{}
			m.below[name] = next
			s.n++
		}
		s.mergeAt(next, b)
	}
}

// shrink keeps the set within its bound.
func (s *marks) shrink(limit int) {
	if s.n <= limit {
		return
	}
	s.gather(&s.root)
	s.n, s.size = count(s.root.below), s.root.size+sizes(s.root.below)
	if s.n <= limit/2 {
		return
	}
	since, at := s.root.times()
	s.root = mark{self: true, deep: true, touched: true, since: since, at: at}
	s.n, s.size = 0, 0
}

// gather makes directories of many marked names marked themselves.
func (s *marks) gather(m *mark) {
	leaves := 0
	for _, b := range m.below {
		s.gather(b)
		if len(b.below) == 0 && !b.deep && !b.relist && !b.doubt {
			leaves++
		}
	}
	if leaves < crowd {
		return
	}
	for name, b := range m.below {
		if len(b.below) > 0 || b.deep || b.relist || b.doubt {
			continue
		}
		if !m.dirty() || b.since.Before(m.since) {
			m.since = b.since
		}
		if b.at.After(m.at) {
			m.at = b.at
		}
		m.all = true
		m.size += b.size
		delete(m.below, name)
	}
}

// times are the first and last time anything in m was marked.
func (m *mark) times() (since, at time.Time) {
	if m.dirty() {
		since, at = m.since, m.at
	}
	for _, b := range m.below {
		s, a := b.times()
		if !s.IsZero() && (since.IsZero() || s.Before(since)) {
			since = s
		}
		if a.After(at) {
			at = a
		}
	}
	return since, at
}

// entries counts what is marked.
func (m *mark) entries() int64 {
	n := int64(0)
	if m.dirty() {
		n++
	}
	for _, b := range m.below {
		n += b.entries()
	}
	return n
}

// split cuts a path into directory and name.
func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
