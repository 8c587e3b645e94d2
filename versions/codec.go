package versions

import (
	"fmt"
	"math"

	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/internal/chunk"
)

// Flags of an encoded entry: which of the rarer fields follow.
const (
	flagOwner    = 1 << iota // User, Group
	flagRef                  // File: List instead of pieces; Dir: Tree
	flagLink                 // Link
	flagXattrs               // Xattrs
	flagHoles                // Holes
	flagUnstable             // Unstable; no field
	flagsAll     = 1<<iota - 1
)

const (
	maxOwner     = 255     // bytes of a user's or group's name
	maxXattrName = 1 << 10 // Linux allows 255
	maxPiece     = math.MaxUint32
)

// AppendEntry encodes one entry after b, canonically; see docs/format.md. The
// entry must be valid (Validate).
func AppendEntry(b []byte, e Entry) []byte {
	b = append(b, byte(e.Kind), e.flags())
	b = canon.String(b, e.Name)
	b = canon.Uvarint(b, uint64(e.Mode))
	b = canon.Uvarint(b, uint64(e.UID))
	b = canon.Uvarint(b, uint64(e.GID))
	if e.User != "" || e.Group != "" {
		b = canon.String(b, e.User)
		b = canon.String(b, e.Group)
	}
	b = canon.Int64(b, e.MTime)
	switch e.Kind {
	case File:
		b = canon.Uvarint(b, uint64(e.Size))
		b = appendHoles(b, e.Holes)
		if !e.List.IsZero() {
			b = append(b, e.List[:]...)
		} else {
			b = canon.Uvarint(b, uint64(len(e.Pieces)))
			b = appendPieces(b, e.Pieces)
		}
	case Dir:
		b = canon.Uvarint(b, uint64(e.Size))
		b = canon.Uvarint(b, uint64(e.Count))
		if !e.Tree.IsZero() {
			b = append(b, e.Tree[:]...)
		}
	case Symlink:
		b = canon.String(b, e.Target)
	case CharDev, BlkDev:
		b = canon.Uvarint(b, e.Device)
	}
	if e.Link != ([16]byte{}) {
		b = append(b, e.Link[:]...)
	}
	if len(e.Xattrs) > 0 {
		b = canon.Uvarint(b, uint64(len(e.Xattrs)))
		for _, x := range e.Xattrs {
			b = canon.String(b, x.Name)
			b = canon.String(b, x.Value)
		}
	}
	return b
}

func (e *Entry) flags() (f byte) {
	set := func(bit byte, on bool) {
		if on {
			f |= bit
		}
	}
	set(flagOwner, e.User != "" || e.Group != "")
	set(flagRef, e.Kind == File && !e.List.IsZero() || e.Kind == Dir && !e.Tree.IsZero())
	set(flagLink, e.Link != [16]byte{})
	set(flagXattrs, len(e.Xattrs) > 0)
	set(flagHoles, e.Kind == File && len(e.Holes) > 0)
	set(flagUnstable, e.Unstable)
	return f
}

func appendPieces(b []byte, pieces []Piece) []byte {
	for _, p := range pieces {
		b = append(b, p.ID[:]...)
		b = canon.Uvarint(b, uint64(p.Length))
	}
	return b
}

// appendHoles writes their number, and for each the distance from the end of
// the one before, and its length.
func appendHoles(b []byte, holes []Range) []byte {
	if len(holes) == 0 {
		return b
	}
	b = canon.Uvarint(b, uint64(len(holes)))
	end := int64(0)
	for _, h := range holes {
		b = canon.Uvarint(b, uint64(h.Offset-end))
		b = canon.Uvarint(b, uint64(h.Length))
		end = h.Offset + h.Length
	}
	return b
}

// DecodeEntry reads one entry from the front of b and returns the rest. The
// entry shares no memory with b.
func DecodeEntry(b []byte) (e Entry, rest []byte, err error) {
	d := canon.NewDecoder(b)
	decodeEntry(&d, &e)
	if err := d.Err(); err != nil {
		return Entry{}, nil, fmt.Errorf("decode an entry: %w", err)
	}
	if len(b)-len(d.Rest()) > MaxEntry {
		return Entry{}, nil, fmt.Errorf("decode an entry: %w: longer than %d bytes", canon.ErrFormat, MaxEntry)
	}
	return e, d.Rest(), nil
}

func decodeEntry(d *canon.Decoder, e *Entry) {
	e.Kind = Kind(d.Byte())
	flags := d.Byte()
	has := func(bit byte) bool { return flags&bit != 0 }
	e.Name = d.String(MaxName)
	if d.Err() == nil && e.Name != "" {
		if err := ValidName(e.Name); err != nil {
			d.Fail("%v", err)
		}
	}
	e.Mode = uint32(d.Uvarint(0o7777))
	e.UID = uint32(d.Uvarint(math.MaxUint32))
	e.GID = uint32(d.Uvarint(math.MaxUint32))
	if has(flagOwner) {
		e.User, e.Group = d.String(maxOwner), d.String(maxOwner)
	}
	e.MTime = d.Int64()
	switch e.Kind {
	case File:
		e.Size = int64(d.Uvarint(math.MaxInt64))
		if has(flagHoles) {
			e.Holes = decodeHoles(d, e.Size)
		}
		if has(flagRef) {
			copy(e.List[:], d.Fixed(len(e.List)))
		} else {
			e.Pieces = decodePieces(d, d.Count(MaxInline, 33))
		}
	case Dir:
		e.Size = int64(d.Uvarint(math.MaxInt64))
		e.Count = int64(d.Uvarint(math.MaxInt64))
		if has(flagRef) {
			copy(e.Tree[:], d.Fixed(len(e.Tree)))
		}
	case Symlink:
		e.Target = d.String(MaxTarget)
		e.Size = int64(len(e.Target))
	case CharDev, BlkDev:
		e.Device = d.Uvarint(math.MaxUint64)
	}
	if has(flagLink) {
		copy(e.Link[:], d.Fixed(len(e.Link)))
	}
	if has(flagXattrs) {
		e.Xattrs = decodeXattrs(d)
	}
	e.Unstable = has(flagUnstable)
	if d.Err() != nil {
		return
	}
	// What was announced must be there, and what is there must be valid: else
	// two encodings would give one entry.
	if flags != e.flags() {
		d.Fail("flags %#x of a %v", flags, e.Kind)
	} else if err := e.check(); err != nil {
		d.Fail("%v", err)
	}
}

func decodePieces(d *canon.Decoder, n int) []Piece {
	if n == 0 {
		return nil
	}
	pieces := make([]Piece, 0, n)
	for range n {
		var p Piece
		copy(p.ID[:], d.Fixed(len(p.ID)))
		p.Length = uint32(d.Uvarint(maxPiece))
		if d.Err() != nil {
			return nil
		}
		pieces = append(pieces, p)
	}
	return pieces
}

func decodeHoles(d *canon.Decoder, size int64) []Range {
	n := d.Count(MaxHoles, 2)
	holes := make([]Range, 0, n)
	end := int64(0)
	for range n {
		gap := int64(d.Uvarint(uint64(size - end)))
		length := int64(d.Uvarint(uint64(size - end - gap)))
		if d.Err() != nil {
			return nil
		}
		holes = append(holes, Range{Offset: end + gap, Length: length})
		end += gap + length
	}
	return holes
}

func decodeXattrs(d *canon.Decoder) []Xattr {
	n := d.Count(MaxEntry, 2)
	xattrs := make([]Xattr, 0, n)
	for range n {
		x := Xattr{Name: d.String(maxXattrName), Value: append([]byte(nil), d.Bytes(MaxEntry)...)}
		if d.Err() != nil {
			return nil
		}
		xattrs = append(xattrs, x)
	}
	return xattrs
}

// Validate tells why an entry cannot be stored; nil when it can. What a disk
// gives is valid, but for a name or extended attributes beyond the bounds.
func (e *Entry) Validate() error {
	if e.Name != "" {
		if err := ValidName(e.Name); err != nil {
			return err
		}
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("%q: %w", e.Name, err)
	}
	if e.Mode > 0o7777 || len(e.User) > maxOwner || len(e.Group) > maxOwner || len(e.Target) > MaxTarget {
		return fmt.Errorf("%q: mode, owner or target is out of bounds", e.Name)
	}
	if size := e.encodedBound(); size > MaxEntry {
		return fmt.Errorf("%q: extended attributes of %d bytes are too many", e.Name, size)
	}
	return nil
}

// encodedBound is at least the length of the encoding.
func (e *Entry) encodedBound() int {
	n := 256 + len(e.Name) + len(e.User) + len(e.Group) + len(e.Target) + len(e.Pieces)*37 + len(e.Holes)*20
	for _, x := range e.Xattrs {
		n += len(x.Name) + len(x.Value) + 10
	}
	return n
}

// check is the part of validity that the decoder cannot see field by field.
func (e *Entry) check() error {
	zero := chunk.ID{}
	isFile, isDir := e.Kind == File, e.Kind == Dir
	switch {
	case !isFile && !isDir && e.Kind != Symlink && e.Kind != CharDev && e.Kind != BlkDev:
		return fmt.Errorf("there is no %v", e.Kind)
	case !isFile && (len(e.Pieces) > 0 || e.List != zero || len(e.Holes) > 0), !isDir && (e.Tree != zero || e.Count != 0),
		e.Kind != Symlink && e.Target != "", e.Kind != CharDev && e.Kind != BlkDev && e.Device != 0:
		return fmt.Errorf("a %v holds what it cannot", e.Kind)
	case e.Size < 0 || e.Count < 0, !isFile && !isDir && e.Size != int64(len(e.Target)):
		return fmt.Errorf("a %v of size %d and count %d", e.Kind, e.Size, e.Count)
	case e.Tree == zero && isDir && (e.Size != 0 || e.Count != 0):
		return fmt.Errorf("an empty directory of size %d and count %d", e.Size, e.Count)
	}
	for i, x := range e.Xattrs {
		if x.Name == "" || len(x.Name) > maxXattrName || i > 0 && e.Xattrs[i-1].Name >= x.Name {
			return fmt.Errorf("extended attribute %q is out of order", x.Name)
		}
	}
	if isFile {
		return e.checkContent()
	}
	return nil
}

func (e *Entry) checkContent() error {
	end, holes := int64(-1), int64(0)
	for _, h := range e.Holes {
		if h.Offset <= end || h.Length <= 0 || h.Offset > e.Size || h.Length > e.Size-h.Offset {
			return fmt.Errorf("a hole of %d bytes at %d is out of place", h.Length, h.Offset)
		}
		end = h.Offset + h.Length
		holes += h.Length
	}
	if len(e.Holes) > MaxHoles || len(e.Pieces) > MaxInline {
		return fmt.Errorf("%d holes and %d pieces are too many", len(e.Holes), len(e.Pieces))
	}
	data := e.Size - holes
	if !e.List.IsZero() {
		if len(e.Pieces) > 0 || data <= 0 {
			return fmt.Errorf("pieces beside a list, or no content")
		}
		return nil
	}
	for _, p := range e.Pieces {
		if p.Length == 0 || p.ID.IsZero() {
			return fmt.Errorf("an empty piece")
		}
		data -= int64(p.Length)
	}
	if data != 0 {
		return fmt.Errorf("pieces and holes are not the size of the file, %d bytes", e.Size)
	}
	return nil
}
