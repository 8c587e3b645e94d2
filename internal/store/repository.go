package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/seal"
)

// config is the public blob of that name: what must be known before there is a
// key.
type config struct {
	Format     int    `json:"format"`
	Repository string `json:"repository"` // seal.Keys.RepositoryID
}

// Format is the version of the repository's layout. A client refuses others.
const Format = 1

// keyFile is a wrapped key on the remote, "keys/ID".
type keyFile struct {
	Kind    string `json:"kind"`
	Label   string `json:"label"`
	Wrapped []byte `json:"wrapped"` // the secret, encrypted by age
}

// Kinds of wrapped keys.
const (
	kindPassphrase = "passphrase"
	kindDevice     = "device"
)

// KeyOption changes how a key is wrapped.
type KeyOption func(*keyOptions)

type keyOptions struct{ workFactor int }

// WorkFactor sets the cost of trying one passphrase, as a power of two. Tests
// use a small one; 0 is the default.
func WorkFactor(n int) KeyOption { return func(o *keyOptions) { o.workFactor = n } }

func keyOptionsOf(opts []KeyOption) (o keyOptions) {
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Init makes a new repository on an empty remote: the public "config" blob and
// the repository key wrapped under passphrase. ErrExists where there is one.
func Init(ctx context.Context, remote blob.Store, passphrase, label string, random io.Reader, opts ...KeyOption) (*seal.Keys, error) {
	switch _, err := RepositoryID(ctx, remote); {
	case err == nil:
		return nil, ErrExists
	case !errors.Is(err, ErrNoRepository):
		return nil, err
	}
	keys, err := seal.NewKeys(random)
	if err != nil {
		return nil, err
	}
	// The key first: a config without one would be a repository that nobody can
	// open. The config is create-only, so of two that race one wins.
	info, err := AddPassphrase(ctx, remote, keys, passphrase, label, opts...)
	if err != nil {
		return nil, fmt.Errorf("make a repository: %w", err)
	}
	data, err := json.Marshal(config{Format: Format, Repository: keys.RepositoryID()})
	if err != nil {
		return nil, err
	}
	err = put(ctx, remote, configName, append(data, '\n'))
	if errors.Is(err, fs.ErrExist) {
		if err := remote.Delete(ctx, keysPrefix+info.ID); err != nil {
			return nil, err
		}
		return nil, ErrExists
	}
	if err != nil {
		return nil, fmt.Errorf("make a repository: %w", err)
	}
	return keys, nil
}

func put(ctx context.Context, remote blob.Store, name string, data []byte) error {
	return remote.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
}

// RepositoryID reads the public id from the config blob. ErrNoRepository.
func RepositoryID(ctx context.Context, remote blob.Store) (string, error) {
	data, err := readBlob(ctx, remote, configName, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoRepository
	}
	if err != nil {
		return "", err
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrCorrupt, configName, err)
	}
	if c.Format != Format {
		return "", fmt.Errorf("the repository has format %d, this version knows %d", c.Format, Format)
	}
	if id, err := hex.DecodeString(c.Repository); err != nil || len(id) != 32 {
		return "", fmt.Errorf("%w: %s names no repository", ErrCorrupt, configName)
	}
	return c.Repository, nil
}

// Unlock unwraps the repository key with a passphrase. ErrNoRepository,
// seal.ErrAuth when no key opens with it.
func Unlock(ctx context.Context, remote blob.Store, passphrase string) (*seal.Keys, error) {
	return unlock(ctx, remote, kindPassphrase, func(wrapped []byte) (*seal.Keys, error) {
		return seal.UnwrapPassphrase(wrapped, passphrase, nil)
	})
}

// UnlockDevice unwraps the repository key with a device's identity (see
// NewDevice).
func UnlockDevice(ctx context.Context, remote blob.Store, identity string) (*seal.Keys, error) {
	return unlock(ctx, remote, kindDevice, func(wrapped []byte) (*seal.Keys, error) {
		return seal.UnwrapDevice(wrapped, identity, nil)
	})
}

func unlock(ctx context.Context, remote blob.Store, kind string, unwrap func([]byte) (*seal.Keys, error)) (*seal.Keys, error) {
	id, err := RepositoryID(ctx, remote)
	if err != nil {
		return nil, err
	}
	all, err := readKeys(ctx, remote)
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if k.file.Kind != kind {
			continue
		}
		keys, err := unwrap(k.file.Wrapped)
		if errors.Is(err, seal.ErrAuth) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// A key of another repository, put there by whoever: never use it.
		if keys.RepositoryID() == id {
			return keys, nil
		}
	}
	return nil, fmt.Errorf("no %s key of the repository: %w", kind, seal.ErrAuth)
}

// KeyInfo describes one wrapped key on the remote.
type KeyInfo struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // "passphrase" or "device"
	Label   string    `json:"label"`
	Created time.Time `json:"created"` // by the remote's clock
}

type storedKey struct {
	info KeyInfo
	file keyFile
}

// readKeys reads the wrapped keys. One that is damaged is left out.
func readKeys(ctx context.Context, remote blob.Store) ([]storedKey, error) {
	var keys []storedKey
	var infos []blob.Info
	err := remote.List(ctx, keysPrefix, "", func(i blob.Info) error {
		infos = append(infos, i)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	for _, i := range infos {
		data, err := readBlob(ctx, remote, i.Name, 1<<20)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			return nil, err
		}
		k := storedKey{info: KeyInfo{ID: i.Name[len(keysPrefix):], Created: i.Modified.UTC()}}
		if err := json.Unmarshal(data, &k.file); err != nil {
			continue
		}
		k.info.Kind, k.info.Label = k.file.Kind, k.file.Label
		keys = append(keys, k)
	}
	return keys, nil
}

// ListKeys lists the wrapped keys.
func ListKeys(ctx context.Context, remote blob.Store) ([]KeyInfo, error) {
	if _, err := RepositoryID(ctx, remote); err != nil {
		return nil, err
	}
	keys, err := readKeys(ctx, remote)
	if err != nil {
		return nil, err
	}
	infos := make([]KeyInfo, len(keys))
	for i, k := range keys {
		infos[i] = k.info
	}
	return infos, nil
}

// AddPassphrase wraps the key under another passphrase.
func AddPassphrase(ctx context.Context, remote blob.Store, keys *seal.Keys, passphrase, label string, opts ...KeyOption) (KeyInfo, error) {
	wrapped, err := keys.WrapPassphrase(passphrase, keyOptionsOf(opts).workFactor)
	if err != nil {
		return KeyInfo{}, err
	}
	return addKey(ctx, remote, keyFile{Kind: kindPassphrase, Label: label, Wrapped: wrapped})
}

// NewDevice makes an identity for this machine, wraps the key for it, and
// returns the identity (an age X25519 secret, to be kept in a 0600 file).
func NewDevice(ctx context.Context, remote blob.Store, keys *seal.Keys, label string) (identity string, info KeyInfo, err error) {
	identity, wrapped, err := keys.NewDevice()
	if err != nil {
		return "", KeyInfo{}, err
	}
	info, err = addKey(ctx, remote, keyFile{Kind: kindDevice, Label: label, Wrapped: wrapped})
	return identity, info, err
}

func addKey(ctx context.Context, remote blob.Store, f keyFile) (KeyInfo, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return KeyInfo{}, err
	}
	var raw [8]byte
	rand.Read(raw[:])
	id := hex.EncodeToString(raw[:])
	if err := put(ctx, remote, keysPrefix+id, append(data, '\n')); err != nil {
		return KeyInfo{}, fmt.Errorf("add a key: %w", err)
	}
	info, err := remote.Stat(ctx, keysPrefix+id)
	if err != nil {
		return KeyInfo{}, fmt.Errorf("add a key: %w", err)
	}
	return KeyInfo{ID: id, Kind: f.Kind, Label: f.Label, Created: info.Modified.UTC()}, nil
}

// ErrLastPassphrase refuses to remove the only passphrase.
var ErrLastPassphrase = errors.New("it is the last passphrase: nobody could open the repository again")

// RemoveKey removes a wrapped key; the last passphrase is refused.
func RemoveKey(ctx context.Context, remote blob.Store, id string) error {
	keys, err := ListKeys(ctx, remote)
	if err != nil {
		return err
	}
	var found *KeyInfo
	passphrases := 0
	for i, k := range keys {
		if k.ID == id {
			found = &keys[i]
		}
		if k.Kind == kindPassphrase {
			passphrases++
		}
	}
	if found == nil {
		return fmt.Errorf("key %s: %w", id, fs.ErrNotExist)
	}
	if found.Kind == kindPassphrase && passphrases == 1 {
		return fmt.Errorf("key %s: %w", id, ErrLastPassphrase)
	}
	if err := remote.Delete(ctx, keysPrefix+id); err != nil {
		return fmt.Errorf("remove key %s: %w", id, err)
	}
	return nil
}
