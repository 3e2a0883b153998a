package cas

import (
	"cmp"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// How Refs remember who refers to a chunk. An OSD writes ByObject; the others
// are what its client library makes of too many references.
const (
	ByObject uint8 = 1
	ByHash   uint8 = 2
	ByPool   uint8 = 4
	Count    uint8 = 5
)

// Refs are the references to a chunk (chunk_refs_t).
type Refs struct {
	// Type is one of the above; 0 is ByObject.
	Type uint8
	// Objects are those of ByObject, in order, one for each reference.
	Objects []osdmap.HObject
	// Total is how many references the other types have.
	Total uint64
	// HashBits is how much is known of the hashes of ByHash.
	HashBits uint32
	// Counts are those of ByHash, and of ByPool with Hash 0, in order.
	Counts []HashCount
}

// HashCount is how many references come from objects of a pool with a hash.
type HashCount struct {
	Pool  int64
	Hash  uint32
	Count uint64
}

// Append appends f.
func (f Refs) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	kind := cmp.Or(f.Type, ByObject)
	b, in := denc.Begin(denc.AppendU8(b, kind), 1, 1)
	switch kind {
	case ByObject:
		b = denc.AppendSlice(b, f.Objects, func(b []byte, o osdmap.HObject) []byte { return o.Append(b) })
	case ByHash:
		b = appendVarint(appendVarint(appendVarint(b, f.Total), uint64(f.HashBits)), uint64(len(f.Counts)))
		for _, c := range f.Counts {
			b = appendSigned(b, c.Pool)
			b = append(b, denc.AppendU32(nil, c.Hash)[:hashBytes(f.HashBits)]...)
			b = appendVarint(b, c.Count)
		}
	case ByPool:
		b = appendVarint(appendVarint(b, f.Total), uint64(len(f.Counts)))
		for _, c := range f.Counts {
			b = appendVarint(appendSigned(b, c.Pool), c.Count)
		}
	case Count:
		b = denc.AppendU64(b, f.Total)
	}
	return denc.End(denc.End(b, in), at)
}

// Decode reads f.
func (f *Refs) Decode(r *denc.Reader) {
	s := r.Enter("chunk_refs_t", 1)
	*f = Refs{Type: r.U8()}
	in := r.Enter("chunk_refs_t::refs_t", 1)
	switch f.Type {
	case ByObject:
		f.Objects = denc.Slice(r, 35, func(r *denc.Reader) (o osdmap.HObject) { o.Decode(r); return o })
		slices.SortStableFunc(f.Objects, osdmap.HObject.Compare)
	case ByHash:
		f.Total = varint(r)
		if f.HashBits = uint32(min(varint(r), 1<<31)); f.HashBits > 32 {
			r.Failf("chunk references of %d bits", f.HashBits)
		}
		f.counts(r, hashBytes(f.HashBits))
	case ByPool:
		f.Total = varint(r)
		f.counts(r, 0)
	case Count:
		f.Total = r.U64()
	default:
		if r.Err() == nil {
			r.Failf("chunk references of type %d", f.Type)
		}
	}
	r.Leave(in)
	r.Leave(s)
}

func hashBytes(bits uint32) int { return int(bits+7) / 8 }

// counts reads the pairs of ByHash and ByPool.
func (f *Refs) counts(r *denc.Reader, hash int) {
	n := varint(r)
	if n > uint64(r.Len()/(2+hash)) {
		r.Fail(denc.ErrShort)
		return
	}
	for range n {
		c := HashCount{Pool: signed(r)}
		for i, v := range r.Raw(hash) {
			c.Hash |= uint32(v) << (8 * i)
		}
		c.Count = varint(r)
		i, there := slices.BinarySearchFunc(f.Counts, c, compareCounts)
		if there {
			f.Counts[i] = c
			continue
		}
		f.Counts = slices.Insert(f.Counts, i, c)
	}
}

func compareCounts(a, b HashCount) int {
	return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Hash, b.Hash))
}

// appendVarint appends seven bits a byte, the lowest first, as denc_varint does.
func appendVarint(b []byte, v uint64) []byte {
	for ; v > 0x7f; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func varint(r *denc.Reader) (v uint64) {
	for shift := 0; ; shift += 7 {
		c := r.U8()
		v |= uint64(c&0x7f) << min(shift, 63)
		if c&0x80 == 0 || r.Err() != nil {
			return v
		}
		if shift > 63 {
			r.Failf("a number of more than 64 bits")
			return 0
		}
	}
}

// appendSigned appends the sign in the lowest bit (denc_signed_varint).
func appendSigned(b []byte, v int64) []byte {
	if v < 0 {
		return appendVarint(b, uint64(-v)<<1|1)
	}
	return appendVarint(b, uint64(v)<<1)
}

func signed(r *denc.Reader) int64 {
	v := varint(r)
	if v&1 != 0 {
		return -int64(v >> 1)
	}
	return int64(v >> 1)
}

// Len returns how many references there are.
func (f Refs) Len() uint64 {
	if cmp.Or(f.Type, ByObject) == ByObject {
		return uint64(len(f.Objects))
	}
	return f.Total
}

// place returns where the references of o are counted.
func (f Refs) place(o osdmap.HObject) HashCount {
	c := HashCount{Pool: o.Pool}
	if f.Type == ByHash {
		c.Hash = o.Hash & (0xffffffff >> (32 - max(1, f.HashBits)))
	}
	return c
}

// Get adds a reference of o.
func (f *Refs) Get(o osdmap.HObject) {
	switch cmp.Or(f.Type, ByObject) {
	case ByObject:
		i, _ := slices.BinarySearchFunc(f.Objects, o, osdmap.HObject.Compare)
		f.Objects = slices.Insert(f.Objects, i, o)
		return
	case ByHash, ByPool:
		c := f.place(o)
		i, there := slices.BinarySearchFunc(f.Counts, c, compareCounts)
		if !there {
			f.Counts = slices.Insert(f.Counts, i, c)
		}
		f.Counts[i].Count++
	}
	f.Total++
}

// Put takes a reference of o away, and reports whether there was one. Without
// any the Refs become ByObject again.
func (f *Refs) Put(o osdmap.HObject) bool {
	switch cmp.Or(f.Type, ByObject) {
	case ByObject:
		i, there := slices.BinarySearchFunc(f.Objects, o, osdmap.HObject.Compare)
		if there {
			f.Objects = slices.Delete(f.Objects, i, i+1)
		}
		return there
	case ByHash, ByPool:
		i, there := slices.BinarySearchFunc(f.Counts, f.place(o), compareCounts)
		if !there {
			f.reset()
			return false
		}
		if f.Counts[i].Count--; f.Counts[i].Count == 0 {
			f.Counts = slices.Delete(f.Counts, i, i+1)
		}
	case Count:
		if f.Total == 0 {
			f.reset()
			return false
		}
	}
	f.Total--
	f.reset()
	return true
}

func (f *Refs) reset() {
	if f.Total == 0 {
		*f = Refs{}
	}
}
