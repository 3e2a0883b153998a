// Package denc holds the primitives of Ceph's wire and disk encoding: the
// little-endian scalars, length-prefixed strings and buffers, counted
// containers and the versioned envelope that Ceph's sources call ENCODE_START
// (src/include/encoding.h, src/include/denc.h; the same in every release).
//
// Encoders append to a caller's slice and cannot fail. Decoders read from a
// Reader whose first error sticks: all later reads return zero values, and the
// caller asks for Err once at the end. Nothing is ever allocated by a length
// that the bytes at hand could not hold.
package denc

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// AppendU8 appends one byte.
func AppendU8(b []byte, v uint8) []byte { return append(b, v) }

// AppendU16 appends v, little-endian.
func AppendU16(b []byte, v uint16) []byte { return binary.LittleEndian.AppendUint16(b, v) }

// AppendU32 appends v, little-endian.
func AppendU32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

// AppendU64 appends v, little-endian.
func AppendU64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

// AppendS32 appends v as two's complement, little-endian.
func AppendS32(b []byte, v int32) []byte { return AppendU32(b, uint32(v)) }

// AppendS64 appends v as two's complement, little-endian.
func AppendS64(b []byte, v int64) []byte { return AppendU64(b, uint64(v)) }

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendString appends a u32 length and the bytes of s.
func AppendString(b []byte, s string) []byte {
	b = AppendU32(b, uint32(len(s)))
	return append(b, s...)
}

// AppendBytes appends a u32 length and p (a bufferlist in Ceph's words).
func AppendBytes(b, p []byte) []byte {
	b = AppendU32(b, uint32(len(p)))
	return append(b, p...)
}

// AppendSlice appends a u32 count and every element (vector, list; a set when
// the caller keeps s sorted).
func AppendSlice[T any](b []byte, s []T, one func([]byte, T) []byte) []byte {
	b = AppendU32(b, uint32(len(s)))
	for _, v := range s {
		b = one(b, v)
	}
	return b
}

// AppendMap appends a u32 count and every pair in ascending order of the keys,
// the order in which std::map is written.
func AppendMap[K cmp.Ordered, V any](b []byte, m map[K]V, key func([]byte, K) []byte, val func([]byte, V) []byte) []byte {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = AppendU32(b, uint32(len(keys)))
	for _, k := range keys {
		b = val(key(b, k), m[k])
	}
	return b
}

// Begin appends the head of a versioned section: struct version, the oldest
// version whose readers can still read it, and room for the length. End, given
// the position that Begin returned, fills the length in.
func Begin(b []byte, version, compat uint8) ([]byte, int) {
	b = append(b, version, compat, 0, 0, 0, 0)
	return b, len(b)
}

// End closes the section that Begin opened at position at.
func End(b []byte, at int) []byte {
	binary.LittleEndian.PutUint32(b[at-4:at], uint32(len(b)-at))
	return b
}
