// Package store holds the contents of objects in memory: sparse bytes, ordered
// key-value pairs and sets of ranges. Everything can be cloned at the price of
// a few words, which is what an OSD's snapshots need, and nothing in it knows
// about messages, placement or time.
//
// Nothing here locks: the owner of an object does.
package store

import (
	"slices"
	"sort"

	"github.com/rbdm/rbdm/msgr2"
)

// Range is a run of bytes.
type Range struct{ Off, Len uint64 }

// End returns the offset behind the last byte.
func (r Range) End() uint64 { return r.Off + r.Len }

// keepWhole is the size from which on a received buffer is kept as it came.
// Smaller ones are copied, so that a short write does not hold a whole receive
// buffer in memory.
const keepWhole = 16 << 10

// growTo bounds the buffers into which runs of short writes are gathered.
const growTo = 128 << 10

// extent is a run of bytes that were written. The bytes of p never change; only
// the room behind them may be filled, by the one extent that has it.
type extent struct {
	off uint64
	p   []byte
	crc uint32 // of p, as msgr2.Data has it
	has bool   // crc is known
}

func (e extent) end() uint64 { return e.off + uint64(len(e.p)) }

// slice returns the bytes [from, to) of the object, with their CRC where it follows
// from what is known: who reads what was written in one piece needs none worked out.
func (e extent) slice(from, to uint64) msgr2.Data {
	if !e.has {
		return msgr2.NewData(e.p[from-e.off : to-e.off : to-e.off])
	}
	return msgr2.CheckedData(e.p, e.crc).Slice(int(from-e.off), int(to-from))
}

// Bytes is the sparse content of an object. The zero Bytes is empty. Buffers
// handed to Write are kept and must not change afterwards; buffers returned by
// Read must not be changed.
type Bytes struct {
	size   uint64
	ext    []extent // ascending, without overlap or empty ones
	shared bool     // ext belongs to somebody else, too
}

// Size returns the number of bytes, holes included.
func (b *Bytes) Size() uint64 { return b.size }

// Clone returns a copy that shares all memory until one of both is changed.
func (b *Bytes) Clone() Bytes {
	if !b.shared {
		// Nobody may fill the room behind a shared extent.
		for i := range b.ext {
			b.ext[i].p = slices.Clip(b.ext[i].p)
		}
		b.shared = true
	}
	return *b
}

// own makes ext private before it is changed.
func (b *Bytes) own() {
	if b.shared {
		b.ext = slices.Clone(b.ext)
		b.shared = false
	}
}

// find returns the index of the first extent that ends behind off.
func (b *Bytes) find(off uint64) int {
	return sort.Search(len(b.ext), func(i int) bool { return b.ext[i].end() > off })
}

// punch takes [off, end) out of the extents and returns where an extent at off
// belongs.
func (b *Bytes) punch(off, end uint64) int {
	b.own()
	i := b.find(off)
	if i == len(b.ext) || b.ext[i].off >= end {
		return i
	}
	var left, right []extent
	j := i
	for ; j < len(b.ext) && b.ext[j].off < end; j++ {
		e := b.ext[j]
		if e.off < off {
			n := off - e.off
			left = append(left, extent{off: e.off, p: e.p[:n:n]})
		}
		if e.end() > end {
			right = append(right, extent{off: end, p: e.p[end-e.off:]})
		}
	}
	b.ext = slices.Replace(b.ext, i, j, append(left, right...)...)
	return i + len(left)
}

// Write stores d at off and makes the object at least so long.
func (b *Bytes) Write(off uint64, d msgr2.Data) {
	for piece := range d.Pieces() {
		if piece.Len() >= keepWhole {
			b.keep(off, piece)
		} else {
			b.write(off, piece.Bytes())
		}
		off += uint64(piece.Len())
	}
}

// WriteBytes is Write of one buffer.
func (b *Bytes) WriteBytes(off uint64, p []byte) {
	b.Write(off, msgr2.NewData(p))
}

// keep stores a piece as it is.
func (b *Bytes) keep(off uint64, piece msgr2.Data) {
	end := off + uint64(piece.Len())
	i := b.punch(off, end)
	b.size = max(b.size, end)
	e := extent{off: off, p: slices.Clip(piece.Bytes())}
	e.crc, e.has = piece.KnownCRC()
	b.ext = slices.Insert(b.ext, i, e)
}

// write stores a copy of p.
func (b *Bytes) write(off uint64, p []byte) {
	end := off + uint64(len(p))
	i := b.punch(off, end)
	b.size = max(b.size, end)
	if i > 0 && b.ext[i-1].end() == off && len(b.ext[i-1].p)+len(p) <= growTo {
		e := &b.ext[i-1]
		if cap(e.p)-len(e.p) < len(p) {
			grown := make([]byte, len(e.p), min(growTo, 2*(len(e.p)+len(p))))
			copy(grown, e.p)
			e.p = grown
		}
		e.p, e.has = append(e.p, p...), false
		return
	}
	b.ext = slices.Insert(b.ext, i, extent{off: off, p: slices.Clone(p)})
}

// Zero makes a hole of the range; the size stays.
func (b *Bytes) Zero(off, n uint64) {
	if n > 0 {
		b.punch(off, off+n)
	}
}

// Truncate sets the size; what is added is a hole.
func (b *Bytes) Truncate(size uint64) {
	if size < b.size {
		b.punch(size, b.size)
	}
	b.size = size
}

// zeros is read-only.
var zeros [64 << 10]byte

func appendZeros(d *msgr2.Builder, n uint64) {
	for n > 0 {
		m := min(n, uint64(len(zeros)))
		d.Append(zeros[:m:m])
		n -= m
	}
}

// Read returns up to n bytes from off, less when the object ends before. Holes
// read as zeros. Nothing is copied.
func (b *Bytes) Read(off, n uint64) msgr2.Data {
	if off >= b.size {
		return msgr2.Data{}
	}
	var d msgr2.Builder
	end := off + min(n, b.size-off)
	for i := b.find(off); i < len(b.ext) && off < end; i++ {
		e := b.ext[i]
		if e.off >= end {
			break
		}
		if e.off > off {
			appendZeros(&d, e.off-off)
			off = e.off
		}
		stop := min(end, e.end())
		d.AppendData(e.slice(off, stop))
		off = stop
	}
	appendZeros(&d, end-off)
	return d.Data()
}

// Extents returns which parts of the range were written, ascending; parts that
// touch are one.
func (b *Bytes) Extents(off, n uint64) []Range {
	if off >= b.size || n == 0 {
		return nil
	}
	end := off + min(n, b.size-off)
	var out []Range
	for i := b.find(off); i < len(b.ext) && b.ext[i].off < end; i++ {
		from, to := max(off, b.ext[i].off), min(end, b.ext[i].end())
		if k := len(out) - 1; k >= 0 && out[k].End() == from {
			out[k].Len += to - from
		} else {
			out = append(out, Range{from, to - from})
		}
	}
	return out
}

// Stored returns how many bytes are not holes.
func (b *Bytes) Stored() uint64 {
	var n uint64
	for _, e := range b.ext {
		n += uint64(len(e.p))
	}
	return n
}

// Saved returns the present content, to be put back in place of b. Unlike a
// Clone it stays valid only until something else was put back.
func (b *Bytes) Saved() Bytes {
	if b.shared {
		return *b
	}
	return Bytes{size: b.size, ext: slices.Clone(b.ext)}
}

// Seal sees to it that no room behind an extent is filled any more, after
// something older was put back: readers may still hold what was there.
func (b *Bytes) Seal() {
	b.own()
	for i := range b.ext {
		b.ext[i].p = slices.Clip(b.ext[i].p)
	}
}
