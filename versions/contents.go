package versions

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/syncfs/syncfs/internal/chunk"
)

// Contents reads and writes the bytes of files. It is safe for use by many
// goroutines.
type Contents struct {
	chunks Chunks
	cutter *chunk.Cutter
	small  sync.Pool     // *[]byte of smallFile
	slabs  sync.Pool     // *slab
	tokens chan struct{} // one for each slab in use: bounds the memory of all writers
}

const (
	smallFile = 256 << 10 // up to this content is one piece for sure: chunk.MinSize
	slabSize  = 8 << 20
	maxSlabs  = 4
)

// NewContents: gearSecret is seal.Keys.GearSecret.
func NewContents(c Chunks, gearSecret [32]byte) *Contents {
	contents := &Contents{chunks: c, cutter: chunk.NewCutter(gearSecret), tokens: make(chan struct{}, maxSlabs)}
	contents.small.New = func() any {
		b := make([]byte, smallFile)
		return &b
	}
	contents.slabs.New = func() any { return &slab{data: make([]byte, slabSize)} }
	return contents
}

// Write cuts what r yields, stores it, and returns where it is in the fields
// Kind (File), Size, Pieces and List of the returned entry. Large content is
// stored by several goroutines at once with bounded memory, shared by all
// writers. It may be called by many goroutines.
func (c *Contents) Write(ctx context.Context, r io.Reader) (Entry, error) {
	pieces := &pieceList{list: listWriter{c: c.chunks}}
	if err := c.write(ctx, r, pieces); err != nil {
		return Entry{}, err
	}
	return pieces.entry(ctx)
}

// WriteSparse is Write for a file with holes: data ranges are read from r at
// their offsets, holes are not read and cost no chunk. The returned entry also
// has Holes: those given, in order and joined, at most the MaxHoles largest
// (the others are read as the zeros they are).
func (c *Contents) WriteSparse(ctx context.Context, r io.ReaderAt, size int64, holes []Range) (Entry, error) {
	holes, err := normalHoles(holes, size)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Kind: File, Size: size, Holes: holes}
	e, err = c.Write(ctx, &rangesReader{r: r, ranges: e.DataRanges()})
	if err != nil {
		return Entry{}, err
	}
	e.Size, e.Holes = size, holes
	return e, nil
}

// rangesReader reads ranges of a file one after the other.
type rangesReader struct {
	r      io.ReaderAt
	ranges []Range
}

func (r *rangesReader) Read(p []byte) (int, error) {
	if len(r.ranges) == 0 {
		return 0, io.EOF
	}
	next := &r.ranges[0]
	p = p[:min(int64(len(p)), next.Length)]
	n, err := r.r.ReadAt(p, next.Offset)
	if err == io.EOF {
		err = nil
		if n < len(p) {
			return n, fmt.Errorf("the file ends at %d, before its size: %w", next.Offset+int64(n), io.ErrUnexpectedEOF)
		}
	}
	next.Offset += int64(n)
	next.Length -= int64(n)
	if next.Length == 0 {
		r.ranges = r.ranges[1:]
	}
	return n, err
}

// pieceList gathers pieces in order: few for the entry, many into a list.
type pieceList struct {
	size   int64
	pieces []Piece
	list   listWriter
	long   bool
}

func (p *pieceList) add(ctx context.Context, piece Piece) error {
	p.size += int64(piece.Length)
	if !p.long {
		p.pieces = append(p.pieces, piece)
		if len(p.pieces) <= MaxInline {
			return nil
		}
		p.long = true
		for _, piece := range p.pieces {
			if err := p.list.add(ctx, 0, listed{id: piece.ID, length: int64(piece.Length)}); err != nil {
				return err
			}
		}
		p.pieces = nil
		return nil
	}
	return p.list.add(ctx, 0, listed{id: piece.ID, length: int64(piece.Length)})
}

func (p *pieceList) entry(ctx context.Context) (Entry, error) {
	e := Entry{Kind: File, Size: p.size, Pieces: p.pieces}
	if !p.long {
		return e, nil
	}
	var err error
	e.List, err = p.list.close(ctx)
	return e, err
}

// write cuts r and stores its pieces. Up to smallFile bytes need no goroutine.
func (c *Contents) write(ctx context.Context, r io.Reader, out *pieceList) error {
	small := c.small.Get().(*[]byte)
	defer c.small.Put(small)
	n, eof, err := readFull(r, *small)
	if err != nil {
		return err
	}
	if !eof {
		return c.writeLarge(ctx, io.MultiReader(bytes.NewReader((*small)[:n]), r), out)
	}
	for rest := (*small)[:n]; len(rest) > 0; {
		length := c.cutter.Cut(rest)
		id, err := c.chunks.Put(ctx, chunk.Data, rest[:length])
		if err != nil {
			return err
		}
		if err := out.add(ctx, Piece{ID: id, Length: uint32(length)}); err != nil {
			return err
		}
		rest = rest[length:]
	}
	return nil
}

// readFull fills p, or reads to the end. Only io.EOF is the end: io.ReadFull
// would not let a reader's own io.ErrUnexpectedEOF be told from it.
func readFull(r io.Reader, p []byte) (n int, eof bool, err error) {
	for idle := 0; n < len(p); {
		m, err := r.Read(p[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
		if idle++; m > 0 {
			idle = 0
		} else if idle == 100 {
			return n, false, io.ErrNoProgress
		}
	}
	return n, false, nil
}

// StorePieces is the entry of a file whose pieces, in order, are stored
// already.
func StorePieces(ctx context.Context, c Chunks, pieces []Piece) (Entry, error) {
	p := &pieceList{list: listWriter{c: c}}
	for _, piece := range pieces {
		if err := p.add(ctx, piece); err != nil {
			return Entry{}, err
		}
	}
	return p.entry(ctx)
}
