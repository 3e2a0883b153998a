package fakecluster

import (
	"slices"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
)

// reorderWait is how long a message waits at most for others to overtake it.
const reorderWait = 200 * time.Millisecond

// parkedKey is a direction of a connection.
type parkedKey struct {
	conn *msgr2.Conn
	out  bool
}

// parked is a message that others are to overtake.
type parked struct {
	left int
	once sync.Once
	run  func()
}

// park keeps a message back until n others have passed, or for reorderWait.
func (fs *faults) park(k parkedKey, n int, run func()) {
	p := &parked{left: n, run: run}
	fs.mu.Lock()
	if fs.parked == nil {
		fs.parked = map[parkedKey][]*parked{}
	}
	fs.parked[k] = append(fs.parked[k], p)
	fs.mu.Unlock()
	fs.c.after(reorderWait, func() {
		fs.mu.Lock()
		fs.unpark(k, func(o *parked) bool { return o == p })
		fs.mu.Unlock()
		p.once.Do(p.run)
	})
}

// passed tells that a message has gone its way; it lets those go that waited for
// it.
func (fs *faults) passed(k parkedKey) {
	fs.mu.Lock()
	for _, p := range fs.parked[k] {
		p.left--
	}
	free := fs.unpark(k, func(p *parked) bool { return p.left <= 0 })
	fs.mu.Unlock()
	for _, p := range free {
		p.once.Do(p.run)
	}
}

// unpark removes and returns what f chooses. The mutex is held.
func (fs *faults) unpark(k parkedKey, f func(*parked) bool) (free []*parked) {
	for _, p := range fs.parked[k] {
		if f(p) {
			free = append(free, p)
		}
	}
	if len(free) == len(fs.parked[k]) {
		delete(fs.parked, k)
	} else {
		fs.parked[k] = slices.DeleteFunc(fs.parked[k], f)
	}
	return free
}
