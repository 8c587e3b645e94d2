// Package versions describes trees of files at instants: entries, directory
// listings, file content, snapshots.
package versions

import "github.com/syncfs/syncfs/internal/chunk"

// Kind is what an entry is. The letters are part of the format.
type Kind byte

// The kinds of entry.
const (
	File    Kind = 'f'
	Dir     Kind = 'd'
	Symlink Kind = 'l'
	CharDev Kind = 'c'
	BlkDev  Kind = 'b'
)

// MaxInline is how many pieces an entry holds itself; a file of more has a
// chunk-list object.
const MaxInline = 8

// Entry is one name in a directory: everything that is kept of a file but its
// bytes. Entries that are equal encode equally.
type Entry struct {
	Name string // raw bytes, not necessarily UTF-8; "" for a root
	Kind Kind
	Mode uint32 // 07777: permissions, set-id bits, sticky

	UID, GID    uint32
	User, Group string // names on the machine that took it; may be empty

	MTime int64 // nanoseconds since 1970
	Size  int64 // File: bytes; Dir: all bytes below; Symlink: length of Target
	Count int64 // Dir: entries below that are no directories

	Pieces []Piece  // File: its content in order, when at most MaxInline
	List   chunk.ID // File: the chunk of kind List, when more
	Tree   chunk.ID // Dir: its listing; the zero ID is an empty directory
	Target string   // Symlink
	Device uint64   // CharDev, BlkDev

	Link     [16]byte // hard-link group, random; zero: none
	Xattrs   []Xattr  // sorted by name; POSIX ACLs are the system.posix_acl_* ones
	Holes    []Range  // sorted; parts of a sparse file that hold no data (and read as zeros)
	Unstable bool     // taken while it was being written
}

// Piece is one chunk of a file.
type Piece struct {
	ID     chunk.ID
	Length uint32
}

// Xattr is one extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// Range is a part of a file.
type Range struct{ Offset, Length int64 }
