package syncer

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// Conditions that a caller may branch on.
var (
	// ErrReplaced is a remote whose line is not the one that this machine has
	// synced with: it went backwards, or belongs to another repository.
	ErrReplaced = errors.New("the remote is not as this machine left it")
	// ErrForeign is a remote that does not hold this machine's repository at all:
	// nothing of it can be accepted.
	ErrForeign = errors.New("it does not hold the repository of this machine")
	// ErrNotReplaced says that there is nothing to accept: the remote is as this
	// machine left it.
	ErrNotReplaced = errors.New("the remote is as this machine left it")
	// ErrNotSafe is a flush that ended before everything was on the remote.
	ErrNotSafe = errors.New("not everything is on the remote yet")
)

// Applier makes what others sent visible in the folder: the mount, where there
// is one, or the directory itself.
type Applier interface {
	// Stage is the staging directory, on the folder's own disk.
	Stage() *os.File
	// Do makes one step; EBUSY when the gate refused it.
	Do(ctx context.Context, step disk.Step) error
}

// Operation is something that the syncer did, for the operations log.
type Operation struct {
	What    string // "snapshot", "pushed", "arrived", "applied", "conflict", "error", …
	Instant versions.Instant
	Path    string // that it is about, if it is about one
	Text    string
	Files   []FileChange // the first of Total: what has arrived, or left with "pushed"
	Total   int64
}

// Options of a Syncer. All but the functions and Logger must be set.
type Options struct {
	ID, Name, Kind string        // of the folder
	Repository     string        // id
	StateDir       string        // base and journal; plain files that cannot be rebuilt
	QueueDir       string        // snapshots that wait for the remote
	Settle         time.Duration // how long a file rests before it is captured; 0: one second
	Interval       time.Duration // between two rounds, looks at displaced files, a failure and the next try; 0: one second

	Root     *disk.Root
	Disk     *folder.Folder
	Applier  Applier
	Stubs    Stubs // nil: everything is brought with its content
	Owners   *disk.Owners
	Hidden   func(name string) bool // names in the root that are ours: staging
	Trees    *versions.Trees
	Contents *versions.Contents
	Store    *store.Store
	Lines    *line.Lines
	Meta     *meta.Folder
	Packs    *Packs // shared by all syncers of one Store

	Device, Host, User string

	// Slice is how long new content is read before what is whole so far is
	// committed, so that a prune elsewhere spares it; 0: five minutes.
	Slice time.Duration

	// Identify tells whether the remote holds our repository at all: asked where a
	// folder is not there. An error says what is there instead.
	Identify func(ctx context.Context) error

	ScanAtFlush bool                // requests do not tell of every change: look at the disk
	Notify      func(dirs []string) // these directories have a new instant
	Note        func(Operation)     // operations log
	Hook        func(point string)  // called between steps; tests crash there
	Now         func() time.Time
	Logger      *slog.Logger
}

func (o *Options) fill() {
	if o.Settle <= 0 {
		o.Settle = time.Second
	}
	if o.Interval <= 0 {
		o.Interval = minInterval
	}
	if o.Slice <= 0 {
		o.Slice = 5 * time.Minute
	}
	if o.Packs == nil {
		o.Packs = &Packs{}
	}
	if o.Notify == nil {
		o.Notify = func([]string) {}
	}
	if o.Identify == nil {
		o.Identify = func(context.Context) error { return nil }
	}
	if o.Note == nil {
		o.Note = func(Operation) {}
	}
	if o.Hook == nil {
		o.Hook = func(string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("folder", o.Name)
}
