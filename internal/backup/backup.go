// Package backup takes a directory, a file or a stream into a folder of kind
// "backup": one machine pushes, and nothing comes back to its disk but by a
// restore. The records of the last run tell what has not changed since; the
// parent of a snapshot is the folder's head, and nothing is ever merged.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/versions"
)

// Kind is the kind of the folders that backups go to.
const Kind = "backup"

// Conditions that a caller may branch on.
var (
	ErrOtherKind = errors.New("it is a folder of another kind")
	ErrNothing   = errors.New("no file matches")
)

// Options of a backup.
type Options struct {
	Remote     blob.Store
	Keys       *seal.Keys
	StateDir   string // what the backups of this HOME remember, a directory a folder; not disposable as a whole while one runs
	CacheDir   string
	SpoolLimit int64 // bytes; 0: no limit but the disk's
	CacheLimit int64 // bytes; 0: the store's default

	Name               string // of the folder, which is made when there is none
	Kind               string // of the folder; "": Kind
	Host, User, Device string
	Tags               []string // of the snapshot

	Path          string   // absolute: a directory, or a file
	Select        Select   // what of it is taken
	OneFileSystem bool     // what is mounted inside is not entered
	Reread        bool     // read also what has not changed
	Own           []string // absolute: directories of ours, never content

	// Slice is how long new content is read at most before what is whole is
	// committed, so that an interrupted backup goes on where it was and a prune
	// spares it; 0: five minutes. The first slices are shorter.
	Slice    time.Duration
	Progress func(Progress) // called by several goroutines at once; may be nil
	Logger   *slog.Logger
	Now      func() time.Time
}

// Progress is what was done since the last call.
type Progress struct {
	Looked      int64 // entries compared with the last run
	Files, Read int64 // files read, and their bytes
	Sent        int64 // bytes
}

// Report tells what a backup did.
type Report struct {
	Folder, FolderID        string
	Instant                 versions.Instant // of the newest snapshot
	Unchanged               bool             // there was nothing to save: Instant is of an earlier run
	Added, Changed, Removed int64            // entries, against the snapshot before
	ReadFiles, ReadBytes    int64
	SentBytes               int64
	Files, Bytes            int64     // in the snapshot
	Unstable                int64     // files that were being written while they were read
	Left                    int64     // paths that became something else meanwhile: the next backup takes them
	Slices                  int       // partial snapshots made on the way
	Problems                []Problem // what could not be read
	Notes                   []Problem // what is not kept, such as sockets
}

// Problem is one path that something is wrong with.
type Problem struct {
	Path string
	Err  error
}

func (o *Options) fill() {
	if o.Kind == "" {
		o.Kind = Kind
	}
	if o.Slice <= 0 {
		o.Slice = 5 * time.Minute
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Take saves what is at o.Path. What cannot be read is in the report and the
// rest is saved; ErrNothing when a pattern matches nothing, and then nothing
// is saved. store.ErrInUse while another process of this HOME saves to the same
// folder.
func Take(ctx context.Context, o Options) (Report, error) {
	o.fill()
	src, err := openSource(o)
	if err != nil {
		return Report{}, err
	}
	defer src.close()
	s, err := open(ctx, o)
	if err != nil {
		return Report{}, err
	}
	err = s.take(ctx, src)
	return s.report, errors.Join(err, s.close())
}

// TakeStream saves what r yields as the one file of the folder, under a name.
func TakeStream(ctx context.Context, o Options, name string, r io.Reader) (Report, error) {
	o.fill()
	s, err := open(ctx, o)
	if err != nil {
		return Report{}, err
	}
	err = s.stream(ctx, name, r)
	return s.report, errors.Join(err, s.close())
}

// take saves a directory in as many slices as it needs.
func (s *session) take(ctx context.Context, src *source) error {
	db := s.db.Folder(s.o.Path)
	f, err := folder.Open(folder.Options{
		Root: src.root, Records: db.Records(), Filter: src.filter, TempDir: s.dir,
		Settle: time.Nanosecond, Logger: s.o.Logger, Now: s.o.Now,
	})
	if err != nil {
		return err
	}
	// Records that are not those of the newest snapshot prove nothing: a forget
	// and a prune may have taken what they refer to. Then everything is read.
	before, err := recorded(f)
	if err == nil && !versions.Equal(before, s.head.Root) && !before.IsZero() {
		s.o.Logger.Info("the newest snapshot is another than the last of this machine: everything is read again", "folder", s.o.Name)
		err = db.Drop()
	}
	if err != nil {
		return err
	}
	if err := f.Scan(ctx, func(n int64) { s.o.Progress(Progress{Looked: n}) }); err != nil {
		return err
	}
	defer func() { s.tellTrouble(f) }()
	slice := slice{most: s.o.Slice, now: s.o.Now}
	for {
		again, err := s.round(ctx, src, f, &slice)
		if err != nil || !again {
			return err
		}
		s.report.Slices++
	}
}

// recorded is the root as the last run has recorded it; zero: not at all.
func recorded(f *folder.Folder) (versions.Entry, error) {
	e, _, err := f.Recorded("")
	if errors.Is(err, fs.ErrNotExist) {
		return versions.Entry{}, nil
	}
	return e, err
}

// round reads what is new and commits it; again tells that some was left for
// the next.
func (s *session) round(ctx context.Context, src *source, f *folder.Folder, slice *slice) (again bool, err error) {
	before, err := recorded(f)
	if err != nil {
		return false, err
	}
	known := versions.Equal(before, s.head.Root)
	o := folder.BuildOptions{
		Force: true, Reread: s.o.Reread && s.report.Slices == 0,
		Progress: func(files, bytes int64) { s.o.Progress(Progress{Files: files, Read: bytes}) },
	}
	if known { // what is left is in no snapshot before either
		slice.begin()
		o.Enough = slice.enough
	}
	stop := s.uploadMeanwhile(ctx)
	built, err := f.Build(ctx, s.trees, s.contents, o)
	stop()
	if err != nil {
		return false, err
	}
	snap := &versions.Snapshot{Root: before}
	if built != nil {
		s.report.ReadFiles, s.report.ReadBytes = s.report.ReadFiles+built.Files, s.report.ReadBytes+built.Bytes
		s.report.Unstable, s.report.Left = built.Unstable, int64(built.Waiting)-built.Unstable
		snap.Root = built.Root
		again = built.Partial
	}
	if again {
		snap.Tags = []string{tagPartial}
	} else if src.patterned && snap.Root.Count == 0 {
		return false, fmt.Errorf("%s: %w", s.o.Path, ErrNothing)
	}
	switch {
	case again, !s.same(src, snap.Root):
		if known && built != nil {
			snap.Added, snap.Changed, snap.Removed, snap.Dirs = built.Added, built.Changed, built.Removed, built.Dirs
		}
		err = s.commit(ctx, snap, known && built != nil, src.again(s.contents))
		if errors.Is(err, errOvertaken) {
			return again, nil // another machine has gone on: the records prove nothing next time
		}
	default:
		s.unchanged()
		if src.only != "" {
			return again, nil // the records stay those of the newest snapshot
		}
		err = s.store.Flush(ctx)
	}
	if err != nil || built == nil {
		return again, err
	}
	return again, f.Record(built)
}

// same tells whether the folder's newest snapshot has all that root has, and
// the tags.
func (s *session) same(src *source, root versions.Entry) bool {
	if s.head.Snapshot.IsZero() || !s.tagged() {
		return false
	}
	if src.only != "" {
		return root.Tree == s.head.Root.Tree // its directory's own times are not what is saved
	}
	return versions.Equal(root, s.head.Root)
}

// tellTrouble puts what could not be read into the report.
func (s *session) tellTrouble(f *folder.Folder) {
	for _, t := range f.Trouble() {
		p := Problem{Path: t.Path, Err: t.Err}
		if t.Note {
			s.report.Notes = append(s.report.Notes, p)
		} else {
			s.report.Problems = append(s.report.Problems, p)
		}
	}
}

// find is the folder of a name; line.ErrUnknown.
func find(list []line.Folder, name, kind string) (line.Folder, error) {
	for _, f := range list { // sorted: of two with one name always the same
		if f.Name != name {
			continue
		}
		if f.Kind != kind {
			return line.Folder{}, fmt.Errorf("folder %q is of kind %q: %w", name, f.Kind, ErrOtherKind)
		}
		return f, nil
	}
	return line.Folder{}, fmt.Errorf("folder %q: %w", name, line.ErrUnknown)
}
