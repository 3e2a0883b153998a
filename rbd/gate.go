package rbd

import (
	"context"
	"sync"
)

// gate lets many operations pass at once until somebody blocks it; Block returns
// when those inside have left. Blocks nest.
type gate struct {
	mu      sync.Mutex
	inside  int
	blocked int
	open    chan struct{} // closed when blocked drops to 0; nil while open
	empty   chan struct{} // closed when inside drops to 0; nil if nobody waits
}

// Enter waits until the gate is open and goes in.
func (g *gate) Enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		if g.blocked == 0 {
			g.inside++
			g.mu.Unlock()
			return nil
		}
		if g.open == nil {
			g.open = make(chan struct{})
		}
		ch := g.open
		g.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Leave ends what Enter began.
func (g *gate) Leave() {
	g.mu.Lock()
	g.inside--
	if g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
	g.mu.Unlock()
}

// Block stops further entries and waits until nobody is inside. After an error
// the gate is as it was before.
func (g *gate) Block(ctx context.Context) error {
	g.mu.Lock()
	g.blocked++
	for g.inside > 0 {
		if g.empty == nil {
			g.empty = make(chan struct{})
		}
		ch := g.empty
		g.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			g.Unblock()
			return context.Cause(ctx)
		}
		g.mu.Lock()
	}
	g.mu.Unlock()
	return nil
}

// Unblock takes one Block back.
func (g *gate) Unblock() {
	g.mu.Lock()
	g.blocked--
	if g.blocked == 0 && g.open != nil {
		close(g.open)
		g.open = nil
	}
	g.mu.Unlock()
}
