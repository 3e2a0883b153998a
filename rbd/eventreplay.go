package rbd

import (
	"context"
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
// before it appends the second: what lies between is held back until then, or, where
// it is too much, until somebody has looked ahead (ErrHeldBack).
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
	mostHeld  int
	// startedBytes are those of started; expected are ends that are known already.
	startedBytes int
	expected     map[uint64]int32
}

// NewEventReplay returns an EventReplay that writes to at most depth objects at a
// time. The image was opened with ExternalReplay, and nobody else writes to it.
func NewEventReplay(img *Image, depth int) *EventReplay {
	p := &EventReplay{img: img, started: make(map[uint64]*startedOp), mostHeld: mostHeld}
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
		may := len(p.held) == 0 && p.stopper() == nil
		if may {
			var err error
			if may, err = p.mayBegin(ctx, &h); err != nil {
				return err
			}
		}
		if !may {
			return p.hold(h)
		}
		return p.begin(ctx, &h)
	case jwire.EventOpFinish:
		op := p.started[ev.OpTID]
		if op == nil || op.ended {
			done(nil) // its beginning was applied before
			return nil
		}
		op.end(p.came, ev.Result, done)
		return p.ends(ctx, op)
	}
	return p.announce(ctx, ev, done)
}

// announce begins an operation, of which only the end says that it is carried out.
func (p *EventReplay) announce(ctx context.Context, ev jwire.Event, done func(error)) error {
	if p.started[ev.OpTID] != nil {
		return p.writes.fail(fmt.Errorf("journal: operation %d is announced twice: %w", ev.OpTID, jwire.ErrEvent))
	}
	op := &startedOp{event: ev, done: done, at: p.came, divides: p.divides(&ev)}
	p.started[ev.OpTID] = op
	p.order = append(p.order, op)
	if p.startedBytes += op.bytes(); p.startedBytes > mostStarted {
		return p.writes.fail(errManyStarted)
	}
	result, known := p.expected[ev.OpTID]
	delete(p.expected, ev.OpTID)
	switch {
	case !known:
		return nil
	case ev.Type == jwire.EventSnapRollback && result >= 0:
		op.foreseen = true
		return nil
	}
	op.end(p.came, result, nil)
	return p.ends(ctx, op)
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
	p.startedBytes -= op.bytes()
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
