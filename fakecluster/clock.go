package fakecluster

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Clock tells the cluster the time and wakes it up: watch and notify timeouts,
// blocklist expiry, beacons, delays of faults.
type Clock interface {
	Now() time.Time
	// AfterFunc runs f once after d on a goroutine of its own, unless stop is
	// called before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// wallClock is the machine's clock.
type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

// ManualClock stands still until Advance moves it. It is safe for concurrent
// use.
type ManualClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*manualTimer
}

type manualTimer struct {
	at time.Time
	f  func()
}

// NewManualClock returns a clock that shows start.
func NewManualClock(start time.Time) *ManualClock { return &ManualClock{now: start} }

// Now implements Clock.
func (m *ManualClock) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// AfterFunc implements Clock. f runs within Advance.
func (m *ManualClock) AfterFunc(d time.Duration, f func()) func() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &manualTimer{m.now.Add(d), f}
	m.timers = append(m.timers, t)
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		n := len(m.timers)
		m.timers = slices.DeleteFunc(m.timers, func(o *manualTimer) bool { return o == t })
		return len(m.timers) < n
	}
}

// Advance moves the clock by d and runs what became due, in the order of its
// time.
func (m *ManualClock) Advance(d time.Duration) {
	m.mu.Lock()
	end := m.now.Add(d)
	for {
		var next *manualTimer
		for _, t := range m.timers {
			if !t.at.After(end) && (next == nil || t.at.Before(next.at)) {
				next = t
			}
		}
		if next == nil {
			break
		}
		m.timers = slices.DeleteFunc(m.timers, func(o *manualTimer) bool { return o == next })
		if next.at.After(m.now) {
			m.now = next.at
		}
		m.mu.Unlock()
		next.f()
		m.mu.Lock()
	}
	m.now = end
	m.mu.Unlock()
}

// RunningClock goes with the machine's, and Advance moves it forward from there.
// It is safe for concurrent use.
type RunningClock struct {
	ahead  atomic.Int64 // a Duration; changed with mu held only
	mu     sync.Mutex
	timers map[*runningTimer]struct{}
}

type runningTimer struct {
	at   time.Time
	f    func()
	wall *time.Timer
}

// NewRunningClock returns a clock that shows what the machine's does.
func NewRunningClock() *RunningClock { return &RunningClock{timers: map[*runningTimer]struct{}{}} }

// Now implements Clock.
func (r *RunningClock) Now() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }

// AfterFunc implements Clock.
func (r *RunningClock) AfterFunc(d time.Duration, f func()) func() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &runningTimer{at: r.Now().Add(d), f: f}
	r.timers[t] = struct{}{}
	t.wall = time.AfterFunc(d, func() {
		if r.take(t) {
			f()
		}
	})
	return func() bool {
		t.wall.Stop()
		return r.take(t)
	}
}

// take removes a timer and reports whether it was still there.
func (r *RunningClock) take(t *runningTimer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.timers[t]
	delete(r.timers, t)
	return there
}

// Advance moves the clock forward by d, not at once but from one thing that becomes
// due to the next, so that each finds the time that it was made for.
func (r *RunningClock) Advance(d time.Duration) {
	r.mu.Lock()
	end := time.Duration(r.ahead.Load()) + max(d, 0)
	for {
		var next *runningTimer
		for t := range r.timers {
			if next == nil || t.at.Before(next.at) {
				next = t
			}
		}
		now := time.Now()
		if next == nil || next.at.After(now.Add(end)) {
			break
		}
		delete(r.timers, next)
		next.wall.Stop()
		r.ahead.Store(max(r.ahead.Load(), int64(next.at.Sub(now))))
		r.mu.Unlock()
		next.f()
		r.mu.Lock()
	}
	r.ahead.Store(max(r.ahead.Load(), int64(end)))
	for t := range r.timers {
		t.wall.Reset(t.at.Sub(r.Now()))
	}
	r.mu.Unlock()
}
