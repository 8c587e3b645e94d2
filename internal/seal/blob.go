package seal

import (
	"encoding/binary"
	"fmt"
)

// A sealed blob: magic "SFB1", cipher, 32 bytes of salt, then the AEAD (nonce
// zero: the key seals nothing else) of one byte of compression and the packed
// content.
const (
	blobMagic  = "SFB1"
	saltSize   = 32
	blobHeader = len(blobMagic) + 1 + saltSize
)

// SealBlob seals one small object under a key of its own. kind and name are
// authenticated: an object never passes for another.
func (k *Keys) SealBlob(kind, name string, plain []byte) ([]byte, error) {
	if len(plain) > maxPlain {
		return nil, fmt.Errorf("seal %s %s: %d bytes are too many", kind, name, len(plain))
	}
	salt, err := k.salt()
	if err != nil {
		return nil, fmt.Errorf("seal %s %s: %w", kind, name, err)
	}
	cipher := preferred()
	out := make([]byte, 0, blobHeader+1+len(plain)+overhead)
	out = append(append(out, blobMagic...), byte(cipher))
	out = append(out, salt[:]...)
	inner := k.zstd.pack(nil, plain)
	a, err := aead(cipher, k.blobs, salt[:], "blob")
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, a.NonceSize())
	return a.Seal(out, nonce, inner, blobContext(out, kind, name)), nil
}

// OpenBlob opens what SealBlob sealed; ErrAuth when it was sealed by another
// key, for another kind or name, or is damaged.
func (k *Keys) OpenBlob(kind, name string, sealed []byte) ([]byte, error) {
	if len(sealed) < blobHeader+1+overhead || string(sealed[:len(blobMagic)]) != blobMagic {
		return nil, fmt.Errorf("%s %s is not a sealed object: %w", kind, name, ErrAuth)
	}
	header := sealed[:blobHeader]
	a, err := aead(Cipher(header[len(blobMagic)]), k.blobs, header[len(blobMagic)+1:], "blob")
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	nonce := make([]byte, a.NonceSize())
	inner, err := a.Open(make([]byte, unpackRoom, unpackRoom+len(sealed)), nonce, sealed[blobHeader:], blobContext(header, kind, name))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, name, ErrAuth)
	}
	plain, err := k.zstd.unpack(inner)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", kind, name, err, ErrAuth)
	}
	return plain, nil
}

// blobContext is what is authenticated beside the content.
func blobContext(header []byte, kind, name string) []byte {
	out := append([]byte(nil), header...)
	for _, s := range []string{kind, name} {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(s)))
		out = append(out, s...)
	}
	return out
}
