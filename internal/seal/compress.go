package seal

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Compression names how a plain text was packed, in the format.
type compression byte

const (
	stored     compression = 0
	compressed compression = 1 // zstd
)

// windowSize bounds what an encoder or decoder keeps: chunks are at most 3 MiB
// and most are small.
const windowSize = 1 << 20

// compressor reuses zstd encoders and decoders, which are large.
type compressor struct {
	encoders freeList[*zstd.Encoder]
	decoders freeList[*zstd.Decoder]
}

func newCompressor() *compressor {
	return &compressor{
		encoders: newFreeList(newEncoder),
		decoders: newFreeList(newDecoder),
	}
}

// Rest gives up memory that is kept from one chunk to the next, some megabytes:
// for when no more are expected soon.
func (k *Keys) Rest() {
	k.zstd.encoders.drop()
	k.zstd.decoders.drop()
}

// zstdMagic begins every frame of zstd; it is not stored.
const zstdMagic = "\x28\xb5\x2f\xfd"

// pack appends to dst one byte that tells how, and data in its packed form.
func (c *compressor) pack(dst, data []byte) []byte {
	if len(data) >= minCompress && (len(data) < minProbe || c.worthwhile(dst, data)) {
		e := c.encoders.get()
		out := e.EncodeAll(data, dst)
		c.encoders.put(e)
		if len(out)-len(dst) < len(data)-len(data)/64 {
			// The byte takes the place of the end of the magic.
			at := len(dst) + len(zstdMagic) - 1
			out[at] = byte(compressed)
			if len(dst) == 0 {
				return out[at:]
			}
			return append(dst, out[at:]...)
		}
	}
	return append(append(dst, byte(stored)), data...)
}

// Less than minCompress is not worth a frame; from minProbe on a sample decides
// whether to try the whole.
const (
	minCompress = 48
	minProbe    = 64 << 10
	probeSize   = 4 << 10
)

// worthwhile packs three samples. Content that does not shrink there (media,
// archives, encrypted files) is not tried in whole.
func (c *compressor) worthwhile(scratch, data []byte) bool {
	e := c.encoders.get()
	defer c.encoders.put(e)
	total := 0
	for _, at := range []int{0, (len(data) - probeSize) / 2, len(data) - probeSize} {
		total += len(e.EncodeAll(data[at:at+probeSize], scratch)) - len(scratch)
	}
	return total < 3*probeSize*31/32
}

// newEncoder makes one of the default level: the better one takes twice the time
// and 25 MB more for 3 % of source code's size, the fastest saves next to nothing.
func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithAllLitEntropyCompression(true), // costs nothing
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),   // the AEAD authenticates
		zstd.WithSingleSegment(true), // always tells the size
		zstd.WithWindowSize(windowSize),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // cannot happen: the options are constant
	}
	return e
}

// unpackRoom is how many bytes unpack needs free before what it is given.
const unpackRoom = len(zstdMagic) - 1

// unpack reads what pack wrote, which begins at buf[unpackRoom]. It may keep
// buf, and changes it.
func (c *compressor) unpack(buf []byte) ([]byte, error) {
	if len(buf) <= unpackRoom {
		return nil, errors.New("no content")
	}
	switch how := compression(buf[unpackRoom]); how {
	case stored:
		return buf[unpackRoom+1:], nil
	case compressed:
		copy(buf, zstdMagic)
		var header zstd.Header
		if err := header.Decode(buf); err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if !header.HasFCS || header.FrameContentSize > maxPlain {
			return nil, errors.New("unpack: no size, or too large a one")
		}
		d := c.decoders.get()
		defer c.decoders.put(d)
		out, err := d.DecodeAll(buf, make([]byte, 0, header.FrameContentSize))
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("compression %d is not known", how)
	}
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxPlain))
	if err != nil {
		panic(err) // cannot happen: the options are constant
	}
	return d
}

// maxPlain bounds one sealed object, so that no length in a blob makes a client
// take more memory.
const maxPlain = 64 << 20
