// Package canon writes and reads binary values that have exactly one encoding.
//
// Everything whose hash names it (entries, listings, snapshots) is written this
// way: equal values give equal bytes, and a decoder refuses bytes that no
// encoder writes. A Decoder never allocates by a length that it has not
// compared with the bytes that are there.
package canon

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrFormat is data that no encoder wrote.
var ErrFormat = errors.New("not in the expected format")

// Uvarint appends v, seven bits a byte, lowest first, in the fewest bytes.
func Uvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// Int64 appends v in 8 bytes, little-endian.
func Int64(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) }

// String appends the length of s and its bytes.
func String[T ~string | ~[]byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Decoder reads values from the front of a slice. After the first error every
// read gives zero values; Err tells it.
type Decoder struct {
	data []byte
	err  error
}

// NewDecoder reads data, which must not change meanwhile.
func NewDecoder(data []byte) Decoder { return Decoder{data: data} }

// Fail notes an error, unless there is one already.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
		d.data = nil
	}
}

// Err is the first error.
func (d *Decoder) Err() error { return d.err }

// Rest is what has not been read yet.
func (d *Decoder) Rest() []byte { return d.data }

// More tells whether there is anything left to read.
func (d *Decoder) More() bool { return d.err == nil && len(d.data) > 0 }

// Done ends reading: an error if there was one, or if bytes are left over.
func (d *Decoder) Done() error {
	if d.err == nil && len(d.data) > 0 {
		d.Fail("%d bytes too many", len(d.data))
	}
	return d.err
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if len(d.data) == 0 {
		d.Fail("cut short")
		return 0
	}
	c := d.data[0]
	d.data = d.data[1:]
	return c
}

// Bool reads a byte that is 0 or 1.
func (d *Decoder) Bool() bool {
	c := d.Byte()
	if c > 1 {
		d.Fail("%d is neither yes nor no", c)
	}
	return c == 1
}

// Uvarint reads a number of at most limit.
func (d *Decoder) Uvarint(limit uint64) uint64 {
	if len(d.data) > 0 && d.data[0] < 0x80 { // nearly always
		v := uint64(d.data[0])
		d.data = d.data[1:]
		if v > limit {
			d.Fail("%d is more than %d", v, limit)
			return 0
		}
		return v
	}
	v, n := binary.Uvarint(d.data)
	switch {
	case n <= 0:
		d.Fail("no number where one belongs")
		return 0
	case n > 1 && d.data[n-1] == 0:
		d.Fail("number in more bytes than it needs")
		return 0
	case v > limit:
		d.Fail("%d is more than %d", v, limit)
		return 0
	}
	d.data = d.data[n:]
	return v
}

// Int64 reads 8 bytes.
func (d *Decoder) Int64() int64 {
	if b := d.Fixed(8); b != nil {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return 0
}

// Fixed reads n bytes, which stay part of the decoder's slice; nil on error.
func (d *Decoder) Fixed(n int) []byte {
	if d.err != nil || len(d.data) < n {
		d.Fail("cut short")
		return nil
	}
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b
}

// Bytes reads a length of at most limit and so many bytes, which stay part of
// the decoder's slice.
func (d *Decoder) Bytes(limit int) []byte {
	n := d.Uvarint(uint64(limit))
	if d.err != nil {
		return nil
	}
	return d.Fixed(int(n))
}

// String is Bytes, copied.
func (d *Decoder) String(limit int) string { return string(d.Bytes(limit)) }

// Count reads how many items follow, each of at least size bytes: never more
// than the rest of the data can hold.
func (d *Decoder) Count(limit, size int) int {
	n := d.Uvarint(uint64(limit))
	if n > uint64(len(d.data)/size) {
		d.Fail("%d items in %d bytes", n, len(d.data))
		return 0
	}
	return int(n)
}
