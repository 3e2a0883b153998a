package rbd

import (
	"context"
	"sync"
)

// tasks counts goroutines that may start others while somebody waits for all of
// them, which a sync.WaitGroup does not allow.
type tasks struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n gets 0; nil if nobody waits
}

// run starts f.
func (t *tasks) run(f func()) {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
	go func() {
		defer t.done()
		f()
	}()
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// wait returns when none runs, or ctx has ended.
func (t *tasks) wait(ctx context.Context) {
	for {
		t.mu.Lock()
		if t.n == 0 {
			t.mu.Unlock()
			return
		}
		if t.idle == nil {
			t.idle = make(chan struct{})
		}
		idle := t.idle
		t.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return
		}
	}
}
