package fakecluster_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
)

// askedClock is a manual clock that notes what it was asked to wait for: a test can
// know that something waits before it moves the clock.
type askedClock struct {
	*fakecluster.ManualClock
	mu    sync.Mutex
	waits []time.Duration
}

// AfterFunc implements fakecluster.Clock.
func (a *askedClock) AfterFunc(d time.Duration, f func()) func() bool {
	stop := a.ManualClock.AfterFunc(d, f)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits = append(a.waits, d)
	return stop
}

// asked reports whether anything waited, or still waits, for so long.
func (a *askedClock) asked(d time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.waits, d)
}

func TestARunningClockCanBeMoved(t *testing.T) {
	c := fakecluster.NewRunningClock()
	var mu sync.Mutex
	var order []int
	at := func(d time.Duration, n int) func() bool {
		return c.AfterFunc(d, func() {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, n)
		})
	}
	begin := c.Now()
	at(3*time.Hour, 3)
	at(time.Hour, 1)
	stop := at(90*time.Minute, 99)
	at(2*time.Hour, 2)
	c.AfterFunc(time.Hour, func() { at(30*time.Minute, 15) }) // due within the same move
	if !stop() || stop() {
		t.Error("stop says the wrong thing")
	}
	c.Advance(150 * time.Minute)
	mu.Lock()
	if !slices.Equal(order, []int{1, 15, 2}) {
		t.Error(order)
	}
	mu.Unlock()
	if d := c.Now().Sub(begin); d < 150*time.Minute || d > 151*time.Minute {
		t.Error(d)
	}
	// What is left comes at its time, now nearer.
	at(30*time.Minute+20*time.Millisecond, 4)
	c.Advance(30 * time.Minute)
	eventually(t, "the last two", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Equal(order, []int{1, 15, 2, 3, 4})
	})
}
