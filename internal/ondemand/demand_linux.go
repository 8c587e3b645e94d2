package ondemand

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// ErrUnreachable is content that could not be brought.
var ErrUnreachable = fmt.Errorf("its content is not on this disk and cannot be fetched: %w", unix.EIO)

// Mount is what eviction needs of the mount.
type Mount interface {
	// Alone runs f with the file at path, while nobody has it open through the
	// mount and nobody can open it; else EBUSY.
	Alone(path string, f func(fd int) error) error
}

// Options of a Demand. All but Limit and Logger must be set.
type Options struct {
	Root     *disk.Root
	Folder   *folder.Folder
	Trees    *versions.Trees
	Contents *versions.Contents
	Owners   *disk.Owners
	Owner    bool              // this process may set owners
	Hidden   func(string) bool // names in the root that are ours
	Mount    Mount
	// Safe tells whether the remote has the content of e, which is at path.
	Safe func(ctx context.Context, path string, e versions.Entry) (bool, error)
	// Patience is how long the remote is waited for without getting anything.
	Patience func() time.Duration
	Limit    int64 // bytes of content that are kept here; 0: no limit
	Now      func() time.Time
	Logger   *slog.Logger
}

// Demand serves one on-demand folder. It is safe for use by many goroutines.
type Demand struct {
	o     Options
	marks [64]sync.Mutex // of directories, by inode: who changes a mark or fills
	wake  chan struct{}  // of the trimmer
	more  chan struct{}  // of the recorder

	mu      sync.Mutex // guards all below
	files   map[inode]*filling
	used    map[inode]time.Time // when a file was opened last
	shown   map[inode]shownTime
	records []func() // what is to be recorded, in order
	grown   int64    // bytes that have come since the last look at the limit
	total   int64    // bytes at that look
	looked  bool
}

type inode struct{ dev, ino uint64 }

// New prepares the service; Run does what need not be done within a request.
func New(o Options) *Demand {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Demand{
		o: o, wake: make(chan struct{}, 1), more: make(chan struct{}, 1),
		files: map[inode]*filling{}, used: map[inode]time.Time{}, shown: map[inode]shownTime{},
	}
}

const (
	idleAfter = 5 * time.Second // a file that was not read for so long lets go of what it holds
	trimEvery = 30 * time.Second
	maxUsed   = 1 << 17
	maxFiles  = 1 << 12
)

// Run records what was filled and keeps the limit, until ctx ends.
func (d *Demand) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { d.keepLimit(ctx) })
	tick := time.NewTicker(idleAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			d.Settle()
			d.closeIdle(0)
			return nil
		case <-d.more:
			d.Settle()
		case <-tick.C:
			d.closeIdle(idleAfter)
		}
	}
}

// later has f done outside of any request: the folder's records may be in use
// for as long as a file takes to be read.
func (d *Demand) later(f func()) {
	d.mu.Lock()
	d.records = append(d.records, f)
	d.mu.Unlock()
	select {
	case d.more <- struct{}{}:
	default:
	}
}

// Settle records now what is waiting to be.
func (d *Demand) Settle() {
	for {
		d.mu.Lock()
		list := d.records
		d.records = nil
		d.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, f := range list {
			f()
		}
	}
}

// closeIdle lets go of what files hold that were not read for a while, and
// forgets what is known of the least recent when there are many.
func (d *Demand) closeIdle(after time.Duration) {
	now := d.o.Now()
	var idle []*versions.Reader
	d.mu.Lock()
	for key, f := range d.files {
		if now.Sub(f.last) < after || !f.sem.try() {
			continue
		}
		if f.reader != nil { // whoever holds sem may look
			idle = append(idle, f.reader)
			f.reader = nil
		}
		if after == 0 || len(d.files) > maxFiles {
			delete(d.files, key)
		}
		f.sem.release()
	}
	if len(d.used) > maxUsed {
		clear(d.used)
	}
	d.mu.Unlock()
	for _, r := range idle {
		_ = r.Close() // it has nothing to lose
	}
}

// Opened notes that a file is used; written: its content may grow.
func (d *Demand) Opened(fd int, written bool) {
	if d.o.Limit == 0 {
		return
	}
	st, err := disk.StatFD(fd)
	if err != nil {
		return
	}
	d.mu.Lock()
	d.used[inode{st.Dev, st.Ino}] = d.o.Now()
	if written {
		d.grown++ // so that somebody looks
	}
	d.mu.Unlock()
}

// unreachable is what a request is told, after one log line said why.
func (d *Demand) unreachable(path string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	d.o.Logger.Warn("content cannot be fetched", "path", path, "err", err)
	for _, full := range []error{unix.ENOSPC, unix.EDQUOT} {
		if errors.Is(err, full) {
			return fmt.Errorf("%s: %w", path, full)
		}
	}
	return fmt.Errorf("%s: %w", path, ErrUnreachable)
}

// patient bounds how long one answer is waited for.
func (d *Demand) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.o.Patience())
}

// semaphore lets one in, and who waits can give up.
type semaphore chan struct{}

func (s semaphore) acquire(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s semaphore) try() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s semaphore) release() { <-s }
