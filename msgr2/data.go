// Package msgr2 is Ceph's messenger protocol 2.
package msgr2

import (
	"iter"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Data is a scatter list of bytes that are passed on without being copied. A
// part whose CRC is known, because it was received, carries it along. The zero
// Data is empty. Copies of a Data share the bytes.
type Data struct {
	first part
	rest  []part
	n     int
}

type part struct {
	p     []byte
	crc   uint32 // CRC-32C with seed -1
	known bool
}

// NewData returns a Data over bufs, which it retains.
func NewData(bufs ...[]byte) Data {
	var d Data
	for _, p := range bufs {
		d.Append(p)
	}
	return d
}

// NewDataCRC is NewData of one part whose CRC-32C (seed -1) is known.
func NewDataCRC(p []byte, crc uint32) Data {
	var d Data
	d.add(part{p, crc, true})
	return d
}

// Len returns the number of bytes.
func (d Data) Len() int { return d.n }

// Append adds p, which is retained.
func (d *Data) Append(p []byte) { d.add(part{p: p}) }

// AppendData adds all parts of o.
func (d *Data) AppendData(o Data) {
	if o.n == 0 {
		return
	}
	d.add(o.first)
	for _, p := range o.rest {
		d.add(p)
	}
}

func (d *Data) add(p part) {
	switch {
	case len(p.p) == 0:
		return
	case d.n == 0:
		d.first = p
	default:
		d.rest = append(d.rest[:len(d.rest):len(d.rest)], p)
	}
	d.n += len(p.p)
}

// Bytes returns the bytes in one piece: without a copy when there is one part.
func (d Data) Bytes() []byte {
	if len(d.rest) == 0 {
		return d.first.p
	}
	b := make([]byte, 0, d.n)
	for p := range d.Parts() {
		b = append(b, p...)
	}
	return b
}

// Parts yields the parts in order.
func (d Data) Parts() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if d.n == 0 || !yield(d.first.p) {
			return
		}
		for _, p := range d.rest {
			if !yield(p.p) {
				return
			}
		}
	}
}

// Slice returns the n bytes from off. Parts that are wholly inside keep their
// CRC. It panics when the range is not inside d.
func (d Data) Slice(off, n int) Data {
	if off < 0 || n < 0 || off > d.n-n {
		panic("msgr2: Data.Slice out of range")
	}
	var out Data
	take := func(p part) {
		switch {
		case n == 0:
		case off >= len(p.p):
			off -= len(p.p)
		case off == 0 && n >= len(p.p):
			out.add(p)
			n -= len(p.p)
		default:
			m := min(n, len(p.p)-off)
			out.Append(p.p[off : off+m : off+m])
			off, n = 0, n-m
		}
	}
	take(d.first)
	for _, p := range d.rest {
		take(p)
	}
	return out
}

// CRC returns the CRC-32C with seed -1 of all bytes. It is computed for a
// single part only when it is not known.
func (d Data) CRC() uint32 {
	if len(d.rest) == 0 && d.first.known {
		return d.first.crc
	}
	crc := ^uint32(0)
	for p := range d.Parts() {
		crc = denc.CRC32C(crc, p)
	}
	return crc
}
