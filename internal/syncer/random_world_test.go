//go:build linux

package syncer_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/tests/sequence"
)

// interval is between rounds of the machines below.
const interval = 15 * time.Millisecond

// life is one run of a machine's engine, from a start to its end or crash.
type life struct {
	syncer.Applier
	net *network

	steps sync.RWMutex // read-held by a step in the folder

	mu    sync.Mutex // guards all below
	point string     // where it is to crash
	calls int        // before it does
	dead  bool
	died  string // the point, when it came to it

	buried chan struct{} // closed when nothing matters any more
}

// hook is called between the steps of the engine: nothing passes it that is dead.
func (l *life) hook(point string) {
	l.mu.Lock()
	if !l.dead && l.point == point {
		if l.calls--; l.calls <= 0 {
			l.died = point
			l.dead = true
		}
	}
	dead := l.dead
	l.mu.Unlock()
	if dead {
		l.cut()
		<-l.buried
		runtime.Goexit()
	}
}

func (l *life) cut() {
	l.net.set(func() { l.net.down = fmt.Errorf("dead: %w", blob.ErrOffline) })
}

// Do makes a step, unless the engine is dead.
func (l *life) Do(ctx context.Context, step disk.Step) error {
	l.steps.RLock()
	defer l.steps.RUnlock()
	l.mu.Lock()
	dead := l.dead
	l.mu.Unlock()
	if dead {
		return fmt.Errorf("dead: %w", context.Canceled)
	}
	return l.Applier.Do(ctx, step)
}

// kill ends it at any point. When it returns nothing is done to the folder.
func (l *life) kill() {
	l.mu.Lock()
	l.dead = true
	l.mu.Unlock()
	l.cut()
	l.steps.Lock()
	defer l.steps.Unlock()
}

func (l *life) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// player is a machine with the programs that work on it.
type player struct {
	*machine
	*sequence.Program
	l       *sequence.Ledger
	life    *life
	offline bool
	ahead   atomic.Int64 // its clock
	dead    []burial
}

type burial struct {
	m *machine
	r *running
	l *life
}

func (w *world) player(l *sequence.Ledger, name string) *player {
	m := w.machine(name)
	return &player{machine: m, Program: sequence.NewProgram(l, name, m.dir), l: l}
}

// launch starts the engine.
func (p *player) launch() {
	p.life = &life{net: p.net, buried: make(chan struct{})}
	p.machine.opts = func(o *syncer.Options) {
		p.life.Applier = o.Applier
		o.Applier, o.Hook, o.Interval = p.life, p.life.hook, interval
		o.Now = func() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }
	}
	p.machine.start()
}

func (p *player) setOffline(off bool) {
	p.offline = off
	if p.life == nil || p.life.isDead() {
		return
	}
	if off {
		p.net.offline()
	} else {
		p.net.online()
	}
}

// crash ends the engine where it stands, and boots another one from what is on
// the disk. Its database may be lost by that.
func (p *player) crash(keepDatabase bool) {
	p.life.kill()
	old := p.machine
	image := old.w.machine(p.name)
	image.dir = old.dir
	for _, part := range []string{"folder", "queue", "spool", "cache", "db"} {
		if part == "db" && !keepDatabase {
			continue
		}
		if err := copyTree(filepath.Join(old.home, part), filepath.Join(image.home, part)); err != nil {
			old.w.t.Fatal(err)
		}
	}
	p.l.Crashed(p.name)
	p.dead = append(p.dead, burial{old, old.run, p.life})
	old.run.cancel()
	old.run = nil
	p.machine = image
	p.launch()
	p.setOffline(p.offline)
}

// up makes sure that an engine runs.
func (p *player) up() {
	if p.life.isDead() {
		p.crash(true)
	} else if p.machine.run == nil {
		p.launch()
		p.setOffline(p.offline)
	}
}

// quit stops the engine, unless it is dead: from here on it comes to no point
// where it would die, since a stop would wait for the dead.
func (p *player) quit() {
	p.life.mu.Lock()
	p.life.point = ""
	dead := p.life.dead
	p.life.mu.Unlock()
	if !dead {
		p.machine.stop()
	}
}

// bury closes what crashes have left open.
func (p *player) bury() {
	for _, d := range p.dead {
		close(d.l.buried)
		d.m.end(d.r)
	}
	p.dead = nil
	p.quit()
	if p.life.isDead() {
		close(p.life.buried)
		p.machine.stop()
	}
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // it was just removed
			}
			return err
		}
		rel, _ := filepath.Rel(from, path)
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		in, err := os.Open(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(target)
		if err != nil {
			return err
		}
		if _, err = io.Copy(out, in); err != nil {
			out.Close()
			return err
		}
		return out.Close()
	})
}

// ask runs a question to the engine, which one that died with a lock held never
// answers: then it is false.
func (p *player) ask(question func()) bool {
	s, answered := p.life, make(chan struct{})
	go func() {
		defer close(answered)
		question()
	}()
	for {
		select {
		case <-answered:
			return !s.isDead()
		case <-time.After(10 * time.Millisecond):
			if s.isDead() {
				return false
			}
		}
	}
}

// rest waits until the engine has captured what stands in the folder, online or
// not, and tells the ledger.
func (p *player) rest() error {
	p.Release()
	for path := range p.Touched {
		p.run.folder.Changed(path)
		delete(p.Touched, path)
	}
	before := sequence.TreeOf(p.dir)
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		var st syncer.Status
		if !p.ask(func() { st = p.run.s.Status() }) {
			return nil
		}
		if st.State != syncer.Starting && st.PendingFiles == 0 {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not capture %d files: %v", p.name, st.PendingFiles, st.Err)
		}
	}
	p.Captured(before)
	return nil
}

// push waits until everything is on the remote.
func (p *player) push() error {
	before := sequence.TreeOf(p.dir)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		short, stop := context.WithTimeout(ctx, 200*time.Millisecond)
		var err error
		alive := p.ask(func() { err = p.run.s.Flush(short) })
		stop()
		switch {
		case !alive:
			return nil
		case err == nil:
			p.Captured(before)
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
}

// behind tells what the engine still has to do; "" when it is at head number.
func (p *player) behind(number uint64) string {
	st := p.run.s.Status()
	if st.State != syncer.Safe {
		return fmt.Sprintf("is %v: %d pending, %d queued, %v", st.State, st.PendingFiles, st.Queued, st.Err)
	}
	if there, err := p.run.s.Reached(number); err != nil || !there {
		return fmt.Sprintf("has not reached head %d: %v", number, err)
	}
	return ""
}

// left lists what an engine at rest should have cleared away.
func (p *player) left() (out []string) {
	for _, pattern := range []string{
		filepath.Join(p.dir, ".syncfs-stage-*"), filepath.Join(p.home, "queue", "*"), filepath.Join(p.home, "spool", "packs", "*"),
		filepath.Join(p.home, "folder", "displaced.jsonl"), filepath.Join(p.home, "folder", "applying"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			panic(err)
		}
		out = append(out, found...)
	}
	return out
}
