package rados

import (
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2"
)

// ErrGarbage says that a daemon's messages could not be read, again and again: each
// time the request was sent once more over a new connection, until that was enough.
// A write that fails with it may have been applied, see MaybeApplied.
var ErrGarbage = msgr2.ErrGarbage

// broken ends a connection over which a message came that cannot be read, as any
// other break of the protocol does (ProtocolV2::handle_message of Ceph): a new one is
// made and what was under way is sent again. The requests that the message may have
// been for count it, and those that have seen too many end with ErrGarbage. tid is
// the request that the message answers, 0 for none; about is the linger whose event
// it is, nil when there is no telling.
func (l *link) broken(conn osdConn, tid uint64, about *linger, err error) {
	s := l.s
	s.mu.Lock()
	if s.link != l {
		s.mu.Unlock()
		return
	}
	s.o.log.Warn("unreadable message from osd", "osd", s.osd, "tid", tid, "error", err)
	s.garbage.Add()
	var failed []*request
	if about == nil {
		failed = s.charge(tid)
	}
	s.mu.Unlock()
	err = fmt.Errorf("osd.%d: %w: %w", s.osd, ErrGarbage, err)
	if tid == 0 {
		s.o.chargeLingers(l, about, err)
	}
	for _, r := range failed {
		s.o.failLater(r, err)
	}
	_ = conn.Close()
	l.lost(err)
}

// charge counts an unreadable message for the request of tid, or for all that are
// under way when tid is 0, and takes those out that end by it. mu is held.
func (s *session) charge(tid uint64) (failed []*request) {
	for _, r := range s.ops {
		if r.attempts == 0 || tid != 0 && r.tid != tid || tid == 0 && r.linger != nil {
			continue // chargeLingers counts the last
		}
		g := r.garbage
		switch {
		case r.linger != nil: // its requests are made anew each time
			g = &r.linger.garbage
		case g == nil:
			g = &msgr2.Garbage{}
			r.garbage = g
		}
		if g.Add() {
			failed = append(failed, r)
		}
	}
	for _, r := range failed {
		s.remove(r)
	}
	byTID(failed)
	return failed
}

// repeat reports whether a request of the linger that ended with err is to be made
// anew; else it returns how that ended.
func (l *linger) repeat(err error) (bool, error) {
	if !errors.Is(err, errDropped) {
		return false, err
	}
	if failed := l.failed.Load(); failed != nil {
		return false, *failed
	}
	return true, nil
}

// chargeLingers counts an unreadable event for what waits for one over the link.
func (o *objecter) chargeLingers(l *link, about *linger, err error) {
	o.lingers.mu.Lock()
	defer o.lingers.mu.Unlock()
	for _, g := range o.lingers.all {
		if g.link.Load() == l && (about == nil || about == g) && g.garbage.Add() {
			g.failed.CompareAndSwap(nil, &err)
		}
	}
}
