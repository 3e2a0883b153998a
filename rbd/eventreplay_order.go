package rbd

import (
	"context"
	"errors"
	"fmt"
	"maps"

	jwire "github.com/rbdm/rbdm/journal/wire"
)

// heldEvent waits for the end of an operation.
type heldEvent struct {
	event jwire.Event
	done  func(error)
	at    uint64 // the event's number
}

func (h *heldEvent) bytes() int { return heldOverhead + len(h.event.Data) + len(h.event.Compare) }

const (
	// mostHeld bounds the bytes of events that are held back. A writer appends the
	// end of an operation soon after it is done, so that few come between.
	mostHeld = 64 << 20
	// mostStarted bounds those of operations whose end did not come; writers have a
	// few at a time.
	mostStarted  = 16 << 20
	heldOverhead = 256 // of the event itself
)

// ErrHeldBack is Apply's error when more came between the two events of an operation
// than can be kept. Nothing that was held back has been applied. To go on, somebody
// has to look in the journal for how the operations end that Awaited names, and begin
// anew at the commit position with an EventReplay that knows it from Expect.
var ErrHeldBack = errors.New("journal: the end of an operation is too far from its beginning")

// errManyStarted says that a journal is none that a writer made.
var errManyStarted = fmt.Errorf("journal: too many operations without an end: %w", jwire.ErrEvent)

// startedOp is an operation that was announced.
type startedOp struct {
	event jwire.Event
	done  func(error)
	at    uint64 // number of the event that announced it

	// divides says that what follows the announcement must not overtake the
	// operation; blocks, that what follows waits until the commit position can pass
	// the announcement, which it need not for one of which foreseen says that it will
	// take back what comes before its end.
	divides, blocks, foreseen bool
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

func (op *startedOp) bytes() int {
	ev := &op.event
	return heldOverhead + len(ev.Name) + len(ev.OldName) + len(ev.Namespace) + len(ev.Value)
}

func (op *startedOp) end(at uint64, result int32, finish func(error)) {
	op.ended, op.endedAt, op.result, op.finish = true, at, result, finish
}

// stops reports whether what came after its place waits for the operation.
func (op *startedOp) stops() bool { return op.divides || op.blocks || op.ended }

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
func (p *EventReplay) mayBegin(ctx context.Context, h *heldEvent) (bool, error) {
	if h.event.Type != jwire.EventCompareAndWrite || p.commit == nil {
		return true, nil
	}
	if err := p.settle(ctx, h.at); err != nil {
		return false, err
	}
	first := p.stopper()
	return first == nil || first.place() > h.at, nil
}

// block makes what follows wait for all operations that were announced before at.
func (p *EventReplay) block(at uint64) {
	for _, op := range p.order {
		op.blocks = op.blocks || op.at < at && !op.foreseen
	}
}

// hold keeps an event until release.
func (p *EventReplay) hold(h heldEvent) error {
	if p.heldBytes+h.bytes() > p.mostHeld {
		clear(p.held)
		return p.writes.fail(ErrHeldBack)
	}
	p.held = append(p.held, h)
	p.heldBytes += h.bytes()
	return nil
}

// Awaited returns, after ErrHeldBack, the operations whose ends have to be known to go
// on.
func (p *EventReplay) Awaited() (tids []uint64) {
	for _, op := range p.order {
		if (op.divides || op.blocks) && !op.ended {
			tids = append(tids, op.event.OpTID)
		}
	}
	return tids
}

// Expect tells, before the first event of a tag, how operations of the tag end, by
// their numbers; of one whose owner died, that it ends well. They are carried out where
// they were announced, so that nothing is held back for them: for those that divide
// what is written this is the moment at which the writer's data was divided, and all
// others change nothing that is written between. But rolling back to a snapshot is done
// at its end as ever, after what comes before, which it takes back.
func (p *EventReplay) Expect(ends map[uint64]int32) { p.expected = maps.Clone(ends) }

// ends carries out an operation that has just ended, if it is its turn, and what
// waited for it.
func (p *EventReplay) ends(ctx context.Context, op *startedOp) error {
	if len(p.held) == 0 || p.held[0].at > op.place() {
		if err := p.end(ctx, op); err != nil {
			return err
		}
	}
	return p.release(ctx)
}

// release begins, in order, what no operation holds back any more, and ends the
// operations whose turn it is.
func (p *EventReplay) release(ctx context.Context) error {
	for {
		first := p.stopper()
		for len(p.held) > 0 && (first == nil || p.held[0].at < first.place()) {
			h := p.held[0]
			may, err := p.mayBegin(ctx, &h)
			if err != nil {
				return err
			}
			if !may {
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

// settle sees to it that the commit position will pass what was announced before
// at: what follows waits for it. Flattening, which may take hours and changes no
// byte that is read, is done at once instead.
func (p *EventReplay) settle(ctx context.Context, at uint64) error {
	for _, op := range append([]*startedOp(nil), p.order...) {
		if op.at >= at || op.event.Type != jwire.EventFlatten {
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
