// Package versions describes trees of files at instants: entries, directory
// listings, file content, snapshots.
package versions

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/chunk"
)

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

func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "directory"
	case Symlink:
		return "symbolic link"
	case CharDev:
		return "character device"
	case BlkDev:
		return "block device"
	}
	return fmt.Sprintf("kind %#x", byte(k))
}

// Bounds of an entry. They are part of the format.
const (
	// MaxInline is how many pieces an entry holds itself; a file of more has a
	// chunk-list object.
	MaxInline = 8
	// MaxName is the longest name in bytes: 255 characters of four bytes.
	MaxName = 1020
	// MaxTarget is the longest target of a symlink.
	MaxTarget = 1<<16 - 1
	// MaxHoles is how many holes are kept of a sparse file; Contents.WriteSparse
	// keeps the largest.
	MaxHoles = 4096
	// MaxEntry is the longest encoding of an entry; extended attributes are
	// what could exceed it.
	MaxEntry = 1 << 20
)

// Entry is one name in a directory: everything that is kept of a file but its
// bytes. Entries that are equal encode equally. The zero Entry stands for
// nothing at all.
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
	Holes    []Range  // sorted, not touching; parts of a sparse file that hold no data (and read as zeros)
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

// IsZero tells the zero Entry, which stands for nothing.
func (e *Entry) IsZero() bool { return e.Kind == 0 }

// Equal tells whether a and b are the same in everything, so that they encode
// equally.
func Equal(a, b Entry) bool {
	return a.Tree == b.Tree && a.Count == b.Count && SameContent(a, b) && SameAttributes(a, b)
}

// SameAttributes compares name, kind, mode, owner, times, link group, extended
// attributes and the unstable mark: all but what a file or directory holds.
func SameAttributes(a, b Entry) bool {
	return a.Name == b.Name && a.Kind == b.Kind && a.Mode == b.Mode &&
		a.UID == b.UID && a.GID == b.GID && a.User == b.User && a.Group == b.Group &&
		a.MTime == b.MTime && a.Link == b.Link && a.Unstable == b.Unstable && SameXattrs(a.Xattrs, b.Xattrs)
}

// SameContent tells whether a and b hold the same, whatever their attributes:
// bytes and holes of files, listings of directories, targets of symlinks,
// numbers of devices.
func SameContent(a, b Entry) bool {
	return a.Kind == b.Kind && a.Size == b.Size && a.List == b.List && a.Tree == b.Tree &&
		a.Target == b.Target && a.Device == b.Device &&
		slices.Equal(a.Pieces, b.Pieces) && slices.Equal(a.Holes, b.Holes)
}

// Same tells whether two files have equal content, from their entries alone.
// False means that they differ or that only reading can tell: where one file
// has a hole, the other may hold zeros (see Contents.Same).
func Same(a, b Entry) bool { return a.Kind == File && SameContent(a, b) }

// SameXattrs compares extended attributes.
func SameXattrs(a, b []Xattr) bool {
	return slices.EqualFunc(a, b, func(x, y Xattr) bool { return x.Name == y.Name && bytes.Equal(x.Value, y.Value) })
}

// Xattr is the value of one extended attribute.
func (e *Entry) Xattr(name string) ([]byte, bool) {
	for _, x := range e.Xattrs {
		if x.Name == name {
			return x.Value, true
		}
	}
	return nil, false
}

// ValidName tells why name cannot stand in a directory; nil when it can.
func ValidName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no name of a file", name)
	case len(name) > MaxName:
		return fmt.Errorf("name %.40q… has %d bytes, more than %d", name, len(name), MaxName)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q holds a slash or a zero byte", name)
	}
	return nil
}
