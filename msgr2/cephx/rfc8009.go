package cephx

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// Type 2 is aes256-cts-hmac-sha384-192 of RFC 8009: AES-256 in CBC mode with
// ciphertext stealing, then an HMAC over the ciphertext, each with a key derived
// from the secret and the use.
const (
	rfc8009EncKey   = 32
	rfc8009IntKey   = 24
	rfc8009Tag      = 24
	rfc8009Overhead = aes.BlockSize + rfc8009Tag
)

// deriveRFC8009 returns the encryption and the integrity key for one use
// (KDF-HMAC-SHA2 of RFC 8009, section 3, without a context).
func deriveRFC8009(secret []byte, u usage) (enc, integrity []byte) {
	return kdfRFC8009(secret, u, 0xaa, rfc8009EncKey), kdfRFC8009(secret, u, 0x55, rfc8009IntKey)
}

func kdfRFC8009(secret []byte, u usage, label byte, size int) []byte {
	h := hmac.New(sha512.New384, secret)
	var in [14]byte
	binary.BigEndian.PutUint32(in[0:], 1)
	binary.BigEndian.PutUint32(in[4:], uint32(u))
	in[8] = label
	binary.BigEndian.PutUint32(in[10:], uint32(size*8))
	h.Write(in[:])
	return h.Sum(nil)[:size]
}

// sealRFC8009 encrypts p. The result is rfc8009Overhead bytes longer.
func sealRFC8009(secret []byte, u usage, confounder [aes.BlockSize]byte, p []byte) ([]byte, error) {
	enc, integrity := deriveRFC8009(secret, u)
	c, err := aes.NewCipher(enc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	out := make([]byte, 0, len(p)+rfc8009Overhead+aes.BlockSize)
	out = append(out, confounder[:]...)
	out = append(out, p...)
	out = encryptCTS(c, out)
	return append(out, tagRFC8009(integrity, out)...), nil
}

// openRFC8009 is the reverse of sealRFC8009.
func openRFC8009(secret []byte, u usage, p []byte) ([]byte, error) {
	if len(p) < rfc8009Overhead {
		return nil, ErrSeal
	}
	enc, integrity := deriveRFC8009(secret, u)
	body, tag := p[:len(p)-rfc8009Tag], p[len(p)-rfc8009Tag:]
	if !hmac.Equal(tag, tagRFC8009(integrity, body)) {
		return nil, ErrSeal
	}
	c, err := aes.NewCipher(enc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	return decryptCTS(c, body)[aes.BlockSize:], nil
}

// tagRFC8009 is the truncated HMAC over the initial vector, which is zero, and
// the ciphertext.
func tagRFC8009(integrity, body []byte) []byte {
	h := hmac.New(sha512.New384, integrity)
	var iv [aes.BlockSize]byte
	h.Write(iv[:])
	h.Write(body)
	return h.Sum(nil)[:rfc8009Tag]
}

// encryptCTS encrypts p, at least one block, in place: CBC with ciphertext
// stealing in its third form, where the last two blocks always change places.
func encryptCTS(c cipher.Block, p []byte) []byte {
	const bs = aes.BlockSize
	n := len(p)
	blocks := (n + bs - 1) / bs
	for len(p) < blocks*bs {
		p = append(p, 0)
	}
	var iv [bs]byte
	cipher.NewCBCEncrypter(c, iv[:]).CryptBlocks(p, p)
	if blocks == 1 {
		return p
	}
	var last [bs]byte
	copy(last[:], p[(blocks-1)*bs:])
	copy(p[(blocks-1)*bs:], p[(blocks-2)*bs:(blocks-1)*bs])
	copy(p[(blocks-2)*bs:], last[:])
	return p[:n]
}

// decryptCTS is the reverse of encryptCTS; it returns a new slice.
func decryptCTS(c cipher.Block, p []byte) []byte {
	const bs = aes.BlockSize
	n := len(p)
	blocks := (n + bs - 1) / bs
	full := make([]byte, blocks*bs)
	if blocks == 1 {
		copy(full, p)
	} else {
		copy(full, p[:(blocks-2)*bs])
		last := p[(blocks-2)*bs : (blocks-1)*bs]
		stolen := full[(blocks-2)*bs : (blocks-1)*bs]
		c.Decrypt(stolen, last) // its tail is the stolen one's tail
		copy(stolen, p[(blocks-1)*bs:])
		copy(full[(blocks-1)*bs:], last)
	}
	var iv [bs]byte
	cipher.NewCBCDecrypter(c, iv[:]).CryptBlocks(full, full)
	return full[:n]
}
