//go:build linux

package folder

import (
	"context"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
)

// Watched counts the directories that are watched.
func (f *Folder) Watched() int {
	f.mu.Lock()
	w := f.watch
	f.mu.Unlock()
	in, ok := w.(*inotify)
	if !ok {
		return 0
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.paths)
}

// ErrWatches and ErrOverflow are what a watcher tells.
var (
	ErrWatches  = errWatches
	ErrOverflow = errOverflow
)

// Event is what a watcher tells of.
type Event = event

// Watcher is a watcher that a test makes.
type Watcher interface {
	Add(dir *disk.Dir, path string) error
	Next() ([]Event, error)
	Close() error
}

type foreign struct{ w Watcher }

func (f foreign) add(dir *disk.Dir, path string) error { return f.w.Add(dir, path) }
func (f foreign) next() ([]event, error)               { return f.w.Next() }
func (f foreign) close() error                         { return f.w.Close() }

// NewWatcher is the system's own.
func NewWatcher(root *disk.Root) (Watcher, error) {
	w, err := newWatcher(root)
	return own{w}, err
}

type own struct{ w watcher }

// Add is part of Watcher.
func (o own) Add(dir *disk.Dir, path string) error { return o.w.add(dir, path) }

// Next is part of Watcher.
func (o own) Next() ([]Event, error) { return o.w.next() }

// Close is part of Watcher.
func (o own) Close() error { return o.w.close() }

// WatchWith is Watch with another watcher.
func (f *Folder) WatchWith(ctx context.Context, w Watcher, outside func(string)) error {
	return f.watchWith(ctx, foreign{w}, outside)
}

// SetBlindScans sets how often a folder is scanned that is not watched whole.
func (f *Folder) SetBlindScans(every time.Duration) { f.blind = every }

// Explained counts the paths whose events have a known reason.
func (f *Folder) Explained() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.explained)
}
