//go:build linux

package fs

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/syncfs/syncfs/internal/disk"
	"golang.org/x/sys/unix"
)

// ErrApplierGone says that the applier's process ended during a step, which may
// or may not have been taken: look at the disk.
var ErrApplierGone = errors.New("the process that applies changes ended")

// applier lets a child process make the visible steps through the mount, so
// that the kernel's caches stay right and watchers see them. This process never
// does I/O on its own mount: killed in the middle, it could not die.
type applier struct {
	l    *Live
	jobs chan job
	stop context.CancelFunc
	done chan struct{} // closed when the child is gone for good

	grace time.Duration // how long the child may take to end, at each attempt

	pid   atomic.Int32 // the child
	tid   atomic.Int32 // the child's thread that makes the steps, during a step; 0: none
	mu    sync.Mutex   // guards step and child
	step  *step        // the one under way
	child *os.Process  // the one that runs
}

// applierGrace is applier.grace: steps are renames and the like.
const applierGrace = 3 * time.Second

type job struct {
	ctx    context.Context
	step   disk.Step
	answer chan error
}

// step is a step under way.
type step struct {
	disk.Step
	checked bool // the gate let it pass
}

// toChild and fromChild are what goes over the socket.
type toChild struct {
	Stage string
	Step  disk.Step
}

type fromChild struct {
	TID   int // first message only
	Errno int
	Text  string
}

func newApplier(l *Live) *applier {
	return &applier{l: l, jobs: make(chan job), done: make(chan struct{}), grace: applierGrace}
}

// Do takes one visible step through the mount. unix.EBUSY: the gate did not let
// it pass. ErrApplierGone: it is not known whether it was taken.
func (l *Live) Do(ctx context.Context, s disk.Step) error {
	if s.Op == disk.Tidy {
		return nil // nobody sees ours
	}
	if l.applier == nil {
		return fmt.Errorf("apply %s: no applier is served: %w", s.Path, unix.ENOSYS)
	}
	j := job{ctx: ctx, step: s, answer: make(chan error, 1)}
	select {
	case l.applier.jobs <- j:
	case <-l.applier.done:
		return fmt.Errorf("apply %s: the folder is not mounted: %w", s.Path, unix.ENOTCONN)
	case <-ctx.Done():
		return ctx.Err()
	}
	// Once begun, a step is waited for: it ends, or its process does.
	if err := <-j.answer; err != nil {
		return fmt.Errorf("apply %s: %w", s.Path, err)
	}
	return nil
}

// serve runs the child, again when it ends, until ctx ends.
func (a *applier) serve(ctx context.Context) {
	var hurry sync.WaitGroup
	hurry.Go(func() { a.hurry(ctx) })
	defer hurry.Wait()
	defer close(a.done)
	var c *child
	defer func() { c.stop() }()
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-a.jobs:
			if c == nil {
				var err error
				if c, err = a.start(ctx); err != nil {
					j.answer <- err
					continue
				}
			}
			err := a.take(c, j.step)
			if errors.Is(err, ErrApplierGone) {
				c.stop()
				c = nil
			}
			j.answer <- err
		}
	}
}

// hurry sees to it that serve ends soon after ctx: a child that does not answer
// is killed, and when even that does not end it, because it waits for a request
// of its own that is not answered, the connection is.
func (a *applier) hurry(ctx context.Context) {
	select {
	case <-a.done:
		return
	case <-ctx.Done():
	}
	for _, end := range []func() error{a.kill, a.l.abort} {
		select {
		case <-a.done:
			return
		case <-time.After(a.grace):
		}
		if err := end(); err != nil {
			a.l.log.Warn("the process that applies changes does not end", "error", err)
		}
	}
}

func (a *applier) kill() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.child == nil {
		return nil
	}
	return a.child.Kill()
}

// waitEnded waits for serve to end, though not for ever: where connections
// cannot be aborted, a child may be left that nothing ends.
func (a *applier) waitEnded() {
	select {
	case <-a.done:
	case <-time.After(4 * a.grace):
		a.l.log.Error("the process that applies changes is stuck", "pid", a.pid.Load())
	}
}

func (a *applier) take(c *child, s disk.Step) error {
	a.mu.Lock()
	a.step = &step{Step: s}
	a.mu.Unlock()
	a.tid.Store(int32(c.tid))
	defer func() {
		a.tid.Store(0)
		a.mu.Lock()
		a.step = nil
		a.mu.Unlock()
	}()
	if err := c.out.Encode(toChild{Stage: a.l.stage.name, Step: s}); err != nil {
		return fmt.Errorf("%w: %w", ErrApplierGone, err)
	}
	var answer fromChild
	if err := c.in.Decode(&answer); err != nil {
		return fmt.Errorf("%w: %w", ErrApplierGone, err)
	}
	switch {
	case answer.Errno != 0:
		return unix.Errno(answer.Errno)
	case answer.Text != "":
		return errors.New(answer.Text)
	}
	return nil
}

// child is the running process.
type child struct {
	cmd  *exec.Cmd
	conn *os.File
	in   *gob.Decoder
	out  *gob.Encoder
	tid  int
}

func (a *applier) start(ctx context.Context) (*child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "applier"), os.NewFile(uintptr(pair[1]), "applier")
	defer theirs.Close()
	exe := a.l.o.Exe
	cmd := exec.Command(exe[0], append(exe[1:len(exe):len(exe)], a.l.o.MountPoint)...)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start the process that applies changes: %w", err)
	}
	theirs.Close() // so that its end is seen
	a.mu.Lock()
	a.child = cmd.Process
	a.mu.Unlock()
	c := &child{cmd: cmd, conn: ours, in: gob.NewDecoder(ours), out: gob.NewEncoder(ours)}
	var hello fromChild
	if err := c.in.Decode(&hello); err != nil || hello.TID == 0 {
		c.stop()
		return nil, fmt.Errorf("the process that applies changes did not begin: %s: %w", hello.Text, errors.Join(err, ErrApplierGone))
	}
	c.tid = hello.TID
	a.pid.Store(int32(cmd.Process.Pid))
	return c, nil
}

// stop ends the child; one that does not see the end of its socket at once may
// be inside a request to us, which goes on being served.
func (c *child) stop() {
	if c == nil {
		return
	}
	c.conn.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// fromApplier tells requests of the step under way.
func (l *Live) fromApplier(c *fuse.Caller) bool {
	return l.applier != nil && c.Pid != 0 && l.applier.tid.Load() == int32(c.Pid)
}

// check asks the gate, once a step: a step of several requests has changed
// after the first what the gate looks at. The caller holds tree for writing.
func (a *applier) check(op disk.Op, path string) error {
	a.mu.Lock()
	s := a.step
	a.mu.Unlock()
	switch {
	case s == nil || staged(path):
		return nil
	case s.checked:
		return nil
	}
	if err := a.l.o.Gate.Check(op, path); err != nil {
		a.l.log.Debug("a remote change has to wait", "path", path, "reason", err)
		return unix.EBUSY
	}
	s.checked = true
	return nil
}

// checkRename decides about a rename of the child's.
func (a *applier) checkRename(from, to string) error {
	a.mu.Lock()
	s := a.step
	a.mu.Unlock()
	if s == nil {
		return unix.EBUSY // a step that nobody waits for any more
	}
	path := to
	if staged(to) {
		path = from
	}
	if s.Op == disk.Move || s.Op == disk.Swap {
		if err := a.l.o.Gate.Check(s.Op, from); err != nil {
			return unix.EBUSY
		}
	}
	return a.check(s.Op, path)
}

// mayChange takes the locks for a change of n's metadata; for one of the child's
// it asks the gate.
func (l *Live) mayChange(c *fuse.Caller, n *node) (unlock func(), err error) {
	if !l.fromApplier(c) {
		l.tree.RLock()
		return l.tree.RUnlock, nil
	}
	l.tree.Lock()
	for _, p := range l.nodes.paths(n) {
		if err := l.applier.check(disk.SetMeta, p); err != nil {
			l.tree.Unlock()
			return nil, err
		}
	}
	return l.tree.Unlock, nil
}

// mkdir makes a directory for the child.
func (a *applier) mkdir(in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	l := a.l
	parent := l.nodes.get(in.NodeId)
	if parent == nil {
		return fuse.Status(unix.ESTALE)
	}
	l.tree.Lock()
	path, ok := l.nodes.path(parent, name)
	err := error(unix.ESTALE)
	if ok {
		err = a.check(disk.MakeDir, path)
	}
	l.tree.Unlock()
	if err != nil {
		return l.status("mkdir", err)
	}
	return l.make("mkdir", &in.InHeader, name, in.Mode&0o7777, 0, out, func(dirfd int, mode uint32) error {
		return unix.Mkdirat(dirfd, name, mode)
	})
}
