package meta

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

var errDecode = errors.New("a value cannot be decoded")

// encodeSnapshot: number, received, the record as the remote has it.
func encodeSnapshot(s Snapshot) []byte {
	b := binary.AppendUvarint(nil, s.Number)
	b = binary.AppendVarint(b, s.Received)
	return append(b, s.Record.Encode()...)
}

// decodeSnapshot reads a snapshot; key is without its n.
func decodeSnapshot(key, value []byte) (s Snapshot, err error) {
	if len(key) != kindLen+instantLen+idLen {
		return s, errDecode
	}
	s.ID = chunk.ID(key[kindLen+instantLen:])
	number, n := binary.Uvarint(value)
	if n <= 0 {
		return s, errDecode
	}
	received, m := binary.Varint(value[n:])
	if m <= 0 {
		return s, errDecode
	}
	s.Number, s.Received = number, received
	if s.Record, err = versions.DecodeSnapshot(value[n+m:]); err != nil {
		return s, fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)
	}
	return s, nil
}

func encodeMoment(c versions.DirChange) []byte {
	b := make([]byte, 1, 1+idLen)
	if c.Gone {
		b[0] = 1
	}
	return append(b, c.Tree[:]...)
}

// decodeMoment reads a moment; key is what follows D.
func decodeMoment(key, value []byte) (m Moment, err error) {
	if len(key) != instantLen+idLen || len(value) != 1+idLen || value[0] > 1 {
		return m, errDecode
	}
	return Moment{Instant: readInstant(key), Gone: value[0] == 1, Tree: chunk.ID(value[1:])}, nil
}
