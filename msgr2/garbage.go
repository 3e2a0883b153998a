package msgr2

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrGarbage says that what a peer sends cannot be read, again and again: the
// messages' checksums are right and their contents are not, so that asking once more
// over a new connection does not help.
var ErrGarbage = errors.New("messages cannot be read")

const (
	// garbageMost is how many unreadable messages are one after the other's accident.
	garbageMost = 4
	// garbageWindow is how long one counts.
	garbageWindow = time.Minute
	// The pauses between attempts.
	garbageFirst, garbageLongest = 20 * time.Millisecond, time.Second
)

// Garbage counts the unreadable messages of a peer, or those for one request. Each
// costs the connection, as a broken frame does; the owner asks again over the next
// one until there were too many. What is a minute old is forgotten. The zero value
// has counted none; it is safe for concurrent use.
type Garbage struct {
	n    atomic.Int32 // changed with mu held
	mu   sync.Mutex
	last time.Time
}

// Add counts one and reports whether they are too many: more than four.
func (g *Garbage) Add() (tooMany bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Sub(g.last) > garbageWindow {
		g.n.Store(0)
	}
	g.last = now
	return g.n.Add(1) > garbageMost
}

// Good forgets what was counted, for a message that could be read.
func (g *Garbage) Good() {
	if g.n.Load() == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n.Store(0)
}

// Pause returns how long to wait before the next attempt: 0 as long as none was
// counted, and up to a second.
func (g *Garbage) Pause() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.n.Load()
	if n == 0 || time.Since(g.last) > garbageWindow {
		return 0
	}
	return min(garbageFirst<<min(n-1, 10), garbageLongest)
}
