package seal

import (
	"errors"
	"fmt"
	"sync"

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

// errSize is content that does not unpack to the size it was given.
var errSize = errors.New("unpacks to another size")

// compressor reuses zstd encoders and decoders, which are large. The zero value
// is ready.
type compressor struct {
	encoders sync.Pool
	decoders sync.Pool
}

// compress appends data to dst in its packed form, which is shorter, or leaves
// dst and says stored.
func (c *compressor) compress(dst, data []byte) ([]byte, compression) {
	if len(data) < minCompress {
		return dst, stored
	}
	if len(data) >= minProbe && !c.worthwhile(dst, data) {
		return dst, stored
	}
	e := c.encoder()
	defer c.encoders.Put(e)
	out := e.EncodeAll(data, dst)
	if len(out)-len(dst) >= len(data)-len(data)/64 {
		return dst, stored
	}
	return out, compressed
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
	e := c.encoder()
	defer c.encoders.Put(e)
	total := 0
	for _, at := range []int{0, (len(data) - probeSize) / 2, len(data) - probeSize} {
		total += len(e.EncodeAll(data[at:at+probeSize], scratch)) - len(scratch)
	}
	return total < 3*probeSize*31/32
}

func (c *compressor) encoder() *zstd.Encoder {
	if e, ok := c.encoders.Get().(*zstd.Encoder); ok {
		return e
	}
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), // the AEAD authenticates
		zstd.WithWindowSize(windowSize),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // cannot happen: the options are constant
	}
	return e
}

// decompress unpacks into a new slice of exactly size bytes.
func (c *compressor) decompress(how compression, packed []byte, size int) ([]byte, error) {
	switch how {
	case stored:
		if len(packed) != size {
			return nil, errSize
		}
		return packed, nil
	case compressed:
		d, ok := c.decoders.Get().(*zstd.Decoder)
		if !ok {
			var err error
			d, err = zstd.NewReader(nil,
				zstd.WithDecoderConcurrency(1),
				zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxMemory(maxPlain))
			if err != nil {
				panic(err) // cannot happen: the options are constant
			}
		}
		defer c.decoders.Put(d)
		out, err := d.DecodeAll(packed, make([]byte, 0, size))
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if len(out) != size {
			return nil, errSize
		}
		return out, nil
	}
	return nil, fmt.Errorf("compression %d is not known", how)
}

// maxPlain bounds one sealed object, so that no length in a blob makes a client
// take more memory.
const maxPlain = 64 << 20
