//go:build linux

package syncer_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/blob"
)

// op is one thing that happens to one of the machines, or around them.
type op struct {
	Machine int
	What    string
	Path    string
	Other   string
	N       int
}

// paths are few, so that work collides; some are hard to tell apart, to keep or
// to copy.
var paths = []string{
	"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a",
	"A",                 // another file than a
	"\u00e9", "e\u0301", // one letter, two spellings
	strings.Repeat("n", 251) + ".txt",
	"new\nline", ".hidden", "bytes\xfe",
	"a (conflict m1 20250101_000000 0123abcd)",
}

// weights of operations, by how often they are listed.
var whats = strings.Fields(`
	write write write write write append append overwrite truncate save save
	remove remove rmtree rename rename rename swap mkdir chmod touch xattr symlink link todir tofile hold release
	race race race race same
	offline offline part online crash crash crashat crashat restart
	flush flush rest rest sleep sleep stabilize stabilize server lost clock machine`)

// points of a crash: between all steps whose order is a promise.
var points = []string{"built", "flushed", "queued", "recorded", "uploaded", "committed", "based", "spooled", "staged", "step", "applied", "moved"}

// races are what two machines do to one path at the same time.
var races = []string{
	"write write", "append save", "save overwrite", "write remove", "remove append", "rename write", "append rename",
	"write chmod", "touch save", "todir write", "write todir", "write rmtree", "symlink write", "rename rename", "xattr chmod",
}

// uniform is 0 to n-1. It is drawn bit by bit: rapid likes small numbers, which
// here would be the same few operations again and again.
func uniform(t *rapid.T, n int, label string) int {
	v := 0
	for _, bit := range rapid.SliceOfN(rapid.Bool(), 12, 12).Draw(t, label) {
		v <<= 1
		if bit {
			v++
		}
	}
	return v % n
}

func sequences() *rapid.Generator[[]op] {
	path := func(t *rapid.T, label string) string {
		switch uniform(t, 10, "kind of "+label) {
		case 0:
			return paths[uniform(t, len(paths), label)]
		case 1, 2, 3, 4, 5:
			return paths[uniform(t, 6, label)]
		}
		return fmt.Sprint("existing ", uniform(t, 20, label))
	}
	return rapid.Custom(func(t *rapid.T) []op {
		ops := make([]op, 12+uniform(t, 30, "operations"))
		first := 0
		if uniform(t, 3, "start") > 0 { // from a tree that all have
			for _, path := range []string{"d", "d/e", "a", "b", "d/a", "d/b", "d/e/a"} {
				what := "write"
				if path == "d" || path == "d/e" {
					what = "mkdir"
				}
				ops[first] = op{What: what, Path: path, N: first}
				first++
			}
			ops[first] = op{What: "stabilize"}
			first++
		}
		for i := first; i < len(ops); i++ {
			o := op{Machine: uniform(t, 12, "machine"), What: whats[uniform(t, len(whats), "what")], Path: path(t, "path"), N: uniform(t, 100, "n")}
			switch o.What {
			case "rename", "swap", "link":
				o.Other = path(t, "other")
			case "race":
				o.Other = races[uniform(t, len(races), "race")]
			case "crashat":
				o.Other = points[uniform(t, len(points), "point")]
			}
			ops[i] = o
		}
		return ops
	})
}

// play is one sequence under way.
type play struct {
	t       testing.TB
	w       *world
	l       *ledger
	m       []*player
	worked  map[string]bool // machines whose files were changed since all met
	joined  map[string]bool // machines that are new since: one that cannot reach the remote first takes what it has, which is nothing
	records int             // how many there were when all met
	cover   map[string]int
}

// run plays a sequence on machines that sync through a real server.
func run(t testing.TB, ops []op, cover map[string]int) {
	w := newWorld(t)
	if *logDir != "" {
		w.log, _ = t.(io.Writer)
	}
	w.serve()
	p := &play{t: t, w: w, l: newLedger(), worked: map[string]bool{}, joined: map[string]bool{}, cover: cover}
	for range 2 { // the first one makes the first snapshot
		p.join()
		p.stabilize()
	}
	for i, o := range ops {
		m := p.m[o.Machine%len(p.m)]
		start := time.Now()
		done := p.step(o, m)
		t.Logf("%s %d: %s %+v: %v, %v", start.Format("05.000"), i, m.program.name, o, done, time.Since(start).Round(time.Millisecond))
	}
	p.stabilize()
	p.history()
	conflicts, editDelete := p.l.races()
	for what, n := range map[string]int{"conflict": conflicts, "edit against delete": editDelete} {
		if n > 0 {
			cover[what]++
		}
	}
}

// join adds a new machine with an empty folder.
func (p *play) join() {
	m := p.w.player(p.l, fmt.Sprint("m", len(p.m)+1))
	p.t.Cleanup(m.bury)
	p.m = append(p.m, m)
	p.joined[m.program.name] = len(p.m) != 2
	m.launch()
}

func (p *play) check(err error) {
	if err != nil {
		p.t.Fatalf("%v", err)
	}
}

func (p *play) step(o op, m *player) (done bool) {
	switch o.What {
	case "offline", "online":
		m.setOffline(o.What == "offline")
	case "part":
		for _, m := range p.m {
			m.setOffline(true)
		}
	case "race":
		for i, what := range strings.Fields(o.Other) {
			who := p.m[(o.Machine+i)%len(p.m)]
			done = p.step(op{What: what, Path: o.Path, Other: paths[(o.N+i)%7], N: o.N}, who) || done
		}
		return done
	case "crash":
		if !m.life.isDead() && m.run != nil {
			m.crash(o.N%2 == 0)
		}
	case "crashat":
		m.life.mu.Lock()
		m.life.point, m.life.calls = o.Other, 1+o.N%5/4
		m.life.mu.Unlock()
		if o.N%2 == 0 && !m.offline { // at once
			p.step(op{What: "write", Path: o.Path, N: o.N}, m)
			m.up()
			p.check(m.push())
		}
	case "restart":
		m.up()
		m.machine.stop()
		m.up()
	case "down": // until something needs it
		if !m.life.isDead() {
			m.machine.stop()
		}
	case "flush":
		if m.offline {
			return false
		}
		m.up()
		p.check(m.push())
	case "rest":
		m.up()
		p.check(m.rest())
	case "sleep":
		time.Sleep(time.Duration(o.N%40) * time.Millisecond)
	case "stabilize":
		p.stabilize()
	case "server":
		p.w.server.restart()
	case "lost": // the answer to the next commit
		once := sync.Once{}
		m.net.set(func() {
			m.net.after = func(_ blob.Commit, err error) error {
				once.Do(func() { err = blob.ErrOffline })
				return err
			}
		})
	case "clock":
		m.ahead.Store(int64([]time.Duration{-24 * time.Hour, 24 * time.Hour, 0}[o.N%3]))
	case "machine":
		if len(p.m) == 4 {
			return false
		}
		p.join()
	case "same": // the same content on all machines
		text, path := p.l.fresh(0), m.pick(o.Path)
		for _, m := range p.m {
			if m.same(path, text) {
				p.worked[m.program.name], done = true, true
			}
		}
		return done
	default:
		done := m.program.do(o)
		if done {
			p.worked[m.program.name] = true
			if m.offline && (o.What == "rename" || o.What == "swap") {
				p.cover["rename during a partition"] |= 1
			}
		}
		return done
	}
	return true
}

// stabilize ends all faults, waits until the machines agree, and looks whether
// they agree on what is right.
func (p *play) stabilize() {
	for _, m := range p.m {
		m.life.mu.Lock()
		m.life.point = ""
		if slices.Contains([]string{"flushed", "queued", "recorded", "uploaded", "committed"}, m.life.died) {
			p.cover["crash during upload"] |= 1
		}
		m.life.mu.Unlock()
		m.net.set(func() { m.net.after = nil })
		for _, h := range m.open {
			m.release(h)
		}
		m.open = nil
	}
	var alone map[string]node
	if len(p.worked) == 1 {
		for _, m := range p.m {
			if p.worked[m.program.name] {
				alone = snapshotOf(m.program.dir)
			}
		}
	}
	for _, m := range p.m {
		m.up()
		m.setOffline(false)
	}
	for _, m := range p.m {
		p.check(m.push())
	}
	p.together()
	tree := snapshotOf(p.m[0].program.dir)
	if alone != nil {
		if d := unlike(tree, alone); d != "" {
			p.t.Fatalf("one machine alone has worked, and its tree is not what all have:\n%s", d)
		}
	}
	if len(p.l.during) == 0 { // what was taken while it was written is taken again by whoever looks first
		p.onlyBy()
	}
	if wrong := p.l.wrong(textsOf(tree)); len(wrong) > 0 {
		p.t.Fatalf("%s", strings.Join(wrong, "\n"))
	}
	for _, text := range textsOf(tree) {
		p.l.captured(text)
	}
	p.again(tree)
	p.l.allMet()
	clear(p.worked)
	clear(p.joined)
	p.records = len(p.w.records())
}

// onlyBy verifies that no other machine has made a snapshot since all met.
func (p *play) onlyBy() {
	list := p.w.records()
	for _, r := range list[min(p.records, len(list)):] {
		if p.worked[r.Host] || p.joined[r.Host] {
			continue
		}
		changed := ""
		for _, parent := range list {
			if slices.Contains(r.Parents, parent.SnapshotID) {
				changed += "  against " + parent.Host + "'s " + parent.Instant.String() + "\n" + p.changes(parent.Root, r.Root)
			}
		}
		p.t.Errorf("%s made snapshot %s, though it changed nothing:\n%s", r.Host, r.Instant, changed)
	}
}

// together waits until all machines have the same tree, which is the head's,
// and nothing to do.
func (p *play) together() {
	why := ""
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if why = p.apart(); why == "" {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("the machines do not come together:\n%s", why)
		}
	}
}

func (p *play) apart() string {
	head := p.w.head()
	first := snapshotOf(p.m[0].program.dir)
	for _, m := range p.m {
		if why := m.behind(head.Number); why != "" {
			return m.program.name + " " + why
		}
		if d := unlike(snapshotOf(m.program.dir), first); d != "" {
			return m.program.name + " against " + p.m[0].program.name + ":\n" + d
		}
	}
	for _, m := range p.m {
		if left := m.left(); len(left) > 0 {
			return fmt.Sprintf("%s leaves %q", m.program.name, left)
		}
	}
	if d := difference(p.m[0].run.treeOf(p.t, head.Root), p.m[0].tree()); d != "" {
		return "the head against the disk:\n" + d
	}
	return ""
}

// again verifies that a second round does nothing.
func (p *play) again(tree map[string]node) {
	before, objects := p.w.head(), p.w.objects()
	for _, m := range p.m {
		p.check(m.push())
	}
	p.together()
	if after := p.w.head(); after.Number != before.Number {
		p.t.Fatalf("nothing happened, and the head moved from %d to %d:\n%s", before.Number, after.Number, p.changes(before.Root, after.Root))
	}
	if d := unlike(snapshotOf(p.m[0].program.dir), tree); d != "" {
		p.t.Fatalf("nothing happened, and the tree is another:\n%s", d)
	}
	if now := p.w.objects(); now != objects {
		p.t.Fatalf("nothing happened, and the remote has %d objects, had %d", now, objects)
	}
}
