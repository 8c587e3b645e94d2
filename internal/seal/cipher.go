package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/cpu"
)

// Cipher names an AEAD in the format.
type Cipher byte

// The ciphers. Both take a 32-byte key and a 12-byte nonce and add 16 bytes.
const (
	AES256GCM        Cipher = 1
	ChaCha20Poly1305 Cipher = 2
)

// overhead is what either cipher adds.
const overhead = 16

// preferred is the cipher for new content: AES where the processor does it.
func preferred() Cipher {
	if cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAESGCM {
		return AES256GCM
	}
	return ChaCha20Poly1305
}

// aead makes the AEAD of one object from a master key and its salt. The cipher
// is part of the derivation, so changing its byte gives another key, not
// another reading.
func aead(c Cipher, master, salt []byte, use string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, master, salt, fmt.Sprintf("syncfs v1 %s cipher %d", use, c), 32)
	if err != nil {
		panic(err) // cannot happen: the length is within what HKDF gives
	}
	switch c {
	case AES256GCM:
		block, err := aes.NewCipher(key)
		if err != nil {
			panic(err) // cannot happen: the key has 32 bytes
		}
		return cipher.NewGCM(block)
	case ChaCha20Poly1305:
		return chacha20poly1305.New(key)
	}
	return nil, fmt.Errorf("cipher %d is not known: %w", c, ErrAuth)
}
