package journal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
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
		next := size + int64(len(o.pending[n].payload)) + wire.EntryOverhead
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
const maxPooled = 4 << 20

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
	in := denc.AppendU32(denc.AppendU64((*buf)[:0], 1<<r.j.layout.Order), uint32(n))
	for _, f := range entries {
		in = wire.Entry{TagTID: f.tag, EntryTID: f.tid, Data: f.payload}.Append(in)
	}
	*buf = in
	op := rados.NewOp()
	op.CallWrite(wire.Class, wire.MethodAppend, in)
	r.j.data.Go(r.ctx, r.j.dataName(o.object), op, func(err error) {
		if !rados.MaybeApplied(err) && cap(in) <= maxPooled {
			r.buffers.Put(buf)
		}
		r.appended(o, entries, err)
	})
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
			o.bytes += int64(len(f.payload)) + wire.EntryOverhead
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
