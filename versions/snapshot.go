package versions

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/internal/chunk"
	"lukechampine.com/blake3"
)

// Conditions that a caller may branch on. Absence is io/fs.ErrNotExist.
var (
	ErrNotDir  = errors.New("not a directory")
	ErrCorrupt = errors.New("stored content is damaged")

	//lint:ignore ST1012 named as io/fs names its own
	SkipDir = errors.New("skip this directory")
)

// Snapshot is the record of a folder's whole tree at one instant.
type Snapshot struct {
	Folder  string     // the folder's id on the wire
	Instant Instant    // the writer's clock
	Parents []chunk.ID // ids of snapshots; two for a merge
	Root    Entry      // the root directory itself
	Host    string
	User    string
	Device  string // random id of the writing machine
	Kind    string // "sync", "backup", "container"
	Tags    []string
	Offline bool // captured, not a round: a side snapshot

	Added, Changed, Removed int64 // entries against the first parent

	Dirs     []DirChange // directories that changed against the first parent, sorted by path
	DirsList chunk.ID    // the chunk of kind Dirs that holds them, when there are many

	// Untracked are paths that this snapshot, or one that it merges, has taken
	// out of the tree but that stay on every disk. Rising.
	Untracked []string
}

const (
	snapshotVersion = 1
	untrackVersion  = 2 // with Untracked, which is not empty
	maxSnapshot     = 4 << 20
	maxWord         = 1 << 10 // bytes of a host, a user, a tag
	maxTags         = 1 << 10
	maxParents      = 16
	maxUntrackedLen = 1 << 16 // bytes of one path

	// MaxUntracked is how many paths a snapshot may have in Untracked.
	MaxUntracked = 1 << 15
)

// ID of the record: keyed nowhere, BLAKE3-256 of its encoding.
func (s *Snapshot) ID() chunk.ID { return SnapshotID(s.Encode()) }

// SnapshotID is the id of the record that has this encoding.
func SnapshotID(encoded []byte) chunk.ID { return blake3.Sum256(encoded) }

// Encode writes the record in its one canonical form.
func (s *Snapshot) Encode() []byte {
	b := make([]byte, 0, 512+48*len(s.Dirs))
	version := byte(snapshotVersion)
	if len(s.Untracked) > 0 {
		version = untrackVersion // programs that do not know of them would delete these
	}
	b = append(b, version)
	b = canon.String(b, s.Folder)
	b = canon.Int64(b, s.Instant.Sec)
	b = canon.Uvarint(b, uint64(s.Instant.Seq))
	b = canon.Uvarint(b, uint64(len(s.Parents)))
	for _, p := range s.Parents {
		b = append(b, p[:]...)
	}
	b = AppendEntry(b, s.Root)
	for _, word := range []string{s.Host, s.User, s.Device, s.Kind} {
		b = canon.String(b, word)
	}
	b = canon.Uvarint(b, uint64(len(s.Tags)))
	for _, tag := range s.Tags {
		b = canon.String(b, tag)
	}
	b = appendBool(b, s.Offline)
	for _, n := range []int64{s.Added, s.Changed, s.Removed} {
		b = canon.Uvarint(b, uint64(n))
	}
	b = appendBool(b, !s.DirsList.IsZero())
	if !s.DirsList.IsZero() {
		b = append(b, s.DirsList[:]...)
	} else {
		b = appendDirs(b, s.Dirs)
	}
	if len(s.Untracked) > 0 {
		b = canon.Uvarint(b, uint64(len(s.Untracked)))
		for _, path := range s.Untracked {
			b = canon.String(b, path)
		}
	}
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// DecodeSnapshot reads what Encode wrote.
func DecodeSnapshot(data []byte) (*Snapshot, error) {
	if len(data) > maxSnapshot {
		return nil, fmt.Errorf("decode a snapshot: %w: %d bytes are too many", canon.ErrFormat, len(data))
	}
	d := canon.NewDecoder(data)
	version := d.Byte()
	if d.Err() == nil && version != snapshotVersion && version != untrackVersion {
		return nil, fmt.Errorf("snapshot of format %d, but this program knows %d and %d only: update it", version, snapshotVersion, untrackVersion)
	}
	s := &Snapshot{Folder: d.String(maxWord)}
	s.Instant.Sec = d.Int64()
	s.Instant.Seq = int(d.Uvarint(math.MaxInt32))
	for range d.Count(maxParents, 32) {
		s.Parents = append(s.Parents, chunk.ID(d.Fixed(32)))
	}
	if d.Err() == nil {
		decodeEntry(&d, &s.Root)
	}
	for _, word := range []*string{&s.Host, &s.User, &s.Device, &s.Kind} {
		*word = d.String(maxWord)
	}
	for range d.Count(maxTags, 1) {
		s.Tags = append(s.Tags, d.String(maxWord))
	}
	s.Offline = d.Bool()
	for _, n := range []*int64{&s.Added, &s.Changed, &s.Removed} {
		*n = int64(d.Uvarint(math.MaxInt64))
	}
	if d.Bool() {
		copy(s.DirsList[:], d.Fixed(32))
	} else {
		s.Dirs = decodeDirs(&d)
	}
	if version == untrackVersion {
		for range d.Count(MaxUntracked, 1) {
			s.Untracked = append(s.Untracked, d.String(maxUntrackedLen))
		}
		if d.Err() == nil && (!slices.IsSorted(s.Untracked) || len(slices.Compact(slices.Clone(s.Untracked))) != len(s.Untracked)) {
			return nil, fmt.Errorf("decode a snapshot: %w: its untracked paths do not rise", canon.ErrFormat)
		}
	}
	if err := d.Done(); err != nil {
		return nil, fmt.Errorf("decode a snapshot: %w", err)
	}
	if !bytes.Equal(s.Encode(), data) { // such as a list of directories named by the zero id
		return nil, fmt.Errorf("decode a snapshot: %w: another encoding than ours", canon.ErrFormat)
	}
	return s, nil
}
