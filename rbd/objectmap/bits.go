// Package objectmap holds what RBD knows of which objects exist: the states, the
// packed vector of them and the comparison of a history of vectors that Ceph
// calls fast-diff. It is pure: no I/O. (The facts are those of Ceph's
// src/include/rbd/object_map_types.h and src/librbd/object_map/DiffRequest.cc.)
package objectmap

// The states of an object.
const (
	// Nonexistent: the object is not there.
	Nonexistent uint8 = 0
	// Exists: the object may be there and may have changed since the previous
	// snapshot.
	Exists uint8 = 1
	// Pending: the object is being removed.
	Pending uint8 = 2
	// ExistsClean: the object may be there and has not changed since the
	// previous snapshot.
	ExistsClean uint8 = 3
)

// MaxObjects is up to how many objects an image may have for an object map
// (MAX_OBJECT_MAP_OBJECT_COUNT in cls_rbd).
const MaxObjects = 256_000_000

// Bits is a vector of states, two bits each, packed as on disk: the first
// object in the highest bits of the first byte. The zero Bits is empty.
type Bits struct {
	n    uint64
	data []byte
}

// New returns a vector of n objects in one state.
func New(n uint64, state uint8) Bits {
	b := Bits{}
	b.Resize(n, state)
	return b
}

// FromPacked returns the vector of n objects over the packed bytes, which it
// keeps. Missing bytes count as Nonexistent.
func FromPacked(n uint64, data []byte) Bits {
	need := int((n + 3) / 4)
	if len(data) < need {
		data = append(data, make([]byte, need-len(data))...)
	}
	return Bits{n: n, data: data[:need]}
}

// Packed returns the bytes as on disk, without a copy.
func (b Bits) Packed() []byte { return b.data }

// Len returns the number of objects.
func (b Bits) Len() uint64 { return b.n }

// Get returns the state of object i, Nonexistent beyond the end.
func (b Bits) Get(i uint64) uint8 {
	if i >= b.n {
		return Nonexistent
	}
	return b.data[i>>2] >> (6 - 2*(i&3)) & 3
}

// Set changes the state of object i, which must be below Len.
func (b Bits) Set(i uint64, state uint8) {
	shift := 6 - 2*(i&3)
	b.data[i>>2] = b.data[i>>2]&^(3<<shift) | state<<shift
}

// Fill changes the states of objects [first, end).
func (b Bits) Fill(first, end uint64, state uint8) {
	full := state * 0x55
	for i := first; i < end; {
		if i&3 == 0 && end-i >= 4 {
			b.data[i>>2] = full
			i += 4
			continue
		}
		b.Set(i, state)
		i++
	}
}

// Resize makes the vector n objects long; new ones get the state.
func (b *Bits) Resize(n uint64, state uint8) {
	need := int((n + 3) / 4)
	old := b.n
	if need <= len(b.data) {
		b.data = b.data[:need:need]
	} else {
		b.data = append(b.data, make([]byte, need-len(b.data))...)
	}
	b.n = n
	if n > old {
		b.Fill(old, n, state)
		return
	}
	// Bits beyond the end are zero on disk.
	for i := n; i < uint64(need)*4; i++ {
		b.Set(i, 0)
	}
}

// Clone returns a copy.
func (b Bits) Clone() Bits {
	return Bits{n: b.n, data: append([]byte(nil), b.data...)}
}

// Equal reports whether two vectors are the same.
func (b Bits) Equal(o Bits) bool { return b.n == o.n && string(b.data) == string(o.data) }

// Count returns how many objects are in the state.
func (b Bits) Count(state uint8) (n uint64) {
	for i := range b.n {
		if b.Get(i) == state {
			n++
		}
	}
	return n
}
