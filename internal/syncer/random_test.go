//go:build linux

package syncer_test

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/tests/sequence"
)

// alphabet of the engines. They crash between all steps whose order is a promise.
var alphabet = sequence.Alphabet{
	Least: 12, More: 30,
	Whats: strings.Fields(sequence.Work + `
		offline offline part online crash crash crashat crashat restart
		flush flush rest rest sleep sleep stabilize stabilize server lost clock machine`),
	Points: []string{"built", "flushed", "queued", "recorded", "uploaded", "committed", "based", "spooled", "staged", "step", "applied", "moved"},
}

// play is one sequence under way.
type play struct {
	t       testing.TB
	w       *world
	l       *sequence.Ledger
	m       []*player
	worked  map[string]bool // machines whose files were changed since all met
	joined  map[string]bool // machines that are new since: one that cannot reach the remote first takes what it has, which is nothing
	records int             // how many there were when all met
	cover   map[string]int
}

// run plays a sequence on machines that sync through a real server.
func run(t testing.TB, ops []sequence.Op, cover map[string]int) {
	w := newWorld(t)
	if *logDir != "" {
		w.log, _ = t.(io.Writer)
	}
	w.serve()
	p := &play{t: t, w: w, l: sequence.NewLedger(), worked: map[string]bool{}, joined: map[string]bool{}, cover: cover}
	for range 2 { // the first one makes the first snapshot
		p.join()
		p.stabilize()
	}
	for i, o := range ops {
		m := p.m[o.Machine%len(p.m)]
		start := time.Now()
		done := p.step(o, m)
		t.Logf("%s %d: %s %+v: %v, %v", start.Format("05.000"), i, m.name, o, done, time.Since(start).Round(time.Millisecond))
	}
	p.stabilize()
	p.history()
	conflicts, editDelete := p.l.Races()
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
	p.joined[m.name] = len(p.m) != 2
	p.l.Crashed(m.name)
	m.launch()
}

func (p *play) check(err error) {
	if err != nil {
		p.t.Fatalf("%v", err)
	}
}

func (p *play) step(o sequence.Op, m *player) (done bool) {
	switch o.What {
	case "offline", "online":
		m.setOffline(o.What == "offline")
	case "part":
		for _, m := range p.m {
			m.setOffline(true)
		}
	case "race":
		for _, side := range o.Sides() {
			done = p.step(side, p.m[side.Machine%len(p.m)]) || done
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
			p.step(sequence.Op{What: "write", Path: o.Path, N: o.N}, m)
			m.up()
			p.check(m.push())
		}
	case "restart":
		m.up()
		m.quit()
		m.up()
	case "down": // until something needs it
		m.quit()
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
		text, path := p.l.Fresh(0), m.Pick(o.Path)
		for _, m := range p.m {
			if m.Same(path, text) {
				p.worked[m.name], done = true, true
			}
		}
		return done
	default:
		done := m.Do(o)
		if done {
			p.worked[m.name] = true
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
		m.Release()
	}
	var alone map[string]sequence.Node
	if len(p.worked) == 1 {
		for _, m := range p.m {
			// One that works before it has the others' tree works beside them.
			if p.worked[m.name] && !p.joined[m.name] {
				alone = sequence.TreeOf(m.dir)
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
	tree := sequence.TreeOf(p.m[0].dir)
	if alone != nil {
		if d := sequence.Unlike(tree, alone); d != "" {
			p.t.Fatalf("one machine alone has worked, and its tree is not what all have:\n%s", d)
		}
	}
	if !p.l.Unfinished() { // what was taken while it was written is taken again by whoever looks first
		p.onlyBy()
	}
	if wrong := p.l.Wrong(sequence.Texts(tree)); len(wrong) > 0 {
		p.t.Fatalf("%s", strings.Join(wrong, "\n"))
	}
	for _, text := range sequence.Texts(tree) {
		p.l.Captured(text)
	}
	p.again(tree)
	p.l.AllMet()
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
			stacks := make([]byte, 1<<20)
			p.t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
			p.t.Fatalf("the machines do not come together:\n%s", why)
		}
	}
}

func (p *play) apart() string {
	head := p.w.head()
	first := sequence.TreeOf(p.m[0].dir)
	for _, m := range p.m {
		if why := m.behind(head.Number); why != "" {
			return m.name + " " + why
		}
		if d := sequence.Unlike(sequence.TreeOf(m.dir), first); d != "" {
			return m.name + " against " + p.m[0].name + ":\n" + d
		}
	}
	for _, m := range p.m {
		if left := m.left(); len(left) > 0 {
			return fmt.Sprintf("%s leaves %q", m.name, left)
		}
	}
	if d := difference(p.m[0].run.treeOf(p.t, head.Root), p.m[0].tree()); d != "" {
		return "the head against the disk:\n" + d
	}
	return ""
}

// again verifies that a second round does nothing.
func (p *play) again(tree map[string]sequence.Node) {
	before, objects := p.w.head(), p.w.objects()
	for _, m := range p.m {
		p.check(m.push())
	}
	p.together()
	if after := p.w.head(); after.Number != before.Number {
		p.t.Fatalf("nothing happened, and the head moved from %d to %d:\n%s", before.Number, after.Number, p.changes(before.Root, after.Root))
	}
	if d := sequence.Unlike(sequence.TreeOf(p.m[0].dir), tree); d != "" {
		p.t.Fatalf("nothing happened, and the tree is another:\n%s", d)
	}
	if now := p.w.objects(); now != objects {
		p.t.Fatalf("nothing happened, and the remote has %d objects, had %d", now, objects)
	}
}
