package denc

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// Time is utime_t (also ceph::real_time on the wire): seconds and nanoseconds
// since 1970, both unsigned 32-bit. The zero Time means "not set".
type Time struct {
	Sec, Nsec uint32
}

// TimeOf converts t; the zero time.Time becomes the zero Time.
func TimeOf(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{Sec: uint32(t.Unix()), Nsec: uint32(t.Nanosecond())}
}

// IsZero reports whether t is not set.
func (t Time) IsZero() bool { return t == Time{} }

// Std converts t to UTC; the zero Time becomes the zero time.Time.
func (t Time) Std() time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.Unix(int64(t.Sec), int64(t.Nsec)).UTC()
}

// AppendTime appends t, 8 bytes.
func AppendTime(b []byte, t Time) []byte { return AppendU32(AppendU32(b, t.Sec), t.Nsec) }

// Time reads 8 bytes.
func (r *Reader) Time() Time { return Time{Sec: r.U32(), Nsec: r.U32()} }

// UUID is uuid_d: 16 raw bytes, without a length.
type UUID [16]byte

// ParseUUID reads the usual form of 32 hex digits with dashes.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	p, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(p) != len(u) || len(s) != 36 {
		return UUID{}, fmt.Errorf("%w: %q is no UUID", ErrValue, s)
	}
	copy(u[:], p)
	return u, nil
}

// String returns the usual form with dashes.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// IsZero reports whether all bytes are zero.
func (u UUID) IsZero() bool { return u == UUID{} }

// AppendUUID appends the 16 bytes.
func AppendUUID(b []byte, u UUID) []byte { return append(b, u[:]...) }

// UUID reads 16 bytes.
func (r *Reader) UUID() UUID {
	var u UUID
	copy(u[:], r.Raw(len(u)))
	return u
}

// castagnoli is read-only after package initialisation.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32C continues Ceph's CRC over p: the Castagnoli polynomial, reflected,
// without the inversions of the usual CRC-32C, so that seed is simply the CRC
// so far (src/common/crc32c.h).
func CRC32C(seed uint32, p []byte) uint32 { return ^crc32.Update(^seed, castagnoli, p) }
