package disk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/versions"
)

// stubMark is the attribute of an inode whose content is not here. Its value:
//
//	format  1 byte: 1
//	mtime   varint, nanoseconds: of a file that is being filled; 0: as the disk has it
//	entry   versions.AppendEntry of what the inode holds, without name and attributes
//
// So a stub tells by itself what belongs into it: it survives renames, crashes
// and the loss of every record. It is local to this machine.
const (
	stubMark   = OwnXattr + "stub"
	stubFormat = 1
	// maxStub is what every disk takes as one attribute beside others.
	maxStub = 3 << 10
)

// pinMark is the attribute of what is to stay here, with all below it.
const pinMark = OwnXattr + "pin"

var (
	errStub = errors.New("damaged mark of a stub")
	// ErrStubTooLong is content that a mark cannot hold (a file of very many
	// holes): such a file cannot be a stub.
	ErrStubTooLong = errors.New("it cannot be left out: its description is too long for an extended attribute")
)

// Stub is what the mark says of an inode whose content is not on this disk: a
// file that is sparse instead, or a directory with nothing in it.
type Stub struct {
	Content versions.Entry // kind, size, and what it holds; hard-link group
	MTime   int64          // not 0: the file's, which is being filled
}

// NewStub is the stub of an entry.
func NewStub(e versions.Entry) Stub {
	return Stub{Content: versions.Entry{
		Kind: e.Kind, Size: e.Size, Count: e.Count, Pieces: e.Pieces, List: e.List, Tree: e.Tree,
		Holes: e.Holes, Link: e.Link, Unstable: e.Unstable,
	}}
}

// Fill makes e hold what the stub stands for.
func (s Stub) Fill(e *versions.Entry) {
	c := s.Content
	e.Size, e.Count, e.Pieces, e.List, e.Tree, e.Holes, e.Unstable = c.Size, c.Count, c.Pieces, c.List, c.Tree, c.Holes, c.Unstable
	if s.MTime != 0 {
		e.MTime = s.MTime
	}
}

func (s Stub) encode() ([]byte, error) {
	b := versions.AppendEntry(binary.AppendVarint([]byte{stubFormat}, s.MTime), s.Content)
	if len(b) > maxStub {
		return nil, ErrStubTooLong
	}
	return b, nil
}

func decodeStub(b []byte) (Stub, error) {
	if len(b) < 2 || b[0] != stubFormat {
		return Stub{}, errStub
	}
	mtime, n := binary.Varint(b[1:])
	if n <= 0 {
		return Stub{}, errStub
	}
	e, rest, err := versions.DecodeEntry(b[1+n:])
	if err != nil {
		return Stub{}, fmt.Errorf("%w: %w", errStub, err)
	}
	if len(rest) > 0 || e.Kind != versions.File && e.Kind != versions.Dir {
		return Stub{}, errStub
	}
	return Stub{Content: e, MTime: mtime}, nil
}
