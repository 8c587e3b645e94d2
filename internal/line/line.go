// Package line reads and extends folders' lines of snapshots on a remote: heads,
// snapshot records, log segments, the bases of machines.
package line

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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
	ErrDamaged   = errors.New("damaged on the remote")
)

// Lines are all folders of one repository. It is safe for use by many
// goroutines.
type Lines struct {
	remote blob.Store
	keys   *seal.Keys
}

// New reads and writes lines on remote, sealed with keys.
func New(remote blob.Store, keys *seal.Keys) *Lines { return &Lines{remote: remote, keys: keys} }

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

// Folders lists all folders, sorted by name, in one request. A head that cannot
// be opened is named in the error, which is ErrDamaged; the others are returned
// beside it.
func (l *Lines) Folders(ctx context.Context) ([]Folder, error) {
	heads, err := l.remote.ListHeads(ctx)
	if err != nil {
		return nil, fmt.Errorf("list folders: %w", err)
	}
	var list []Folder
	var bad []error
	for _, h := range heads {
		f, err := l.openHead(h)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b Folder) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return list, errors.Join(bad...)
}

// Folder reads one folder's head; ErrUnknown.
func (l *Lines) Folder(ctx context.Context, id string) (Folder, error) {
	h, err := l.remote.Head(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return Folder{}, fmt.Errorf("folder %s: %w", id, ErrUnknown)
	}
	if err != nil {
		return Folder{}, fmt.Errorf("read the head of folder %s: %w", id, err)
	}
	return l.openHead(h)
}

// Create makes an empty folder (a head without a snapshot). io/fs.ErrExist
// where a folder of that name is.
func (l *Lines) Create(ctx context.Context, name, kind string) (Folder, error) {
	if name == "" || len(name) > maxName {
		return Folder{}, fmt.Errorf("%q cannot name a folder", name)
	}
	list, err := l.Folders(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return Folder{}, err
	}
	for _, f := range list {
		if f.Name == name {
			return Folder{}, fmt.Errorf("folder %q: %w", name, fs.ErrExist)
		}
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Folder{}, fmt.Errorf("make an id: %w", err)
	}
	return l.replace(ctx, Folder{ID: hex.EncodeToString(random[:]), Name: name, Kind: kind}, 0)
}

// Recreate makes a folder again that the remote has lost, empty, under the id by
// which machines know it. io/fs.ErrExist where another folder has its name.
func (l *Lines) Recreate(ctx context.Context, id, name, kind string) (Folder, error) {
	list, err := l.Folders(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return Folder{}, err
	}
	for _, f := range list {
		if f.ID == id {
			return f, nil // another machine was first
		}
		if f.Name == name {
			return Folder{}, fmt.Errorf("folder %q: %w", name, fs.ErrExist)
		}
	}
	return l.replace(ctx, Folder{ID: id, Name: name, Kind: kind}, 0)
}

// Commit puts blobs and the snapshot's record and moves the head from seen, in
// one request. The snapshot must descend from seen's and be later. ErrMoved
// when another machine was first. After a failed or doubtful answer it reads the
// head again: if s is the head or in its ancestry, the commit was taken and
// there is no error; the head returned may then be a later one.
func (l *Lines) Commit(ctx context.Context, seen Folder, s *versions.Snapshot, blobs []blob.Blob) (Folder, error) {
	if err := checkCommit(seen, s); err != nil {
		return Folder{}, fmt.Errorf("commit to folder %q: %w", seen.Name, err)
	}
	id := s.ID()
	number := seen.Number + 1
	record, err := l.sealRecord(seen.ID, number, id, s.Encode())
	if err != nil {
		return Folder{}, err
	}
	next := seen
	next.Number, next.Snapshot, next.Instant, next.Root = number, id, s.Instant, s.Root
	next.Recent = append([]chunk.ID{id}, seen.Recent[:min(len(seen.Recent), maxRecent-1)]...)
	sealed, err := l.sealHead(next)
	if err != nil {
		return Folder{}, err
	}
	h, err := l.remote.Commit(ctx, seen.ID, blob.Commit{
		Expect: seen.Number, Sealed: sealed, ID: id.String(), Record: record, Blobs: blobs,
	})
	if err == nil {
		return l.openHead(h)
	}
	now, readErr := l.Folder(ctx, seen.ID)
	if readErr == nil && slices.Contains(now.Recent, id) {
		return now, nil
	}
	if errors.Is(err, blob.ErrMoved) || readErr == nil && now.Number != seen.Number {
		return Folder{}, fmt.Errorf("commit to folder %q: %w", seen.Name, ErrMoved)
	}
	return Folder{}, fmt.Errorf("commit to folder %q: %w", seen.Name, err)
}

// checkCommit refuses what would break the line for every machine.
func checkCommit(seen Folder, s *versions.Snapshot) error {
	if s.Folder != seen.ID {
		return fmt.Errorf("snapshot %v is of folder %s, not %s", s.Instant, s.Folder, seen.ID)
	}
	if !seen.Snapshot.IsZero() && !slices.Contains(s.Parents, seen.Snapshot) {
		return fmt.Errorf("snapshot %v does not descend from the newest, %v", s.Instant, seen.Instant)
	}
	if s.Instant.Compare(seen.Instant) <= 0 {
		return fmt.Errorf("snapshot %v is not after the newest, %v", s.Instant, seen.Instant)
	}
	if err := s.Root.Validate(); err != nil {
		return err
	}
	if _, err := versions.DecodeSnapshot(s.Encode()); err != nil {
		return fmt.Errorf("snapshot %v would not be readable: %w", s.Instant, err)
	}
	return nil
}

// PutSide puts a snapshot's record beside the line: it is listed and kept, and
// no head refers to it but as a parent of the merge that is committed next on
// seen. Losers and states captured offline become visible everywhere so. It
// counts as received when seen was.
func (l *Lines) PutSide(ctx context.Context, seen Folder, s *versions.Snapshot) error {
	id := s.ID()
	// The number of the next head: who has read the line up to seen finds it.
	number := seen.Number + 1
	record, err := l.sealRecord(seen.ID, number, id, s.Encode())
	if err != nil {
		return err
	}
	name := blob.RecordName(seen.ID, number, seen.Received, id.String())
	if err := l.put(ctx, name, record); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put snapshot %v beside the line: %w", s.Instant, err)
	}
	return nil
}

// Bump replaces the head by itself with another epoch: the step of a prune that
// makes writers decide again. ErrMoved when another machine was first.
func (l *Lines) Bump(ctx context.Context, seen Folder, epoch uint64) (Folder, error) {
	if epoch <= seen.Epoch {
		return Folder{}, fmt.Errorf("folder %q: epoch %d is not after %d", seen.Name, epoch, seen.Epoch)
	}
	next := seen
	next.Epoch = epoch
	return l.replace(ctx, next, seen.Number)
}

// Rename gives a folder another name for users. ErrMoved when another machine
// was first.
func (l *Lines) Rename(ctx context.Context, seen Folder, name string) (Folder, error) {
	if name == "" || len(name) > maxName {
		return Folder{}, fmt.Errorf("%q cannot name a folder", name)
	}
	next := seen
	next.Name = name
	return l.replace(ctx, next, seen.Number)
}

// replace commits a head that adds no snapshot.
func (l *Lines) replace(ctx context.Context, next Folder, expect uint64) (Folder, error) {
	next.Number = expect + 1
	sealed, err := l.sealHead(next)
	if err != nil {
		return Folder{}, err
	}
	h, err := l.remote.Commit(ctx, next.ID, blob.Commit{Expect: expect, Sealed: sealed})
	if err == nil {
		return l.openHead(h)
	}
	// Doubtful: a head that is as we wanted it, with the number we wanted, does
	// for us, whoever made it.
	if now, readErr := l.Folder(ctx, next.ID); readErr == nil {
		next.Received = now.Received
		if sameHead(now, next) {
			return now, nil
		}
		if now.Number != expect {
			err = ErrMoved
		}
	}
	if errors.Is(err, blob.ErrMoved) {
		err = ErrMoved
	}
	return Folder{}, fmt.Errorf("replace the head of folder %q: %w", next.Name, err)
}

// Open unseals the head, and the record if there is one, of an event.
func (l *Lines) Open(e blob.Event) (Folder, *Recorded, error) {
	f, err := l.openHead(e.Head)
	if err != nil || e.Entry == nil {
		return f, nil, err
	}
	r, err := l.openRecord(e.Head.Record, e.Entry)
	if err != nil {
		return f, nil, err
	}
	return f, r, nil
}

// CheckForward verifies that now can have come after old: the same folder, a
// higher number and the snapshot that old had in its past, as far as now tells
// it. ErrBackwards says that the remote was restored from an old copy or
// replaced.
func CheckForward(old, now Folder) error {
	back := func(format string, args ...any) error {
		return fmt.Errorf("folder %q: %w: %s", old.Name, ErrBackwards, fmt.Sprintf(format, args...))
	}
	switch {
	case now.ID != old.ID:
		return back("it is folder %s, this machine knows %s", now.ID, old.ID)
	case now.Number < old.Number:
		return back("its number is %d, this machine has seen %d", now.Number, old.Number)
	case now.Number == old.Number && (now.Snapshot != old.Snapshot || now.Epoch != old.Epoch):
		return back("number %d is another head than this machine has seen", now.Number)
	case now.Epoch < old.Epoch:
		return back("its epoch is %d, this machine has seen %d", now.Epoch, old.Epoch)
	case now.Instant.Compare(old.Instant) < 0:
		return back("its newest snapshot is %v, this machine has seen %v", now.Instant, old.Instant)
	case old.Snapshot.IsZero() || slices.Contains(now.Recent, old.Snapshot):
		return nil
	}
	// Each number adds one snapshot at most: if the list reaches back to old's
	// number, old's snapshot must be in it.
	if len(now.Recent) < maxRecent || now.Number-old.Number < maxRecent {
		return back("snapshot %v is not in its past", old.Instant)
	}
	return nil
}
