package wire

import (
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// MaxObjectMapObjects is the most objects that an object map may have.
const MaxObjectMapObjects = 256_000_000

// ObjectMapBlock is how many data bytes one checksum covers.
const ObjectMapBlock = 4096

// ObjectMap is BitVector<2>: two bits an object, the first in the highest bits
// of the first byte. It is the body of an rbd_object_map object and the payload
// of object_map_load and object_map_save.
type ObjectMap struct {
	Objects uint64
	Packed  []byte // (Objects+3)/4 bytes
	// NoChecksums says that it came without, as object_map_load answers it.
	NoChecksums bool
}

// Append appends m.
func (m ObjectMap) Append(b []byte) []byte {
	at := len(b) + 4
	b = append(b, 0, 0, 0, 0)
	b, head := denc.Begin(b, 1, 1)
	b = denc.End(denc.AppendU64(b, m.Objects), head)
	header := b[at:]
	copy(b[at-4:at], denc.AppendU32(nil, uint32(len(header))))
	headerCRC := denc.CRC32C(0, header)
	b = append(b, m.Packed...)
	if m.NoChecksums {
		return denc.AppendU32(b, 0)
	}
	blocks := (len(m.Packed) + ObjectMapBlock - 1) / ObjectMapBlock
	b = denc.AppendU32(b, uint32(8+4*blocks))
	b = denc.AppendU32(denc.AppendU32(b, headerCRC), uint32(blocks))
	for i := range blocks {
		b = denc.AppendU32(b, denc.CRC32C(0, m.Packed[i*ObjectMapBlock:min(len(m.Packed), (i+1)*ObjectMapBlock)]))
	}
	return b
}

// Decode reads m and checks the checksums, if it has any. Packed aliases the
// Reader's bytes.
func (m *ObjectMap) Decode(r *denc.Reader) {
	*m = ObjectMap{}
	head := r.Bytes()
	h := denc.NewReader(head)
	s := h.Enter("BitVector", 1)
	n := h.U64()
	h.Leave(s)
	if err := h.Err(); err != nil {
		r.Fail(fmt.Errorf("object map: %w", err))
		return
	}
	if n > MaxObjectMapObjects {
		r.Failf("object map of %d objects", n)
		return
	}
	data := r.Raw(int((n + 3) / 4))
	foot := denc.NewReader(r.Bytes())
	if r.Err() != nil {
		return
	}
	m.Objects, m.Packed = n, data
	if foot.Len() == 0 {
		m.NoChecksums = true
		return
	}
	ok := foot.U32() == denc.CRC32C(0, head)
	blocks := foot.Count(4)
	ok = ok && blocks == (len(data)+ObjectMapBlock-1)/ObjectMapBlock
	for i := 0; ok && i < blocks; i++ {
		ok = foot.U32() == denc.CRC32C(0, data[i*ObjectMapBlock:min(len(data), (i+1)*ObjectMapBlock)])
	}
	if !ok || foot.Err() != nil {
		r.Failf("object map has a wrong checksum")
	}
}

// Get returns the state of object i, which must be below Objects.
func (m *ObjectMap) Get(i uint64) uint8 { return m.Packed[i/4] >> (6 - i%4*2) & 3 }

// Set changes the state of object i, which must be below Objects. It writes to
// Packed, which Decode makes alias its input.
func (m *ObjectMap) Set(i uint64, state uint8) {
	shift := 6 - i%4*2
	m.Packed[i/4] = m.Packed[i/4]&^(3<<shift) | state&3<<shift
}

// Resize sets the number of objects. Those that come are in the given state.
func (m *ObjectMap) Resize(n uint64, state uint8) {
	old := m.Objects
	packed := make([]byte, (n+3)/4)
	copy(packed, m.Packed)
	m.Objects, m.Packed = n, packed
	if n < old {
		if tail := n % 4; tail != 0 {
			m.Packed[n/4] &= byte(0xff << (8 - tail*2))
		}
		return
	}
	for i := old; i < n; i++ {
		m.Set(i, state)
	}
}
