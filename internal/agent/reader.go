package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// Reader reads the past of a repository in the command's own process: snapshot
// lists come from the agent if one runs, else from the local database and the
// remote; content from the caches and the remote.
type Reader struct{}

// OpenReader opens the repository of this HOME for reading; ErrNotConnected.
func OpenReader(ctx context.Context, dirs config.Dirs, log *slog.Logger) (*Reader, error) {
	panic("skeleton")
}

// Close closes everything.
func (r *Reader) Close() error { panic("skeleton") }

// Place is a path within a folder.
type Place struct {
	Folder FolderInfo
	Rel    string            // slash-separated; "" is the folder itself
	At     *versions.Instant // set when the path was one inside .versions/INSTANT/
}

// Locate finds the folder of an argument: a path in a local folder (also below
// .versions/INSTANT), or NAME:REL for any folder of the repository. ErrOutside
// names the folders that there are.
func (r *Reader) Locate(ctx context.Context, arg string) (Place, error) { panic("skeleton") }

// Folders lists all folders of the repository, here or not; offline those that
// this machine knows of.
func (r *Reader) Folders(ctx context.Context) ([]FolderInfo, error) { panic("skeleton") }

// SnapshotInfo is one snapshot.
type SnapshotInfo struct {
	ID       chunk.ID
	Number   uint64 // 0: not on the remote yet
	Received time.Time
	*versions.Snapshot
}

// Snapshots of a folder by instant, ascending. Dirs may be left out of the
// records. ErrOffline when this machine knows none and cannot ask.
func (r *Reader) Snapshots(ctx context.Context, folder FolderInfo) ([]SnapshotInfo, error) {
	panic("skeleton")
}

// Moments of a directory, ascending.
func (r *Reader) Moments(ctx context.Context, p Place) ([]meta.Moment, error) { panic("skeleton") }

// Found is what was at a place at an instant.
type Found struct {
	Entry    versions.Entry
	Snapshot SnapshotInfo
}

// At finds a place as it was. ErrNoInstant names the instants that there are;
// io/fs.ErrNotExist when the place did not exist then.
func (r *Reader) At(ctx context.Context, p Place, w versions.When) (Found, error) {
	panic("skeleton")
}

// ChangeKind is what happened to a file or directory.
type ChangeKind string

// What can happen.
const (
	Created  ChangeKind = "created"
	Modified ChangeKind = "modified"
	Deleted  ChangeKind = "deleted"
	Metadata ChangeKind = "metadata" // the same content, other attributes
)

// FileVersion is one instant at which a file or directory changed.
type FileVersion struct {
	Instant versions.Instant
	Time    time.Time
	Size    int64
	Host    string
	User    string
	Change  ChangeKind
	Entry   *versions.Entry // nil when deleted
}

// FileVersions lists the instants at which a place changed, ascending;
// io/fs.ErrNotExist when it never existed.
func (r *Reader) FileVersions(ctx context.Context, p Place) ([]FileVersion, error) {
	panic("skeleton")
}

// Trees reads listings.
func (r *Reader) Trees() *versions.Trees { panic("skeleton") }

// Contents reads files.
func (r *Reader) Contents() *versions.Contents { panic("skeleton") }

// Store is the chunk store, open for reading.
func (r *Reader) Store() *store.Store { panic("skeleton") }

// Lines are the folders on the remote.
func (r *Reader) Lines() *line.Lines { panic("skeleton") }
