package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"lukechampine.com/blake3"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// session is one run, which has its folder's spool and database for itself.
type session struct {
	o        Options
	dir      string // of this folder
	lines    *line.Lines
	head     line.Folder // as far as known
	epoch    uint64      // of the last prune whose marks are known
	store    *store.Store
	db       *meta.DB
	trees    *versions.Trees
	contents *versions.Contents
	tags     []string  // of the newest snapshot, once asked for
	at       time.Time // when what is saved was as it is saved; zero: now
	report   Report
}

// open finds or makes the folder and opens what is kept of it here.
func open(ctx context.Context, o Options) (_ *session, err error) {
	s := &session{o: o, lines: line.New(o.Remote, o.Keys)}
	if s.head, err = s.folder(ctx); err != nil {
		return nil, err
	}
	s.report.Folder, s.report.FolderID = s.head.Name, s.head.ID
	s.dir = filepath.Join(o.StateDir, s.head.ID)
	spool := filepath.Join(s.dir, "spool")
	if err := atomicfile.MkdirAll(spool, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.store, err = store.Open(ctx, o.Remote, o.Keys, store.Options{
		SpoolDir: spool, SpoolLimit: o.SpoolLimit, CacheDir: o.CacheDir, CacheLimit: o.CacheLimit,
		Logger: o.Logger, Now: o.Now,
	})
	if errors.Is(err, store.ErrInUse) {
		return nil, fmt.Errorf("another backup to %q is under way: %w", s.o.Name, err)
	}
	if err != nil {
		return nil, err
	}
	// The head first, then the marks of a prune, then what they allow.
	if err := s.look(ctx); err != nil {
		return nil, err
	}
	if s.db, err = openDatabase(filepath.Join(s.dir, "db"), o); err != nil {
		return nil, err
	}
	chunks := &syncer.Chunks{Store: s.store}
	s.trees = versions.NewTrees(chunks, o.Keys.NameSecret())
	s.contents = versions.NewContents(chunks, o.Keys.GearSecret())
	return s, s.lastTags(ctx)
}

// openDatabase opens the records of the last run; broken ones cost reading
// everything again, and no more.
func openDatabase(dir string, o Options) (*meta.DB, error) {
	db, err := meta.Open(dir, o.Logger)
	if !errors.Is(err, meta.ErrBroken) {
		return db, err
	}
	o.Logger.Warn("the records of the last backup are broken: everything is read again", "err", err)
	if rerr := os.RemoveAll(dir); rerr != nil {
		return nil, errors.Join(err, rerr)
	}
	return meta.Open(dir, o.Logger)
}

func (s *session) close() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// folder finds the folder by its name, or makes it.
func (s *session) folder(ctx context.Context) (line.Folder, error) {
	list, err := s.lines.Folders(ctx)
	if err != nil && !errors.Is(err, line.ErrDamaged) {
		return line.Folder{}, err
	}
	f, err := find(list, s.o.Name, s.o.Kind)
	if !errors.Is(err, line.ErrUnknown) {
		return f, err
	}
	// Two machines that make it at once make the same one.
	secret := s.o.Keys.NameSecret()
	h := blake3.New(16, secret[:])
	_, _ = h.Write([]byte(s.o.Kind + "\x00" + s.o.Name)) // a hash takes everything
	f, err = s.lines.Recreate(ctx, hex.EncodeToString(h.Sum(nil)), s.o.Name, s.o.Kind)
	if errors.Is(err, line.ErrMoved) {
		return s.folder(ctx)
	}
	if err == nil && f.Name != s.o.Name { // it was renamed since
		f, err = s.lines.Create(ctx, s.o.Name, s.o.Kind)
	}
	return f, err
}

// look reads the head, and the marks when a prune has come since.
func (s *session) look(ctx context.Context) error {
	head, err := s.lines.Folder(ctx, s.head.ID)
	if err != nil {
		return err
	}
	if err := s.store.Refresh(ctx); err != nil {
		return err
	}
	s.head, s.epoch = head, head.Epoch
	return nil
}

// lastTags reads the tags of the newest snapshot, where they matter.
func (s *session) lastTags(ctx context.Context) error {
	s.report.Instant = s.head.Instant
	if s.head.Snapshot.IsZero() {
		return nil
	}
	err := s.lines.Records(ctx, s.head.ID, s.head.Number-1, true, func(r line.Recorded) error {
		if r.SnapshotID == s.head.Snapshot {
			s.tags = r.Tags
		}
		return nil
	})
	if errors.Is(err, line.ErrDamaged) {
		return nil // then it counts as one without tags
	}
	return err
}

// tagged tells whether the newest snapshot is a whole one that has the tags of
// this run.
func (s *session) tagged() bool {
	for _, t := range s.o.Tags {
		if !slices.Contains(s.tags, t) {
			return false
		}
	}
	return !slices.Contains(s.tags, tagPartial)
}

// unchanged notes that there is nothing to save.
func (s *session) unchanged() {
	s.report.Unchanged = s.report.Slices == 0
	s.report.Instant = s.head.Instant
	s.report.Files, s.report.Bytes = s.head.Root.Count, s.head.Root.Size
}

const (
	// tagPartial marks a snapshot that was taken while more was still to be read.
	tagPartial = syncer.TagPartial
	// smallRound is the most that is sent with a commit in one request.
	smallRound = 1 << 20
	// commitTries bounds how often other machines may be first.
	commitTries = 20
)

// errOvertaken: the snapshot was taken, and another machine has gone on from it.
var errOvertaken = errors.New("another machine has gone on")

// commit puts a snapshot of the tree snap.Root on top of the line. known tells
// that snap says how it differs from the head's. again stores a file's content
// from the file itself.
func (s *session) commit(ctx context.Context, snap *versions.Snapshot, known bool, again func(ctx context.Context, path string) error) error {
	snap.Folder, snap.Kind = s.head.ID, s.o.Kind
	snap.Host, snap.User, snap.Device = s.o.Host, s.o.User, s.o.Device
	if !slices.Contains(snap.Tags, tagPartial) {
		snap.Tags = s.o.Tags
	}
	for range commitTries {
		if err := s.follow(ctx, snap, known); err != nil {
			return err
		}
		next, err := s.send(ctx, snap)
		if err == nil {
			s.report.Instant = snap.Instant
			s.report.Added, s.report.Changed, s.report.Removed = s.report.Added+snap.Added, s.report.Changed+snap.Changed, s.report.Removed+snap.Removed
			s.report.Files, s.report.Bytes = snap.Root.Count, snap.Root.Size
			s.head, s.tags = next, snap.Tags
			if next.Snapshot != snap.ID() {
				return errOvertaken
			}
			return nil
		}
		if !errors.Is(err, line.ErrMoved) {
			return err
		}
		// Another machine was first, or a prune: what is new against the head now
		// is looked at once more, since a prune may have marked it.
		known = false
		epoch := s.epoch
		if err := s.look(ctx); err != nil {
			return err
		}
		if s.head.Epoch > epoch {
			if err := syncer.Preserve(ctx, s.store, s.head.Root, snap.Root, again); err != nil {
				return fmt.Errorf("keep what a prune has marked: %w", err)
			}
		}
	}
	return fmt.Errorf("folder %q: %w each of %d times", s.o.Name, line.ErrMoved, commitTries)
}

// follow makes snap one that comes after the head.
func (s *session) follow(ctx context.Context, snap *versions.Snapshot, known bool) error {
	at := s.at
	if at.IsZero() {
		at = s.o.Now()
	}
	snap.Instant = versions.NextInstant(at, s.head.Instant)
	snap.Parents = nil
	if !s.head.Snapshot.IsZero() {
		snap.Parents = []chunk.ID{s.head.Snapshot}
	}
	if !known {
		snap.DirsList = chunk.ID{}
		if err := syncer.Compare(ctx, s.trees, s.head.Root, snap); err != nil {
			return err
		}
	}
	return snap.StoreDirs(ctx, s.store)
}

// send makes durable on the remote what snap needs, and commits it.
func (s *session) send(ctx context.Context, snap *versions.Snapshot) (line.Folder, error) {
	if err := s.store.Flush(ctx); err != nil {
		return line.Folder{}, err
	}
	packs, _ := s.store.Pending()
	blobs, err := s.store.Small(smallRound)
	if err != nil {
		return line.Folder{}, err
	}
	if blobs == nil {
		if err := s.upload(ctx); err != nil {
			return line.Folder{}, err
		}
	}
	next, err := s.lines.Commit(ctx, s.head, snap, blobs)
	if err != nil {
		return line.Folder{}, err
	}
	for _, b := range blobs {
		s.sent(int64(len(b.Data)))
	}
	return next, s.store.Committed(ctx, packs)
}
