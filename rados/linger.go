package rados

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/wire"
)

// linger is what outlives its requests on an OSD, a watch or a notify: bound to
// one connection to one OSD, to be made anew when either changes.
type linger struct {
	io     *IoCtx
	oid    string
	cookie uint64
	// event runs on a reading goroutine; it fails when the event cannot be read.
	event func(n *wire.WatchNotify, m *msgr2.Message) error

	link atomic.Pointer[link] // over which it was last sent
	tgt  target               // guarded by objecter.mu held for writing

	// moved counts how often the binding broke; wake is told.
	moved atomic.Uint64
	wake  chan struct{}

	garbage msgr2.Garbage         // what came for it and could not be read
	failed  atomic.Pointer[error] // why it has to end
}

// lingerSet is the lingers of a client by their cookies.
type lingerSet struct {
	mu  sync.Mutex
	all map[uint64]*linger
}

// addLinger makes a linger with a new cookie known.
func (o *objecter) addLinger(io *IoCtx, oid string, event func(*wire.WatchNotify, *msgr2.Message) error) *linger {
	l := &linger{
		io: io, oid: oid, cookie: o.lastCookie.Add(1), event: event, wake: make(chan struct{}, 1),
		tgt: target{
			base:    wire.ObjectLocator{Pool: io.pool, Key: io.key, Namespace: io.ns, Hash: -1},
			baseOID: oid,
		},
	}
	o.mu.Lock()
	_ = l.tgt.aim(o.view, wire.FlagRead, false)
	o.lingers.mu.Lock()
	o.lingers.all[l.cookie] = l
	o.lingers.mu.Unlock()
	o.mu.Unlock()
	return l
}

func (o *objecter) removeLinger(l *linger) {
	o.lingers.mu.Lock()
	delete(o.lingers.all, l.cookie)
	o.lingers.mu.Unlock()
}

// broke tells the owner that the binding broke.
func (l *linger) broke() {
	l.moved.Add(1)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lostLink tells the lingers that were bound to a connection.
func (o *objecter) lostLink(gone *link) {
	o.lingers.mu.Lock()
	defer o.lingers.mu.Unlock()
	for _, l := range o.lingers.all {
		if l.link.CompareAndSwap(gone, nil) {
			l.broke()
		}
	}
}

// rescanLingers tells the lingers that are bound and whose object's interval
// changed. mu is held for writing.
func (o *objecter) rescanLingers(skipped bool) {
	o.lingers.mu.Lock()
	defer o.lingers.mu.Unlock()
	for _, l := range o.lingers.all {
		if l.tgt.aim(o.view, wire.FlagRead, skipped) != keep && l.link.Swap(nil) != nil {
			l.broke()
		}
	}
}

// gotWatchNotify hands an event to its linger, on a reading goroutine. When the
// event cannot be read it returns whose it is, if it knows.
func (o *objecter) gotWatchNotify(m *msgr2.Message) (*linger, error) {
	var n wire.WatchNotify
	if err := wire.Decode(&n, m.Front); err != nil {
		return nil, fmt.Errorf("watch event: %w", err)
	}
	o.lingers.mu.Lock()
	l := o.lingers.all[n.Cookie]
	o.lingers.mu.Unlock()
	if l == nil {
		o.log.Debug("event for a watch that is gone", "cookie", n.Cookie)
		return nil, nil
	}
	return l, l.event(&n, m)
}
