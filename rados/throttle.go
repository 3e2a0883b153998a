package rados

import "sync"

// throttle bounds the bytes and the number of requests that are under way. What
// exceeds the bounds waits in the order of its arrival, without a goroutine.
// One request larger than the bound goes out when nothing else is under way.
type throttle struct {
	mu       sync.Mutex
	maxBytes int64
	maxOps   int64
	bytes    int64 // granted
	ops      int64 // granted
	queue    []*request
	head     int  // of queue
	draining bool // somebody is submitting what came from the queue
}

func newThrottle(maxBytes, maxOps int64) *throttle {
	return &throttle{maxBytes: maxBytes, maxOps: maxOps}
}

// take grants r or queues it. The caller submits r when it returns true.
// A request that was cancelled before is neither.
func (t *throttle) take(r *request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.abandoned {
		return false
	}
	if t.draining || t.head < len(t.queue) || !t.fits(r) {
		t.queue = append(t.queue, r)
		return false
	}
	t.grant(r)
	return true
}

func (t *throttle) fits(r *request) bool {
	return t.ops == 0 || t.ops < t.maxOps && t.bytes+r.cost <= t.maxBytes
}

func (t *throttle) grant(r *request) {
	r.granted = true
	t.ops++
	t.bytes += r.cost
}

// give takes r's share back and submits what fits now. A request that was
// still queued is passed over when its turn comes.
func (t *throttle) give(r *request, submit func(*request)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.granted {
		r.granted = false
		t.ops--
		t.bytes -= r.cost
	} else {
		r.abandoned = true
	}
	if t.draining {
		return // the one who drains looks again after each request
	}
	t.draining = true
	for t.head < len(t.queue) {
		next := t.queue[t.head]
		if !next.abandoned && !t.fits(next) {
			break
		}
		t.pop()
		if next.abandoned {
			continue
		}
		t.grant(next)
		t.mu.Unlock()
		submit(next)
		t.mu.Lock()
	}
	t.draining = false
}

// pop removes the head of the queue. What was popped is cut off now and then:
// under load the queue may never be empty.
func (t *throttle) pop() {
	t.queue[t.head] = nil
	t.head++
	if t.head == len(t.queue) || t.head >= 1024 && 2*t.head >= len(t.queue) {
		t.queue = append(t.queue[:0], t.queue[t.head:]...)
		t.head = 0
	}
}

// load returns what is under way and how many requests wait.
func (t *throttle) load() (bytes, ops int64, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes, t.ops, len(t.queue) - t.head
}
