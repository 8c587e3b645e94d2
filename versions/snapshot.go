package versions

import (
	"errors"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Conditions that a caller may branch on. Absence is io/fs.ErrNotExist.
var (
	ErrNotDir  = errors.New("not a directory")
	ErrCorrupt = errors.New("stored content is damaged")
	SkipDir    = errors.New("skip this directory") //nolint:errname // named as in io/fs
)

// Instant names a snapshot within its folder: a second in UTC and a number
// that tells snapshots of one second apart. Instants of one line only grow.
type Instant struct {
	Sec int64 // seconds since 1970
	Seq int   // 0 for the first in its second; "_02" is 1
}

// String is 20060102_150405, with _02, _03 … for later ones of the second.
func (i Instant) String() string { panic("skeleton") }

// ParseInstant reads exactly what String writes.
func ParseInstant(s string) (Instant, error) { panic("skeleton") }

// Time is the instant's second.
func (i Instant) Time() time.Time { return time.Unix(i.Sec, 0).UTC() }

// Compare orders instants.
func (i Instant) Compare(j Instant) int { panic("skeleton") }

// IsZero tells the zero Instant, which names nothing.
func (i Instant) IsZero() bool { return i == Instant{} }

// NextInstant is the instant of a state that rested at now, raised above last.
func NextInstant(now time.Time, last Instant) Instant { panic("skeleton") }

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
}

// DirChange is a directory that changed and the id of its new listing; Gone
// when it is no more.
type DirChange struct {
	Path string // "" is the root
	Tree chunk.ID
	Gone bool
}

// ID of the record: keyed nowhere, BLAKE3-256 of its encoding.
func (s *Snapshot) ID() chunk.ID { panic("skeleton") }

// Encode writes the record in its one canonical form.
func (s *Snapshot) Encode() []byte { panic("skeleton") }

// DecodeSnapshot reads what Encode wrote.
func DecodeSnapshot(data []byte) (*Snapshot, error) { panic("skeleton") }

// AppendEntry encodes one entry after b, canonically; see docs/format.md.
func AppendEntry(b []byte, e Entry) []byte { panic("skeleton") }

// DecodeEntry reads one entry from the front of b and returns the rest.
func DecodeEntry(b []byte) (e Entry, rest []byte, err error) { panic("skeleton") }
