package osdmap

import (
	"encoding/binary"

	"github.com/rbdm/rbdm/rados/crush"
)

// Object hashes that a pool can name (CEPH_STR_HASH_*).
const (
	HashLinux    uint8 = 1
	HashRjenkins uint8 = 2
)

// namespaceSeparator stands between namespace and key in what is hashed.
const namespaceSeparator = 0x1f

// HashName returns the placement hash of key in namespace ns under hash type
// kind. An unknown kind hashes everything to 2^32-1, as in Ceph.
func HashName(kind uint8, ns, key string) uint32 {
	if ns == "" {
		return hashString(kind, key)
	}
	// Names are short: the joined string stays on the stack as a rule.
	var room [192]byte
	b := append(room[:0], ns...)
	b = append(b, namespaceSeparator)
	b = append(b, key...)
	return hashString(kind, b)
}

func hashString[T string | []byte](kind uint8, p T) uint32 {
	switch kind {
	case HashLinux:
		return hashLinux(p)
	case HashRjenkins:
		return hashRjenkins(p)
	}
	return 0xffffffff
}

// hashLinux is the dcache hash of old Linux kernels.
func hashLinux[T string | []byte](p T) uint32 {
	var h uint64
	for i := range len(p) {
		c := uint64(p[i])
		h = (h + (c << 4) + (c >> 4)) * 11
	}
	return uint32(h)
}

// hashRjenkins is Robert Jenkins' hash of 1996 ("evahash").
func hashRjenkins[T string | []byte](p T) uint32 {
	a, b, c := uint32(0x9e3779b9), uint32(0x9e3779b9), uint32(0)
	n := uint32(len(p))
	var w [12]byte
	for len(p) >= 12 {
		copy(w[:], p[:12])
		a += binary.LittleEndian.Uint32(w[0:])
		b += binary.LittleEndian.Uint32(w[4:])
		c += binary.LittleEndian.Uint32(w[8:])
		a, b, c = crush.Mix(a, b, c)
		p = p[12:]
	}
	// The lowest byte of c counts the length: the tail skips it.
	c += n
	var tail [12]byte
	copy(tail[:8], p)
	if len(p) > 8 {
		copy(tail[9:], p[8:])
	}
	a += binary.LittleEndian.Uint32(tail[0:])
	b += binary.LittleEndian.Uint32(tail[4:])
	c += binary.LittleEndian.Uint32(tail[8:])
	_, _, c = crush.Mix(a, b, c)
	return c
}

// stableMod folds x into b buckets so that growing b moves only the objects
// that must; mask is the next power of two not below b, less one.
func stableMod(x, b, mask uint32) uint32 {
	if x&mask < b {
		return x & mask
	}
	return x & (mask >> 1)
}
