package folder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
)

// errWatches is told when the system's limit of watches is reached.
var errWatches = errors.New("not every directory can be watched; the others are looked at every 30 s or so. " +
	"To watch all: sysctl fs.inotify.max_user_watches=1048576 (a file in /etc/sysctl.d keeps it)")

// errWatchers is told when there can be no watch at all.
var errWatchers = errors.New("nothing can be watched; the folder is looked at every 30 s or so. " +
	"Is fs.inotify.max_user_instances too low?")

// errOverflow is events that the system has dropped.
var errOverflow = errors.New("the system dropped events")

const (
	// scanWhenBlind is how often a folder is scanned that is not watched whole,
	// unless scans take so long that this would be more than a twentieth of the
	// time.
	scanWhenBlind = 30 * time.Second
	scanShare     = 20
	// scanAnyway finds what no event tells: a hard link's other names.
	scanAnyway = time.Hour
)

// watcher tells of changes in the directories that were added.
type watcher interface {
	// add watches one more directory, which is open; errWatches when there can
	// be no more.
	add(dir *disk.Dir, path string) error
	// next waits for events; it returns errOverflow when some were lost, and
	// another error when the watcher was closed.
	next() ([]event, error)
	close() error
}

// event is one change that the system told of.
type event struct {
	path string
	from string // not "": path is what was there before
	deep bool   // a directory has come: nothing in it was watched
	// written: the content of a file. Our own steps never write what is in place.
	written bool
}

// Watch watches the directories themselves until ctx ends: the mount is not
// the only way in. outside is told of paths that no request explains (to
// invalidate the kernel's caches), by several goroutines; may be nil. Where a
// limit is reached it goes on with scans and Trouble says so.
//
// Directories are added as Scan and Build come to them; when a scan has been
// made already, Watch makes another.
func (f *Folder) Watch(ctx context.Context, outside func(path string)) error {
	w, err := newWatcher(f.o.Root)
	if err != nil {
		f.troubled("", fmt.Errorf("%w (%w)", errWatchers, err), true)
		f.mu.Lock()
		f.outside = outside
		f.mu.Unlock()
		return f.scanEvery(ctx)
	}
	return f.watchWith(ctx, w, outside)
}

func (f *Folder) watchWith(ctx context.Context, w watcher, outside func(path string)) error {
	f.mu.Lock()
	f.watch, f.outside = w, outside
	again := f.scanned
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.watch, f.outside, f.limited = nil, nil, false
		f.mu.Unlock()
	}()
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan error, 1)
	scans := make(chan struct{}, 1)
	go func() { events <- f.follow(w, scans) }()
	err := f.tend(ctx, scans, again)
	cancel()
	return errors.Join(err, w.close(), ignoreClosed(<-events))
}

// follow takes events until the watcher is closed.
func (f *Folder) follow(w watcher, scans chan<- struct{}) error {
	for {
		list, err := w.next()
		f.happened(list)
		switch {
		case errors.Is(err, errOverflow):
			f.o.Logger.Warn("the system dropped events; scanning", "path", f.o.Root.Path())
			select {
			case scans <- struct{}{}:
			default:
			}
		case err != nil:
			return err
		}
	}
}

// tend scans when asked to, and now and then, until ctx ends.
func (f *Folder) tend(ctx context.Context, scans <-chan struct{}, now bool) error {
	var last time.Duration
	for {
		f.mu.Lock()
		every := scanAnyway
		if f.limited {
			every = max(f.blind, scanShare*last)
		}
		f.mu.Unlock()
		if !now {
			timer := time.NewTimer(every)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-scans:
			case <-f.blinded:
				timer.Stop()
				continue // what is not watched waits no hour
			case <-timer.C:
			}
			timer.Stop()
		}
		now = false
		begun := time.Now()
		f.rescan(ctx)
		last = time.Since(begun)
	}
}

// rescan is a scan whose failure is told as trouble: the next may succeed.
func (f *Folder) rescan(ctx context.Context) {
	f.mu.Lock()
	f.limited = false
	f.mu.Unlock()
	err := f.Scan(ctx, nil)
	if err != nil && ctx.Err() == nil {
		f.troubled("", err, false)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.limited {
		delete(f.trouble, "")
	}
}

// scanEvery finds by scans alone what changes.
func (f *Folder) scanEvery(ctx context.Context) error {
	var last time.Duration
	for {
		timer := time.NewTimer(max(f.blind, scanShare*last))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		begun := time.Now()
		if err := f.Scan(ctx, nil); err != nil && ctx.Err() == nil {
			f.o.Logger.Warn("scan", "path", f.o.Root.Path(), "err", err)
		}
		last = time.Since(begun)
	}
}

// watchDir adds a directory that is about to be read.
func (f *Folder) watchDir(dir *disk.Dir, path string) {
	f.mu.Lock()
	w, limited := f.watch, f.limited
	f.mu.Unlock()
	if w == nil || limited {
		return
	}
	err := w.add(dir, path)
	switch {
	case errors.Is(err, errWatches):
		f.mu.Lock()
		f.limited = true
		f.mu.Unlock()
		f.troubled("", err, true)
		select {
		case f.blinded <- struct{}{}:
		default:
		}
	case err != nil:
		f.troubled(path, fmt.Errorf("watch: %w", err), true)
	}
}

// happened makes dirty what events tell of, and tells outside of what is not
// explained by requests.
func (f *Folder) happened(list []event) {
	if len(list) == 0 {
		return
	}
	var tell []string
	told := make(map[string]bool)
	now := f.o.Now()
	fresh := false
	f.mu.Lock()
	outside := f.outside
	for _, e := range list {
		explained := f.isExplained(e.path, now)
		switch r := f.explained[e.path]; {
		case explained && r.filling && e.from == "":
			continue
		case e.from != "":
			explained = explained && f.isExplained(e.from, now)
			switch {
			case !explained:
				f.renamed(e.from, e.path, now)
				fresh = true
			case f.explained[e.from].to != e.path:
				// Both were changed by requests of late, but not by this.
				explained = false
				fresh = f.mark(e.from, false, now) || fresh
				fresh = f.mark(e.path, true, now) || fresh
			default:
				// A program may have been there just before the applier.
				fresh = f.dirty.moveBelow(e.from, e.path) || fresh
			}
		case explained && r.applied != nil:
			// Under the lock: who changes it after this look marks it after it.
			if !e.written && (f.stands(*r.applied) || f.came(e, *r.applied) || e.path == "" && f.rootStands(*r.applied)) {
				continue
			}
			fresh = f.mark(e.path, e.deep, now) || fresh
			if m := f.dirty.find(e.path); m != nil && e.written {
				m.written, m.doubt = true, true
			}
		default:
			fresh = f.mark(e.path, e.deep && !explained, now) || fresh
			if m := f.dirty.find(e.path); m != nil && e.written {
				m.written = true
			}
		}
		if !explained && !f.hidden(e.path) {
			for _, path := range []string{e.from, e.path} {
				if path != "" && !told[path] {
					told[path] = true
					tell = append(tell, path)
				}
			}
		}
	}
	f.mu.Unlock()
	if fresh {
		f.poke()
	}
	if outside != nil {
		for _, path := range tell {
			outside(path)
		}
	}
}
