package denc

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrShort says that the bytes end before the value does, or that a count
	// or length is larger than what is left could hold.
	ErrShort = errors.New("unexpected end of encoded data")
	// ErrCompat says that a section was written by a newer release that
	// declared it unreadable for readers as old as this one.
	ErrCompat = errors.New("encoding is too new for this reader")
	// ErrValue says that a field holds a value that its type does not allow.
	ErrValue = errors.New("invalid value in encoded data")
)

// Reader reads encoded values from a byte slice. Its first error sticks. The
// zero Reader is an empty input. A Reader is not safe for concurrent use.
type Reader struct {
	b   []byte
	off int
	end int
	err error
}

// NewReader returns a Reader over b. It does not copy b: slices that Bytes and
// Raw return alias it.
func NewReader(b []byte) *Reader { return &Reader{b: b, end: len(b)} }

// Err returns the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Offset returns the number of bytes consumed so far.
func (r *Reader) Offset() int { return r.off }

// Len returns how many bytes are left in the innermost open section.
func (r *Reader) Len() int {
	if r.err != nil {
		return 0
	}
	return r.end - r.off
}

// Fail makes err the Reader's error, unless it has one already. The offset is
// added to the text.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %w", r.off, err)
	}
}

// Failf is Fail with an ErrValue that says more.
func (r *Reader) Failf(format string, args ...any) {
	if r.err == nil {
		r.Fail(fmt.Errorf("%w: %s", ErrValue, fmt.Sprintf(format, args...)))
	}
}

// Raw returns the next n bytes without copying, or nil after an error.
func (r *Reader) Raw(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > r.end-r.off {
		r.Fail(ErrShort)
		return nil
	}
	p := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return p
}

// Rest returns all bytes left in the innermost open section without copying.
func (r *Reader) Rest() []byte { return r.Raw(r.Len()) }

// Skip passes over n bytes.
func (r *Reader) Skip(n int) { r.Raw(n) }

// U8 reads one byte.
func (r *Reader) U8() uint8 {
	if r.err != nil || r.off >= r.end {
		r.Fail(ErrShort)
		return 0
	}
	v := r.b[r.off]
	r.off++
	return v
}

// Bool reads one byte; any value but 0 is true, as in Ceph.
func (r *Reader) Bool() bool { return r.U8() != 0 }

// U16 reads a little-endian 16-bit value.
func (r *Reader) U16() uint16 {
	if p := r.Raw(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

// U32 reads a little-endian 32-bit value.
func (r *Reader) U32() uint32 {
	if p := r.Raw(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

// U64 reads a little-endian 64-bit value.
func (r *Reader) U64() uint64 {
	if p := r.Raw(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

// S32 reads a two's complement 32-bit value.
func (r *Reader) S32() int32 { return int32(r.U32()) }

// S64 reads a two's complement 64-bit value.
func (r *Reader) S64() int64 { return int64(r.U64()) }

// Bytes reads a u32 length and that many bytes, without copying them.
func (r *Reader) Bytes() []byte {
	n := r.U32()
	if uint64(n) > uint64(r.Len()) {
		r.Fail(ErrShort)
		return nil
	}
	return r.Raw(int(n))
}

// String reads a u32 length and that many bytes as a string.
func (r *Reader) String() string { return string(r.Bytes()) }

// Count reads a u32 count of elements that take at least minSize bytes each,
// and fails when the rest of the section cannot hold so many. The result is
// safe to allocate by. A minSize below 1 counts as 1.
func (r *Reader) Count(minSize int) int {
	n := r.U32()
	if uint64(n)*uint64(max(minSize, 1)) > uint64(r.Len()) {
		r.Fail(ErrShort)
		return 0
	}
	return int(n)
}

// Slice reads a u32 count and that many elements of at least minSize bytes. It
// returns nil for an empty one.
func Slice[T any](r *Reader, minSize int, one func(*Reader) T) []T {
	n := r.Count(minSize)
	if n == 0 {
		return nil
	}
	s := make([]T, 0, n)
	for range n {
		s = append(s, one(r))
		if r.err != nil {
			return nil
		}
	}
	return s
}

// Map reads a u32 count and that many pairs of at least minSize bytes. It
// returns an empty map, never nil.
func Map[K comparable, V any](r *Reader, minSize int, key func(*Reader) K, val func(*Reader) V) map[K]V {
	n := r.Count(minSize)
	m := make(map[K]V, n)
	for range n {
		k := key(r)
		v := val(r)
		if r.err != nil {
			return m
		}
		m[k] = v
	}
	return m
}

// Section is a versioned section that Enter opened.
type Section struct {
	// V is the struct version that the writer declared.
	V uint8
	// Compat is the oldest reader version that can still read it.
	Compat uint8

	end, outer int
}

// Enter opens a versioned section. Until Leave, the Reader ends where the
// section does. It fails with ErrCompat when the section demands a reader newer
// than version max; what names the type for the error's text.
func (r *Reader) Enter(what string, max uint8) Section {
	s := Section{V: r.U8(), Compat: r.U8(), outer: r.end}
	n := r.U32()
	if r.err == nil && s.Compat > max {
		r.Fail(fmt.Errorf("%s: %w: needs version %d, this is %d", what, ErrCompat, s.Compat, max))
	}
	if r.err == nil && uint64(n) > uint64(r.end-r.off) {
		r.Fail(fmt.Errorf("%s: %w", what, ErrShort))
	}
	if r.err != nil {
		return Section{outer: r.end, end: r.off}
	}
	s.end = r.off + int(n)
	r.end = s.end
	return s
}

// Leave closes the section and skips what a newer writer appended to it.
func (r *Reader) Leave(s Section) {
	r.end = s.outer
	if r.err == nil {
		r.off = s.end
	}
}

// Done returns the Reader's error, or an error if bytes are left over.
func (r *Reader) Done() error {
	if r.err == nil && r.off != r.end {
		r.Failf("%d bytes left over", r.end-r.off)
	}
	return r.err
}
