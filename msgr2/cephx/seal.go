package cephx

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// usage tells one purpose of a type 2 key from another; a value sealed for one
// does not open for another. Type 1 keys ignore it.
type usage uint32

const (
	usageConnectionSecret   usage = 0x03
	usageServiceTicket      usage = 0x04
	usageRenewedTicket      usage = 0x05
	usageAuthorize          usage = 0x10
	usageAuthorizeChallenge usage = 0x11
	usageAuthorizeReply     usage = 0x12
	usageRotatingSecrets    usage = 0x20
	usageTicketInfo         usage = 0x30
	envelopeVersion         uint8 = 1
	envelopeMagic                 = 0xff009cad8826aa55
	envelopeHeader                = 9
)

// ErrSeal says that a sealed value does not open: it was sealed with another
// key, for another use, or it was damaged.
var ErrSeal = errors.New("sealed value does not open with this key")

// seal encrypts body, put into Ceph's envelope, with k.
func (k Key) seal(u usage, body []byte) ([]byte, error) {
	p := make([]byte, 0, envelopeHeader+len(body)+aes.BlockSize)
	p = denc.AppendU8(p, envelopeVersion)
	p = denc.AppendU64(p, envelopeMagic)
	p = append(p, body...)
	return k.encrypt(u, p)
}

// appendSealed appends the sealed body with its length.
func (k Key) appendSealed(b []byte, u usage, body []byte) ([]byte, error) {
	p, err := k.seal(u, body)
	if err != nil {
		return nil, err
	}
	return denc.AppendBytes(b, p), nil
}

// open is the reverse of seal.
func (k Key) open(u usage, p []byte) ([]byte, error) {
	plain, err := k.decrypt(u, p)
	if err != nil {
		return nil, err
	}
	r := denc.NewReader(plain)
	v, magic := r.U8(), r.U64()
	if r.Err() != nil || v != envelopeVersion || magic != envelopeMagic {
		return nil, ErrSeal
	}
	return r.Rest(), nil
}

func (k Key) encrypt(u usage, p []byte) ([]byte, error) {
	switch k.Type {
	case KeyAES:
		return encryptAES(k.Secret, p)
	case KeyAES256K:
		var confounder [aes.BlockSize]byte
		fillRandom(confounder[:])
		return sealRFC8009(k.Secret, u, confounder, p)
	}
	return nil, fmt.Errorf("%w: cannot encrypt with %s", ErrBadKey, k.Type)
}

func (k Key) decrypt(u usage, p []byte) ([]byte, error) {
	switch k.Type {
	case KeyAES:
		return decryptAES(k.Secret, p)
	case KeyAES256K:
		return openRFC8009(k.Secret, u, p)
	}
	return nil, fmt.Errorf("%w: cannot decrypt with %s", ErrBadKey, k.Type)
}

// aesIV is the fixed first block of type 1.
const aesIV = "cephsageyudagreg"

// encryptAES encrypts p with AES-128-CBC and padding after PKCS#7. It may
// append to p.
func encryptAES(secret, p []byte) ([]byte, error) {
	c, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	pad := aes.BlockSize - len(p)%aes.BlockSize
	for range pad {
		p = append(p, byte(pad))
	}
	cipher.NewCBCEncrypter(c, []byte(aesIV)).CryptBlocks(p, p)
	return p, nil
}

// decryptAES is the reverse of encryptAES. Wrong padding is no error of its
// own: whoever could tell it from a wrong content could guess at the content.
func decryptAES(secret, p []byte) ([]byte, error) {
	c, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	if len(p) == 0 || len(p)%aes.BlockSize != 0 {
		return nil, ErrSeal
	}
	out := make([]byte, len(p))
	cipher.NewCBCDecrypter(c, []byte(aesIV)).CryptBlocks(out, p)
	pad := min(int(out[len(out)-1]), aes.BlockSize)
	return out[:len(out)-pad], nil
}
