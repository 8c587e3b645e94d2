package store

import (
	"context"
	"io"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/seal"
)

// Init makes a new repository on an empty remote: the public "config" blob and
// the repository key wrapped under passphrase. ErrExists where there is one.
func Init(ctx context.Context, remote blob.Store, passphrase, label string, random io.Reader) (*seal.Keys, error) {
	panic("skeleton")
}

// Unlock unwraps the repository key with a passphrase. ErrNoRepository,
// seal.ErrAuth when no key opens with it.
func Unlock(ctx context.Context, remote blob.Store, passphrase string) (*seal.Keys, error) {
	panic("skeleton")
}

// UnlockDevice unwraps the repository key with a device's identity (see
// NewDevice).
func UnlockDevice(ctx context.Context, remote blob.Store, identity string) (*seal.Keys, error) {
	panic("skeleton")
}

// RepositoryID reads the public id from the config blob. ErrNoRepository.
func RepositoryID(ctx context.Context, remote blob.Store) (string, error) { panic("skeleton") }

// KeyInfo describes one wrapped key on the remote.
type KeyInfo struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // "passphrase" or "device"
	Label   string    `json:"label"`
	Created time.Time `json:"created"`
}

// ListKeys lists the wrapped keys.
func ListKeys(ctx context.Context, remote blob.Store) ([]KeyInfo, error) { panic("skeleton") }

// AddPassphrase wraps the key under another passphrase.
func AddPassphrase(ctx context.Context, remote blob.Store, keys *seal.Keys, passphrase, label string) (KeyInfo, error) {
	panic("skeleton")
}

// NewDevice makes an identity for this machine, wraps the key for it, and
// returns the identity (an age X25519 secret, to be kept in a 0600 file).
func NewDevice(ctx context.Context, remote blob.Store, keys *seal.Keys, label string) (identity string, info KeyInfo, err error) {
	panic("skeleton")
}

// RemoveKey removes a wrapped key; the last passphrase is refused.
func RemoveKey(ctx context.Context, remote blob.Store, id string) error { panic("skeleton") }
