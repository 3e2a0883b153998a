package wire

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// PG is pg_t: a placement group of a pool.
type PG struct {
	Pool int64
	Seed uint32
}

// String returns Ceph's form, "3.1f".
func (p PG) String() string { return fmt.Sprintf("%d.%x", p.Pool, p.Seed) }

// Append appends the 17 bytes: version 1, pool, seed, -1.
func (p PG) Append(b []byte) []byte {
	b = denc.AppendU64(append(b, 1), uint64(p.Pool))
	return denc.AppendS32(denc.AppendU32(b, p.Seed), -1)
}

// Decode reads what Append wrote.
func (p *PG) Decode(r *denc.Reader) {
	r.U8()
	*p = PG{Pool: int64(r.U64()), Seed: r.U32()}
	r.S32()
}

// NoShard is the shard of a replicated pool's placement groups.
const NoShard int8 = -1

// SPG is spg_t: a placement group and, in erasure coded pools, a shard of it.
// hdr(1,1). Clients address shard 0 of erasure coded pools by NoShard as well.
type SPG struct {
	PG    PG
	Shard int8
}

// Append appends p.
func (p SPG) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = p.PG.Append(b)
	b = append(b, uint8(p.Shard))
	return denc.End(b, at)
}

// Decode reads what Append wrote.
func (p *SPG) Decode(r *denc.Reader) {
	s := r.Enter("spg_t", 1)
	p.PG.Decode(r)
	p.Shard = int8(r.U8())
	r.Leave(s)
}

// HObject is hobject_t: an object at the place that it has in its placement
// group's order. hdr(4,3).
type HObject struct {
	Key       string // locator key; "" when it is the name
	Name      string
	Snap      uint64
	Hash      uint32
	Max       bool // beyond all objects
	Namespace string
	Pool      int64
}

// HObjectMin returns the position before all objects of all pools.
func HObjectMin() HObject { return HObject{Pool: math.MinInt64} }

// Append appends h.
func (h *HObject) Append(b []byte) []byte {
	b, at := denc.Begin(b, 4, 3)
	b = denc.AppendString(b, h.Key)
	b = denc.AppendString(b, h.Name)
	b = denc.AppendU64(b, h.Snap)
	b = denc.AppendU32(b, h.Hash)
	b = denc.AppendBool(b, h.Max)
	b = denc.AppendString(b, h.Namespace)
	b = denc.AppendS64(b, h.Pool)
	return denc.End(b, at)
}

// Decode reads versions 3 and 4.
func (h *HObject) Decode(r *denc.Reader) {
	s := r.Enter("hobject_t", 4)
	*h = HObject{Key: r.String(), Name: r.String(), Snap: r.U64(), Hash: r.U32(), Max: r.Bool()}
	if s.V >= 4 {
		h.Namespace = r.String()
		h.Pool = r.S64()
		// Ceph's own repair of how the least position was once written.
		if h.Pool == -1 && h.Snap == 0 && h.Hash == 0 && !h.Max && h.Name == "" {
			h.Pool = math.MinInt64
		}
	}
	r.Leave(s)
}

// Compare orders positions as OSDs do: by pool, bit-reversed hash, namespace,
// key, name, snapshot; the greatest position comes last.
func (h *HObject) Compare(o *HObject) int {
	if h.Max || o.Max {
		return cmp.Compare(b2i(h.Max), b2i(o.Max))
	}
	return cmp.Or(
		cmp.Compare(h.Pool, o.Pool),
		cmp.Compare(bits.Reverse32(h.Hash), bits.Reverse32(o.Hash)),
		cmp.Compare(h.Namespace, o.Namespace),
		h.compareKey(o),
		cmp.Compare(h.Name, o.Name),
		cmp.Compare(h.Snap, o.Snap),
	)
}

// compareKey compares the keys, or the names when neither has a key.
func (h *HObject) compareKey(o *HObject) int {
	if h.Key == "" && o.Key == "" {
		return cmp.Compare(h.Name, o.Name)
	}
	return cmp.Compare(h.effectiveKey(), o.effectiveKey())
}

func (h *HObject) effectiveKey() string {
	if h.Key != "" {
		return h.Key
	}
	return h.Name
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// AllNamespaces is the namespace in a listing's locator that stands for all.
const AllNamespaces = "\x01"

// PgnlsEntry is one object of a listing.
type PgnlsEntry struct{ Namespace, Name, Locator string }

// PgnlsReply is pg_nls_response_t, the output of pgnls. hdr(1,1). The input is
// the position to start from, an HObject.
type PgnlsReply struct {
	Next    HObject // where to go on; Max at the end
	Entries []PgnlsEntry
}

// Append appends m.
func (m *PgnlsReply) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = m.Next.Append(b)
	b = denc.AppendSlice(b, m.Entries, func(b []byte, e PgnlsEntry) []byte {
		return denc.AppendString(denc.AppendString(denc.AppendString(b, e.Namespace), e.Name), e.Locator)
	})
	return denc.End(b, at)
}

// Decode reads what Append wrote.
func (m *PgnlsReply) Decode(r *denc.Reader) {
	s := r.Enter("pg_nls_response_t", 1)
	m.Next.Decode(r)
	m.Entries = denc.Slice(r, 12, func(r *denc.Reader) PgnlsEntry {
		return PgnlsEntry{Namespace: r.String(), Name: r.String(), Locator: r.String()}
	})
	r.Leave(s)
}
