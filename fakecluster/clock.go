package fakecluster

import (
	"slices"
	"sync"
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
