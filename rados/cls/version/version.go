// Package version holds the arguments and results of object class "version": a
// number and a tag that an object keeps in the xattr "ceph.objclass.version",
// changed and checked by conditions (src/cls/version of Ceph 16.2 to 20.2). All
// of them are version 1.
package version

import "github.com/rbdm/rbdm/msgr2/denc"

// Class is the object class's name; the others are its methods'.
const (
	Class            = "version"
	MethodSet        = "set"
	MethodInc        = "inc"
	MethodIncConds   = "inc_conds"
	MethodRead       = "read"
	MethodCheckConds = "check_conds"
)

// Xattr is the xattr that holds the Version.
const Xattr = "ceph.objclass.version"

// TagLen is how many characters a tag has that the OSD made.
const TagLen = 24

// Version is a version of an object (obj_version).
type Version struct {
	Ver uint64
	Tag string
}

// Append appends v.
func (v Version) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(denc.AppendU64(b, v.Ver), v.Tag), at)
}

// Decode reads v.
func (v *Version) Decode(r *denc.Reader) {
	s := r.Enter("obj_version", 1)
	v.Ver, v.Tag = r.U64(), r.String()
	r.Leave(s)
}

// Condition is how a stored Version is compared with the one of a Cond. Unknown
// ones hold.
type Condition uint32

// The conditions: those but Equal look at the number or the tag alone.
const (
	Always Condition = iota
	Equal
	Greater
	GreaterOrEqual
	Less
	LessOrEqual
	TagEqual
	TagDiffers
)

// Cond is a condition that a stored Version must meet (obj_version_cond).
type Cond struct {
	Version Version
	Cond    Condition
}

// Append appends c.
func (c Cond) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU32(c.Version.Append(b), uint32(c.Cond)), at)
}

// Decode reads c.
func (c *Cond) Decode(r *denc.Reader) {
	s := r.Enter("obj_version_cond", 1)
	c.Version.Decode(r)
	c.Cond = Condition(r.U32())
	r.Leave(s)
}

// Holds reports whether the stored Version v meets c.
func (c Cond) Holds(v Version) bool {
	switch w := c.Version; c.Cond {
	case Equal:
		return v == w
	case Greater:
		return v.Ver > w.Ver
	case GreaterOrEqual:
		return v.Ver >= w.Ver
	case Less:
		return v.Ver < w.Ver
	case LessOrEqual:
		return v.Ver <= w.Ver
	case TagEqual:
		return v.Tag == w.Tag
	case TagDiffers:
		return v.Tag != w.Tag
	}
	return true
}

// Set is the argument of set (cls_version_set_op).
type Set struct{ Version Version }

// Append appends s.
func (s Set) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(s.Version.Append(b), at)
}

// Decode reads s.
func (s *Set) Decode(r *denc.Reader) {
	e := r.Enter("cls_version_set_op", 1)
	s.Version.Decode(r)
	r.Leave(e)
}

// Conds is the argument of inc, inc_conds and check_conds (cls_version_inc_op,
// cls_version_check_op). The OSD does not look at Version.
type Conds struct {
	Version Version
	Conds   []Cond
}

// Append appends c.
func (c Conds) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendSlice(c.Version.Append(b), c.Conds, func(b []byte, c Cond) []byte { return c.Append(b) })
	return denc.End(b, at)
}

// Decode reads c.
func (c *Conds) Decode(r *denc.Reader) {
	s := r.Enter("cls_version_inc_op", 1)
	c.Version.Decode(r)
	c.Conds = denc.Slice(r, 28, func(r *denc.Reader) (c Cond) { c.Decode(r); return c })
	r.Leave(s)
}

// Read is the result of read (cls_version_read_ret).
type Read struct{ Version Version }

// Append appends d.
func (d Read) Append(b []byte) []byte { return Set(d).Append(b) }

// Decode reads d.
func (d *Read) Decode(r *denc.Reader) { (*Set)(d).Decode(r) }
