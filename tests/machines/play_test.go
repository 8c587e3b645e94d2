//go:build linux

package machines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/tests/sequence"
	"github.com/syncfs/syncfs/tests/world"
	"github.com/syncfs/syncfs/versions"
)

// alphabet of real machines: they need seconds for what engines do at once.
var alphabet = sequence.Alphabet{
	Least: 12, More: 25,
	Whats: strings.Fields(sequence.Work + `
		offline offline part online crash crash crashat crashat restart down
		flush rest rest sleep sleep stabilize server machine`),
	Points: []string{"here", "there"},
}

// play is one sequence under way.
type play struct {
	t     testing.TB
	srv   *world.Server
	l     *sequence.Ledger
	m     []*player
	cover map[string]int
}

// run plays a sequence on machines with agents of their own and one server.
func run(t testing.TB, ops []sequence.Op, cover map[string]int) {
	p := &play{t: t, srv: world.NewServer(t, ""), l: sequence.NewLedger(), cover: cover}
	p.join()
	p.join()
	for i, o := range ops {
		m := p.m[o.Machine%len(p.m)]
		start := time.Now()
		done := p.step(o, m)
		t.Logf("%s %d: %s %+v: %v, %v", start.Format("05.000"), i, m.name, o, done, time.Since(start).Round(time.Millisecond))
	}
	p.stabilize()
	p.history()
	p.stopped()
	conflicts, editDelete := p.l.Races()
	for what, n := range map[string]int{"conflict": conflicts, "edit against delete": editDelete} {
		if n > 0 {
			cover[what]++
		}
	}
}

func (p *play) join() {
	p.m = append(p.m, newPlayer(p.t, p.l, p.srv, fmt.Sprint("m", len(p.m)+1), len(p.m) == 0))
}

func (p *play) step(o sequence.Op, m *player) (done bool) {
	switch o.What {
	case "offline", "online":
		m.setOffline(o.What == "offline", o.N%2 == 0)
	case "part":
		for i, m := range p.m {
			m.setOffline(true, (o.N+i)%2 == 0)
		}
	case "race":
		for _, side := range o.Sides() {
			done = p.step(side, p.m[side.Machine%len(p.m)]) || done
		}
		return done
	case "crash":
		m.crash()
		if o.N%2 == 0 {
			m.up()
		}
	case "crashat": // while what was just written is on its way
		done := p.step(sequence.Op{What: "write", Path: o.Path, N: o.N}, m)
		time.Sleep(settle + time.Duration(o.N%25)*20*time.Millisecond)
		if o.Other == "there" {
			m = p.m[(o.Machine+1)%len(p.m)]
		}
		p.cover["crash on the way"] |= 1
		m.crash()
		m.up()
		return done
	case "restart":
		m.down()
		m.up()
	case "down": // until something needs it
		m.down()
	case "flush":
		if m.offline {
			return false
		}
		m.up()
		m.push()
	case "rest":
		m.up()
		m.rest()
	case "sleep":
		time.Sleep(time.Duration(o.N%30) * 50 * time.Millisecond)
	case "stabilize":
		p.stabilize()
	case "server":
		p.srv.Kill()
		p.srv.Start()
	case "machine":
		if len(p.m) == 4 {
			return false
		}
		p.join()
	case "same": // the same content on all machines
		text, path := p.l.Fresh(0), m.Pick(o.Path)
		for _, m := range p.m {
			done = m.Same(path, text) || done
		}
		return done
	default:
		done := m.Do(o)
		if done && m.offline && (o.What == "rename" || o.What == "swap") {
			p.cover["rename during a partition"] |= 1
		}
		return done
	}
	return true
}

// stabilize ends all faults, waits until the machines agree, and looks whether
// they agree on what is right.
func (p *play) stabilize() {
	for _, m := range p.m {
		m.Release()
	}
	for _, m := range p.m {
		m.setOffline(false, false)
		m.up()
	}
	for _, m := range p.m {
		m.push()
	}
	tree, objects := p.together()
	if wrong := p.l.Wrong(sequence.Texts(tree)); len(wrong) > 0 {
		p.t.Fatalf("%s", strings.Join(wrong, "\n"))
	}
	for _, text := range sequence.Texts(tree) {
		p.l.Captured(text)
	}
	// A second round does nothing.
	for _, m := range p.m {
		m.push()
	}
	again, now := p.together()
	if d := sequence.Unlike(again, tree); d != "" {
		p.t.Fatalf("nothing happened, and the tree is another:\n%s", d)
	}
	if !slices.Equal(now, objects) {
		p.t.Fatalf("nothing happened, and the remote has\n%s\nhad\n%s", strings.Join(now, "\n"), strings.Join(objects, "\n"))
	}
	p.l.AllMet()
}

// together waits until all machines are at rest at the same version, with the
// same tree; it returns the tree, and what is on the remote.
func (p *play) together() (tree map[string]sequence.Node, objects []string) {
	world.Eventually(p.t, patience, "the machines come together", func() error {
		instants := map[string]bool{}
		for _, m := range p.m {
			instant, err := m.behind()
			if err != nil {
				return err
			}
			instants[instant] = true
		}
		if len(instants) != 1 {
			return fmt.Errorf("they are at %q", slices.Sorted(maps.Keys(instants)))
		}
		tree = sequence.TreeOf(p.m[0].dir)
		for _, m := range p.m[1:] {
			if d := sequence.Unlike(sequence.TreeOf(m.dir), tree); d != "" {
				return fmt.Errorf("%s against %s:\n%s", m.name, p.m[0].name, d)
			}
		}
		return nil
	})
	return tree, p.objects()
}

// objects lists the snapshots and packs on the remote.
func (p *play) objects() (names []string) {
	repo := filepath.Join(p.srv.Data, "repo")
	for _, kind := range []string{"snapshots", "packs"} {
		err := filepath.WalkDir(filepath.Join(repo, kind), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				rel, _ := filepath.Rel(repo, path)
				names = append(names, rel)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // small ones may lie in other blobs
			p.t.Fatal(err)
		}
	}
	return names
}

// history looks through all snapshots: nothing is lost, nothing in them was
// never written, and every machine shows them in the same .versions.
func (p *play) history() {
	found := p.snapshots()
	for _, text := range sequence.Texts(sequence.TreeOf(p.m[0].dir)) {
		found[text] = true
	}
	if lost := p.l.Lost(found); len(lost) > 0 {
		p.t.Errorf("%s", strings.Join(lost, "\n"))
	}
	var first []string
	for _, m := range p.m {
		first = m.versions(first)
		for _, instant := range first {
			_, err := world.TryDescribe(filepath.Join(m.dir, ".versions", instant), "", true)
			if err != nil {
				p.t.Errorf("%s: version %s cannot be read: %v", m.name, instant, err)
			}
		}
	}
}

// snapshots are the contents of all snapshots. Some are in no .versions: of two
// that were made in one second by machines that did not know of each other, with
// one name, it shows one.
func (p *play) snapshots() map[string]bool {
	ctx := context.Background()
	dirs, err := config.UserDirs(func(name string) string {
		if name == "HOME" {
			return p.m[0].Dir
		}
		return ""
	})
	p.check(err)
	r, err := agent.OpenReader(ctx, dirs, nil)
	p.check(err)
	defer r.Close()
	folders, err := r.Folders(ctx)
	p.check(err)
	if len(folders) != 1 {
		p.t.Fatalf("%d folders", len(folders))
	}
	list, err := r.Snapshots(ctx, folders[0])
	p.check(err)
	found, texts, instants := map[string]bool{}, map[[32]byte]string{}, map[versions.Instant]bool{}
	for _, snap := range list {
		if instants[snap.Instant] {
			p.cover["version with the name of another"] |= 1
		}
		instants[snap.Instant] = true
		err := r.Trees().Walk(ctx, snap.Root, func(path string, e versions.Entry) error {
			text := "-> " + e.Target
			switch e.Kind {
			case versions.Dir:
				return nil
			case versions.File:
				hash := versions.ContentHash(e)
				if _, ok := texts[hash]; !ok {
					var b strings.Builder
					c, err := r.Contents().Open(ctx, e)
					if err == nil {
						_, err = c.WriteTo(&b)
						c.Close()
					}
					if err != nil {
						return fmt.Errorf("%s: %w", path, err)
					}
					texts[hash] = b.String()
				}
				text = texts[hash]
			}
			found[text] = true
			if p.l.Invented(text) && !e.Unstable {
				p.t.Errorf("snapshot %s: %q holds what nobody wrote: %d bytes, %.40q", snap.Instant, path, len(text), text)
			}
			return nil
		})
		if err != nil {
			p.t.Errorf("snapshot %s cannot be read: %v", snap.Instant, err)
		}
	}
	return found
}

func (p *play) check(err error) {
	if err != nil {
		p.t.Fatal(err)
	}
}

// stopped ends all agents: the plain directories are what the mounts were. What
// an agent could not clear away at its end goes at the next start.
func (p *play) stopped() {
	tree := sequence.TreeOf(p.m[0].dir)
	for _, m := range p.m {
		m.down()
	}
	for _, m := range p.m {
		if d := sequence.Unlike(sequence.TreeOf(m.dir), tree); d != "" {
			p.t.Errorf("%s without its agent:\n%s", m.name, d)
		}
		world.Eventually(p.t, patience, "nothing of ours stays", func() error {
			err := m.left()
			if err != nil {
				m.up()
				_, _ = m.behind()
				time.Sleep(time.Second)
				m.down()
			}
			return err
		})
	}
}
