//go:build linux

package fs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// StagePrefix begins the name of the staging directory in the folder's root.
// Such a name is never content: the mount does not show it, and a staging
// directory of an earlier start is swept by the rules of the syncer.
const StagePrefix = ".syncfs-stage-"

// forever is how long the kernel keeps what it was told; what changes behind
// its back is invalidated.
const forever = uint64(3600)

// briefly is how long it keeps what changes without anybody telling.
const briefly = uint64(1)

// Live is the read-write mount of a folder over itself.
type Live struct {
	o     LiveOptions
	log   *slog.Logger
	root  rootInfo
	nodes *nodeTable

	// tree keeps paths as they are under an operation: requests hold it for
	// reading from finding a path to having used it, renames and the steps of
	// the applier for writing. It comes before every other lock.
	tree sync.RWMutex

	handles handleTable
	writers writers
	notify  notifier
	backing backing
	rights  rights
	applier *applier // nil: none is served

	past    *History // nil: no .versions
	stage   stage
	kernel  *kernel
	dev     string // major:minor of the mount
	stats   counters
	mounted atomic.Bool

	stop context.CancelFunc
	run  errgroup.Group
	over chan struct{} // closed when the kernel has let go of the mount
}

type rootInfo struct {
	fd  int
	dev uint64
}

// stage is the directory that content is staged in.
type stage struct {
	name string
	dir  *os.File
}

// MountLive mounts the folder over itself and serves it until Unmount, or until
// ctx ends.
func MountLive(ctx context.Context, o LiveOptions) (*Live, error) {
	l, err := newLive(o)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", o.MountPoint, err)
	}
	if err := l.mount(ctx); err != nil {
		l.release()
		return nil, fmt.Errorf("mount %s: %w", o.MountPoint, err)
	}
	return l, nil
}

func newLive(o LiveOptions) (*Live, error) {
	if o.VersionsName == "" {
		o.VersionsName = ".versions"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Changes == nil {
		o.Changes = noChanges{}
	}
	l := &Live{o: o, log: o.Logger.With("folder", o.Folder), over: make(chan struct{})}
	var err error
	if l.rights, err = newRights(); err != nil {
		return nil, err
	}
	var st unix.Statx_t
	if err := statFD(o.Root.Fd(), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: o.Root.Path(), Err: err}
	}
	if o.Past != nil {
		if err := l.enterPast(); err != nil {
			return nil, err
		}
	}
	l.root = rootInfo{fd: o.Root.Fd(), dev: unix.Mkdev(st.Dev_major, st.Dev_minor)}
	l.nodes = newNodeTable(l.root.fd, &st, maxDirFDs())
	l.handles.init()
	l.writers.init(l)
	l.notify.init(l)
	l.backing.init(l)
	if err := l.makeStage(); err != nil {
		return nil, err
	}
	return l, nil
}

// enterPast makes the history tree, unless a real entry would be masked by it.
func (l *Live) enterPast() error {
	var st unix.Statx_t
	if err := statAt(l.o.Root.Fd(), l.o.VersionsName, &st); err == nil {
		return fmt.Errorf("%s has an entry named %s of its own: choose another name for the versions: %w",
			l.o.Root.Path(), l.o.VersionsName, unix.EEXIST)
	}
	l.past = NewHistory(l.o.Past, HistoryOptions{
		Folder: l.o.Folder, Source: l.o.Past, VersionsName: l.o.VersionsName, Logger: l.o.Logger,
	})
	return nil
}

func maxDirFDs() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 128
	}
	return int(max(64, min(lim.Cur/8, 2048)))
}

func (l *Live) makeStage() error {
	var random [16]byte
	rand.Read(random[:])
	name := StagePrefix + hex.EncodeToString(random[:])
	if err := unix.Mkdirat(l.root.fd, name, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	fd, err := openat(l.root.fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		unix.Unlinkat(l.root.fd, name, unix.AT_REMOVEDIR)
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	l.stage = stage{name: name, dir: os.NewFile(uintptr(fd), name)}
	return nil
}

// Stage is the directory below the folder's root that content is staged in,
// for the steps of Do. It goes with Live, if it is empty then.
func (l *Live) Stage() *os.File { return l.stage.dir }

func (l *Live) mount(ctx context.Context) error {
	fd, err := mountFuse(l.o.MountPoint, mountFlags{
		source:     l.o.Folder,
		allowOther: l.o.AllowOther,
		maxRead:    maxIO,
	})
	if err != nil {
		return err
	}
	l.mounted.Store(true)
	if m, ok, err := mountedAt(l.o.MountPoint); err == nil && ok {
		l.dev = m.dev
	}
	server, err := newServer(l, fd, l.fuseOptions())
	if err != nil {
		l.detach()
		unix.Close(fd)
		return err
	}
	server.demand = l.o.Demand != nil
	l.kernel = server.kernel
	if l.past != nil {
		l.past.Connect(l.kernel)
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.run.Go(func() error {
		server.serve()
		if l.past != nil {
			l.past.OnUnmount()
		}
		l.stop()
		close(l.over)
		return nil
	})
	l.run.Go(func() error { l.writers.watch(ctx); return nil })
	l.run.Go(func() error { l.notify.serve(ctx); return nil })
	l.run.Go(func() error {
		<-ctx.Done()
		l.detach()
		return nil
	})
	if l.o.Gate != nil && len(l.o.Exe) > 0 {
		l.applier = newApplier(l)
		serving, stop := context.WithCancel(ctx)
		l.applier.stop = stop
		l.run.Go(func() error { l.applier.serve(serving); return nil })
	}
	return nil
}

// detach takes the mount off the tree, at once and in any case.
func (l *Live) detach() {
	if l.mounted.Swap(false) {
		if err := unmountFuse(l.o.MountPoint, true); err != nil {
			l.log.Debug("the mount was gone already", "error", err)
		}
	}
}

// Unmount ends the mount. When programs still use it, it is taken off the tree
// at once nevertheless, and the *HeldError says who they are; they go on with
// the files they have open, and Wait returns when the last of them is done.
func (l *Live) Unmount() error {
	if !l.mounted.Swap(false) {
		return nil
	}
	if l.applier != nil { // its process has the mount open
		l.applier.stop()
		l.applier.waitEnded()
	}
	err := unmountFuse(l.o.MountPoint, false)
	if err == nil {
		return nil
	}
	var held error
	if errors.Is(err, unix.EBUSY) {
		held = &HeldError{MountPoint: l.o.MountPoint, Holders: holders(l.o.MountPoint)}
	}
	if err := unmountFuse(l.o.MountPoint, true); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		l.mounted.Store(true)
		return fmt.Errorf("unmount %s: %w", l.o.MountPoint, err)
	}
	return held
}

// Done is closed when the kernel has let go of the mount, however that came.
func (l *Live) Done() <-chan struct{} { return l.over }

// Wait returns when nobody uses the mount any more and all is closed.
func (l *Live) Wait() {
	<-l.over
	l.run.Wait()
	l.release()
}

// release closes what newLive and serving opened. It may be called twice.
func (l *Live) release() {
	if l.kernel != nil {
		<-l.over
	}
	if l.past != nil {
		l.past.Close()
	}
	l.handles.closeAll()
	l.writers.closeAll()
	l.nodes.closeAll()
	if l.stage.dir != nil {
		// What is left in it is swept by the syncer's rule, not by us.
		unix.Unlinkat(l.root.fd, l.stage.name, unix.AT_REMOVEDIR)
		l.stage.dir.Close()
	}
}

// NotifyVersions says that .versions of dir has a new entry.
func (l *Live) NotifyVersions(dir string) {
	if l.past != nil {
		l.past.Landed(dir)
	}
}

// fuseOptions are what we agree on with the kernel.
func (l *Live) fuseOptions() *fuse.MountOptions {
	o := &fuse.MountOptions{
		Name:                     "syncfs",
		FsName:                   l.o.Folder,
		MaxWrite:                 maxIO,
		MaxReadAhead:             maxIO,
		MaxBackground:            64,
		EnableAcl:                true,
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true, // we know when content changed behind the kernel's back
		MaxStackDepth:            2,
		// Not CAP_ASYNC_DIO: who waits for a direct read then cannot be killed.
		ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_SETXATTR_EXT |
			fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_DONT_MASK,
		PanicHandler: func(v any) fuse.Status {
			l.log.Error("a request panicked", "panic", v, "stack", string(debug.Stack()))
			return fuse.EIO
		},
		Logger: slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}
	if !l.o.Passthrough {
		o.DisabledCapabilities = fuse.CAP_PASSTHROUGH
	}
	return o
}

// maxIO is the largest read or write in one request.
const maxIO = 1 << 20

// Init is part of fuse.RawFileSystem; there is no fuse.Server here.
func (l *Live) Init(*fuse.Server) {}

// OnUnmount is part of fuse.RawFileSystem.
func (l *Live) OnUnmount() {}

// String names the file system for go-fuse.
func (l *Live) String() string { return "syncfs" }

// SetDebug is part of fuse.RawFileSystem; the logger's level decides.
func (l *Live) SetDebug(bool) {}

// hidden tells names in the root that are ours.
func hidden(parent *node, name string) bool {
	return parent.id == rootID && strings.HasPrefix(name, StagePrefix)
}

func (l *Live) isVersions(name string) bool { return l.past != nil && name == l.o.VersionsName }

// changed reports every known path of n.
func (l *Live) changed(n *node) {
	l.touched(n)
	for _, p := range l.nodes.paths(n) {
		l.changedPath(p)
	}
}

// changedAt reports an entry of a directory.
func (l *Live) changedAt(parent *node, name string) {
	if p, ok := l.nodes.path(parent, name); ok {
		l.changedPath(p)
	}
}

func (l *Live) changedPath(p string) {
	if !staged(p) {
		l.o.Changes.Changed(p)
	}
}

// staged tells paths in a staging directory.
func staged(path string) bool { return strings.HasPrefix(path, StagePrefix) }

type noChanges struct{}

func (noChanges) Changed(string)         {}
func (noChanges) Renamed(string, string) {}

// Stats are figures of a running mount.
type Stats struct {
	Nodes       int   // inodes that the kernel knows
	Handles     int   // open files and directories
	Writing     int   // files that count as being written
	DirFDs      int   // directories whose descriptor is cached
	Passthrough bool  // the kernel lets us use it
	Passed      int64 // opens that were passed through, and that were not
	Served      int64
}

type counters struct{ passed, served atomic.Int64 }

// Stats of this moment.
func (l *Live) Stats() Stats {
	l.nodes.mu.Lock()
	nodes, fds := len(l.nodes.byID), l.nodes.fds.n
	l.nodes.mu.Unlock()
	return Stats{
		Nodes:       nodes,
		Handles:     l.handles.len(),
		Writing:     l.writers.len(),
		DirFDs:      fds,
		Passthrough: l.backing.usable(),
		Passed:      l.stats.passed.Load(),
		Served:      l.stats.served.Load(),
	}
}
