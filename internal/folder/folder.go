// Package folder knows one synced directory on this machine's disk: what is in
// it, what has changed, and how a new tree is made from that.
package folder

import (
	"context"
	"log/slog"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// Records keeps one opaque record a directory: what was last taken of it.
// internal/meta does. A lost record costs reading the directory's files again.
type Records interface {
	Get(dir string) ([]byte, error) // nil when there is none
	// Update applies all puts and deletes of fn together or not at all, as far
	// as one batch goes; a nil value deletes.
	Update(fn func(set func(dir string, record []byte) error) error) error
	// Each calls fn for every record in order of dir.
	Each(fn func(dir string, record []byte) error) error
}

// Options of a Folder.
type Options struct {
	Root    *disk.Root
	Records Records
	Hidden  func(name string) bool // names in the root that are ours (staging): never content
	Mounted bool                   // requests tell of changes as well
	Settle  time.Duration          // how long a file rests before it is captured; 0: one second
	Logger  *slog.Logger
	Now     func() time.Time
}

// Folder is safe for use by many goroutines.
type Folder struct{}

// Open prepares a folder; nothing is read yet.
func Open(o Options) (*Folder, error) { panic("skeleton") }

// Changed and Renamed take what requests through the mount did (fs.Changes).
func (f *Folder) Changed(path string) { panic("skeleton") }

// Renamed: see Changed.
func (f *Folder) Renamed(from, to string) { panic("skeleton") }

// Scan compares the whole disk with the records, in parallel, and makes dirty
// what differs. progress may be nil.
func (f *Folder) Scan(ctx context.Context, progress func(entries int64)) error { panic("skeleton") }

// Watch watches the directories themselves until ctx ends: the mount is not
// the only way in. outside is told of paths that no request explains (to
// invalidate the kernel's caches); may be nil. Where a limit is reached it
// goes on with scans and Trouble says so.
func (f *Folder) Watch(ctx context.Context, outside func(path string)) error { panic("skeleton") }

// Wake receives when there is something dirty that was not before.
func (f *Folder) Wake() <-chan struct{} { panic("skeleton") }

// Pending is what is dirty: entries known of, and bytes as far as stat tells.
func (f *Folder) Pending() (entries, bytes int64) { panic("skeleton") }

// Dirty tells whether path, or anything in or above it, is dirty.
func (f *Folder) Dirty(path string) bool { panic("skeleton") }

// Trouble lists what needs the user: files that cannot be read, sockets and
// fifos that are skipped, watches that ran out.
func (f *Folder) Trouble() []Trouble { panic("skeleton") }

// Trouble is one path that something is wrong with.
type Trouble struct {
	Path string
	Err  error
	Note bool // harmless: told once, never exit code 3
}

// Built is a new state of the whole tree.
type Built struct {
	Root                    versions.Entry
	Dirs                    []versions.DirChange // against the state before
	Added, Changed, Removed int64
	Files, Bytes            int64 // content read in this build
	Waiting                 int   // dirty paths left for later: being written, or not settled
}

// BuildOptions say what a build takes.
type BuildOptions struct {
	Rested   bool                     // only what rested for Settle (capture); else all that nobody is writing
	Before   time.Time                // with flush: take what is still being written too, flagged unstable
	Force    bool                     // see Before
	Progress func(files, bytes int64) // may be nil
	Take     func(path string) bool   // nil: everything (ignore rules)
}

// Build takes the dirty set, reads what changed (a file that moves while it is
// read is read again), stores content and listings, and returns the new tree.
// Nil when nothing changed. The dirty set keeps what could not be taken.
func (f *Folder) Build(ctx context.Context, trees *versions.Trees, contents *versions.Contents, o BuildOptions) (*Built, error) {
	panic("skeleton")
}

// Record makes b the state that later builds and scans compare with. Call it
// once the snapshot of b is durable. Not called, the same changes are found
// again.
func (f *Folder) Record(b *Built) error { panic("skeleton") }

// Recorded is the entry that was last taken or applied at path, and the
// signature its inode had then; io/fs.ErrNotExist.
func (f *Folder) Recorded(path string) (versions.Entry, disk.Sig, error) { panic("skeleton") }

// Applied records that path now holds e, put there by our own applier (nil: it
// is gone), with the signature read back from the disk.
func (f *Folder) Applied(changes []Applied) error { panic("skeleton") }

// Applied is one path that the applier changed.
type Applied struct {
	Path  string
	Entry *versions.Entry
	Sig   disk.Sig
}

// Unchanged is the check before a visible step: nil when path is not dirty, its
// inode has the recorded signature (or is absent, when nothing is recorded) and
// nobody has it open for writing.
func (f *Folder) Unchanged(path string) error { panic("skeleton") }
