package rbd

import (
	"context"
	"sync"
)

// keyLock holds a lock for every number that somebody holds.
type keyLock struct {
	mu   sync.Mutex
	held map[uint64]chan struct{}
}

// Lock waits for the lock of key and returns what gives it back.
func (k *keyLock) Lock(ctx context.Context, key uint64) (unlock func(), err error) {
	for {
		k.mu.Lock()
		ch, busy := k.held[key]
		if !busy {
			if k.held == nil {
				k.held = make(map[uint64]chan struct{})
			}
			mine := make(chan struct{})
			k.held[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
