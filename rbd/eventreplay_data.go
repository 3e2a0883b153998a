package rbd

import (
	"context"
	"slices"
	"sync"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
)

const (
	// mostEvents and mostEventBytes bound what an EventReplay has under way: how far
	// it looks ahead of an event that waits.
	mostEvents     = 4096
	mostEventBytes = 32 << 20
	// mostPieces and mostPieceBytes bound what is written to an object at once.
	mostPieces     = 256
	mostPieceBytes = 2 << 20
	// sameBytes is how much of a WriteSame is made at a time.
	sameBytes = 1 << 20
)

// eventWrites writes the data of events. What touches one object is done in the
// order of the events, and what has gathered while the object was busy, or waited for
// its turn, is written to it at once; objects are independent of each other.
type eventWrites struct {
	img   *Image
	depth int

	mu      sync.Mutex
	err     error
	objects map[uint64]*objectQueue
	ready   []*objectQueue // have pieces, and nobody works on them
	workers int
	running sync.WaitGroup
	events  int // not done
	bytes   int // of those
	changed chan struct{}
}

// objectQueue is what is to be done to one object, in order.
type objectQueue struct {
	obj    uint64
	pieces []eventPiece
}

// eventPiece is what one event does to one object.
type eventPiece struct {
	of    *eventUnderWay
	write objectWrite // empty for a discard
	// discard is a range of the object; same repeats a pattern in it, which starts
	// at byte phase of the pattern.
	off, n uint64
	same   []byte
	phase  uint64
}

func (p *eventPiece) discards() bool { return p.same == nil && p.n > 0 }

// eventUnderWay is an event that is not done.
type eventUnderWay struct {
	ctx   context.Context
	done  func(error)
	left  int // pieces
	bytes int
	err   error
}

func (w *eventWrites) init(img *Image, depth int) {
	w.img, w.depth, w.objects = img, max(depth, 1), make(map[uint64]*objectQueue)
}

func (w *eventWrites) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// fail makes err final, unless there is one, and returns the one that is.
func (w *eventWrites) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// wait waits until all events are done.
func (w *eventWrites) wait(ctx context.Context) error {
	return w.await(ctx, func() bool { return w.events == 0 })
}

// await waits until ok, which is called with the lock held.
func (w *eventWrites) await(ctx context.Context, ok func() bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !ok() {
		if w.changed == nil {
			w.changed = make(chan struct{})
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			w.mu.Lock()
			return context.Cause(ctx)
		}
		w.mu.Lock()
	}
	return w.err
}

// begin queues an event that changes data, when there is room.
func (w *eventWrites) begin(ctx context.Context, ev *jwire.Event, done func(error)) error {
	// What lies beyond the end was cut off by a later resize that is already here.
	size := w.img.Size()
	if ev.Offset >= size {
		done(nil)
		return nil
	}
	ev.Length = min(ev.Length, size-ev.Offset)
	e := &eventUnderWay{ctx: ctx, done: done}
	pieces := w.split(e, ev)
	if len(pieces) == 0 {
		done(nil)
		return nil
	}
	e.left = len(pieces)
	if err := w.await(ctx, func() bool {
		return w.events == 0 || w.err != nil || w.events < mostEvents && w.bytes+e.bytes <= mostEventBytes
	}); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events++
	w.bytes += e.bytes
	for i := range pieces {
		w.queue(&pieces[i])
	}
	return nil
}

// queue adds a piece to those of its object, and starts a worker if need be.
func (w *eventWrites) queue(p *eventPiece) {
	q := w.objects[p.write.obj]
	if q == nil {
		q = &objectQueue{obj: p.write.obj}
		w.objects[q.obj] = q
		w.ready = append(w.ready, q)
		if w.workers < w.depth {
			w.workers++
			w.running.Go(w.work)
		}
	}
	q.pieces = append(q.pieces, *p)
}

// split cuts an event into what it does to each object.
func (w *eventWrites) split(e *eventUnderWay, ev *jwire.Event) (pieces []eventPiece) {
	h := w.img.header()
	switch ev.Type {
	case jwire.EventWrite:
		n := min(ev.Length, uint64(len(ev.Data)))
		e.bytes = int(n)
		for _, ow := range splitWrite(h.layout, ev.Offset, msgr2.NewData(ev.Data[:n])) {
			pieces = append(pieces, eventPiece{of: e, write: ow})
		}
	case jwire.EventDiscard:
		granularity := uint64(0)
		if ev.SkipPartial {
			granularity = uint64(ev.Granularity)
		}
		for _, x := range discardExtents(h.layout, ev.Offset, ev.Length, granularity) {
			pieces = append(pieces, eventPiece{of: e, write: objectWrite{obj: x.Object}, off: x.Off, n: x.Len})
		}
	case jwire.EventWriteSame:
		if len(ev.Data) == 0 {
			return nil
		}
		e.bytes = int(min(ev.Length, mostEventBytes))
		for x := range h.layout.Map(ev.Offset, ev.Length) {
			for at := uint64(0); at < x.Len; at += sameBytes {
				pieces = append(pieces, eventPiece{
					of: e, write: objectWrite{obj: x.Object}, off: x.Off + at, n: min(sameBytes, x.Len-at),
					same: ev.Data, phase: (x.Buf + at) % uint64(len(ev.Data)),
				})
			}
		}
	}
	return pieces
}

// work does what is ready until nothing is.
func (w *eventWrites) work() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.ready) > 0 {
		q := w.ready[0]
		w.ready[0] = nil
		w.ready = w.ready[1:]
		batch := q.take()
		err := w.err
		w.mu.Unlock()
		if err == nil {
			err = w.apply(q.obj, batch)
		}
		w.finish(batch, err)
		clear(batch) // the queue keeps the array
		w.mu.Lock()
		if len(q.pieces) > 0 {
			w.ready = append(w.ready, q)
		} else {
			delete(w.objects, q.obj)
		}
	}
	w.workers--
}

// take takes what can be done at once from the front of the queue.
func (q *objectQueue) take() []eventPiece {
	n, bytes := 0, uint64(0)
	for n < len(q.pieces) && n < mostPieces && !q.pieces[n].discards() {
		bytes += q.pieces[n].bytes()
		if n > 0 && bytes > mostPieceBytes {
			break
		}
		n++
	}
	n = max(n, 1)
	batch := q.pieces[:n:n]
	q.pieces = q.pieces[n:]
	return batch
}

func (p *eventPiece) bytes() uint64 {
	if p.same != nil {
		return p.n
	}
	n := 0
	for _, part := range p.write.pieces() {
		n += part.data.Len()
	}
	return uint64(n)
}

// finish notes that pieces are done. done returns before the event counts as done.
func (w *eventWrites) finish(batch []eventPiece, err error) {
	if err != nil {
		err = w.fail(err)
	}
	events, bytes := 0, 0
	for i := range batch {
		e := batch[i].of
		w.mu.Lock()
		if e.err == nil {
			e.err = err
		}
		e.left--
		last := e.left == 0
		w.mu.Unlock()
		if last {
			e.done(e.err)
			events++
			bytes += e.bytes
		}
	}
	if events == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events -= events
	w.bytes -= bytes
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// apply carries out pieces of one object: a discard or any number of writes.
func (w *eventWrites) apply(obj uint64, batch []eventPiece) error {
	ctx := batch[0].of.ctx
	h, err := w.img.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer w.img.gate.Leave()
	if p := &batch[0]; p.discards() {
		err = w.img.discardObject(ctx, h, obj, p.off, p.n)
	} else {
		err = w.img.writeObject(ctx, h, &objectWrite{obj: obj, parts: mergePieces(batch)})
	}
	if err == nil {
		w.img.touchModifyTime(h)
	}
	return err
}

// mergePieces returns what remains when pieces are written one after the other, in
// ascending order; what is adjacent is one.
func mergePieces(batch []eventPiece) []part {
	var all []part
	for i := range batch {
		b := &batch[i]
		if b.same != nil {
			all = overwrite(all, part{b.off, repeated(b.same, b.phase, b.n)})
			continue
		}
		for _, p := range b.write.pieces() {
			all = overwrite(all, p)
		}
	}
	out := all[:0]
	for _, p := range all {
		if n := len(out); n > 0 && out[n-1].end() == p.off {
			out[n-1].data.AppendData(p.data)
			continue
		}
		out = append(out, p)
	}
	return out
}

func (p *part) end() uint64 { return p.off + uint64(p.data.Len()) }

// overwrite puts a part into a list of parts that are in order and do not overlap.
func overwrite(all []part, p part) []part {
	if n := len(all); n == 0 || all[n-1].end() <= p.off {
		return append(all, p)
	}
	byEnd := func(a part, off uint64) int {
		if a.end() <= off {
			return -1
		}
		return 1
	}
	byStart := func(a part, off uint64) int {
		if a.off < off {
			return -1
		}
		return 1
	}
	i, _ := slices.BinarySearchFunc(all, p.off, byEnd)
	j, _ := slices.BinarySearchFunc(all, p.end(), byStart)
	put := make([]part, 0, 3)
	if i < j && all[i].off < p.off {
		put = append(put, part{all[i].off, all[i].data.Slice(0, int(p.off-all[i].off))})
	}
	put = append(put, p)
	if i < j && all[j-1].end() > p.end() {
		skip := int(p.end() - all[j-1].off)
		put = append(put, part{p.end(), all[j-1].data.Slice(skip, all[j-1].data.Len()-skip)})
	}
	return slices.Replace(all, i, j, put...)
}

// repeated returns n bytes of a pattern from byte phase of it on.
func repeated(pattern []byte, phase, n uint64) msgr2.Data {
	b := make([]byte, 0, n)
	for uint64(len(b)) < n {
		b = append(b, pattern[phase:min(uint64(len(pattern)), phase+n-uint64(len(b)))]...)
		phase = 0
	}
	return msgr2.NewData(b)
}
