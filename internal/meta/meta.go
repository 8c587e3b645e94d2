// Package meta keeps, in Badger, what can be rebuilt from the remote and the
// disk: snapshot records, the moments of every directory, directory records.
// Deleting the database loses nothing but time.
package meta

import (
	"errors"
	"log/slog"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// ErrBroken is a database that cannot be opened; the caller moves it away and
// builds a new one.
var ErrBroken = errors.New("the local database is broken")

// DB is the database of one machine.
type DB struct{}

// Open opens or makes the database, with a small memory budget.
func Open(dir string, log *slog.Logger) (*DB, error) { panic("skeleton") }

// Close syncs and closes.
func (db *DB) Close() error { panic("skeleton") }

// Snapshot is one record as kept here.
type Snapshot struct {
	ID       chunk.ID
	Number   uint64 // 0: only in the spool so far
	Received int64  // nanoseconds, the remote's clock; 0 with Number 0
	Record   *versions.Snapshot
}

// Moment is an instant at which a directory differed from the one before.
type Moment struct {
	Instant versions.Instant
	Tree    chunk.ID
	Gone    bool
}

// Folder is the part of the database that belongs to one folder.
func (db *DB) Folder(id string) *Folder { panic("skeleton") }

// Folder is safe for use by many goroutines.
type Folder struct{}

// PutSnapshots adds records with their directories' moments (dirs of each as
// decoded: inline or from the chunk); putting one again replaces it (a spool
// record that got its number).
func (f *Folder) PutSnapshots(list []Snapshot, dirs func(Snapshot) ([]versions.DirChange, error)) error {
	panic("skeleton")
}

// Snapshots lists records by instant, ascending.
func (f *Folder) Snapshots() ([]Snapshot, error) { panic("skeleton") }

// SnapshotAt is the newest snapshot not after at (zero at: the newest);
// io/fs.ErrNotExist.
func (f *Folder) SnapshotAt(at versions.Instant) (Snapshot, error) { panic("skeleton") }

// LastNumber is the highest number known, 0 for none; Complete tells whether
// all below it have been read (history is filled newest first).
func (f *Folder) LastNumber() (last uint64, complete bool, err error) { panic("skeleton") }

// SetComplete notes that no older record is missing.
func (f *Folder) SetComplete() error { panic("skeleton") }

// Moments lists a directory's moments, ascending, in time proportional to
// their number.
func (f *Folder) Moments(dir string) ([]Moment, error) { panic("skeleton") }

// Forget removes one snapshot and its moments.
func (f *Folder) Forget(id chunk.ID) error { panic("skeleton") }

// Records are the folder's directory records (folder.Records).
func (f *Folder) Records() *Records { panic("skeleton") }

// Records implements folder.Records.
type Records struct{}

// Get returns nil when there is none.
func (r *Records) Get(dir string) ([]byte, error) { panic("skeleton") }

// Update sets and (nil) deletes.
func (r *Records) Update(fn func(set func(dir string, record []byte) error) error) error {
	panic("skeleton")
}

// Each visits every record in order of dir.
func (r *Records) Each(fn func(dir string, record []byte) error) error { panic("skeleton") }

// Drop removes everything of the folder.
func (f *Folder) Drop() error { panic("skeleton") }
