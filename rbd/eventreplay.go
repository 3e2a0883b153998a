package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	jwire "github.com/rbdm/rbdm/journal/wire"
)

// EventReplay applies the events of a journal to an image, as src/librbd/journal/
// Replay.cc of Ceph does: what touches the same object in the order of the events,
// all else side by side. Events may be applied again that were applied before, as
// long as all after them are, too.
//
// Operations other than input and output are two events: one that announces it and
// an EventOpFinish that tells how it ended. It is carried out at the second; at
// Finish, if its owner died before. Snapshots and growing divide what is written
// before their first event from what comes after it, but librbd lets writers go on
// before it appends the second: what lies between is held back until then.
//
// Operations know snapshots by their names, and a name may be used again: one that
// is carried out a second time when later ones have been, too, may hit another
// snapshot. With CommitWith nothing that follows an operation is applied before the
// operation is committed, so that a replay that begins anew finds at most its last
// operation carried out, and nothing later. The same holds for comparing and writing.
//
// Apply and Finish are for one goroutine.
type EventReplay struct {
	img    *Image
	writes eventWrites
	// commit makes safe that all is done that done was called for.
	commit func(context.Context) error

	// Of the goroutine that calls Apply and Finish.
	started   map[uint64]*startedOp
	order     []*startedOp // as they were announced
	came      uint64       // events that came
	held      []heldEvent
	heldBytes int
}

// heldEvent waits for the end of an operation.
type heldEvent struct {
	event jwire.Event
	done  func(error)
	at    uint64 // the event's number
}

func (h *heldEvent) bytes() int { return heldOverhead + len(h.event.Data) + len(h.event.Compare) }

// mostHeld bounds the bytes of events that are held back. A writer appends the end
// of an operation at once when it is done, so that few come between.
const (
	mostHeld     = 256 << 20
	heldOverhead = 256 // of the event itself
)

// errNoEnd says that a journal goes on and on without the end of an operation.
var errNoEnd = errors.New("journal: an operation that must end before what follows it does not end")

// startedOp is an operation that was announced.
type startedOp struct {
	event jwire.Event
	done  func(error)
	at    uint64 // number of the event that announced it

	// divides says that what follows the announcement must not overtake the
	// operation; blocks, that what follows waits until the commit position can pass
	// the announcement. tolerated is one that was waited for in vain.
	divides, blocks, tolerated bool
	// ended says that its end is known; finish is called for the event of it, which
	// had the number endedAt.
	ended   bool
	endedAt uint64
	result  int32
	finish  func(error)
}

// place is where an operation stands among the other events: what came before is
// applied before. A rollback takes back what came before its end.
func (op *startedOp) place() uint64 {
	if op.event.Type == jwire.EventSnapRollback && op.ended && op.result >= 0 {
		return op.endedAt
	}
	return op.at
}

func (op *startedOp) end(at uint64, result int32, finish func(error)) {
	op.ended, op.endedAt, op.result, op.finish = true, at, result, finish
}

// stops reports whether what came after its place waits for the operation.
func (op *startedOp) stops() bool { return op.divides || op.blocks || op.ended }

// NewEventReplay returns an EventReplay that writes to at most depth objects at a
// time. The image was opened with ExternalReplay, and nobody else writes to it.
func NewEventReplay(img *Image, depth int) *EventReplay {
	p := &EventReplay{img: img, started: make(map[uint64]*startedOp)}
	p.writes.init(img, depth)
	return p
}

// CommitWith sets what makes safe, in the journal, that all events are done for
// which done was called. It is called by Apply and Finish. Without, events may only
// be applied again if no operation is among them.
func (p *EventReplay) CommitWith(commit func(context.Context) error) { p.commit = commit }

// Apply begins to apply an event. done is called once, when it is safe or failed,
// from any goroutine; never if Apply returns an error. The event's data must not
// change before. An error, also of an earlier event, is final: done may not be
// called any more then for events that were held back.
func (p *EventReplay) Apply(ctx context.Context, ev jwire.Event, done func(error)) error {
	if err := p.writes.failed(); err != nil {
		return err
	}
	p.came++
	switch ev.Type {
	case jwire.EventWrite, jwire.EventDiscard, jwire.EventWriteSame, jwire.EventCompareAndWrite,
		jwire.EventFlush, jwire.EventDemotePromote:
		h := heldEvent{ev, done, p.came}
		if len(p.held) > 0 || p.stopper() != nil || !p.mayBegin(&h) {
			return p.hold(ctx, h)
		}
		return p.begin(ctx, &h)
	case jwire.EventOpFinish:
		op := p.started[ev.OpTID]
		if op == nil || op.ended {
			done(nil) // its beginning was applied before
			return nil
		}
		op.end(p.came, ev.Result, done)
		if len(p.held) == 0 || p.held[0].at > op.place() {
			if err := p.end(ctx, op); err != nil {
				return err
			}
		}
		return p.release(ctx)
	}
	if p.started[ev.OpTID] != nil {
		return p.writes.fail(fmt.Errorf("journal: operation %d is announced twice: %w", ev.OpTID, jwire.ErrEvent))
	}
	op := &startedOp{event: ev, done: done, at: p.came, divides: p.divides(&ev)}
	p.started[ev.OpTID] = op
	p.order = append(p.order, op)
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

// stopper returns the first operation that holds back what came after it, or nil.
func (p *EventReplay) stopper() (first *startedOp) {
	for _, op := range p.order {
		if op.stops() && (first == nil || op.place() < first.place()) {
			first = op
		}
	}
	return first
}

// mayBegin reports whether an event that no operation holds back can begin. What a
// comparison finds may change its outcome when it is made again: the commit position
// must be able to stand right before it, and behind it when it is done.
func (p *EventReplay) mayBegin(h *heldEvent) bool {
	if h.event.Type != jwire.EventCompareAndWrite || p.commit == nil {
		return true
	}
	p.block(h.at)
	first := p.stopper()
	return first == nil || first.place() > h.at
}

// block makes what follows wait for all operations that were announced before at.
func (p *EventReplay) block(at uint64) {
	for _, op := range p.order {
		op.blocks = op.blocks || op.at < at && !op.tolerated
	}
}

// hold keeps an event until release.
func (p *EventReplay) hold(ctx context.Context, h heldEvent) error {
	p.held = append(p.held, h)
	if p.heldBytes += h.bytes(); p.heldBytes <= mostHeld {
		return nil
	}
	// Rather than to stand still for ever: should the replay have to begin anew just
	// now, and a name be used again, too, there is no telling the snapshots apart.
	for _, op := range p.order {
		op.tolerated, op.blocks = op.tolerated || op.blocks, false
	}
	if err := p.release(ctx); err != nil {
		return err
	}
	if p.heldBytes > mostHeld {
		return p.writes.fail(errNoEnd)
	}
	return nil
}

// release begins, in order, what no operation holds back any more, and ends the
// operations whose turn it is.
func (p *EventReplay) release(ctx context.Context) error {
	for {
		first := p.stopper()
		for len(p.held) > 0 && (first == nil || p.held[0].at < first.place()) {
			h := p.held[0]
			if !p.mayBegin(&h) {
				first = p.stopper()
				break
			}
			p.held[0] = heldEvent{}
			p.held = p.held[1:]
			p.heldBytes -= h.bytes()
			if err := p.begin(ctx, &h); err != nil {
				return err
			}
		}
		if first == nil || !first.ended {
			return nil
		}
		if err := p.end(ctx, first); err != nil {
			return err
		}
	}
}

// begin starts an event whose turn it is.
func (p *EventReplay) begin(ctx context.Context, h *heldEvent) error {
	switch h.event.Type {
	case jwire.EventFlush, jwire.EventDemotePromote:
		// What was written is safe when it is done.
		if err := p.Wait(ctx); err != nil {
			return err
		}
		h.done(nil)
		return nil
	case jwire.EventCompareAndWrite:
		return p.compareAndWrite(ctx, h)
	}
	return p.writes.begin(ctx, &h.event, h.done)
}

// end carries out an operation whose end is known.
func (p *EventReplay) end(ctx context.Context, op *startedOp) error {
	p.forget(op)
	if op.result >= 0 {
		if err := p.Wait(ctx); err != nil {
			return err
		}
		if err := p.operation(ctx, &op.event); err != nil {
			return p.writes.fail(fmt.Errorf("replay of operation %d of the journal: %w", op.event.Type, err))
		}
	}
	op.done(nil)
	if op.finish != nil {
		op.finish(nil)
	}
	if p.commit == nil || !op.blocks && (op.result < 0 || repeatable(&op.event)) {
		return nil
	}
	if err := p.settle(ctx, op.at); err != nil {
		return err
	}
	return p.commitNow(ctx)
}

// repeatable says whether an operation may be carried out again when later events
// were applied already, because those that set the same are then, too.
func repeatable(ev *jwire.Event) bool {
	switch ev.Type {
	case jwire.EventFlatten, jwire.EventSnapLimit, jwire.EventUpdateFeatures, jwire.EventMetadataSet, jwire.EventMetadataRemove:
		return true
	}
	return false
}

// settle sees to it that the commit position will pass what was announced before
// at: what follows waits for it. Flattening, which may take hours and changes no
// byte that is read, is done at once instead.
func (p *EventReplay) settle(ctx context.Context, at uint64) error {
	for _, op := range append([]*startedOp(nil), p.order...) {
		if op.at >= at || op.event.Type != jwire.EventFlatten || op.tolerated {
			continue
		}
		if err := p.operation(ctx, &op.event); err != nil {
			return p.writes.fail(fmt.Errorf("replay of operation %d of the journal: %w", op.event.Type, err))
		}
		p.forget(op)
		op.done(nil)
	}
	p.block(at)
	return nil
}

func (p *EventReplay) commitNow(ctx context.Context) error {
	if p.commit == nil {
		return nil
	}
	if err := p.commit(ctx); err != nil {
		return p.writes.fail(fmt.Errorf("commit to the journal: %w", err))
	}
	return nil
}

func (p *EventReplay) forget(op *startedOp) {
	delete(p.started, op.event.OpTID)
	for i, o := range p.order {
		if o == op {
			p.order = append(p.order[:i:i], p.order[i+1:]...)
			return
		}
	}
}

// Finish carries out what was announced but not finished: the owner died, and
// whoever came after it finished it. It waits for everything.
func (p *EventReplay) Finish(ctx context.Context) error {
	if err := p.writes.failed(); err != nil {
		return err
	}
	for {
		if err := p.release(ctx); err != nil {
			return err
		}
		i := slices.IndexFunc(p.order, func(op *startedOp) bool { return !op.ended })
		if i < 0 {
			return p.Wait(ctx)
		}
		p.order[i].end(p.came+1, 0, nil)
	}
}

// Wait waits until everything that was begun is safe, and done has returned for it.
// It may be called from any goroutine.
func (p *EventReplay) Wait(ctx context.Context) error { return p.writes.wait(ctx) }

// Close waits until nothing is under way any more; the contexts given to Apply
// must have ended or their events be done soon.
func (p *EventReplay) Close() { p.writes.running.Wait() }
