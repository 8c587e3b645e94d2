// Package seal compresses and encrypts what leaves this machine, and keeps the
// keys of a repository.
//
// Everything is derived from one random secret. A blob (SealBlob) has a key of
// its own from a random salt; a pack (NewPack) has one too, and numbers its
// frames by their offsets, so that no key ever sees a nonce twice. The bytes
// are described in docs/format.md.
package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/syncfs/syncfs/internal/chunk"
)

// ErrAuth is sealed data that the key does not open: a wrong passphrase, a
// wrong key, or damage.
var ErrAuth = errors.New("cannot be opened with this key")

// Keys are the keys of one repository, all derived from one random secret. They
// are safe for use by many goroutines.
type Keys struct {
	secret [32]byte
	id     string
	chunks map[chunk.Kind][32]byte // keys of chunk ids
	gear   [32]byte
	names  [32]byte
	blobs  []byte // salts make a key for each blob of it
	packs  []byte // and for each pack
	zstd   *compressor

	mu     sync.Mutex // guards random
	random io.Reader
}

// NewKeys makes the keys of a new repository; random may be nil for the
// system's.
func NewKeys(random io.Reader) (*Keys, error) {
	random = orRandom(random)
	var secret [32]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return nil, fmt.Errorf("make a repository key: %w", err)
	}
	return derive(secret, random), nil
}

// orRandom is random, or the system's where that is nil.
func orRandom(random io.Reader) io.Reader {
	if random == nil {
		return rand.Reader
	}
	return random
}

// derive is all keys of a secret. random gives the salts.
func derive(secret [32]byte, random io.Reader) *Keys {
	k := &Keys{secret: secret, random: random, zstd: newCompressor(), chunks: map[chunk.Kind][32]byte{}}
	id := k.sub("repository id")
	k.id = hex.EncodeToString(id[:])
	for _, kind := range []chunk.Kind{chunk.Data, chunk.List, chunk.Tree, chunk.Dirs} {
		k.chunks[kind] = k.sub("chunk id " + kind.String())
	}
	k.gear = k.sub("gear table")
	k.names = k.sub("directory names")
	blobs, packs := k.sub("blobs"), k.sub("packs")
	k.blobs, k.packs = blobs[:], packs[:]
	return k
}

// sub derives the key for one use.
func (k *Keys) sub(use string) [32]byte {
	out, err := hkdf.Key(sha256.New, k.secret[:], nil, "syncfs v1 "+use, 32)
	if err != nil {
		panic(err) // cannot happen: the length is within what HKDF gives
	}
	return [32]byte(out)
}

// salt is 32 fresh random bytes.
func (k *Keys) salt() (salt [32]byte, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, err = io.ReadFull(k.random, salt[:])
	return salt, err
}

// RepositoryID is a hash of the secret, 64 hexadecimal digits: public, pinned
// by every client when it connects.
func (k *Keys) RepositoryID() string { return k.id }

// ChunkID names a chunk. The kind must be one of those that chunk declares.
func (k *Keys) ChunkID(kind chunk.Kind, data []byte) chunk.ID {
	key, ok := k.chunks[kind]
	if !ok {
		key = k.sub("chunk id " + kind.String())
	}
	return keyedHash(&key, data)
}

// GearSecret seeds the gear table, so that lengths of chunks do not give known
// files away.
func (k *Keys) GearSecret() [32]byte { return k.gear }

// NameSecret keys the hash that cuts directory listings.
func (k *Keys) NameSecret() [32]byte { return k.names }
