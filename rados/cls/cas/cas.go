// Package cas holds the arguments of object class "cas": chunks of deduplicated
// data with references to them in the xattr "chunk_refs" (src/cls/cas of Ceph
// 16.2 to 20.2). All of them are version 1.
package cas

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// Class is the object class's name; the others are its methods'.
const (
	Class             = "cas"
	MethodCreateOrGet = "chunk_create_or_get_ref"
	MethodGet         = "chunk_get_ref"
	MethodPut         = "chunk_put_ref"
	// MethodReferences takes the name of a chunk, and succeeds when the
	// object's manifest refers to it.
	MethodReferences = "references_chunk"
)

// Xattr is the xattr that holds the Refs.
const Xattr = "chunk_refs"

// FlagVerify makes chunk_create_or_get_ref compare the data.
const FlagVerify = 1

// CreateOrGet is the argument of chunk_create_or_get_ref
// (cls_cas_chunk_create_or_get_ref_op).
type CreateOrGet struct {
	Source osdmap.HObject
	Flags  uint64
	Data   []byte
}

// Append appends c.
func (c CreateOrGet) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBytes(denc.AppendU64(c.Source.Append(b), c.Flags), c.Data), at)
}

// Decode reads c.
func (c *CreateOrGet) Decode(r *denc.Reader) {
	s := r.Enter("cls_cas_chunk_create_or_get_ref_op", 1)
	c.Source.Decode(r)
	c.Flags, c.Data = r.U64(), r.Bytes()
	r.Leave(s)
}

// Ref is the argument of chunk_get_ref and chunk_put_ref
// (cls_cas_chunk_get_ref_op, cls_cas_chunk_put_ref_op).
type Ref struct{ Source osdmap.HObject }

// Append appends f.
func (f Ref) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(f.Source.Append(b), at)
}

// Decode reads f.
func (f *Ref) Decode(r *denc.Reader) {
	s := r.Enter("cls_cas_chunk_get_ref_op", 1)
	f.Source.Decode(r)
	r.Leave(s)
}
