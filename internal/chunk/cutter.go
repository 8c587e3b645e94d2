package chunk

import (
	"encoding/binary"

	"lukechampine.com/blake3"
)

// Bounds of a chunk's length. They are part of what makes equal files cut
// equally, so they never change within a repository.
const (
	MinSize = 256 << 10
	AvgSize = 1 << 20
	MaxSize = 3 << 20
)

// Normalised chunking: up to normalSize a cut is rare, after it likely, so that
// lengths gather about the average. A cut is where the rolling hash is below
// the threshold; below 1<<(64-n) is one position in 1<<n.
const (
	normalSize    = 800 << 10
	thresholdRare = uint64(1) << (64 - 22)
	thresholdNear = uint64(1) << (64 - 18)
)

// window is how many bytes the rolling hash remembers: it shifts by one bit a
// byte.
const window = 64

// Cutter cuts content where the content itself says so (FastCDC), with a gear
// table that is secret: lengths of chunks do not give known files away.
type Cutter struct {
	gear [256]uint64
}

// NewCutter makes the cutter of a repository; secret is seal.Keys.GearSecret.
func NewCutter(secret [32]byte) *Cutter {
	c := &Cutter{}
	var table [256 * 8]byte
	h := blake3.New(32, secret[:])
	h.Write([]byte("syncfs gear table v1"))
	if _, err := h.XOF().Read(table[:]); err != nil {
		panic(err) // cannot happen: the output is far longer than this
	}
	for i := range c.gear {
		c.gear[i] = binary.LittleEndian.Uint64(table[8*i:])
	}
	return c
}

// Cut returns the length of the first chunk of data, which must hold MaxSize
// bytes or all that is left of the file. It depends on those bytes alone.
func (c *Cutter) Cut(data []byte) int {
	if len(data) <= MinSize {
		return len(data)
	}
	data = data[:min(len(data), MaxSize)]
	// The hash is warmed up so that a cut depends on the window before it and
	// on nothing earlier: an insert is forgotten after 64 bytes.
	var h uint64
	for _, b := range data[MinSize-window : MinSize] {
		h = h<<1 + c.gear[b]
	}
	normal := min(len(data), normalSize)
	h, n := c.scan(h, data[MinSize:normal], thresholdRare)
	if n >= 0 {
		return MinSize + n
	}
	if _, n = c.scan(h, data[normal:], thresholdNear); n >= 0 {
		return normal + n
	}
	return len(data)
}

// scan rolls h over data and returns the length after which it first fell below
// threshold, or -1.
func (c *Cutter) scan(h uint64, data []byte, threshold uint64) (uint64, int) {
	gear := &c.gear
	i := 0
	for ; i+4 <= len(data); i += 4 {
		d := data[i : i+4 : i+4]
		h = h<<1 + gear[d[0]]
		if h < threshold {
			return h, i + 1
		}
		h = h<<1 + gear[d[1]]
		if h < threshold {
			return h, i + 2
		}
		h = h<<1 + gear[d[2]]
		if h < threshold {
			return h, i + 3
		}
		h = h<<1 + gear[d[3]]
		if h < threshold {
			return h, i + 4
		}
	}
	for ; i < len(data); i++ {
		h = h<<1 + gear[data[i]]
		if h < threshold {
			return h, i + 1
		}
	}
	return h, -1
}
