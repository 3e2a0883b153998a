package journal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// objectRecorder is what is to be written to the data object at one splay offset.
// It belongs to Recorder.mu.
type objectRecorder struct {
	object   uint64
	size     int64     // bytes that were sent to the object
	pending  []*Future // not sent, or to be sent again to the next set
	bytes    int64     // of the entries in pending
	inFlight int       // appends under way
	full     bool      // nothing more fits
	since    time.Time // of the last append; zero before the first
	timer    *time.Timer
	// overflow holds what did not fit, by append, in order.
	overflow []*Future
}

func (o *objectRecorder) add(f *Future, n int64) {
	o.pending = append(o.pending, f)
	o.bytes += n
}

func (o *objectRecorder) stopTimer() {
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
}

// enough reports whether what is pending is to be sent although an append is
// under way.
func (o *objectRecorder) enough(b batch) bool {
	return b.entries > 0 && len(o.pending) >= b.entries || b.bytes > 0 && o.bytes >= int64(b.bytes) ||
		b.age > 0 && !o.since.IsZero() && time.Since(o.since) >= b.age
}

// mayAppend reports whether the number of appends under way allows one more.
func (r *Recorder) mayAppend(o *objectRecorder) bool {
	limit := r.j.opts.MaxInFlightAppends
	if limit == 0 && r.batch != (batch{}) {
		limit = 1
	}
	return limit <= 0 || o.inFlight < limit
}

// send sends what is pending for an object, if force or the batch say so. r.mu is
// held.
func (r *Recorder) send(o *objectRecorder, force bool) {
	if r.err != nil || r.advancing || len(o.pending) == 0 {
		return
	}
	if !force && !o.enough(r.batch) && !r.mayAppend(o) {
		if o.since.IsZero() {
			o.since = time.Now()
		}
		r.sendLater(o)
		return
	}
	if r.fill(o) {
		r.advance()
	}
}

// fill sends what is pending for an object as far as there is room in it, and
// reports whether it is full then. r.mu is held.
func (r *Recorder) fill(o *objectRecorder) (full bool) {
	if o.full {
		return true
	}
	limit := int64(1) << r.j.layout.Order
	n, size := 0, o.size
	for n < len(o.pending) && !o.full {
		next := size + int64(o.pending[n].payload.Len()) + wire.EntryOverhead
		o.full = next >= limit
		if next <= limit {
			size = next
			n++
		}
	}
	if n > 0 {
		r.append(o, o.pending[:n:n], size-o.size)
		o.pending = o.pending[n:]
	}
	return o.full
}

// sendLater sends what is pending when it is old enough. r.mu is held.
func (r *Recorder) sendLater(o *objectRecorder) {
	if r.batch.age <= 0 || o.timer != nil {
		return
	}
	o.timer = time.AfterFunc(r.batch.age, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if o.timer != nil {
			o.timer = nil
			r.send(o, true)
		}
	})
}

// maxPooled is the largest buffer that is kept, bytes.
const maxPooled = 256 << 10

// smallPart is the size up to which a part of a payload is copied next to what
// stands around it, bytes.
const smallPart = 512

// append sends entries, which take n bytes, to an object. r.mu is held.
func (r *Recorder) append(o *objectRecorder, entries []*Future, n int64) {
	o.stopTimer()
	o.since = time.Now()
	o.size += n
	o.bytes -= n
	o.inFlight++
	r.inFlight++
	buf, _ := r.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	*buf = slices.Grow((*buf)[:0], smallBytes(entries))
	op := rados.NewOp()
	op.CallWriteData(wire.Class, wire.MethodAppend, appendInput(*buf, entries, 1<<r.j.layout.Order, uint32(n)))
	r.j.data.Go(r.ctx, r.j.dataName(o.object), op, func(err error) {
		if !rados.MaybeApplied(err) && cap(*buf) <= maxPooled {
			r.buffers.Put(buf)
		}
		r.appended(o, entries, err)
	})
}

// appendHead is how many bytes the method's input has before the entries.
const appendHead = 8 + 4

// smallBytes returns how many bytes of the method's input are copied.
func smallBytes(entries []*Future) int {
	n := appendHead + len(entries)*wire.EntryOverhead
	for _, f := range entries {
		for p := range f.payload.Parts() {
			if len(p) <= smallPart {
				n += len(p)
			}
		}
	}
	return n
}

// appendInput returns the input of the method that appends entries of n bytes in all
// to an object of limit bytes at most. Payloads are referred to but for their small
// parts, which go to b with what is between; its capacity has to be smallBytes.
func appendInput(b []byte, entries []*Future, limit uint64, n uint32) msgr2.Data {
	var in msgr2.Builder
	in.Grow(2 * len(entries))
	b = denc.AppendU32(denc.AppendU64(b, limit), n)
	from := 0 // what is behind it in b is not part of in yet
	for _, f := range entries {
		var at int
		b, at = wire.Entry{TagTID: f.tag, EntryTID: f.tid}.AppendAround(b, f.payload.Len(), f.crc)
		var tail [4]byte
		copy(tail[:], b[at:])
		b = b[:at]
		for p := range f.payload.Pieces() {
			if p.Len() <= smallPart {
				b = append(b, p.Bytes()...)
				continue
			}
			in.Append(b[from:])
			in.AppendData(p)
			from = len(b)
		}
		b = append(b, tail[:]...)
	}
	in.Append(b[from:])
	return in.Data()
}

// appended takes the result of an append.
func (r *Recorder) appended(o *objectRecorder, entries []*Future, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.inFlight--
	r.landed()
	switch {
	case errors.Is(err, rados.ErrOverflow):
		o.overflow = append(o.overflow, entries...)
		o.full = true
	case err != nil:
		r.fail(fmt.Errorf("append to journal object %s: %w", r.j.dataName(o.object), err))
	default:
		for _, f := range entries {
			f.acked = true
		}
		r.settle()
	}
	if o.inFlight == 0 && len(o.overflow) > 0 {
		for _, f := range o.overflow {
			o.bytes += int64(f.payload.Len()) + wire.EntryOverhead
		}
		slices.SortFunc(o.overflow, func(a, b *Future) int { return cmp.Compare(a.seq, b.seq) })
		o.pending = append(o.overflow, o.pending...)
		o.overflow = nil
	}
	if r.advancing || o.full {
		r.advance()
		return
	}
	r.send(o, false)
}
