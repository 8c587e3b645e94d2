// Package chunk names pieces of content and cuts files into them.
//
// It is pure: it does no I/O and keeps no state but the keys it was given.
package chunk

import (
	"encoding/hex"
	"fmt"
)

// ID names a chunk by its content: BLAKE3-256, keyed with a secret of the
// repository and separated by Kind. The zero ID names nothing.
type ID [32]byte

// ParseID reads the 64 lower-case hexadecimal digits that String writes.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("chunk id %q: not %d hexadecimal digits", s, 2*len(id))
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ID{}, fmt.Errorf("chunk id %q: not %d hexadecimal digits", s, 2*len(id))
		}
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("chunk id %q: %w", s, err)
	}
	return id, nil
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short is the first eight digits, for people.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero tells whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Kind says what a chunk holds. It is part of what the id is computed over and
// is authenticated when the chunk is sealed, so a chunk of one kind never
// passes for one of another. The numbers are part of the format.
type Kind byte

// The kinds of chunk.
const (
	Data Kind = 1 // a piece of a file
	List Kind = 2 // the pieces of a file that has more than an entry holds
	Tree Kind = 3 // a piece of a directory listing
	Dirs Kind = 4 // the changed directories of a snapshot
)

func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case List:
		return "list"
	case Tree:
		return "tree"
	case Dirs:
		return "dirs"
	}
	return fmt.Sprintf("kind(%d)", byte(k))
}
