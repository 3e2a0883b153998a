// Package refcount holds the arguments and results of object class "refcount":
// tags that refer to an object, which goes with the last of them, kept in the
// xattr "refcount" (src/cls/refcount of Ceph 16.2 to 20.2).
package refcount

import "github.com/rbdm/rbdm/msgr2/denc"

// Class is the object class's name; the others are its methods'.
const (
	Class      = "refcount"
	MethodGet  = "get"
	MethodPut  = "put"
	MethodSet  = "set"
	MethodRead = "read"
)

// Xattr is the xattr that holds the Refs.
const Xattr = "refcount"

// Ref is the argument of get and put (cls_refcount_get_op, cls_refcount_put_op).
// Implicit says that an object without references has one, whose tag is empty.
type Ref struct {
	Tag      string
	Implicit bool
}

// Append appends f.
func (f Ref) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBool(denc.AppendString(b, f.Tag), f.Implicit), at)
}

// Decode reads f.
func (f *Ref) Decode(r *denc.Reader) {
	s := r.Enter("cls_refcount_get_op", 1)
	f.Tag, f.Implicit = r.String(), r.Bool()
	r.Leave(s)
}

// List is the argument of set and the result of read (cls_refcount_set_op,
// cls_refcount_read_ret).
type List struct{ Tags []string }

// Append appends l.
func (l List) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendSlice(b, l.Tags, denc.AppendString), at)
}

// Decode reads l.
func (l *List) Decode(r *denc.Reader) {
	s := r.Enter("cls_refcount_set_op", 1)
	l.Tags = denc.Slice(r, 4, (*denc.Reader).String)
	r.Leave(s)
}

// Read is the argument of read (cls_refcount_read_op).
type Read struct{ Implicit bool }

// Append appends d.
func (d Read) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendBool(b, d.Implicit), at)
}

// Decode reads d.
func (d *Read) Decode(r *denc.Reader) {
	s := r.Enter("cls_refcount_read_op", 1)
	d.Implicit = r.Bool()
	r.Leave(s)
}

// Refs are an object's references (obj_refcount, version 2; version 1 has no
// Retired).
type Refs struct {
	Tags map[string]bool
	// Retired are tags that were put once and do not count again.
	Retired []string
}

// Append appends f; Retired must be in order.
func (f Refs) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendMap(b, f.Tags, denc.AppendString, denc.AppendBool)
	return denc.End(denc.AppendSlice(b, f.Retired, denc.AppendString), at)
}

// Decode reads f.
func (f *Refs) Decode(r *denc.Reader) {
	s := r.Enter("obj_refcount", 2)
	f.Tags, f.Retired = denc.Map(r, 5, (*denc.Reader).String, (*denc.Reader).Bool), nil
	if s.V >= 2 {
		f.Retired = denc.Slice(r, 4, (*denc.Reader).String)
	}
	r.Leave(s)
}
