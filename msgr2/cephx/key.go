package cephx

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// KeyType is the cipher that a key is for.
type KeyType uint16

// The key types. KeyNone is an absent key.
const (
	KeyNone    KeyType = 0
	KeyAES     KeyType = 1 // AES-128-CBC, all releases
	KeyAES256K KeyType = 2 // aes256-cts-hmac-sha384-192, release 20 and later
)

// String returns Ceph's name of the type.
func (t KeyType) String() string {
	switch t {
	case KeyNone:
		return "none"
	case KeyAES:
		return "aes"
	case KeyAES256K:
		return "aes256k"
	}
	return fmt.Sprintf("type %d", uint16(t))
}

const (
	secretSizeAES     = 16
	secretSizeAES256K = 32
)

// ErrBadKey says that a text or a blob is no usable key.
var ErrBadKey = errors.New("not a Ceph key")

// Key is a secret with its type: CryptoKey in Ceph's sources. The zero Key is
// "no key".
type Key struct {
	Type    KeyType
	Created denc.Time
	Secret  []byte
}

// NewKey makes a random key.
func NewKey(t KeyType) Key {
	k := Key{Type: t, Created: denc.TimeOf(time.Now())}
	switch t {
	case KeyAES:
		k.Secret = make([]byte, secretSizeAES)
	case KeyAES256K:
		k.Secret = make([]byte, secretSizeAES256K)
	}
	fillRandom(k.Secret)
	return k
}

// fillRandom fills p from the system's source, which does not fail.
func fillRandom(p []byte) { _, _ = rand.Read(p) }

// ParseKey reads the base64 form that keyrings and key files hold. Space around
// it is ignored.
func ParseKey(s string) (Key, error) {
	p, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return Key{}, fmt.Errorf("%w: not base64", ErrBadKey)
	}
	var k Key
	r := denc.NewReader(p)
	k.Decode(r)
	if r.Done() != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrBadKey, r.Err())
	}
	return k, nil
}

// Base64 returns the form that ParseKey reads. It is the secret.
func (k Key) Base64() string { return base64.StdEncoding.EncodeToString(k.Append(nil)) }

// String names the key's type and hides its secret, so that keys can be logged.
func (k Key) String() string { return "key(" + k.Type.String() + ")" }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return len(k.Secret) == 0 }

// Append appends u16 type, time of creation, u16 length, secret.
func (k Key) Append(b []byte) []byte {
	b = denc.AppendU16(b, uint16(k.Type))
	b = denc.AppendTime(b, k.Created)
	b = denc.AppendU16(b, uint16(len(k.Secret)))
	return append(b, k.Secret...)
}

// Decode reads what Append wrote. A secret that its type cannot use fails it;
// a longer type 1 secret is cut, as in Ceph.
func (k *Key) Decode(r *denc.Reader) {
	*k = Key{Type: KeyType(r.U16()), Created: r.Time()}
	secret := r.Raw(int(r.U16()))
	if r.Err() != nil || len(secret) == 0 {
		return
	}
	switch {
	case k.Type == KeyAES && len(secret) >= secretSizeAES:
		secret = secret[:secretSizeAES]
	case k.Type == KeyAES256K && len(secret) == secretSizeAES256K:
	case k.Type == KeyAES || k.Type == KeyAES256K:
		r.Failf("%s key of %d bytes", k.Type, len(secret))
		return
	default:
		r.Failf("key of unknown %s (this release knows aes and aes256k)", k.Type)
		return
	}
	k.Secret = append([]byte(nil), secret...)
}
