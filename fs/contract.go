//go:build linux

// Package fs is the FUSE front: the live tree of a folder, mounted over itself,
// and the read-only .versions/ inside it.
package fs

import (
	"context"
	"log/slog"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// Changes is told of every request that changed something in the live tree.
// Calls are made after the change and must return at once. Paths are relative
// to the root, slash-separated.
type Changes interface {
	// Changed: content, metadata or existence of path.
	Changed(path string)
	// Renamed: path from is now at to (a directory with all below it).
	Renamed(from, to string)
}

// Gate decides, inside the request and under the lock of the path, whether a
// step of our own applier may go on. An error is answered as EBUSY.
type Gate interface {
	Check(op disk.Op, path string) error
}

// Moment is one instant at which a directory differed from the one before.
type Moment struct {
	Instant versions.Instant
	Tree    chunk.ID
}

// Source tells the past of one folder. Listings come from this machine alone;
// content may come from the remote. Errors are io/fs sentinels or map to EIO.
type Source interface {
	// Moments of a directory, ascending; complete is false while the list is
	// still being built from the remote. Empty when there is no such directory.
	Moments(ctx context.Context, dir string) (moments []Moment, complete bool, err error)
	// Dir is the directory itself (with its metadata) as of an instant, which
	// need not be one of its own Moments.
	Dir(ctx context.Context, dir string, at versions.Instant) (versions.Entry, error)
	// Read lists a directory, Lookup finds one name in it.
	Read(ctx context.Context, tree chunk.ID) ([]versions.Entry, error)
	Lookup(ctx context.Context, tree chunk.ID, name string) (versions.Entry, error)
	// Open opens a file's content; reads outlive ctx, until Close.
	Open(ctx context.Context, e versions.Entry) (Content, error)
}

// Content is a file of the past.
type Content interface {
	ReadAtContext(ctx context.Context, p []byte, off int64) (int, error)
	Close() error
}

// Show says where .versions is listed; it answers by name everywhere.
type Show int

// Where .versions shows in listings.
const (
	ShowRoot Show = iota // in the root only
	ShowNone
	ShowAll
)

// LiveOptions configure the mount of a folder over itself.
type LiveOptions struct {
	Root         *disk.Root // the directory, opened before it is mounted over
	MountPoint   string
	Folder       string // shown as the source in /proc/mounts
	Changes      Changes
	Gate         Gate   // nil: no applier is served
	Past         Source // nil: no .versions
	VersionsName string // "" is ".versions"
	Show         Show
	AllowOther   bool
	Passthrough  bool     // use it where the kernel lets us
	Demand       Demand   // nil: everything is here
	NoFetch      []string // names of programs for which no content is fetched
	// Unwatched tells of a path for which nobody calls Invalidate when it, or
	// what is in it, changes below the mount. Nil: there is none.
	Unwatched func(path func() (path string, ok bool)) bool
	Exe       []string // command line of the applier child; it is given its socket as descriptor 3
	Logger    *slog.Logger
}
