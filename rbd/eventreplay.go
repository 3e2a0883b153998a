package rbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// EventReplay applies the events of a journal to an image, as src/librbd/journal/
// Replay.cc of Ceph does: what touches the same bytes in the order of the events,
// all else side by side. Events may be applied again that were applied before, as
// long as all after them are, too.
//
// Operations other than input and output are two events: one that announces it and
// an EventOpFinish that tells how it ended. It is carried out at the second; at
// Finish, if its owner died before. Snapshots and growing divide what is written
// before their first event from what comes after it, but librbd lets writers go on
// before it appends the second: what lies between is held back until then.
// Apply and Finish are for one goroutine.
type EventReplay struct {
	img  *Image
	room chan struct{}

	mu      sync.Mutex
	err     error
	busy    []*busyRange
	started map[uint64]*startedOp
	order   []uint64 // of started
	running sync.WaitGroup

	// Of the goroutine that calls Apply and Finish.
	held      []heldEvent
	heldBytes int
	announced uint64 // how many operations were
}

// heldEvent waits for the end of an operation.
type heldEvent struct {
	event jwire.Event
	done  func(error)
	at    uint64 // announced when it came
}

// mostHeld bounds the bytes of events that are held back. A writer appends the end
// of an operation at once when it is done, so that few come between.
const (
	mostHeld     = 256 << 20
	heldOverhead = 256 // of the event itself
)

// errNoEnd says that a journal goes on and on without the end of an operation.
var errNoEnd = errors.New("journal: an operation that must end before what follows it does not end")

// busyRange is what an event under way touches, in bytes of the image.
type busyRange struct {
	off, end uint64
	done     chan struct{}
}

// startedOp is an operation that was announced.
type startedOp struct {
	event   jwire.Event
	done    func(error)
	divides bool
	at      uint64 // announced, with it
}

// NewEventReplay returns an EventReplay that has at most depth events under way.
// The image was opened with ExternalReplay, and nobody else writes to it.
func NewEventReplay(img *Image, depth int) *EventReplay {
	return &EventReplay{img: img, room: make(chan struct{}, max(depth, 1)), started: make(map[uint64]*startedOp)}
}

// Apply begins to apply an event. done is called once, when it is safe or failed,
// from any goroutine; never if Apply returns an error. The event's data must not
// change before. An error, also of an earlier event, is final.
func (p *EventReplay) Apply(ctx context.Context, ev jwire.Event, done func(error)) error {
	if err := p.failed(); err != nil {
		return err
	}
	switch ev.Type {
	case jwire.EventWrite, jwire.EventDiscard, jwire.EventWriteSame, jwire.EventCompareAndWrite:
		if _, divided := p.firstDivide(); divided {
			return p.hold(ev, done)
		}
		return p.data(ctx, ev, done)
	case jwire.EventFlush, jwire.EventDemotePromote:
		// What was written is safe when it is done.
		if err := p.Wait(ctx); err != nil {
			return err
		}
		done(nil)
		return nil
	case jwire.EventOpFinish:
		op := p.started[ev.OpTID]
		if op == nil {
			done(nil) // its beginning was applied before
			return nil
		}
		p.forget(ev.OpTID)
		if ev.Result < 0 {
			op.done(nil)
			done(nil)
			return p.release(ctx)
		}
		if err := p.carryOut(ctx, op); err != nil {
			return err
		}
		done(nil)
		return nil
	}
	p.announced++
	p.started[ev.OpTID] = &startedOp{ev, done, p.divides(&ev), p.announced}
	p.order = append(p.order, ev.OpTID)
	return nil
}

// divides says whether what follows an operation's first event must not overtake
// the operation: librbd lets the writers go on before it appends the second event.
// Shrinking does not: no writer reaches beyond the new end any more. Nor does a
// rollback: librbd stops the writers after the first event, so that what they wrote
// in between is rolled back, too, and lets them go on after the second.
func (p *EventReplay) divides(ev *jwire.Event) bool {
	return ev.Type == jwire.EventSnapCreate || ev.Type == jwire.EventResize && ev.Size > p.img.Size()
}

// firstDivide returns how many operations had been announced when the first of
// those was that now hold back what follows them.
func (p *EventReplay) firstDivide() (at uint64, ok bool) {
	for _, tid := range p.order {
		if op := p.started[tid]; op.divides {
			return op.at, true
		}
	}
	return 0, false
}

// hold keeps an event that changes data until release.
func (p *EventReplay) hold(ev jwire.Event, done func(error)) error {
	if p.heldBytes += heldOverhead + len(ev.Data) + len(ev.Compare); p.heldBytes > mostHeld {
		return p.fail(errNoEnd)
	}
	p.held = append(p.held, heldEvent{ev, done, p.announced})
	return nil
}

// release begins what no operation holds back any more.
func (p *EventReplay) release(ctx context.Context) error {
	first, divided := p.firstDivide()
	for len(p.held) > 0 && !(divided && p.held[0].at >= first) {
		h := p.held[0]
		p.held = p.held[1:]
		p.heldBytes -= heldOverhead + len(h.event.Data) + len(h.event.Compare)
		if err := p.data(ctx, h.event, h.done); err != nil {
			return err
		}
	}
	return nil
}

// carryOut carries out an operation whose end is there, and begins what waited for
// it. A snapshot without what was held back before it would be a wrong one.
func (p *EventReplay) carryOut(ctx context.Context, op *startedOp) error {
	if op.divides && len(p.held) > 0 && p.held[0].at < op.at {
		return p.fail(errNoEnd)
	}
	if err := p.operate(ctx, op); err != nil {
		return err
	}
	return p.release(ctx)
}

func (p *EventReplay) fail(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	return p.err
}

func (p *EventReplay) forget(tid uint64) {
	delete(p.started, tid)
	for i, t := range p.order {
		if t == tid {
			p.order = append(p.order[:i], p.order[i+1:]...)
			return
		}
	}
}

// Finish carries out what was announced but not finished: the owner died, and
// whoever came after it finished it. It waits for everything.
func (p *EventReplay) Finish(ctx context.Context) error {
	for _, tid := range append([]uint64(nil), p.order...) {
		op := p.started[tid]
		p.forget(tid)
		if err := p.carryOut(ctx, op); err != nil {
			return err
		}
	}
	return p.Wait(ctx)
}

// Wait waits until everything that was begun is safe.
func (p *EventReplay) Wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		err := p.err
		var last *busyRange
		if n := len(p.busy); n > 0 {
			last = p.busy[n-1]
		}
		p.mu.Unlock()
		if last == nil {
			return err
		}
		select {
		case <-last.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close waits until nothing is under way any more; the contexts given to Apply
// must have ended or their events be done soon.
func (p *EventReplay) Close() { p.running.Wait() }

func (p *EventReplay) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// data starts an event that changes data, when nothing under way overlaps it.
func (p *EventReplay) data(ctx context.Context, ev jwire.Event, done func(error)) error {
	// What lies beyond the end was cut off by a later resize that is already here.
	size := p.img.Size()
	if ev.Offset >= size {
		done(nil)
		return nil
	}
	ev.Length = min(ev.Length, size-ev.Offset)
	if ev.Type == jwire.EventWrite {
		ev.Length = min(ev.Length, uint64(len(ev.Data)))
	}
	if ev.Length == 0 {
		done(nil)
		return nil
	}
	mine := &busyRange{off: ev.Offset, end: ev.Offset + ev.Length, done: make(chan struct{})}
	for {
		before := p.overlapping(mine)
		if before == nil {
			break
		}
		select {
		case <-before.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	if p.err != nil {
		defer p.mu.Unlock()
		<-p.room
		return p.err
	}
	p.busy = append(p.busy, mine)
	p.mu.Unlock()
	p.running.Go(func() {
		err := p.apply(ctx, &ev)
		p.mu.Lock()
		for i, b := range p.busy {
			if b == mine {
				p.busy = append(p.busy[:i], p.busy[i+1:]...)
				break
			}
		}
		if err != nil && p.err == nil {
			p.err = err
		}
		p.mu.Unlock()
		close(mine.done)
		<-p.room
		done(err)
	})
	return nil
}

func (p *EventReplay) overlapping(r *busyRange) *busyRange {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.busy {
		if b.off < r.end && r.off < b.end {
			return b
		}
	}
	return nil
}

// apply carries out one event that changes data.
func (p *EventReplay) apply(ctx context.Context, ev *jwire.Event) error {
	switch ev.Type {
	case jwire.EventWrite:
		return p.img.WriteData(ctx, ev.Offset, msgr2.NewData(ev.Data[:ev.Length]))
	case jwire.EventDiscard:
		granularity := uint64(0)
		if ev.SkipPartial {
			granularity = uint64(ev.Granularity)
		}
		return p.img.discard(ctx, ev.Offset, ev.Length, granularity)
	case jwire.EventWriteSame:
		if len(ev.Data) == 0 {
			return nil
		}
		const most = 1 << 20
		unit := bytes.Repeat(ev.Data, max(1, most/len(ev.Data)))
		for at := uint64(0); at < ev.Length; {
			n := min(uint64(len(unit)), ev.Length-at)
			if err := p.img.WriteData(ctx, ev.Offset+at, msgr2.NewData(unit[:n])); err != nil {
				return err
			}
			at += n
		}
		return nil
	}
	// Compare-and-write: the comparison has the result that it had at the source,
	// because the bytes are the same.
	n := min(ev.Length, uint64(len(ev.Compare)), uint64(len(ev.Data)))
	have := make([]byte, n)
	if _, err := p.img.ReadAt(ctx, have, ev.Offset); err != nil {
		return err
	}
	if !bytes.Equal(have, ev.Compare[:n]) {
		return nil
	}
	return p.img.WriteData(ctx, ev.Offset, msgr2.NewData(ev.Data[:n]))
}

// operate carries out an operation, alone.
func (p *EventReplay) operate(ctx context.Context, op *startedOp) error {
	if err := p.Wait(ctx); err != nil {
		return err
	}
	if err := p.operation(ctx, &op.event); err != nil {
		p.mu.Lock()
		p.err = fmt.Errorf("replay of operation %d of the journal: %w", op.event.Type, err)
		err = p.err
		p.mu.Unlock()
		return err
	}
	op.done(nil)
	return nil
}

// operation carries out an operation; that it was carried out before is no error.
func (p *EventReplay) operation(ctx context.Context, ev *jwire.Event) error {
	img := p.img
	switch ev.Type {
	case jwire.EventSnapCreate:
		ns, err := p.namespace(ev)
		if err != nil || img.findSnap(ev.Name, ns) != nil {
			return err
		}
		_, err = img.CreateSnapshot(ctx, ev.Name, ns, SnapshotOptions{SkipQuiesce: true})
		return ignore(err, rados.ErrExists)
	case jwire.EventSnapRemove, jwire.EventSnapProtect, jwire.EventSnapUnprotect, jwire.EventSnapRollback:
		return p.onSnapshot(ctx, ev)
	case jwire.EventSnapRename:
		s, ok := img.UserSnapshot(ev.OldName)
		if !ok {
			return nil
		}
		return ignore(img.RenameSnapshot(ctx, s.ID, ev.Name), rados.ErrExists)
	case jwire.EventRename:
		if img.Name() == ev.Name {
			return nil
		}
		return ignore(img.Rename(ctx, ev.Name), rados.ErrExists)
	case jwire.EventResize:
		return img.Resize(ctx, ev.Size, true, nil)
	case jwire.EventFlatten:
		if img.Parent() == nil {
			return nil
		}
		return ignore(img.Flatten(ctx, nil), rados.ErrInvalid)
	case jwire.EventSnapLimit:
		return img.SetSnapshotLimit(ctx, ev.Size)
	case jwire.EventUpdateFeatures:
		// The journal itself stays: without it there is nothing to mirror by.
		mask := ev.Features &^ FeatureJournaling
		if ev.Enabled {
			mask &^= img.Features()
		} else {
			mask &= img.Features()
		}
		switch {
		case mask == 0:
			return nil
		case ev.Enabled:
			return img.EnableFeatures(ctx, mask)
		}
		return img.DisableFeatures(ctx, mask)
	case jwire.EventMetadataSet:
		return img.MetadataSet(ctx, ev.Name, []byte(ev.Value))
	case jwire.EventMetadataRemove:
		return ignore(img.MetadataRemove(ctx, ev.Name), rados.ErrNotFound)
	}
	return fmt.Errorf("%w: %d", jwire.ErrEvent, ev.Type)
}

// onSnapshot carries out an operation on a snapshot that is there.
func (p *EventReplay) onSnapshot(ctx context.Context, ev *jwire.Event) error {
	ns, err := p.namespace(ev)
	if err != nil {
		return err
	}
	s := p.img.findSnap(ev.Name, ns)
	if s == nil {
		if ev.Type == jwire.EventSnapRemove || ev.Type == jwire.EventSnapUnprotect {
			return nil
		}
		return fmt.Errorf("snapshot %s: %w", ev.Name, rados.ErrNotFound)
	}
	switch ev.Type {
	case jwire.EventSnapRemove:
		return ignore(p.img.RemoveSnapshot(ctx, s.ID), rados.ErrNotFound)
	case jwire.EventSnapProtect:
		if s.Protected() {
			return nil
		}
		return ignore(p.img.ProtectSnapshot(ctx, s.ID), rados.ErrBusy)
	case jwire.EventSnapUnprotect:
		return ignore(p.img.UnprotectSnapshot(ctx, s.ID), rados.ErrInvalid)
	}
	return p.img.Rollback(ctx, s.ID, nil)
}

func (p *EventReplay) namespace(ev *jwire.Event) (ns SnapshotNamespace, err error) {
	r := denc.NewReader(ev.Namespace)
	if ns.Decode(r); r.Err() != nil {
		return ns, fmt.Errorf("namespace of snapshot %s: %w", ev.Name, r.Err())
	}
	return ns, nil
}

func ignore(err, but error) error {
	if errors.Is(err, but) {
		return nil
	}
	return err
}
