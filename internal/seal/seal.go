// Package seal compresses and encrypts what leaves this machine, and keeps the
// keys of a repository.
package seal

import (
	"errors"
	"io"

	"github.com/syncfs/syncfs/internal/chunk"
)

// ErrAuth is sealed data that the key does not open: a wrong passphrase, a
// wrong key, or damage.
var ErrAuth = errors.New("cannot be opened with this key")

// Keys are the keys of one repository, all derived from one random secret.
type Keys struct {
	secret [32]byte
}

// NewKeys makes the keys of a new repository.
func NewKeys(random io.Reader) (*Keys, error) { panic("skeleton") }

// RepositoryID is a hash of the secret, 64 hexadecimal digits: public, pinned
// by every client when it connects.
func (k *Keys) RepositoryID() string { panic("skeleton") }

// ChunkID names a chunk.
func (k *Keys) ChunkID(kind chunk.Kind, data []byte) chunk.ID { panic("skeleton") }

// GearSecret seeds the gear table, so that lengths of chunks do not give known
// files away.
func (k *Keys) GearSecret() [32]byte { panic("skeleton") }

// NameSecret keys the hash that cuts directory listings.
func (k *Keys) NameSecret() [32]byte { panic("skeleton") }

// SealBlob seals one small object under a key of its own. kind and name are
// authenticated: an object never passes for another.
func (k *Keys) SealBlob(kind, name string, plain []byte) ([]byte, error) { panic("skeleton") }

// OpenBlob opens what SealBlob sealed; ErrAuth when it was sealed by another
// key, for another kind or name, or is damaged.
func (k *Keys) OpenBlob(kind, name string, sealed []byte) ([]byte, error) { panic("skeleton") }
