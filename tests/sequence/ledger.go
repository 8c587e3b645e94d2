package sequence

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"

	"github.com/syncfs/syncfs/internal/reconcile"
)

// content is what stood in a file, or the target of a symlink. No two writes
// have the same, so it tells who wrote it and when.
type content struct {
	text    string
	writers map[string]bool
	safe    bool // it was captured, or seen on another machine: never to be lost
	gone    bool // its own machine replaced it before: it may be lost
	links   int  // how often it was linked
	movers  map[string]bool
	moves   []use
	ends    []use // who replaced or removed it, having seen it
}

// use is what one machine did to a content at a path.
type use struct {
	machine, path string
	at            int // when
	edit          bool
	unsure        bool // see Ledger.crashed
}

// Ledger is what programs did, kept outside of what is tested.
type Ledger struct {
	all    map[string]*content
	during map[string]bool // what stood in a file that was open for writing meanwhile
	now    int
	met    int // when all machines had met last
	// worked are the machines that have since put something at a path: of three
	// or more, two may have had a conflict there of which the others know nothing.
	worked map[string]map[string]bool
	// crashed are machines that have since, or that are new since. One that
	// crashed in the middle of an apply does not know how far it came, so what it
	// replaces of that counts as a change of the state before: both contents are
	// kept. One that attaches for the first time deletes nothing until it has.
	crashed map[string]bool
}

// NewLedger is an empty one.
func NewLedger() *Ledger {
	return &Ledger{all: map[string]*content{}, during: map[string]bool{}, worked: map[string]map[string]bool{}, crashed: map[string]bool{}}
}

// AllMet notes that all machines have the same tree.
func (l *Ledger) AllMet() {
	l.met = l.now
	clear(l.worked)
	clear(l.crashed)
}

// Crashed notes that a machine has, or attaches for the first time.
func (l *Ledger) Crashed(machine string) { l.crashed[machine] = true }

// Unfinished tells whether a file was open for writing for longer.
func (l *Ledger) Unfinished() bool { return len(l.during) > 0 }

// Undone takes back what a machine removed in step.
func (l *Ledger) Undone(machine string, step func()) {
	before := l.now
	step()
	for _, c := range l.all {
		c.ends = slices.DeleteFunc(c.ends, func(e use) bool { return e.machine == machine && e.at > before })
	}
}

// Fresh is a content that nobody has written before.
func (l *Ledger) Fresh(size int) string {
	l.now++
	id := fmt.Sprintf("#%d:", l.now)
	fill := make([]byte, size)
	r := rand.New(rand.NewPCG(uint64(l.now), 1))
	for i := range fill {
		fill[i] = byte('a' + r.IntN(26))
	}
	return id + string(fill)
}

// wrote notes that text stands in a file that was closed; old, if not "", is
// what it was made of, in the same inode.
func (l *Ledger) wrote(machine, path, text, old string) {
	c, ok := l.all[text]
	if !ok {
		c = &content{text: text, writers: map[string]bool{}, movers: map[string]bool{}}
		l.all[text] = c
	}
	c.writers[machine] = true
	l.put(machine, path)
	if before, ok := l.all[old]; ok {
		c.links = before.links
		l.ended(machine, path, old, true)
	}
}

// saw notes that a machine has a content.
func (l *Ledger) saw(machine, text string) {
	if c, ok := l.all[text]; ok && !c.writers[machine] {
		c.safe = true
	}
}

// Captured notes that a content on a machine is in a snapshot.
func (l *Ledger) Captured(text string) {
	if c, ok := l.all[text]; ok {
		c.safe = true
	}
}

// ended notes that a machine replaced (edit) or removed what it saw at a path.
func (l *Ledger) ended(machine, path, text string, edit bool) {
	l.saw(machine, text)
	c, ok := l.all[text]
	if !ok {
		return
	}
	l.now++
	c.ends = append(c.ends, use{machine: machine, path: path, at: l.now, edit: edit})
	if c.writers[machine] && !c.safe {
		c.gone = true
	}
}

func (l *Ledger) put(machine, path string) {
	if l.worked[path] == nil {
		l.worked[path] = map[string]bool{}
	}
	l.worked[path][machine] = true
}

func (l *Ledger) moved(machine, to, text string) {
	l.put(machine, to)
	l.saw(machine, text)
	if c, ok := l.all[text]; ok {
		l.now++
		c.movers[machine] = true
		c.moves = append(c.moves, use{machine: machine, path: to, at: l.now})
	}
}

func (l *Ledger) linked(machine, text string) {
	l.saw(machine, text)
	if c, ok := l.all[text]; ok {
		c.links++
	}
}

// Invented tells of a content that nobody has written so.
func (l *Ledger) Invented(text string) bool { return l.all[text] == nil && !l.during[text] }

// Wrong looks at what stands in a tree, text by path, when all machines have met.
func (l *Ledger) Wrong(tree map[string]string) (out []string) {
	at := map[string][]string{}
	for path, text := range tree {
		if l.Invented(text) {
			out = append(out, fmt.Sprintf("%q holds what nobody wrote: %d bytes, %.40q", path, len(text), text))
			continue
		}
		at[text] = append(at[text], path)
	}
	for text, c := range l.all {
		if len(at[text]) == 0 && len(c.ends) == 0 && !c.gone {
			out = append(out, fmt.Sprintf("%.20q of %v is not in the tree, though nobody replaced or removed it", text, slices.Sorted(maps.Keys(c.writers))))
		}
	}
	for text, paths := range at {
		c := l.all[text]
		if c == nil {
			continue
		}
		sort.Strings(paths)
		// Renames are not tracked: two machines that gave it two names are
		// both right, and so are two that wrote the same one after another.
		n := len(c.writers) + c.links + max(0, len(c.movers)-1)
		if len(c.movers) > 0 {
			if slices.ContainsFunc(paths, func(p string) bool { _, ok := reconcile.IsCopy(base(p)); return ok }) {
				n++ // moved while its conflict copy was on its way
			}
		}
		if len(paths) > n {
			out = append(out, fmt.Sprintf("%.20q stands %d times, at %q, at most %d are right", text, len(paths), paths, n))
		}
		for i := range c.ends {
			e := &c.ends[i]
			e.unsure = e.unsure || e.at > l.met && l.crashed[e.machine]
			for _, p := range paths {
				if !e.unsure && !l.rivals(*e, p) && c.back(*e, p) {
					out = append(out, fmt.Sprintf("%.20q of %v stands at %q, though %s saw it at %q and replaced or removed it", text, slices.Sorted(maps.Keys(c.writers)), p, e.machine, e.path))
				}
			}
		}
	}
	sort.Strings(out)
	return out
}

// rivals tells whether path may be a conflict copy that two other machines made
// of what they both put where end was.
func (l *Ledger) rivals(end use, path string) bool {
	others := 0
	for m := range l.worked[end.path] {
		if m != end.machine {
			others++
		}
	}
	return end.at > l.met && others > 1 && path != end.path
}

// back tells whether c at path is what end should have ended.
func (c *content) back(end use, path string) bool {
	if c.links > 0 || c.writers[end.machine] || c.movers[end.machine] {
		// The machine that put it there may have replaced it while it already was on its way
		// as the loser of a conflict.
		return false
	}
	if of, ok := reconcile.IsCopy(base(path)); path != end.path && (!ok || dirOf(path)+of != end.path) {
		return false
	}
	for _, m := range c.moves { // somebody who had not heard of the end
		if m.at > end.at && m.machine != end.machine {
			return false
		}
	}
	return true
}

func base(path string) string  { return path[strings.LastIndexByte(path, '/')+1:] }
func dirOf(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// Lost are the contents that must be found and are not.
func (l *Ledger) Lost(found map[string]bool) (out []string) {
	for text, c := range l.all {
		if (c.safe || !c.gone) && !found[text] {
			out = append(out, fmt.Sprintf("%.20q of %v is lost: %+v", text, slices.Sorted(maps.Keys(c.writers)), c.ends))
		}
	}
	sort.Strings(out)
	return out
}

// Races counts contents that two machines replaced without knowing of each
// other: both by an edit, or one by an edit and one by removing it.
func (l *Ledger) Races() (conflicts, editDelete int) {
	for _, c := range l.all {
		edits, deletes := map[string]bool{}, map[string]bool{}
		for _, e := range c.ends {
			if e.edit {
				edits[e.machine] = true
			} else {
				deletes[e.machine] = true
			}
		}
		if len(edits) > 1 {
			conflicts++
		}
		for m := range edits {
			if len(deletes) > 1 || len(deletes) == 1 && !deletes[m] {
				editDelete++
				break
			}
		}
	}
	return conflicts, editDelete
}
