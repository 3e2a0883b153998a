package osdmap

import (
	"cmp"
	"math"
	"math/bits"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// NoSnap is CEPH_NOSNAP, the snapshot id of an object's head.
const NoSnap = math.MaxUint64 - 1

// HObject is hobject_t: an object's place in the order in which OSDs keep and
// scan objects. Backoffs and object listings speak in ranges of it.
type HObject struct {
	// Key is the locator key; empty when the object is placed by its name.
	Key  string
	OID  string
	Snap uint64
	// Hash is the object's full 32-bit placement hash.
	Hash      uint32
	Max       bool
	Namespace string
	Pool      int64
}

// MinHObject sorts before every object.
func MinHObject() HObject { return HObject{Pool: math.MinInt64} }

// MaxHObject sorts after every object.
func MaxHObject() HObject { return HObject{Max: true, Pool: math.MinInt64} }

// HeadOf returns the head object oid as placed by loc.
func HeadOf(oid string, loc ObjectLocator) HObject {
	h := HObject{OID: oid, Snap: NoSnap, Namespace: loc.Namespace, Pool: loc.Pool}
	if loc.Key != oid {
		h.Key = loc.Key
	}
	if loc.Hash >= 0 {
		h.Hash = uint32(loc.Hash)
		return h
	}
	key := loc.Key
	if key == "" {
		key = oid
	}
	h.Hash = HashName(HashRjenkins, loc.Namespace, key)
	return h
}

func (h HObject) effectiveKey() string {
	if h.Key != "" {
		return h.Key
	}
	return h.OID
}

// Compare orders as an OSD does: the maximum last, pool, hash from its lowest
// bit up, namespace, key (else name), name, snapshot.
func (h HObject) Compare(o HObject) int {
	if h.Max != o.Max {
		if h.Max {
			return 1
		}
		return -1
	}
	if c := cmp.Compare(h.Pool, o.Pool); c != 0 {
		return c
	}
	if c := cmp.Compare(bits.Reverse32(h.Hash), bits.Reverse32(o.Hash)); c != 0 {
		return c
	}
	if c := cmp.Compare(h.Namespace, o.Namespace); c != 0 {
		return c
	}
	if h.Key != "" || o.Key != "" {
		if c := cmp.Compare(h.effectiveKey(), o.effectiveKey()); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(h.OID, o.OID), cmp.Compare(h.Snap, o.Snap))
}

// Append appends section (4,3): str key, str name, u64 snap, u32 hash, bool
// max, str namespace, s64 pool.
func (h HObject) Append(b []byte) []byte {
	b, at := denc.Begin(b, 4, 3)
	b = denc.AppendString(b, h.Key)
	b = denc.AppendString(b, h.OID)
	b = denc.AppendU64(b, h.Snap)
	b = denc.AppendU32(b, h.Hash)
	b = denc.AppendBool(b, h.Max)
	b = denc.AppendString(b, h.Namespace)
	b = denc.AppendS64(b, h.Pool)
	return denc.End(b, at)
}

// Decode reads version 4. Very old writers gave the minimum the pool -1; like
// Ceph it is read as the minimum.
func (h *HObject) Decode(r *denc.Reader) {
	s := r.Enter("hobject_t", 4)
	if s.V < 4 && r.Err() == nil {
		r.Failf("hobject_t version %d", s.V)
	}
	*h = HObject{Key: r.String(), OID: r.String(), Snap: r.U64(), Hash: r.U32(), Max: r.Bool(), Namespace: r.String(), Pool: r.S64()}
	if h.Pool == -1 && h.Snap == 0 && h.Hash == 0 && !h.Max && h.OID == "" {
		h.Pool = math.MinInt64
	}
	r.Leave(s)
}
