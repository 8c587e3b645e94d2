//go:build linux

package fs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// HistoryOptions configure a History.
type HistoryOptions struct {
	Folder       string // goes into inode numbers: the same folder has the same ones after a restart
	Source       Source
	VersionsName string           // "" is ".versions"
	Now          func() time.Time // nil is time.Now
	Location     *time.Location   // for spellings in local time; nil is time.Local
	CacheBytes   int64            // for listings; 0 is 16 MiB
	Nodes        int              // directories that the kernel may know before it is asked to forget some; 0: 16,384
	Logger       *slog.Logger     // may be nil
}

// Prefetcher is a Source that can bring many listings near in one go.
type Prefetcher interface {
	// Prefetch returns soon, or when the listings are here; errors are no news,
	// since whoever needs a listing reads it.
	Prefetch(ctx context.Context, trees []chunk.ID)
}

// How long the kernel keeps what it was told. Below an instant nothing changes
// ever; the list of instants does.
const (
	frozenValid  = forever
	instantValid = 60 // an instant may be forgotten
	listValid    = 1  // .versions itself, and a mount that follows
)

// History is the past of one folder as a tree of directories: .versions of each
// directory, and below it the states of that directory. It implements the
// requests for node ids with bit 63 set (and for the root of a mount of its
// own); the live tree passes them on, and enters by EnterDir.
//
// Nodes are made at lookup and dropped at FORGET. Below an instant everything
// is read-only and never changes, so the kernel keeps it without asking.
type History struct {
	fuse.RawFileSystem
	o        HistoryOptions
	log      *slog.Logger
	nodes    pastNodes
	listings listings
	moments  momentCache
	handles  pastHandles
	unopened unopened
	own      bool // the mount is ours: no file or directory is opened
	sweeping atomic.Bool
	pruning  atomic.Bool
	failures failures

	epoch  atomic.Uint64 // raised when a snapshot lands: what follows looks again
	kernel atomic.Pointer[kernel]

	ctx    context.Context // ends with Close; for work that no request waits for
	cancel context.CancelFunc
	work   sync.WaitGroup
	ahead  chan struct{} // a slot for each prefetch under way
}

// NewHistory makes the tree of a folder's past. Close ends what it does in the
// background.
func NewHistory(source Source, o HistoryOptions) *History {
	o.Source = source
	if o.VersionsName == "" {
		o.VersionsName = ".versions"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.Nodes == 0 {
		o.Nodes = 1 << 14
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &History{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		o:             o,
		log:           o.Logger,
		ahead:         make(chan struct{}, 2),
	}
	h.nodes.init(h.o.Nodes)
	h.handles.init()
	h.unopened.init()
	h.listings.init(o.CacheBytes)
	h.moments.init(o.Now)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close ends prefetching and closes the contents that are still open.
func (h *History) Close() {
	h.cancel()
	h.work.Wait()
	h.handles.closeAll()
	h.unopened.close()
}

// EnterDir answers the lookup of .versions in live directory dir.
func (h *History) EnterDir(cancel <-chan struct{}, dir string, out *fuse.EntryOut) fuse.Status {
	n := h.nodes.find(nodeKey{name: dir}, func(n *pastNode) {
		n.kind, n.name = versionsNode, h.o.VersionsName
		n.dir = &pastDir{path: dir}
		n.ino = newIno(h.o.Folder, dir, h.o.VersionsName)
	})
	status := h.versionsAttr(requestContext(cancel), n, &out.Attr)
	if status != fuse.OK {
		h.nodes.forget(n.id, 1)
		return status
	}
	entryOut(out, n.id, listValid, listValid)
	return fuse.OK
}

// NotifyLanded says that these directories have a new moment: what the kernel
// keeps of their .versions, and of the directories themselves where a mount
// follows the newest state, is invalid. It must not be called from a request.
func (h *History) NotifyLanded(dirs []string) {
	h.epoch.Add(1)
	h.moments.drop("") // every snapshot is a moment of the root
	kernel := h.kernel.Load()
	for _, dir := range dirs {
		h.moments.drop(dir)
		if kernel == nil {
			continue
		}
		if id, ok := h.nodes.known(nodeKey{name: dir}); ok {
			kernel.InodeNotify(id, 0, 0)
		}
		if id, ok := h.nodes.known(followKey(dir)); ok {
			kernel.InodeNotify(id, 0, 0)
		}
	}
}

// Landed is NotifyLanded for one directory.
func (h *History) Landed(dir string) { h.NotifyLanded([]string{dir}) }

// OnUnmount comes after the last request.
func (h *History) OnUnmount() {
	h.kernel.Store(nil)
	h.Close()
}

// String names the file system for go-fuse.
func (h *History) String() string { return "syncfs" }

// requestContext ends when the kernel interrupts the request.
func requestContext(cancel <-chan struct{}) context.Context {
	return &fuse.Context{Cancel: cancel}
}

// newest is the last instant of the folder; zero when there is none.
func (h *History) newest(ctx context.Context) (versions.Instant, error) {
	list, _, err := h.momentsOf(ctx, "")
	if err != nil || len(list) == 0 {
		return versions.Instant{}, err
	}
	return list[len(list)-1].Instant, nil
}

// HistoryStats are figures of a History.
type HistoryStats struct {
	Nodes        int   // inodes that the kernel knows
	Handles      int   // open files and directories
	ListingBytes int64 // listings in memory, about
	Listings     int
}

// Stats of this moment.
func (h *History) Stats() HistoryStats {
	s := HistoryStats{Nodes: h.nodes.len(), Handles: h.handles.len() + h.unopened.len()}
	s.Listings, s.ListingBytes = h.listings.size()
	return s
}
