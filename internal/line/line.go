// Package line reads and extends folders' lines of snapshots on a remote: heads,
// snapshot records, log segments.
package line

import (
	"context"
	"errors"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/versions"
)

// Conditions that a caller may branch on.
var (
	ErrMoved     = errors.New("another machine has committed first")
	ErrUnknown   = errors.New("there is no such folder")
	ErrBackwards = errors.New("the head went backwards")
)

// Lines are all folders of one repository.
type Lines struct{}

// New reads and writes lines on remote, sealed with keys.
func New(remote blob.Store, keys *seal.Keys) *Lines { panic("skeleton") }

// Folder is what a head tells of a folder.
type Folder struct {
	ID   string // random, 32 hexadecimal digits: the only name on the wire
	Name string // what users say
	Kind string // "sync", "backup", "container"

	Number   uint64    // of the head
	Received time.Time // of the head, by the remote's clock
	Epoch    uint64    // of the last prune that this head has seen

	Snapshot chunk.ID // newest; zero while the folder is empty
	Instant  versions.Instant
	Root     versions.Entry // root of the newest snapshot
	Recent   []chunk.ID     // ids of the newest snapshots, newest first, up to 32: the ancestry that a doubtful commit is looked for in
}

// Folders lists all folders, sorted by name.
func (l *Lines) Folders(ctx context.Context) ([]Folder, error) { panic("skeleton") }

// Folder reads one folder's head; ErrUnknown.
func (l *Lines) Folder(ctx context.Context, id string) (Folder, error) { panic("skeleton") }

// Create makes an empty folder (a head without a snapshot).
func (l *Lines) Create(ctx context.Context, name, kind string) (Folder, error) { panic("skeleton") }

// Commit puts blobs and the snapshot's record and moves the head from seen, in
// one request. ErrMoved when another machine was first. After a failed or
// doubtful answer it reads the head again: if s is the head or in its
// ancestry, the commit was taken and there is no error.
func (l *Lines) Commit(ctx context.Context, seen Folder, s *versions.Snapshot, blobs []blob.Blob) (Folder, error) {
	panic("skeleton")
}

// Recorded is a snapshot as the remote took it.
type Recorded struct {
	*versions.Snapshot
	SnapshotID chunk.ID
	Number     uint64
	Received   time.Time
}

// Records calls fn for the folder's snapshots with numbers above after, oldest
// first, or newest first when newestFirst.
func (l *Lines) Records(ctx context.Context, id string, after uint64, newestFirst bool, fn func(Recorded) error) error {
	panic("skeleton")
}

// Open unseals the head, and the record if there is one, of an event.
func (l *Lines) Open(e blob.Event) (Folder, *Recorded, error) { panic("skeleton") }
