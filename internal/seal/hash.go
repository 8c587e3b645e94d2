package seal

import (
	"encoding/binary"

	"github.com/syncfs/syncfs/internal/chunk"
	"lukechampine.com/blake3/guts"
)

// keyedHash is BLAKE3-256 of data under key.
func keyedHash(key *[32]byte, data []byte) chunk.ID {
	var words [8]uint32
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	return rootHash(&words, guts.FlagKeyedHash, data)
}

// Hash is plain BLAKE3-256, which names packs and index blobs: damage shows
// without any key.
func Hash(data []byte) [32]byte { return rootHash(&guts.IV, 0, data) }

// group is what the vector unit hashes at once.
const (
	groupHeight = 4
	groupSize   = guts.MaxSIMD * guts.ChunkSize
)

// rootHash hashes data in the caller's goroutine. The library's Hasher starts a
// goroutine for every subtree, which costs more than it gives where many
// goroutines hash at once.
func rootHash(key *[8]uint32, flags uint32, data []byte) (out [32]byte) {
	var stack [40][8]uint32 // complete subtrees; stack[i] holds 1<<(i+groupHeight) chunks
	var groups uint64       // hashed so far; bit i: stack[i] is in use
	for len(data) > groupSize {
		n := guts.CompressBuffer((*[groupSize]byte)(data), groupSize, key, groups<<groupHeight, flags)
		data = data[groupSize:]
		cv, i := guts.ChainingValue(n), 0
		for ; groups&(1<<i) != 0; i++ {
			cv = guts.ChainingValue(guts.ParentNode(stack[i], cv, key, flags))
		}
		stack[i] = cv
		groups++
	}
	n := lastGroup(key, flags, data, groups<<groupHeight)
	for i := range stack {
		if groups&(1<<i) != 0 {
			n = guts.ParentNode(stack[i], guts.ChainingValue(n), key, flags)
		}
	}
	n.Flags |= guts.FlagRoot
	words := guts.CompressNode(n)
	for i := range len(out) / 4 {
		binary.LittleEndian.PutUint32(out[4*i:], words[i])
	}
	return out
}

// lastGroup hashes at most a group. The vector code reads a whole group, so
// what is shorter is copied into one.
func lastGroup(key *[8]uint32, flags uint32, data []byte, counter uint64) guts.Node {
	if len(data) <= guts.ChunkSize {
		return guts.CompressChunk(data, key, counter, flags)
	}
	var buf [groupSize]byte
	copy(buf[:], data)
	return guts.CompressBuffer(&buf, len(data), key, counter, flags)
}
