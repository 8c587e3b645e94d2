//go:build linux

package fs

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// notifier tells the kernel what it must not believe any more. It works in a
// goroutine of its own that holds no lock while it talks to the kernel: the
// kernel may hold locks until requests are answered that need ours.
type notifier struct {
	l     *Live
	epoch atomic.Uint64 // grows before anything is invalidated

	mu    sync.Mutex // guards all below
	queue map[notice]struct{}
	wake  chan struct{} // of capacity 1
}

// notice is one thing to invalidate: a path, or the attributes of a node.
type notice struct {
	path string
	node uint64
}

// settling is how long a reply may be under way that was made before an
// invalidation and reaches the kernel after it; so everything is invalidated
// once more then.
const settling = 100 * time.Millisecond

func (q *notifier) init(l *Live) {
	q.l, q.wake, q.queue = l, make(chan struct{}, 1), map[notice]struct{}{}
}

// now names a moment: an answer is remembered by the kernel only if nothing was
// invalidated between looking at the disk and giving it.
func (q *notifier) now() uint64 { return q.epoch.Load() }

func (q *notifier) add(n notice) {
	q.epoch.Add(1)
	q.mu.Lock()
	q.queue[n] = struct{}{}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Invalidate says that paths changed in a way that no request explains: the
// kernel forgets what it has of them. It returns at once.
func (l *Live) Invalidate(paths ...string) {
	for _, p := range paths {
		if !staged(p) {
			l.notify.add(notice{path: p})
		}
	}
}

// InvalidateAll says that anything may have changed.
func (l *Live) InvalidateAll() {
	l.nodes.mu.Lock()
	ids := make([]uint64, 0, len(l.nodes.byID))
	for id := range l.nodes.byID {
		ids = append(ids, id)
	}
	l.nodes.mu.Unlock()
	for _, id := range ids {
		for _, p := range l.pathsOf(id) {
			l.Invalidate(p)
		}
	}
}

func (l *Live) pathsOf(id uint64) []string {
	n := l.nodes.get(id)
	if n == nil {
		return nil
	}
	l.tree.RLock()
	defer l.tree.RUnlock()
	return l.nodes.paths(n)
}

func (q *notifier) serve(ctx context.Context) {
	var again []notice
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-later:
			later = nil
			for _, n := range again {
				q.one(n)
			}
			again = nil
		case <-q.wake:
			q.mu.Lock()
			batch := make([]notice, 0, len(q.queue))
			for n := range q.queue {
				batch = append(batch, n)
			}
			clear(q.queue)
			q.mu.Unlock()
			for _, n := range batch {
				q.one(n)
			}
			if again = append(again, batch...); later == nil {
				later = time.After(settling)
			}
		}
	}
}

func (q *notifier) one(n notice) {
	if n.node != 0 {
		q.attributes(n.node)
		return
	}
	q.path(n.path)
}

// attributes of a node only: its pages stay.
func (q *notifier) attributes(id uint64) {
	q.told(q.l.kernel.InodeNotify(id, -1, 0))
}

func (q *notifier) told(st fuse.Status) {
	// ENOENT: the kernel did not know it.
	if st != fuse.OK && st != fuse.ENOENT && st != fuse.Status(unix.ENOSYS) && st != fuse.EBADF {
		q.l.log.Debug("the kernel refused an invalidation", "status", st)
	}
}

// path finds out what the kernel may wrongly believe of a path, and tells it.
func (q *notifier) path(path string) {
	v := q.l.look(path)
	if v.node != nil {
		q.l.nodes.forgetACL(v.node)
		q.told(q.l.kernel.InodeNotify(v.node.id, 0, 0))
	}
	if v.parent == nil || v.right {
		return
	}
	// The name leads elsewhere than the kernel may think: or nowhere.
	q.told(q.l.kernel.EntryNotify(v.parent.id, v.name))
	q.told(q.l.kernel.InodeNotify(v.parent.id, 0, 0))
}

// view is what the disk has at a path, as nodes.
type view struct {
	node   *node // what is there, if the kernel knows it
	parent *node // the directory, if the kernel knows it
	name   string
	right  bool // node is known by just this name
}

func (l *Live) look(path string) (v view) {
	l.tree.RLock()
	defer l.tree.RUnlock()
	if path == "" {
		return view{node: l.nodes.root}
	}
	dir, err := l.o.Root.Openat(parentOf(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return v // its own parent's change is told as well
	}
	defer unix.Close(dir)
	v.name = path[strings.LastIndexByte(path, '/')+1:]
	var st unix.Statx_t
	if statFD(dir, &st) == nil {
		v.parent = l.nodes.find(&st)
	}
	if statAt(dir, v.name, &st) == nil {
		v.node = l.nodes.find(&st)
	}
	if v.node != nil && v.parent != nil {
		for _, lk := range l.nodes.links(v.node) {
			v.right = v.right || lk == link{v.parent, v.name}
		}
	}
	return v
}

func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}
