package meta

import (
	"encoding/binary"

	"lukechampine.com/blake3"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// All keys. F is the folder (8 bytes of the hash of its id), T an instant (8
// bytes of seconds, 4 of the number within; big-endian, so keys sort by time),
// ID a snapshot's id (32 bytes), D a directory (16 bytes of the hash of its
// path: a path may be longer than a key), n the number of a piece (2 bytes).
//
//	s F T ID n     snapshot: its number, received and record (a value in pieces)
//	i F ID         the T of that snapshot, to find it by its id
//	d F ID n       the D of all directories that have a moment of it (in pieces)
//	m F D T ID     moment: gone (1 byte), tree (32 bytes)
//	r F PATH 0 n   directory record (a value in pieces); PATH itself, for its order
//	n F            the highest number known (8 bytes)
//	c F            set when no older snapshot is missing
//	x F n          the root of a tree and the conflict copies in it (a value in pieces)
//
// A snapshot is written in the order m, d, i, s, and n after all of them are
// synced: what n covers is complete.
type keyspace [8]byte // F

func newKeyspace(folder string) (k keyspace) {
	sum := blake3.Sum256([]byte(folder))
	copy(k[:], sum[:])
	return k
}

const (
	snapshotKind = 's'
	idKind       = 'i'
	dirsKind     = 'd'
	momentKind   = 'm'
	recordKind   = 'r'
	numberKind   = 'n'
	completeKind = 'c'
	copiesKind   = 'x'
)

// allKinds is what Drop removes.
const allKinds = historyKinds + "r"

// historyKinds is what DropHistory removes.
const historyKinds = "sidmncx"

const (
	instantLen = 12
	dirLen     = 16
	idLen      = len(chunk.ID{})
	kindLen    = 1 + len(keyspace{})
)

// prefix is what every key of one kind begins with.
func (k keyspace) prefix(kind byte) []byte {
	return append([]byte{kind}, k[:]...)
}

func (k keyspace) snapshot(at versions.Instant, id chunk.ID) []byte {
	return append(k.snapshotsAt(at), id[:]...)
}

// snapshotsAt is what the keys of all snapshots of one instant begin with.
func (k keyspace) snapshotsAt(at versions.Instant) []byte {
	return appendInstant(k.prefix(snapshotKind), at)
}

func (k keyspace) id(id chunk.ID) []byte   { return append(k.prefix(idKind), id[:]...) }
func (k keyspace) dirs(id chunk.ID) []byte { return append(k.prefix(dirsKind), id[:]...) }
func (k keyspace) number() []byte          { return k.prefix(numberKind) }
func (k keyspace) complete() []byte        { return k.prefix(completeKind) }
func (k keyspace) copies() []byte          { return k.prefix(copiesKind) }

func (k keyspace) moment(d dirHash, at versions.Instant, id chunk.ID) []byte {
	return append(appendInstant(k.moments(d), at), id[:]...)
}

// moments is what the keys of all moments of one directory begin with.
func (k keyspace) moments(d dirHash) []byte {
	return append(k.prefix(momentKind), d[:]...)
}

// record ends the path with the one byte that no path holds, so records sort
// by path and no path is the beginning of another.
func (k keyspace) record(dir string) []byte {
	return append(append(k.prefix(recordKind), dir...), 0)
}

// recordDir is the PATH in what record made.
func recordDir(key []byte) string { return string(key[kindLen : len(key)-1]) }

// dirHash is D.
type dirHash [dirLen]byte

func hashDir(dir string) (h dirHash) {
	sum := blake3.Sum256([]byte(dir))
	copy(h[:], sum[:])
	return h
}

// appendInstant encodes T; the sign bit is turned over so that times before
// 1970 sort first.
func appendInstant(b []byte, at versions.Instant) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(at.Sec)^1<<63)
	return binary.BigEndian.AppendUint32(b, uint32(at.Seq))
}

func readInstant(b []byte) versions.Instant {
	return versions.Instant{
		Sec: int64(binary.BigEndian.Uint64(b) ^ 1<<63),
		Seq: int(binary.BigEndian.Uint32(b[8:])),
	}
}
