package fakecluster

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// osd is one OSD. It owns nothing but its address: objects belong to the
// placement groups.
type osd struct {
	daemon
	id   int32
	disk disk

	// A life lasts until the OSD stops; what came in one is not executed in the
	// next. life is held while something is executed.
	life  sync.RWMutex
	lives int // guarded by life
}

func (o *osd) accept(*daemon) (msgr2.ServerAuth, session) {
	auth := o.c.keys.ServiceAuth(entity.TypeOSD)
	o.life.RLock()
	defer o.life.RUnlock()
	return auth, &osdSession{osd: o, auth: auth, born: o.lives}
}

// end stops the OSD. When it returns, nothing is executed any more.
func (o *osd) end() {
	o.stop()
	o.life.Lock()
	o.lives++
	o.life.Unlock()
}

// boot lets the map tell that OSDs are up, and where. One that counts as up, for
// nobody has noticed its end, goes down first: clients look for another place for
// their requests only then. Cluster.mu is held.
func (c *Cluster) boot(osds ...*osd) {
	down := map[int32]uint32{}
	for _, o := range osds {
		if c.osdmap.IsUp(o.id) {
			down[o.id] = osdmap.StateUp
		}
	}
	if len(down) > 0 {
		c.change(func(inc *osdmap.Incremental) { inc.NewState = down })
	}
	up := map[int32]entity.AddrVec{}
	for _, o := range osds {
		if c.mayBoot(o.id) {
			up[o.id] = o.addrs()
		}
	}
	if len(up) == 0 {
		return
	}
	c.change(func(inc *osdmap.Incremental) {
		inc.NewUp = up
		inc.OSDOnly.ClusterUp, inc.OSDOnly.HBBackUp, inc.OSDOnly.HBFrontUp = up, up, up
	})
}

// osdSession is a client's connection to an OSD. Fields without a comment are
// used on the reading goroutine only.
type osdSession struct {
	osd  *osd
	born int // in which life of the OSD
	auth *cephx.ServiceAuth
	conn *msgr2.Conn
	addr entity.Addr
	user entity.AuthName
	caps *osdCaps
	sent atomic.Uint32 // newest map that the client was sent

	mu   sync.Mutex
	held map[pg.Name][]*heldOp // requests that wait behind a delayed one; guarded by mu
	gone bool                  // guarded by mu
}

type heldOp struct {
	m     *msgr2.Message
	o     *wire.OSDOp
	again bool // it comes twice, and shares the message with the other
}

func (s *osdSession) who() entity.AuthName { return s.user }

func (s *osdSession) attach(c *msgr2.Conn) {
	s.conn = c
	s.addr = clientAddr(c)
	s.user, _ = s.auth.Entity()
	s.caps = parseOSDCaps(s.auth.Caps(), s.addr.IP.Addr())
}

// Send implements pg.Peer.
func (s *osdSession) Send(w *wire.WatchNotify, data msgr2.Data) {
	m := frontMessage(w, 0)
	m.Data = data
	s.osd.c.faults.send(s.osd.name, s.conn, s.user, m)
}

// HandleReset implements msgr2.Handler.
func (s *osdSession) HandleReset(*msgr2.Conn, error) {
	s.mu.Lock()
	s.gone = true
	s.held = nil
	s.mu.Unlock()
	s.osd.c.backoffs.forget(s)
	for _, p := range s.osd.c.view.Load().pools {
		for _, g := range p.groups {
			g.Disconnect(s)
		}
	}
}

// HandleMessage implements msgr2.Handler.
func (s *osdSession) HandleMessage(c *msgr2.Conn, m *msgr2.Message) {
	switch m.Type {
	case wire.TypeOSDOp:
		o := &wire.OSDOp{Version: m.Version}
		r := denc.NewReader(m.Front)
		o.Decode(r)
		if err := r.Err(); err != nil {
			s.osd.c.log.Warn("bad request", "osd", s.osd.name, "err", err)
			_ = c.Close()
			return
		}
		if err := o.SplitPayload(m.Data); err != nil {
			s.osd.c.log.Warn("bad payload", "osd", s.osd.name, "err", err)
			_ = c.Close()
			return
		}
		if o.ReqID.TID == 0 && o.ReqID.Name == (entity.Name{}) {
			o.ReqID = wire.ReqID{Name: c.PeerName(), TID: m.TID}
		}
		s.dispatch(&heldOp{m: m, o: o})
	case wire.TypeOSDBackoff: // a client has understood that it has to wait
		if fs := &s.osd.c.faults; fs.active() {
			fs.judge(fs.event(s.osd.name, c, s.user, m))
		}
	case wire.TypeCommand:
		if s.shutOut() {
			return
		}
		v, fs := verdict{}, &s.osd.c.faults
		if fs.active() {
			e := fs.event(s.osd.name, c, s.user, m)
			var cmd wire.Command
			if wire.Decode(&cmd, m.Front) == nil {
				e.Command = commandPrefix(cmd.Cmd)
			}
			v = fs.judge(e)
		}
		fs.arrive(c, m, v, func() { s.osd.c.tell(s.osd.name, c, m, s.caps.isAdmin(), v) })
	}
}

// shutOut reports whether the client gets no answer at all: OSDs of 18.2 and
// later do not let in who has no OSD capability.
func (s *osdSession) shutOut() bool { return s.caps.none && s.osd.c.opt.release >= 18 }

// dispatch runs a request, or holds it back when a fault delays it or an
// earlier one on the same object.
func (s *osdSession) dispatch(h *heldOp) {
	name := pg.Name{Namespace: h.o.Locator.Namespace, Object: h.o.Object, Key: h.o.Locator.Key}
	s.mu.Lock()
	if q, busy := s.held[name]; busy {
		s.held[name] = append(q, h)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	fs := &s.osd.c.faults
	v := fs.request(s.osd.name, s.conn, s.user, h.m, h.o)
	if v.truncate > 0 && !h.shorten(v.truncate) {
		s.osd.c.log.Info("truncated request", "osd", s.osd.name)
		_ = s.conn.Close()
		return
	}
	later := func() {
		s.run(h, v)
		s.release(name)
	}
	key := parkedKey{s.conn, false}
	switch {
	case v.delay > 0:
		s.hold(name)
		s.osd.c.after(v.delay, later)
	case v.reorder > 0:
		s.hold(name)
		fs.park(key, v.reorder, later)
		return
	default:
		s.run(h, v)
	}
	if fs.active() {
		fs.passed(key)
	}
}

// hold lets further requests on an object wait.
func (s *osdSession) hold(name pg.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[pg.Name][]*heldOp{}
	}
	s.held[name] = nil
}

// shorten decodes a request again without its last n bytes, and reports whether
// there is still one.
func (h *heldOp) shorten(n int) bool {
	m := *h.m
	truncate(&m, n)
	o := &wire.OSDOp{Version: m.Version}
	r := denc.NewReader(m.Front)
	if o.Decode(r); r.Err() != nil || o.SplitPayload(m.Data) != nil {
		return false
	}
	h.o = o
	return true
}

// release runs what waited behind a delayed request.
func (s *osdSession) release(name pg.Name) {
	for {
		s.mu.Lock()
		q := s.held[name]
		if len(q) == 0 || s.gone {
			delete(s.held, name)
			s.mu.Unlock()
			return
		}
		s.held[name] = q[1:]
		s.mu.Unlock()
		s.run(q[0], s.osd.c.faults.request(s.osd.name, s.conn, s.user, q[0].m, q[0].o))
	}
}

// run executes a request that a fault may have tampered with.
func (s *osdSession) run(h *heldOp, v verdict) {
	switch {
	case v.drop:
		return
	case v.breaks():
		_ = s.conn.Close()
		return
	}
	if v.duplicate {
		v.duplicate, h.again = false, true
		if again := *h; again.shorten(0) {
			defer s.run(&again, v)
		}
	}
	n := h.m.Data.Len()
	rep, written := s.execute(h, v)
	if v.after {
		if v.disconnect {
			_ = s.conn.Close()
		}
		return
	}
	if rep == nil {
		return
	}
	answer := func() { s.answer(h, rep, written) }
	if wait := s.osd.disk.take(s.osd.c.clock.Now(), max(n, rep.Payload().Len())); wait > 0 {
		s.osd.c.after(wait, answer)
		return
	}
	answer()
}

func (s *osdSession) answer(h *heldOp, rep *wire.OSDOpReply, written *pg.Write) {
	m := frontMessage(rep, h.m.TID)
	m.Data = rep.Payload()
	s.osd.c.faults.sendReply(s.osd.name, s.conn, s.user, h.o, m, written.Ack)
	if readOnly(h.o) && !h.again {
		// Replies to reads alias stored bytes, never the request's.
		h.m.Release()
	}
}

func readOnly(o *wire.OSDOp) bool {
	for i := range o.Ops {
		if o.Ops[i].Code.IsWrite() || o.Ops[i].Code == wire.OpCall || o.Ops[i].Code == wire.OpNotify {
			return false
		}
	}
	return true
}

// execute finds the placement group and lets it work. It returns nil when a
// real OSD would not answer, and what a crash may take as long as the answer is
// not sent.
func (s *osdSession) execute(h *heldOp, v verdict) (*wire.OSDOpReply, *pg.Write) {
	s.osd.life.RLock()
	defer s.osd.life.RUnlock()
	if s.osd.lives != s.born {
		return nil, nil
	}
	out := s.perform(h, v)
	return out.Reply, out.Write
}

func (s *osdSession) perform(h *heldOp, v verdict) pg.Outcome {
	c, o := s.osd.c, h.o
	view := c.view.Load()
	s.shareMaps(view, o.Epoch)
	p := view.pools[o.PG.PG.Pool]
	if p == nil {
		return pg.Outcome{}
	}
	seed := p.pool.Fold(osdmap.PG{Pool: p.id, Seed: o.Hash}).Seed
	if seed == o.PG.PG.Seed && p.inactive[seed] == s.osd.id {
		s.waits(view, p, seed, o)
		return pg.Outcome{}
	}
	if seed != o.PG.PG.Seed || !s.serves(p, seed) && !s.servesAsReplica(p, seed, o) || o.Epoch < p.since[seed] {
		return pg.Outcome{}
	}
	if s.backsOff(view, p, seed, o) {
		return pg.Outcome{}
	}
	g := p.groups[seed]
	req := &pg.Request{Op: o, Peer: s, Addr: s.addr, Epoch: view.epoch, Pool: p.settings, Classes: c.classes, Release: c.opt.release}
	if v.errno != 0 {
		return refused(g, req, v.errno)
	}
	if view.m.IsBlocklisted(s.addr) {
		return refused(g, req, errno.ErrBlocklisted)
	}
	if s.shutOut() {
		return pg.Outcome{}
	}
	if !s.allowed(p, o) {
		return refused(g, req, errno.ErrPermission)
	}
	if p.pool.Flags&osdmap.PoolEIO != 0 {
		return refused(g, req, errno.ErrIO)
	}
	req.Sources = s.sources(view, p, o)
	req.Fail = v.fail
	req.Hold = c.faults.active() || s.osd.disk.slow()
	begun := c.clock.Now()
	in := h.m.Data.Len()
	out := g.Do(req)
	if out.Reply != nil && c.perf.enabled() {
		c.perf.count(p.id, o, c.clock.Now().Sub(begun), in, out.Reply.Payload().Len())
	}
	if out.Wrote && p.pool.QuotaBytes+p.pool.QuotaObjects > 0 {
		c.after(0, func() { c.checkQuota(p.id) })
	}
	return out
}

func refused(g *pg.Group, r *pg.Request, e errno.Errno) pg.Outcome {
	return pg.Outcome{Reply: g.Refuse(r, e)}
}

// serves reports whether the OSD is a group's primary.
func (s *osdSession) serves(p *poolView, seed uint32) bool { return p.primary[seed] == s.osd.id }

// servesAsReplica reports whether a request asks to be served by any OSD of the
// group, as librbd's rbd_read_from_replica_policy makes it do, and may be: it
// only reads, and the pool has copies.
func (s *osdSession) servesAsReplica(p *poolView, seed uint32, o *wire.OSDOp) bool {
	if o.Flags&(wire.FlagBalanceReads|wire.FlagLocalizeReads) == 0 || p.pool.IsErasure() ||
		p.primary[seed] < 0 || !slices.Contains(p.acting[seed], s.osd.id) {
		return false
	}
	for i := range o.Ops {
		op := &o.Ops[i]
		if op.Code == wire.OpCall {
			class, method, _, _ := op.CallParts()
			if write, _ := s.osd.c.classes.Writes(class, method); write {
				return false
			}
		} else if op.Code.IsWrite() || op.Code == wire.OpNotify {
			return false
		}
	}
	return true
}

// sources reads what the copy-from operations of a vector copy.
func (s *osdSession) sources(view *view, p *poolView, o *wire.OSDOp) []pg.Source {
	var out []pg.Source
	for i := range o.Ops {
		op := &o.Ops[i]
		if op.Code != wire.OpCopyFrom && op.Code != wire.OpCopyFrom2 {
			continue
		}
		var in wire.CopyFromInput
		r := denc.NewReader(op.Data.Bytes())
		in.Decode(r)
		src := view.pools[in.Locator.Pool]
		if r.Err() != nil || src == nil {
			out = append(out, pg.Source{Result: errno.ErrInvalid.Result()})
			continue
		}
		key := in.Locator.Key
		if key == "" {
			key = in.Object
		}
		hash := src.pool.Hash(in.Locator.Namespace, key)
		g := src.groups[src.pool.Fold(osdmap.PG{Pool: src.id, Seed: hash}).Seed]
		name := pg.Name{Namespace: in.Locator.Namespace, Object: in.Object}
		if in.Locator.Key != in.Object {
			name.Key = in.Locator.Key
		}
		out = append(out, g.Source(name, op.CopyFrom().Snap, src.settings))
	}
	return out
}

// shareMaps sends the maps that a client lacks.
func (s *osdSession) shareMaps(view *view, have uint32) {
	for {
		sent := s.sent.Load()
		from := max(have, sent)
		if from >= view.epoch {
			return
		}
		if s.sent.CompareAndSwap(sent, view.epoch) {
			for _, m := range s.osd.c.history.since(from+1, s.conn.Features()) {
				_ = s.conn.Send(frontMessage(m, 0))
			}
			return
		}
	}
}

// allowed checks a request against the client's caps.
func (s *osdSession) allowed(p *poolView, o *wire.OSDOp) bool {
	var need access
	var calls []methodCall
	for i := range o.Ops {
		op := &o.Ops[i]
		switch {
		case op.Code == wire.OpCall:
			m := methodCall{read: true}
			m.class, m.method, _, _ = op.CallParts()
			missing := int32(0)
			if m.read, m.write, missing = s.osd.c.classes.Flags(m.class, m.method); missing != 0 {
				return true // whatever the client may do: the answer is that there is none
			}
			calls = append(calls, m)
		case op.Code == wire.OpWatch:
			need |= accessR | accessW
		case op.Code.IsWrite():
			need |= accessW
		default:
			need |= accessR
		}
	}
	return need == 0 && calls == nil || s.caps.allows(p, o, need, calls)
}
