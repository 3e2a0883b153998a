package wire

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// What messages say about places is defined with the map that defines them.
type (
	// PG is a placement group.
	PG = osdmap.PG
	// SPG is a placement group and, in erasure coded pools, a shard of it.
	SPG = osdmap.SPG
	// ObjectLocator says where an object's name is looked up.
	ObjectLocator = osdmap.ObjectLocator
	// HObject is an object at its place in the placement group's order.
	HObject = osdmap.HObject
)

// NoShard is the shard of a replicated pool's placement groups.
const NoShard = osdmap.NoShard

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
