package rados

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/wire"
)

// How long to wait between attempts to connect to an OSD that is up by the map.
const (
	redialFirst = 20 * time.Millisecond
	redialMost  = time.Second
)

// session is the requests of one OSD and the connection to it, while there is
// one. It lives as long as the map says that the OSD is up at its addresses.
type session struct {
	o     *objecter
	osd   int32
	addrs entity.AddrVec

	mu       sync.Mutex
	ops      map[uint64]*request // by tid
	link     *link               // nil: not connected and not trying
	shutDown bool
	backoffs map[backoffID]*wire.OSDBackoff
	givenUp  map[uint64]wire.PG // writes that nobody waits for, by tid
	garbage  msgr2.Garbage      // what came from the OSD and could not be read
}

// link is one connection of a session, from the attempt to make it on.
type link struct {
	s      *session
	conn   osdConn // nil while connecting; guarded by s.mu
	cancel context.CancelFunc
}

type backoffID struct {
	pg wire.SPG
	id uint64
}

func newSession(o *objecter, osd int32, addrs entity.AddrVec) *session {
	return &session{o: o, osd: osd, addrs: addrs, ops: map[uint64]*request{}}
}

// add takes r over. mu is held.
func (s *session) add(r *request) {
	s.ops[r.tid] = r
	r.sess.Store(s)
}

// remove lets go of r. mu is held.
func (s *session) remove(r *request) {
	if s.ops[r.tid] == r {
		delete(s.ops, r.tid)
	}
	r.sess.CompareAndSwap(s, nil)
}

// send sends r if nothing holds it back, and connects first if need be. mu is
// held, and objecter.mu at least for reading.
func (s *session) send(r *request) {
	if r.finished.Load() {
		s.remove(r)
		return
	}
	if s.osd == noOSD || r.tgt.paused || s.shutDown {
		return
	}
	if s.link == nil {
		s.connect()
	}
	s.sendOn(r)
}

// sendOn is send when the connection stands; else whoever makes it will send.
func (s *session) sendOn(r *request) {
	l := s.link
	if l == nil || l.conn == nil || r.tgt.paused || len(s.backoffs) > 0 && s.held(r) {
		return
	}
	r.attempts++
	r.sent.Store(true)
	r.epoch.Store(r.tgt.epoch)
	if r.linger != nil {
		r.linger.link.Store(l)
	}
	// A failed send is followed by the link's loss, which sends again.
	_ = l.conn.Send(r.encode(s.o.view.epoch()))
}

// held reports whether a backoff covers r. mu is held.
func (s *session) held(r *request) bool {
	if r.pgOp {
		return false
	}
	h := wire.HObject{
		Key: r.tgt.locator.Key, OID: r.tgt.oid, Snap: r.io.snap, Hash: r.tgt.hash,
		Namespace: r.tgt.locator.Namespace, Pool: r.tgt.locator.Pool,
	}
	if h.Key == h.OID {
		h.Key = ""
	}
	for id, b := range s.backoffs {
		if id.pg.PG == r.tgt.pg && b.Covers(h) {
			return true
		}
	}
	return false
}

// connect starts a connection. mu is held.
func (s *session) connect() {
	ctx, cancel := context.WithCancel(s.o.ctx)
	l := &link{s: s, cancel: cancel}
	s.link = l
	pause := s.garbage.Pause()
	s.o.spawn(func() { s.dial(ctx, l, pause) })
}

// dial connects until it succeeds or ctx ends, then sends what waits. The first
// attempt comes after a pause.
func (s *session) dial(ctx context.Context, l *link, pause time.Duration) {
	if pause > 0 && !sleep(ctx, pause) {
		return
	}
	wait := redialFirst
	for {
		conn, err := s.o.dial(ctx, s.osd, s.addrs, l)
		if err == nil {
			s.connected(l, conn)
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.o.log.Info("cannot connect to osd", "osd", s.osd, "addr", s.addrs.String(), "error", err)
		s.o.wantMap()
		if !sleep(ctx, wait) {
			return
		}
		wait = min(2*wait, redialMost)
	}
}

// sleep waits; it reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// connected sends all requests over a new connection, oldest first.
func (s *session) connected(l *link, conn osdConn) {
	s.o.mu.RLock()
	s.mu.Lock()
	if s.link != l || s.shutDown {
		s.mu.Unlock()
		s.o.mu.RUnlock()
		_ = conn.Close()
		return
	}
	l.conn = conn
	for _, r := range s.sorted() {
		s.sendOn(r)
	}
	s.mu.Unlock()
	s.o.mu.RUnlock()
}

// sorted returns the requests in the order of their submission. mu is held.
func (s *session) sorted() []*request {
	rs := make([]*request, 0, len(s.ops))
	for _, r := range s.ops {
		rs = append(rs, r)
	}
	byTID(rs)
	return rs
}

// lost is told that the link's connection is dead. Its requests go out over a
// new one; those that must not are ended.
func (l *link) lost(err error) {
	s := l.s
	s.mu.Lock()
	conn := l.conn
	s.mu.Unlock()
	if conn != nil {
		// Until it returns the bytes of what was sent may still be read, and who gets
		// the answer over the next connection may use them for something else.
		_ = conn.Close()
	}
	s.mu.Lock()
	if s.link != l {
		s.mu.Unlock()
		return
	}
	l.cancel()
	s.link, s.backoffs = nil, nil
	s.settledAll()
	dropped := s.takeOnce()
	if len(s.ops) > 0 && !s.shutDown {
		s.connect()
	}
	s.mu.Unlock()
	if s.o.ctx.Err() != nil {
		return
	}
	s.o.log.Info("lost the connection to osd", "osd", s.osd, "error", err)
	for _, r := range dropped {
		s.o.failLater(r, errDropped)
	}
	s.o.lostLink(l)
	s.o.later(s.o.wantMap)
}

// takeOnce removes the requests that were sent and must not be sent again. mu
// is held.
func (s *session) takeOnce() []*request {
	var rs []*request
	for _, r := range s.ops {
		if r.once && r.attempts > 0 {
			s.remove(r)
			rs = append(rs, r)
		}
	}
	byTID(rs)
	return rs
}

// shut ends the session: its OSD is down, has moved, or the client closes. It
// returns the requests, which are nobody's then, and the connection, closed.
func (s *session) shut() ([]*request, osdConn) {
	s.mu.Lock()
	s.shutDown = true
	l := s.link
	s.link, s.backoffs = nil, nil
	s.settledAll()
	rs := s.sorted()
	for _, r := range rs {
		s.remove(r)
	}
	s.mu.Unlock()
	if l == nil {
		return rs, nil
	}
	l.cancel()
	if l.conn != nil {
		_ = l.conn.Close()
	}
	s.o.lostLink(l)
	return rs, l.conn
}

// handle takes a message that came over the link. It runs on the connection's
// reading goroutine.
func (l *link) handle(conn osdConn, m *msgr2.Message) {
	switch m.Type {
	case wire.TypeOSDOpReply:
		l.handleReply(conn, m)
	case wire.TypeOSDMap:
		broken := func(err error) { l.broken(conn, 0, nil, err) }
		if err := l.s.o.gotMap(m, broken); err != nil {
			broken(err)
		}
	case wire.TypeWatchNotify:
		if about, err := l.s.o.gotWatchNotify(m); err != nil {
			l.broken(conn, 0, about, err)
		}
	case wire.TypeOSDBackoff:
		l.handleBackoff(conn, m)
	default:
		l.s.o.log.Debug("unexpected message from osd", "osd", l.s.osd, "type", m.Type)
	}
}

// handleReply completes the request that m answers.
func (l *link) handleReply(conn osdConn, m *msgr2.Message) {
	s := l.s
	sc := scratchPool.Get().(*scratch)
	defer sc.release()
	rep := &sc.reply
	rd := denc.NewReader(m.Front)
	rep.DecodeSkipObject(rd)
	err := rd.Err()
	if err == nil {
		err = rep.SplitPayload(m.Data)
	}
	if err != nil {
		l.broken(conn, m.TID, nil, fmt.Errorf("reply: %w", err))
		m.Release()
		return
	}
	s.garbage.Good()
	s.mu.Lock()
	s.settled(m.TID)
	r := s.ops[m.TID]
	if r == nil || s.link != l || rep.Retry >= 0 && rep.Retry != r.attempts-1 {
		s.mu.Unlock()
		m.Release()
		return
	}
	if rep.Redirect != nil || rep.Result == ErrAgain.Result() && !r.once {
		s.remove(r)
		s.mu.Unlock()
		s.o.retry(r, rep.Redirect)
		m.Release()
		return
	}
	if !r.claim() {
		s.remove(r)
		s.mu.Unlock()
		m.Release()
		return
	}
	s.remove(r)
	s.mu.Unlock()
	s.complete(r, rep, m)
}

// complete hands a claimed request its results.
func (s *session) complete(r *request, rep *wire.OSDOpReply, m *msgr2.Message) {
	if r.cleanup != nil {
		r.cleanup()
	}
	r.answered = true
	if m.Data.Len() > 0 {
		r.reply = m
	}
	err := r.deliver(rep)
	if err == ErrBlocklisted {
		s.o.noteBlocklisted()
	}
	if err != nil {
		err = r.wrap(err)
	}
	if r.reply == nil {
		m.Release()
	}
	s.o.finish(r, err)
}

// retry submits r again after the answer "not here" or "not now".
func (o *objecter) retry(r *request, to *wire.Redirect) {
	r.attempts = 0
	if to != nil {
		r.tgt.base = to.Locator
		if to.Object != "" {
			r.tgt.baseOID = to.Object
		}
		r.tgt.flags |= wire.FlagRedirected | wire.FlagIgnoreCache | wire.FlagIgnoreOverlay
	}
	r.retries++
	wait := time.Duration(0)
	if n := r.retries - 2; n >= 0 {
		wait = min(redialFirst<<min(n, 10), redialMost)
	}
	if wait == 0 {
		o.later(func() { o.again(r) })
		return
	}
	o.spawn(func() {
		select {
		case <-time.After(wait):
		case <-o.ctx.Done():
		}
		o.again(r)
	})
}

// handleBackoff holds requests back or lets them go.
func (l *link) handleBackoff(conn osdConn, m *msgr2.Message) {
	s := l.s
	var b wire.OSDBackoff
	if err := wire.Decode(&b, m.Front); err != nil {
		l.broken(conn, 0, nil, fmt.Errorf("backoff: %w", err))
		return
	}
	switch b.Op {
	case wire.BackoffBlock:
		s.mu.Lock()
		if s.link == l {
			if s.backoffs == nil {
				s.backoffs = map[backoffID]*wire.OSDBackoff{}
			}
			s.backoffs[backoffID{b.PG, b.ID}] = &b
			s.settledPG(b.PG.PG)
		}
		s.mu.Unlock()
		ack := b
		ack.Op = wire.BackoffAckBlock
		h := ack.Header()
		_ = conn.Send(&msgr2.Message{
			Type: h.Type, Version: h.Version, Compat: h.Compat, Priority: opPriority, Front: ack.Append(nil),
		})
	case wire.BackoffUnblock:
		s.o.mu.RLock()
		s.mu.Lock()
		if old := s.backoffs[backoffID{b.PG, b.ID}]; old != nil && s.link == l {
			held := s.heldBy(old)
			delete(s.backoffs, backoffID{b.PG, b.ID})
			for _, r := range held {
				s.sendOn(r)
			}
		}
		s.mu.Unlock()
		s.o.mu.RUnlock()
	}
}

// heldBy returns the requests that a backoff covers, oldest first. mu is held.
func (s *session) heldBy(b *wire.OSDBackoff) []*request {
	rest := s.backoffs
	s.backoffs = map[backoffID]*wire.OSDBackoff{{b.PG, b.ID}: b}
	var rs []*request
	for _, r := range s.sorted() {
		if s.held(r) {
			rs = append(rs, r)
		}
	}
	s.backoffs = rest
	return rs
}
