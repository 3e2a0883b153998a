// Package cmpomap holds the arguments of object class "cmpomap": comparisons of
// values in an object's omap, and changes where they hold (src/cls/cmpomap of
// Ceph 16.2 to 20.2). All of them are version 1.
package cmpomap

import "github.com/rbdm/rbdm/msgr2/denc"

// Class is the object class's name; the others are its methods'.
const (
	Class         = "cmpomap"
	MethodCmpVals = "cmp_vals"
	MethodSetVals = "cmp_set_vals"
	MethodRmKeys  = "cmp_rm_keys"
)

// Mode is what values are.
type Mode uint8

// The modes.
const (
	// String are bytes, which compare as numbers from -128 to 127.
	String Mode = 1
	// U64 are 8 bytes, little endian; a stored value that is empty is 0.
	U64 Mode = 2
)

// Op is how the argument's value is compared with the stored one.
type Op uint8

// The comparisons, whose left side is the argument.
const (
	Equal Op = 1 + iota
	NotEqual
	Greater
	GreaterOrEqual
	Less
	LessOrEqual
)

// Compare is the argument of cmp_vals and cmp_set_vals (cmp_vals_op,
// cmp_set_vals_op).
type Compare struct {
	Mode   Mode
	Op     Op
	Values map[string][]byte
	// Default is what a missing key is taken for, if HasDefault.
	Default    []byte
	HasDefault bool
}

// Append appends c.
func (c Compare) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendMap(denc.AppendU8(denc.AppendU8(b, uint8(c.Mode)), uint8(c.Op)), c.Values, denc.AppendString, denc.AppendBytes)
	if b = denc.AppendBool(b, c.HasDefault); c.HasDefault {
		b = denc.AppendBytes(b, c.Default)
	}
	return denc.End(b, at)
}

// Decode reads c.
func (c *Compare) Decode(r *denc.Reader) {
	s := r.Enter("cmp_vals_op", 1)
	*c = Compare{Mode: Mode(r.U8()), Op: Op(r.U8()), Values: denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).Bytes), HasDefault: r.Bool()}
	if c.HasDefault {
		c.Default = r.Bytes()
	}
	r.Leave(s)
}

// Remove is the argument of cmp_rm_keys (cmp_rm_keys_op).
type Remove struct {
	Mode   Mode
	Op     Op
	Values map[string][]byte
}

// Append appends m.
func (m Remove) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU8(denc.AppendU8(b, uint8(m.Mode)), uint8(m.Op))
	return denc.End(denc.AppendMap(b, m.Values, denc.AppendString, denc.AppendBytes), at)
}

// Decode reads m.
func (m *Remove) Decode(r *denc.Reader) {
	s := r.Enter("cmp_rm_keys_op", 1)
	*m = Remove{Mode: Mode(r.U8()), Op: Op(r.U8()), Values: denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).Bytes)}
	r.Leave(s)
}
