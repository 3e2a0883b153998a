package rados

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// osdConn is what the objecter needs of a connection.
type osdConn interface {
	Send(m *msgr2.Message) error
	// Close ends it and does not wait for a handler that runs; Wait does.
	Close() error
	Wait()
}

// osdDialer connects to an OSD. What the connection receives goes to the link's
// handle and lost.
type osdDialer func(ctx context.Context, osd int32, addrs entity.AddrVec, l *link) (osdConn, error)

// monitors is what the objecter needs of the monitor client.
type monitors interface {
	// WantOSDMap asks for the maps from an epoch on, once or for ever.
	WantOSDMap(from uint32, keep bool)
	// NewestOSDMap asks which epoch is the newest.
	NewestOSDMap(ctx context.Context) (uint32, error)
	// GotOSDMap tells that an epoch has arrived.
	GotOSDMap(epoch uint32)
	// Unreadable tells that what the monitor sent cannot be read. It is asked again,
	// or another one.
	Unreadable(err error)
}

// objecter aims requests by the OSD map, keeps one session to each OSD in use
// and sends requests again when a map or a lost connection demands it.
//
// A map change holds mu for writing: nothing is submitted meanwhile. Everything
// else holds it for reading and works under its session's lock. Locks are taken
// in the order throttle.mu (released before submitting), objecter.mu,
// session.mu.
type objecter struct {
	log  *slog.Logger
	gid  func() uint64
	dial osdDialer
	mons monitors
	// barred reports whether a map's blocklist names this instance.
	barred func(*osdmap.Map) bool

	throttle *throttle
	settler  settler
	lastTID  atomic.Uint64
	ticks    atomic.Uint32 // since the start, for the age of requests

	mu       sync.RWMutex
	fsid     denc.UUID // zero: not known yet
	view     *mapView
	changed  chan struct{} // closed and replaced by every new map, and by mapErr
	mapErr   error         // why no newer map can be had
	sessions map[int32]*session
	homeless *session // of the requests without an OSD
	closed   bool

	lingers    lingerSet
	waiters    sync.Pool     // of *waiter, idle ones
	maps       chan sentMap  // to the map goroutine
	notes      *workQueue    // callbacks that must not run where they arise
	mapGarbage msgr2.Garbage // maps of monitors that could not be read
	poolCheck  atomic.Bool
	lastCookie atomic.Uint64

	blocklistOnce sync.Once
	blocklisted   chan struct{}

	ctx  context.Context // ends with close; parent of what the objecter starts
	stop context.CancelFunc
	wg   sync.WaitGroup
	// spawnMu keeps goroutines from being started once close waits for them.
	spawnMu sync.Mutex
}

func newObjecter(log *slog.Logger, gid func() uint64, dial osdDialer, mons monitors, t *throttle) *objecter {
	ctx, cancel := context.WithCancel(context.Background())
	o := &objecter{
		log: log, gid: gid, dial: dial, mons: mons, throttle: t,
		view: newMapView(nil), changed: make(chan struct{}),
		sessions: map[int32]*session{}, lingers: lingerSet{all: map[uint64]*linger{}},
		maps: make(chan sentMap, 16), notes: newWorkQueue(), waiters: sync.Pool{New: newWaiter},
		blocklisted: make(chan struct{}), ctx: ctx, stop: cancel,
	}
	o.homeless = newSession(o, noOSD, nil)
	o.spawn(o.mapLoop)
	o.spawn(o.watchLaggards)
	o.spawn(func() { o.notes.run(ctx) })
	return o
}

// spawn starts a goroutine that close waits for. It does nothing after close
// began.
func (o *objecter) spawn(f func()) {
	o.spawnMu.Lock()
	defer o.spawnMu.Unlock()
	if o.ctx.Err() == nil {
		o.wg.Go(f)
	}
}

func (o *objecter) setFSID(id denc.UUID) {
	o.mu.Lock()
	o.fsid = id
	o.mu.Unlock()
}

// start lets r go out, now or when the throttle allows. done is never called
// before start returned to the caller's caller: failures go through notes.
func (o *objecter) start(r *request) {
	r.tgt.base = wire.ObjectLocator{Pool: r.io.pool, Key: r.io.key, Namespace: r.io.ns, Hash: -1}
	r.tgt.baseOID = r.oid
	if r.pgOp {
		r.tgt.isPG, r.tgt.pg = true, r.pg
	}
	r.gid, r.since = o.gid(), o.ticks.Load()
	if o.throttle.take(r) {
		o.submit(r)
	}
}

// submit aims r and hands it to its session.
func (o *objecter) submit(r *request) {
	o.mu.RLock()
	for {
		if o.closed {
			o.mu.RUnlock()
			o.failLater(r, ErrClosed)
			return
		}
		if o.isBlocklisted() {
			o.mu.RUnlock()
			o.failLater(r, ErrBlocklisted)
			return
		}
		v := r.tgt.aim(o.view, r.flags, false)
		if v == poolEIO {
			o.mu.RUnlock()
			o.failLater(r, ErrIO)
			return
		}
		s := o.homeless
		if r.tgt.osd != noOSD {
			s = o.sessions[r.tgt.osd]
		}
		if s != nil {
			s.mu.Lock()
			r.tid = o.lastTID.Add(1)
			s.add(r)
			s.send(r)
			waits := s == o.homeless || r.tgt.paused
			s.mu.Unlock()
			o.mu.RUnlock()
			if v == poolGone {
				o.checkPools()
			} else if waits {
				o.wantMap()
			}
			return
		}
		osd := r.tgt.osd
		o.mu.RUnlock()
		o.openSession(osd)
		o.mu.RLock()
	}
}

// openSession makes a session to an OSD that the map calls up.
func (o *objecter) openSession(osd int32) *session {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sessionLocked(osd)
}

// sessionLocked returns the session to osd, made if need be. mu is held for
// writing.
func (o *objecter) sessionLocked(osd int32) *session {
	if osd == noOSD {
		return o.homeless
	}
	s := o.sessions[osd]
	if s == nil {
		// A primary is up, so it has addresses.
		addrs, _ := o.view.m.OSDAddrs(osd)
		s = newSession(o, osd, addrs)
		o.sessions[osd] = s
	}
	return s
}

// cancel ends r with err unless it was completed.
func (o *objecter) cancel(r *request, err error) {
	if r.claim() {
		if r.cleanup != nil {
			r.cleanup()
		}
		o.abandon(r, err)
	}
}

// abandon ends a claimed request with err. When it is sent after that, whoever
// was about to send it sees that it is claimed.
func (o *objecter) abandon(r *request, err error) {
	o.forget(r)
	r.failResults(err)
	o.finish(r, r.wrap(err))
}

// forget takes r out of its session.
func (o *objecter) forget(r *request) {
	o.mu.RLock()
	if s := r.sess.Load(); s != nil {
		s.mu.Lock()
		s.giveUp(r)
		s.remove(r)
		s.mu.Unlock()
	}
	o.mu.RUnlock()
}

// failLater completes r with err on another goroutine: the caller may hold
// locks that its callback takes.
func (o *objecter) failLater(r *request, err error) {
	o.later(func() { o.cancel(r, err) })
}

// later runs f on the goroutine for such, or here after close began.
func (o *objecter) later(f func()) {
	if !o.notes.add(f) {
		go f()
	}
}

// finish reports the result of a claimed request and makes room for others. No
// lock is held.
func (o *objecter) finish(r *request, err error) {
	o.throttle.give(r, o.submit)
	r.done(err)
}

// again submits a request anew, as a new one to the OSD, because its answer
// said so: redirected or not to be served there now.
func (o *objecter) again(r *request) {
	if r.finished.Load() {
		return
	}
	r.tgt.place = nil
	o.submit(r)
}

func (o *objecter) isBlocklisted() bool {
	select {
	case <-o.blocklisted:
		return true
	default:
		return false
	}
}

// noteBlocklisted makes it known that this instance is barred.
func (o *objecter) noteBlocklisted() {
	o.blocklistOnce.Do(func() {
		o.log.Error("this client was blocklisted")
		close(o.blocklisted)
	})
}

// wantMap asks the monitors for the map after ours: all further ones while
// requests wait for a change of the map.
func (o *objecter) wantMap() {
	o.mu.RLock()
	from := o.view.epoch()
	if from != 0 {
		from++ // 0 asks for the newest whole map
	}
	keep := o.view.m != nil && o.view.m.Flags&pausingFlags != 0
	o.mu.RUnlock()
	o.mons.WantOSDMap(from, keep)
}

// checkPools finds out whether requests to missing pools are to fail: once our
// map is known to be as new as the monitors'.
func (o *objecter) checkPools() {
	if !o.poolCheck.CompareAndSwap(false, true) {
		return
	}
	o.spawn(func() {
		upTo := o.lastTID.Load()
		newest, err := o.mons.NewestOSDMap(o.ctx)
		if err == nil {
			err = o.waitMap(o.ctx, newest)
		}
		o.poolCheck.Store(false)
		if err != nil {
			if o.ctx.Err() == nil {
				o.log.Warn("could not ask for the newest OSD map", "error", err)
				if sleep(o.ctx, redialMost) {
					o.later(o.checkPools)
				}
			}
			return
		}
		lost, more := o.lostPools(upTo)
		for _, r := range lost {
			o.cancel(r, ErrNotFound)
		}
		if more {
			o.checkPools()
		}
	})
}

// lostPools returns the requests up to a tid that wait for a pool that the map
// has not, and whether there are later ones, which need a check of their own.
func (o *objecter) lostPools(upTo uint64) (lost []*request, more bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	o.homeless.mu.Lock()
	defer o.homeless.mu.Unlock()
	for _, r := range o.homeless.ops {
		switch {
		case o.view.pool(r.tgt.base.Pool) != nil:
		case r.tid <= upTo:
			lost = append(lost, r)
		default:
			more = true
		}
	}
	return lost, more
}

// close ends all requests with ErrClosed and waits for the goroutines.
func (o *objecter) close() {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	o.closed = true
	sessions := []*session{o.homeless}
	for _, s := range o.sessions {
		sessions = append(sessions, s)
	}
	o.mu.Unlock()
	o.spawnMu.Lock()
	o.stop()
	o.spawnMu.Unlock()
	for _, s := range sessions {
		rs, conn := s.shut()
		for _, r := range rs {
			o.cancel(r, ErrClosed)
		}
		if conn != nil {
			conn.Wait()
		}
	}
	o.wg.Wait()
	o.notes.drain()
}

// byTID orders requests as they were submitted.
func byTID(rs []*request) {
	slices.SortFunc(rs, func(a, b *request) int { return cmp.Compare(a.tid, b.tid) })
}

// workQueue runs functions one after the other.
type workQueue struct {
	mu     sync.Mutex
	queue  []func()
	wake   chan struct{}
	closed bool
}

func newWorkQueue() *workQueue { return &workQueue{wake: make(chan struct{}, 1)} }

// add queues f; false after drain.
func (q *workQueue) add(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.queue = append(q.queue, f)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

func (q *workQueue) take(last bool) []func() {
	q.mu.Lock()
	defer q.mu.Unlock()
	fs := q.queue
	q.queue = nil
	if last && len(fs) == 0 {
		q.closed = true
	}
	return fs
}

// run runs what is added until ctx ends.
func (q *workQueue) run(ctx context.Context) {
	for {
		select {
		case <-q.wake:
			for _, f := range q.take(false) {
				f()
			}
		case <-ctx.Done():
			return
		}
	}
}

// drain runs what is left and closes the queue.
func (q *workQueue) drain() {
	for {
		fs := q.take(true)
		if len(fs) == 0 {
			return
		}
		for _, f := range fs {
			f()
		}
	}
}
