package store

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
)

// A pack is header, frames, sealed directory, trailer. The trailer is the
// length of the sealed directory (4 bytes) and "SFPE".
const (
	packTrailer      = 8
	packTrailerMagic = "SFPE"
)

// directoryKind takes the place of a chunk's kind where the directory of a pack
// is sealed like a frame.
const directoryKind chunk.Kind = 0xff

// Bounds of packs. Data packs hold content of files; tree packs hold listings
// and lists, and are small enough to be fetched whole.
const (
	dataPackSize = 16 << 20
	treePackSize = 4 << 20
	// MaxChunk is the longest content that Put takes.
	MaxChunk = 8 << 20
	// maxPack bounds what a reader believes of a pack's size.
	maxPack = 64 << 20
)

// frame is where one chunk lies in a pack.
type frame struct {
	id     chunk.ID
	kind   chunk.Kind
	offset uint32
	length uint32 // sealed
	plain  uint32
}

// appendDirectory writes frames, sorted by offset, each as the gap after the
// one before, its sealed and its plain length, kind and id.
func appendDirectory(b []byte, frames []frame) []byte {
	slices.SortFunc(frames, func(a, b frame) int { return int(a.offset) - int(b.offset) })
	b = binary.AppendUvarint(b, uint64(len(frames)))
	end := uint32(seal.PackHeader)
	for _, f := range frames {
		b = binary.AppendUvarint(b, uint64(f.offset-end))
		b = binary.AppendUvarint(b, uint64(f.length))
		b = binary.AppendUvarint(b, uint64(f.plain))
		b = append(b, byte(f.kind))
		b = append(b, f.id[:]...)
		end = f.offset + f.length
	}
	return b
}

// parseDirectory reads what appendDirectory wrote for a pack whose directory
// begins at limit: no frame reaches beyond it.
func parseDirectory(b []byte, limit int64) ([]frame, error) {
	if limit < int64(seal.PackHeader) || limit > maxPack {
		return nil, fmt.Errorf("a directory at %d", limit)
	}
	r := reader{b: b}
	count := r.uvarint()
	if count > uint64(len(b))/36 {
		return nil, fmt.Errorf("a directory of %d frames in %d bytes", count, len(b))
	}
	frames := make([]frame, 0, count)
	end := uint64(seal.PackHeader)
	for range count {
		var f frame
		gap, length, plain := r.uvarint(), r.uvarint(), r.uvarint()
		if gap > maxPack || length > maxPack || plain > maxPack || end+gap+length > uint64(limit) {
			return nil, fmt.Errorf("a frame beyond the end of its pack")
		}
		f.offset, f.length, f.plain = uint32(end+gap), uint32(length), uint32(plain)
		f.kind = chunk.Kind(r.byte())
		copy(f.id[:], r.bytes(len(f.id)))
		frames = append(frames, f)
		end += gap + length
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return frames, nil
}

// sealDirectory is the end of a pack: sealed directory and trailer.
func sealDirectory(keys *seal.Keys, p *seal.Pack, offset int64, frames []frame) []byte {
	inner := keys.Prepare(nil, appendDirectory(nil, frames))
	sealed := p.Seal(offset, directoryKind, chunk.ID{}, inner)
	sealed = binary.LittleEndian.AppendUint32(sealed, uint32(len(sealed)))
	return append(sealed, packTrailerMagic...)
}

// directoryAt finds the sealed directory from a pack's last bytes.
func directoryAt(trailer []byte, size int64) (offset, length int64, err error) {
	if len(trailer) != packTrailer || string(trailer[4:]) != packTrailerMagic {
		return 0, 0, fmt.Errorf("%w: a pack without its end", ErrCorrupt)
	}
	length = int64(binary.LittleEndian.Uint32(trailer))
	offset = size - packTrailer - length
	if offset < int64(seal.PackHeader) || size > maxPack {
		return 0, 0, fmt.Errorf("%w: a pack with a false end", ErrCorrupt)
	}
	return offset, length, nil
}

// openDirectory reads a pack's frames from its sealed directory.
func openDirectory(p *seal.Pack, offset int64, sealed []byte) ([]frame, error) {
	plain, err := p.Open(offset, directoryKind, chunk.ID{}, sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: the directory of a pack: %w", ErrCorrupt, err)
	}
	frames, err := parseDirectory(plain, offset)
	if err != nil {
		return nil, fmt.Errorf("%w: the directory of a pack: %w", ErrCorrupt, err)
	}
	return frames, nil
}
