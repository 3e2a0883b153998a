// Package layout maps the bytes of an RBD image to objects and back: Ceph's
// file layout (src/osdc/Striper.cc) with the parameters that RBD uses, of which
// plain images (stripe unit = object size, count 1) are the common case.
package layout

import (
	"fmt"
	"iter"
)

// Layout is how an image is cut into objects. The zero Layout is not valid; see
// New.
type Layout struct {
	order       uint8
	stripeUnit  uint64
	stripeCount uint64
	// unitsPerObject is object size / stripe unit.
	unitsPerObject uint64
}

// Extent is a range of bytes within one object and where it lies in the buffer
// of the request that Map was asked for.
type Extent struct {
	// Object is the object's number, Off and Len the range in it.
	Object, Off, Len uint64
	// Buf is the first byte's offset from the start of the request.
	Buf uint64
}

// Range is a range of bytes of an image.
type Range struct{ Off, Len uint64 }

// End returns the first byte after the range.
func (r Range) End() uint64 { return r.Off + r.Len }

// New returns the layout with objects of 1<<order bytes. A stripeUnit or
// stripeCount of 0 means no striping (whole objects one after another).
func New(order uint8, stripeUnit, stripeCount uint64) (Layout, error) {
	if order < 1 || order > 62 {
		return Layout{}, fmt.Errorf("object size 2^%d is out of range", order)
	}
	size := uint64(1) << order
	if stripeUnit == 0 || stripeCount == 0 {
		stripeUnit, stripeCount = size, 1
	}
	if stripeUnit > size || size%stripeUnit != 0 {
		return Layout{}, fmt.Errorf("stripe unit %d does not divide the object size %d", stripeUnit, size)
	}
	if stripeCount > 1<<32 {
		return Layout{}, fmt.Errorf("stripe count %d is out of range", stripeCount)
	}
	return Layout{order: order, stripeUnit: stripeUnit, stripeCount: stripeCount, unitsPerObject: size / stripeUnit}, nil
}

// Order returns log2 of the object size.
func (l Layout) Order() uint8 { return l.order }

// ObjectSize returns the size of a full object in bytes.
func (l Layout) ObjectSize() uint64 { return 1 << l.order }

// StripeUnit returns the stripe unit in bytes.
func (l Layout) StripeUnit() uint64 { return l.stripeUnit }

// StripeCount returns over how many objects a stripe goes.
func (l Layout) StripeCount() uint64 { return l.stripeCount }

// Striped reports whether consecutive bytes of an object may be apart in the
// image.
func (l Layout) Striped() bool { return l.stripeCount > 1 && l.unitsPerObject >= 1 }

// period is how many bytes an object set holds.
func (l Layout) period() uint64 { return l.stripeCount << l.order }

// Objects returns how many objects an image of size bytes has
// (Striper::get_num_objects).
func (l Layout) Objects(size uint64) uint64 {
	if l.stripeCount == 1 {
		n := size >> l.order
		if size&(l.ObjectSize()-1) != 0 {
			n++
		}
		return n
	}
	period := l.period()
	n := size / period
	rest := size % period
	objs := n * l.stripeCount
	if rest != 0 {
		if rest < l.stripeCount*l.stripeUnit {
			objs += (rest + l.stripeUnit - 1) / l.stripeUnit
		} else {
			objs += l.stripeCount
		}
	}
	return objs
}

// Object returns the object that holds byte off of the image and the offset in
// it.
func (l Layout) Object(off uint64) (object, objOff uint64) {
	if l.stripeCount == 1 {
		return off >> l.order, off & (l.ObjectSize() - 1)
	}
	block := off / l.stripeUnit
	stripe, pos := block/l.stripeCount, block%l.stripeCount
	set := stripe / l.unitsPerObject
	return set*l.stripeCount + pos, (stripe%l.unitsPerObject)*l.stripeUnit + off%l.stripeUnit
}

// Map yields the extents that bytes [off, off+n) of the image lie in, in the
// order of the image. Extents that follow each other within an object and in
// the buffer are one.
func (l Layout) Map(off, n uint64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		unit := l.stripeUnit
		if l.stripeCount == 1 {
			unit = l.ObjectSize()
		}
		var buf uint64
		for buf < n {
			obj, o := l.Object(off + buf)
			take := min(unit-o%unit, n-buf)
			if !yield(Extent{Object: obj, Off: o, Len: take, Buf: buf}) {
				return
			}
			buf += take
		}
	}
}

// Image returns the ranges of the image that bytes [off, off+n) of an object
// hold, in the order of the object (Striper::extent_to_file).
func (l Layout) Image(object, off, n uint64) iter.Seq[Range] {
	return func(yield func(Range) bool) {
		if l.stripeCount == 1 {
			if n > 0 {
				yield(Range{Off: object<<l.order + off, Len: n})
			}
			return
		}
		set, pos := object/l.stripeCount, object%l.stripeCount
		for n > 0 {
			stripe := set*l.unitsPerObject + off/l.stripeUnit
			block := stripe*l.stripeCount + pos
			in := off % l.stripeUnit
			take := min(l.stripeUnit-in, n)
			if !yield(Range{Off: block*l.stripeUnit + in, Len: take}) {
				return
			}
			off += take
			n -= take
		}
	}
}

// Within cuts the image ranges of bytes [off, off+n) of an object at limit (a
// parent's overlap, an image's size) and returns what is below it.
func (l Layout) Within(object, off, n, limit uint64) []Range {
	var rs []Range
	for r := range l.Image(object, off, n) {
		if r.Off >= limit {
			continue
		}
		r.Len = min(r.Len, limit-r.Off)
		rs = append(rs, r)
	}
	return rs
}

// ObjectEnd returns how many bytes of an object lie below byte size of the
// image when counted from the object's start: the length that the object can
// have in an image of that size.
func (l Layout) ObjectEnd(object, size uint64) uint64 {
	if l.stripeCount == 1 {
		start := object << l.order
		if start >= size {
			return 0
		}
		return min(l.ObjectSize(), size-start)
	}
	var end, at uint64
	for r := range l.Image(object, 0, l.ObjectSize()) {
		if r.Off < size {
			end = at + min(r.Len, size-r.Off)
		}
		at += r.Len
	}
	return end
}
