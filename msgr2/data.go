package msgr2

import (
	"iter"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// Data is the payload of a message: a list of byte slices that stand one behind
// the other on the wire. A slice is never copied on its way between socket and
// caller. One whose CRC is known carries it, so that forwarding a received
// payload to another connection does not read it again. The zero Data is empty.
//
// Data is a small value; copies share the bytes.
type Data struct {
	first part
	more  []part
	n     int
}

type part struct {
	b   []byte
	crc uint32 // of b with seed -1
	has bool
}

// NewData returns a Data of the slices, which it keeps.
func NewData(bufs ...[]byte) Data {
	var d Data
	for _, b := range bufs {
		d.Append(b)
	}
	return d
}

// CheckedData is NewData of one slice whose CRC (seed -1) is known, as CRC or
// KnownCRC told it. A wrong one makes every receiver refuse the frame.
func CheckedData(b []byte, crc uint32) Data {
	if len(b) == 0 {
		return Data{}
	}
	return Data{first: part{b: b, crc: crc, has: true}, n: len(b)}
}

// Checked returns d with the CRCs of its parts worked out, for bytes that go to
// several places: what is made of parts of it does not read them again. The bytes
// must not change from then on.
func (d Data) Checked() Data {
	if d.n > 0 && !d.first.has {
		d.first = d.first.checked()
	}
	if slices.ContainsFunc(d.more, func(p part) bool { return !p.has }) {
		d.more = slices.Clone(d.more)
		for i, p := range d.more {
			if !p.has {
				d.more[i] = p.checked()
			}
		}
	}
	return d
}

func (p part) checked() part { return part{b: p.b, crc: denc.CRC32C(^uint32(0), p.b), has: true} }

// KnownCRC returns the CRC (seed -1) of a Data of one slice, where it is known
// without reading the bytes: they came in a frame, or are Checked.
func (d Data) KnownCRC() (crc uint32, known bool) {
	return d.first.crc, d.first.has && len(d.more) == 0
}

// Len returns the number of bytes.
func (d Data) Len() int { return d.n }

// Append adds p behind the last byte and keeps it.
func (d *Data) Append(p []byte) { d.add(part{b: p}) }

// AppendData adds o behind the last byte, CRCs included.
func (d *Data) AppendData(o Data) {
	switch {
	case o.n == 0:
	case d.n == 0:
		*d = o
	default:
		more := make([]part, 0, len(d.more)+1+len(o.more))
		d.more = append(append(append(more, d.more...), o.first), o.more...)
		d.n += o.n
	}
}

func (d *Data) add(p part) {
	if len(p.b) == 0 {
		return
	}
	if d.n == 0 {
		d.first = p
	} else {
		d.more = append(d.more[:len(d.more):len(d.more)], p)
	}
	d.n += len(p.b)
}

// Builder makes a Data of many slices. The zero Builder is empty.
type Builder struct{ d Data }

// Grow makes room for n slices more.
func (b *Builder) Grow(n int) { b.d.more = slices.Grow(b.d.more, n) }

// Append adds p behind the last byte and keeps it.
func (b *Builder) Append(p []byte) { b.add(part{b: p}) }

// AppendData adds o behind the last byte, CRCs included.
func (b *Builder) AppendData(o Data) { o.each(b.add) }

func (b *Builder) add(p part) {
	if len(p.b) == 0 {
		return
	}
	if b.d.n == 0 {
		b.d.first = p
	} else {
		b.d.more = append(b.d.more, p)
	}
	b.d.n += len(p.b)
}

// Data returns what was added. The Builder must not be used any more.
func (b *Builder) Data() Data { return b.d }

func (d Data) each(fn func(part)) {
	if d.n == 0 {
		return
	}
	fn(d.first)
	for _, p := range d.more {
		fn(p)
	}
}

// Parts yields the slices in order.
func (d Data) Parts() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if d.n == 0 || !yield(d.first.b) {
			return
		}
		for _, p := range d.more {
			if !yield(p.b) {
				return
			}
		}
	}
}

// Pieces yields the slices in order with what is known of them.
func (d Data) Pieces() iter.Seq[Data] {
	return func(yield func(Data) bool) {
		if d.n == 0 || !yield(Data{first: d.first, n: len(d.first.b)}) {
			return
		}
		for _, p := range d.more {
			if !yield(Data{first: p, n: len(p.b)}) {
				return
			}
		}
	}
}

// Bytes returns all bytes as one slice: the very slice where there is only one,
// else a copy.
func (d Data) Bytes() []byte {
	if len(d.more) == 0 {
		return d.first.b
	}
	b := make([]byte, 0, d.n)
	for p := range d.Parts() {
		b = append(b, p...)
	}
	return b
}

// CopyTo copies all bytes to dst and returns how many it were.
func (d Data) CopyTo(dst []byte) int {
	n := 0
	for p := range d.Parts() {
		n += copy(dst[n:], p)
	}
	return n
}

// Slice returns n bytes from offset off on, sharing them. It panics where they
// are not within the Data. Whole parts keep their CRC, as do those that lost a short
// head.
func (d Data) Slice(off, n int) Data {
	if off < 0 || n < 0 || off+n > d.n {
		panic("msgr2: slice out of range")
	}
	var out Data
	pos := 0
	d.each(func(p part) {
		lo, hi := max(off-pos, 0), min(off+n-pos, len(p.b))
		pos += len(p.b)
		switch {
		case lo >= hi:
		case lo == 0 && hi == len(p.b):
			out.add(p)
		default:
			out.add(p.cut(lo, hi))
		}
	})
	return out
}

// cheapCut is how much may be cut off in front for the CRC of the rest to be
// derived: what a sparse read has there.
const cheapCut = 4 << 10

// cut returns a part of p. The CRC of what is left behind a short head follows
// from that of all.
func (p part) cut(lo, hi int) part {
	out := part{b: p.b[lo:hi:hi]}
	if p.has && hi == len(p.b) && lo <= cheapCut && lo < len(out.b) {
		const seed = ^uint32(0)
		out.has, out.crc = true, p.crc^denc.ExtendCRC32C(denc.CRC32C(seed, p.b[:lo])^seed, len(out.b))
	}
	return out
}

// CRC returns the CRC-32C of all bytes with seed -1, as crc mode sends it. The
// CRCs of parts that are known are combined, not computed again.
func (d Data) CRC() uint32 {
	crc := ^uint32(0)
	if d.n == 0 {
		return crc
	}
	if d.first.has {
		crc = d.first.crc
	} else {
		crc = denc.CRC32C(crc, d.first.b)
	}
	for _, p := range d.more {
		if p.has {
			crc = denc.CombineCRC32C(crc, p.crc, ^uint32(0), len(p.b))
		} else {
			crc = denc.CRC32C(crc, p.b)
		}
	}
	return crc
}
