package fakecluster

import (
	"sync"
	"time"
)

// timers are what waits for its time to come. Its mutex is taken with any other
// held, and none is taken under it.
type timers struct {
	mu      sync.Mutex
	closed  bool
	pending map[*timer]struct{}
}

type timer struct{ stop func() bool }

// after runs f after d, unless the cluster is closed before. Close waits for a
// running f.
func (c *Cluster) after(d time.Duration, f func()) {
	ts := &c.timers
	t := &timer{}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return
	}
	if ts.pending == nil {
		ts.pending = map[*timer]struct{}{}
	}
	ts.pending[t] = struct{}{}
	t.stop = c.clock.AfterFunc(d, func() {
		ts.mu.Lock()
		if ts.closed {
			ts.mu.Unlock()
			return
		}
		delete(ts.pending, t)
		c.wg.Add(1)
		ts.mu.Unlock()
		defer c.wg.Done()
		f()
	})
}

func (ts *timers) close() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = true
	for t := range ts.pending {
		t.stop()
	}
	ts.pending = nil
}

// spawn runs f on a goroutine of its own that Close waits for, unless the cluster is
// closed already.
func (c *Cluster) spawn(f func()) bool {
	c.timers.mu.Lock()
	defer c.timers.mu.Unlock()
	if !c.timers.closed {
		c.wg.Go(f)
	}
	return !c.timers.closed
}
