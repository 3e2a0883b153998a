package rbd

import (
	"context"
	"sync"
)

// rangeLock lets changes pass side by side that touch different bytes, and one
// after the other those that touch the same.
type rangeLock struct {
	mu   sync.Mutex
	held []*heldRange
	free []*heldRange // to be used again
}

// heldRange is bytes that somebody changes.
type heldRange struct {
	off, end uint64
	done     chan struct{} // closed when given back; made when somebody waits
}

// enter waits until nobody changes any of the bytes from off to end. leave gives
// them back.
func (l *rangeLock) enter(ctx context.Context, off, end uint64) (leave func(), err error) {
	l.mu.Lock()
	for {
		r := l.overlapping(off, end)
		if r == nil {
			break
		}
		if r.done == nil {
			r.done = make(chan struct{})
		}
		done := r.done
		l.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		l.mu.Lock()
	}
	r := &heldRange{}
	if n := len(l.free); n > 0 {
		r, l.free = l.free[n-1], l.free[:n-1]
	}
	*r = heldRange{off: off, end: end}
	l.held = append(l.held, r)
	l.mu.Unlock()
	return func() { l.leave(r) }, nil
}

func (l *rangeLock) overlapping(off, end uint64) *heldRange {
	for _, r := range l.held {
		if r.off < end && off < r.end {
			return r
		}
	}
	return nil
}

func (l *rangeLock) leave(r *heldRange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range l.held {
		if h == r {
			last := len(l.held) - 1
			l.held[i] = l.held[last]
			l.held[last] = nil
			l.held = l.held[:last]
			break
		}
	}
	if r.done != nil {
		close(r.done)
	}
	const most = 256
	if len(l.free) < most {
		l.free = append(l.free, r)
	}
}
