package store

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/syncfs/syncfs/internal/seal"
)

// Where things are on the remote. Packs and index blobs are named by the plain
// BLAKE3-256 of their bytes: putting one twice is no harm, and damage shows
// without a key.
const (
	packsPrefix  = "packs/"
	deltasPrefix = "index/delta/"
	runsPrefix   = "index/run/"
	shardsPrefix = "index/shard/"
	marksPrefix  = "marks/"
	keysPrefix   = "keys/"
	configName   = "config"
)

// digest is BLAKE3-256 of a pack or an index blob.
type digest [32]byte

func (d digest) String() string { return hex.EncodeToString(d[:]) }

// packName is "packs/ab/abcd…": the first byte is a directory of its own, so
// that a directory on a server does not hold them all.
func packName(d digest) string {
	s := d.String()
	return packsPrefix + s[:2] + "/" + s
}

// parsePackName is packName backwards.
func parsePackName(name string) (digest, error) {
	d, err := parseDigest(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil || packName(d) != name {
		return digest{}, fmt.Errorf("%q is not the name of a pack", name)
	}
	return d, nil
}

func parseDigest(s string) (d digest, err error) {
	if len(s) != 2*len(d) || strings.ToLower(s) != s {
		return digest{}, fmt.Errorf("%q is not a digest", s)
	}
	_, err = hex.Decode(d[:], []byte(s))
	return d, err
}

// contentName is the name of an index blob with these bytes.
func contentName(prefix string, sealed []byte) string {
	return prefix + digest(seal.Hash(sealed)).String()
}

// checkContent tells whether the bytes of a blob are those that it is named by.
func checkContent(name string, data []byte) error {
	d, err := parseDigest(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrCorrupt, err)
	}
	if digest(seal.Hash(data)) != d {
		return fmt.Errorf("%s: %w: its content is not what it is named by", name, ErrCorrupt)
	}
	return nil
}

func hashOf(data []byte) digest { return seal.Hash(data) }
