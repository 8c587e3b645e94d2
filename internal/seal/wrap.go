package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// DefaultWorkFactor is the cost of trying one passphrase, as a power of two:
// scrypt with 64 MiB of memory, about a quarter of a second.
const DefaultWorkFactor = 16

// maxWorkFactor bounds what a wrapped key makes a client compute.
const maxWorkFactor = 20

// WrapPassphrase encrypts the repository's secret under a passphrase. A work
// factor of 0 means the default.
func (k *Keys) WrapPassphrase(passphrase string, workFactor int) ([]byte, error) {
	r, err := passphraseRecipient(passphrase, workFactor)
	if err != nil {
		return nil, err
	}
	return wrap(r, k.secret[:])
}

func passphraseRecipient(passphrase string, workFactor int) (age.Recipient, error) {
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("wrap the key: %w", err)
	}
	if workFactor == 0 {
		workFactor = DefaultWorkFactor
	}
	if workFactor < 1 || workFactor > maxWorkFactor {
		return nil, fmt.Errorf("wrap the key: work factor %d is not within 1 to %d", workFactor, maxWorkFactor)
	}
	r.SetWorkFactor(workFactor)
	return r, nil
}

// UnwrapPassphrase opens what WrapPassphrase made; ErrAuth for another
// passphrase.
func UnwrapPassphrase(wrapped []byte, passphrase string, random io.Reader) (*Keys, error) {
	id, err := passphraseIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	return unwrap(wrapped, id, random)
}

func passphraseIdentity(passphrase string) (age.Identity, error) {
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuth, err)
	}
	id.SetMaxWorkFactor(maxWorkFactor)
	return id, nil
}

// WrapIdentity encrypts the identity of a device under a passphrase. A work
// factor of 0 means the default.
func WrapIdentity(identity, passphrase string, workFactor int) ([]byte, error) {
	r, err := passphraseRecipient(passphrase, workFactor)
	if err != nil {
		return nil, err
	}
	return wrap(r, []byte(identity))
}

// UnwrapIdentity opens what WrapIdentity made; ErrAuth for another passphrase.
func UnwrapIdentity(wrapped []byte, passphrase string) (identity string, err error) {
	id, err := passphraseIdentity(passphrase)
	if err != nil {
		return "", err
	}
	r, err := age.Decrypt(bytes.NewReader(wrapped), id)
	if err != nil {
		return "", decryptError(err)
	}
	text, err := io.ReadAll(io.LimitReader(r, 1<<10))
	if err != nil {
		return "", fmt.Errorf("a wrapped key is damaged: %w", ErrAuth)
	}
	return string(text), nil
}

// NewDevice makes the identity of a device, a text that must be kept secret,
// and encrypts the repository's secret for it.
func (k *Keys) NewDevice() (identity string, wrapped []byte, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", nil, fmt.Errorf("make an identity: %w", err)
	}
	wrapped, err = wrap(id.Recipient(), k.secret[:])
	return id.String(), wrapped, err
}

// UnwrapDevice opens what NewDevice made; ErrAuth for another identity.
func UnwrapDevice(wrapped []byte, identity string, random io.Reader) (*Keys, error) {
	id, err := age.ParseX25519Identity(identity)
	if err != nil {
		return nil, fmt.Errorf("the identity of a device is damaged: %w", ErrAuth)
	}
	return unwrap(wrapped, id, random)
}

func wrap(r age.Recipient, secret []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, r)
	if err != nil {
		return nil, fmt.Errorf("wrap the key: %w", err)
	}
	if _, err := w.Write(secret); err != nil {
		return nil, fmt.Errorf("wrap the key: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("wrap the key: %w", err)
	}
	return out.Bytes(), nil
}

func unwrap(wrapped []byte, id age.Identity, random io.Reader) (*Keys, error) {
	r, err := age.Decrypt(bytes.NewReader(wrapped), id)
	if err != nil {
		return nil, decryptError(err)
	}
	var secret [32]byte
	if _, err := io.ReadFull(r, secret[:]); err != nil {
		return nil, fmt.Errorf("a wrapped key is damaged: %w", ErrAuth)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return nil, fmt.Errorf("a wrapped key is damaged: %w", ErrAuth)
	}
	return derive(secret, orRandom(random)), nil
}

func decryptError(err error) error {
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return ErrAuth
	}
	return fmt.Errorf("%w: %w", ErrAuth, err)
}
