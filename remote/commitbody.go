package remote

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/internal/blob"
)

// The body of a commit, all numbers big-endian:
//
//	"SFC1"
//	count of blobs, 4 bytes; for each: length of its name, 2 bytes, and the
//	name; length of its data, 4 bytes, and the data
//	0, or 1 followed by: the snapshot's id, 64 hexadecimal digits; length of
//	the record, 4 bytes, and the record
//	number of the head that is expected, 8 bytes
//	length of the new head, 4 bytes, and the new head
//	SHA-256 of all of the above, 32 bytes
const (
	commitMagic = "SFC1"
	commitBlobs = 1024 // at most so many blobs in one commit
	idLength    = 64
)

var errCommitBody = errors.New("malformed commit body")

func encodeCommit(c blob.Commit) ([]byte, error) {
	if (c.ID == "") != (c.Record == nil) || c.ID != "" && !validID(c.ID) {
		return nil, fmt.Errorf("commit with id %q and a record of %d bytes", clip(c.ID), len(c.Record))
	}
	if len(c.Blobs) > commitBlobs {
		return nil, fmt.Errorf("commit of %d blobs; the most is %d", len(c.Blobs), commitBlobs)
	}
	var b bytes.Buffer
	b.WriteString(commitMagic)
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(c.Blobs))))
	bytes32 := func(data []byte) {
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data))))
		b.Write(data)
	}
	for _, each := range c.Blobs {
		if !blob.ValidName(each.Name) {
			return nil, fmt.Errorf("%q is not a name for an object", clip(each.Name))
		}
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(each.Name))))
		b.WriteString(each.Name)
		bytes32(each.Data)
	}
	if c.ID == "" {
		b.WriteByte(0)
	} else {
		b.WriteByte(1)
		b.WriteString(c.ID)
		bytes32(c.Record)
	}
	b.Write(binary.BigEndian.AppendUint64(nil, c.Expect))
	bytes32(c.Sealed)
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	if b.Len() > commitLimit {
		return nil, fmt.Errorf("commit of %d bytes; the most is %d", b.Len(), commitLimit)
	}
	return b.Bytes(), nil
}

// decodeCommit takes a body apart. The parts point into body.
func decodeCommit(body []byte) (c blob.Commit, err error) {
	if len(body) < sha256.Size {
		return c, errCommitBody
	}
	body, want := body[:len(body)-sha256.Size], body[len(body)-sha256.Size:]
	if sum := sha256.Sum256(body); !digest(sum).equal(want) {
		return c, fmt.Errorf("commit: %w", blob.ErrCorrupt)
	}
	d := cutter{rest: body}
	if string(d.take(len(commitMagic))) != commitMagic {
		return c, errCommitBody
	}
	count := d.uint32()
	if count > commitBlobs {
		return c, errCommitBody
	}
	for range count {
		name := string(d.take(int(d.uint16())))
		data := d.take(int(d.uint32()))
		if d.bad || !blob.ValidName(name) {
			return c, errCommitBody
		}
		c.Blobs = append(c.Blobs, blob.Blob{Name: name, Data: data})
	}
	switch flag := d.take(1); {
	case d.bad || flag[0] > 1:
		return c, errCommitBody
	case flag[0] == 1:
		c.ID = string(d.take(idLength))
		c.Record = d.take(int(d.uint32()))
		if !validID(c.ID) {
			return c, errCommitBody
		}
	}
	c.Expect = d.uint64()
	c.Sealed = d.take(int(d.uint32()))
	if d.bad || len(d.rest) != 0 {
		return c, errCommitBody
	}
	return c, nil
}

func validID(id string) bool {
	if len(id) != idLength {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// cutter cuts lengths off a buffer; once one does not fit, bad stays true and
// all it gives is empty.
type cutter struct {
	rest []byte
	bad  bool
}

func (d *cutter) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.rest) {
		d.bad = true
		return []byte{}
	}
	part := d.rest[:n:n]
	d.rest = d.rest[n:]
	return part
}

func (d *cutter) fixed(n int) []byte {
	if part := d.take(n); !d.bad {
		return part
	}
	return make([]byte, n)
}

func (d *cutter) uint16() uint16 { return binary.BigEndian.Uint16(d.fixed(2)) }
func (d *cutter) uint32() uint32 { return binary.BigEndian.Uint32(d.fixed(4)) }
func (d *cutter) uint64() uint64 { return binary.BigEndian.Uint64(d.fixed(8)) }
