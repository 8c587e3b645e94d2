package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/syncfs/syncfs/internal/chunk"
)

// A pack begins with magic "SFP1", cipher and 32 bytes of salt, which give it a
// key of its own. What follows are frames. The nonce of a frame is its offset
// in the pack: no two frames begin at one place, so none is used twice.
const packMagic = "SFP1"

// Sizes that the layout of a pack follows from.
const (
	PackHeader    = len(packMagic) + 1 + saltSize
	FrameOverhead = 1 + overhead // what a frame is longer than its packed content
)

// Pack seals and opens the frames of one pack. It is safe for use by many
// goroutines.
type Pack struct {
	header []byte
	aead   cipher.AEAD
	zstd   *compressor
}

// NewPack makes the key of a new pack.
func (k *Keys) NewPack() (*Pack, error) {
	salt, err := k.salt()
	if err != nil {
		return nil, fmt.Errorf("make the key of a pack: %w", err)
	}
	header := append([]byte(packMagic), byte(preferred()))
	return k.OpenPack(append(header, salt[:]...))
}

// OpenPack finds the key of a pack from its first PackHeader bytes.
func (k *Keys) OpenPack(header []byte) (*Pack, error) {
	if len(header) < PackHeader || string(header[:len(packMagic)]) != packMagic {
		return nil, fmt.Errorf("not a pack: %w", ErrAuth)
	}
	header = append([]byte(nil), header[:PackHeader]...)
	a, err := aead(Cipher(header[len(packMagic)]), k.packs, header[len(packMagic)+1:], "pack")
	if err != nil {
		return nil, err
	}
	return &Pack{header: header, aead: a, zstd: k.zstd}, nil
}

// Header is what the pack begins with.
func (p *Pack) Header() []byte { return p.header }

// Prepare returns what a frame of data seals, in the memory of buf where that
// suffices: it compresses where that helps. It needs no pack, so it can be done
// before a place in one is known.
func (k *Keys) Prepare(buf, data []byte) []byte { return k.zstd.pack(buf[:0], data) }

// FrameSize is the length of the frame that inner, from Prepare, is sealed in.
func FrameSize(inner []byte) int { return len(inner) + overhead }

// Seal seals inner, from Prepare, for its place in the pack, in the same
// memory. Every call for one pack needs another offset.
func (p *Pack) Seal(offset int64, kind chunk.Kind, id chunk.ID, inner []byte) []byte {
	var context [frameContext]byte
	return p.aead.Seal(inner[:0], p.nonce(offset), inner, p.context(&context, kind, id))
}

// Open opens the frame at offset; ErrAuth unless it is that of this chunk. The
// frame's memory is not kept.
func (p *Pack) Open(offset int64, kind chunk.Kind, id chunk.ID, frame []byte) ([]byte, error) {
	if len(frame) < FrameOverhead {
		return nil, fmt.Errorf("a frame of %d bytes: %w", len(frame), ErrAuth)
	}
	var context [frameContext]byte
	inner, err := p.aead.Open(make([]byte, unpackRoom, unpackRoom+len(frame)), p.nonce(offset), frame, p.context(&context, kind, id))
	if err != nil {
		return nil, fmt.Errorf("%s chunk %s: %w", kind, id.Short(), ErrAuth)
	}
	plain, err := p.zstd.unpack(inner)
	if err != nil {
		return nil, fmt.Errorf("%s chunk %s: %w: %w", kind, id.Short(), err, ErrAuth)
	}
	return plain, nil
}

func (p *Pack) nonce(offset int64) []byte {
	nonce := make([]byte, p.aead.NonceSize())
	binary.LittleEndian.PutUint64(nonce, uint64(offset))
	return nonce
}

// frameContext is the length of what is authenticated beside a frame.
const frameContext = PackHeader + 1 + len(chunk.ID{})

func (p *Pack) context(buf *[frameContext]byte, kind chunk.Kind, id chunk.ID) []byte {
	copy(buf[:], p.header)
	buf[PackHeader] = byte(kind)
	copy(buf[PackHeader+1:], id[:])
	return buf[:]
}
