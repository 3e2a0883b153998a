package rados

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// bench is an objecter between a test's maps and a test's OSDs, all inside a
// synctest bubble: settle waits until nothing moves any more.
type bench struct {
	t *testing.T
	o *objecter
	c *Client

	mu     sync.Mutex
	links  map[int32]*testConn // the newest connection to each OSD
	dials  int
	refuse map[int32]bool
	wanted []uint32 // epochs that were asked for
	newest uint32   // what the monitors say
	// unreadable is what was said about the monitors' messages.
	unreadable []error
}

const testGID = 4242

func newBench(t *testing.T, bytes, ops int64) *bench {
	b := &bench{t: t, links: map[int32]*testConn{}, refuse: map[int32]bool{}}
	b.o = newObjecter(slog.New(slog.DiscardHandler), func() uint64 { return testGID }, b.dial, b, newThrottle(bytes, ops))
	b.c = &Client{osds: b.o, log: b.o.log}
	t.Cleanup(b.o.close)
	return b
}

// inBubble runs f with a bench whose map has epoch 1: pool 1 with 8 placement
// groups, all on OSD 0.
func inBubble(t *testing.T, f func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1<<30, 1<<20)
		b.setMap(mapSpec{epoch: 1})
		f(t, b)
	})
}

// mapSpec says how a map differs from the plain one.
type mapSpec struct {
	epoch   uint32
	flags   uint32
	acting  map[uint32][]int32 // by seed; empty: nobody
	pool    osdmap.Pool
	noPool  bool
	erasure bool
	down    []int32
	nonce   uint32 // of all OSDs, another one is another life
	barred  []entity.Addr
	skipped bool
}

func (s mapSpec) build() *osdmap.Map {
	pool := osdmap.NewPool(osdmap.PoolReplicated, 2, 1, max(s.pool.PGNum, 8))
	pool.Flags, pool.LastForceResend = s.pool.Flags, s.pool.LastForceResend
	if s.erasure {
		pool.Type = osdmap.PoolErasure
	}
	m := osdmap.New(denc.UUID{})
	m.Epoch, m.Flags = s.epoch, osdmap.FlagSortBitwise|s.flags
	if !s.noPool {
		m.Pools[1] = pool
	}
	for i := range int32(4) {
		addr := entity.Addr{Type: entity.AddrMsgr2, Nonce: s.nonce, IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 6800)}
		state := osdmap.StateExists | osdmap.StateUp
		if slices.Contains(s.down, i) {
			state = osdmap.StateExists
		}
		m.State, m.Weight, m.Addrs = append(m.State, state), append(m.Weight, 0x10000), append(m.Addrs, entity.AddrVec{addr})
	}
	m.PGTemp, m.OSDOnly.Blocklist = map[osdmap.PG][]int32{}, map[entity.Addr]denc.Time{}
	for seed := range pool.PGNum {
		pg := osdmap.PG{Pool: 1, Seed: seed}
		m.PGTemp[pg] = []int32{0, 1}
		if a, ok := s.acting[seed]; ok {
			m.PGTemp[pg] = a
		}
	}
	for _, a := range s.barred {
		m.OSDOnly.Blocklist[a] = denc.Time{Sec: 1}
	}
	return m
}

// everywhere puts all placement groups on the same OSDs.
func everywhere(osds ...int32) map[uint32][]int32 {
	m := map[uint32][]int32{}
	for seed := range uint32(8) {
		m[seed] = osds
	}
	return m
}

func (b *bench) setMap(s mapSpec) {
	b.mu.Lock()
	b.newest = max(b.newest, s.epoch)
	b.mu.Unlock()
	b.o.install(newMapView(s.build()), s.skipped)
	synctest.Wait()
}

// WantOSDMap implements monitors.
func (b *bench) WantOSDMap(from uint32, _ bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = append(b.wanted, from)
}

// GotOSDMap implements monitors.
func (b *bench) GotOSDMap(uint32) {}

// Unreadable implements monitors.
func (b *bench) Unreadable(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unreadable = append(b.unreadable, err)
}

// NewestOSDMap implements monitors.
func (b *bench) NewestOSDMap(context.Context) (uint32, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.newest, nil
}

func (b *bench) asked(epoch uint32) bool {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.wanted, epoch)
}

// testConn is a connection whose other end is the test.
type testConn struct {
	b    *bench
	osd  int32
	l    *link
	mu   sync.Mutex
	sent []*sentOp
	acks []wire.OSDBackoff
	dead bool
}

// sentOp is a request as it was sent.
type sentOp struct {
	wire.OSDOp
	conn *testConn
	tid  uint64
}

func (b *bench) dial(_ context.Context, osd int32, _ entity.AddrVec, l *link) (osdConn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials++
	if b.refuse[osd] {
		return nil, errors.New("refused")
	}
	c := &testConn{b: b, osd: osd, l: l}
	b.links[osd] = c
	return c, nil
}

func (c *testConn) Send(m *msgr2.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errors.New("dead")
	}
	switch m.Type {
	case wire.TypeOSDOp:
		s := &sentOp{conn: c, tid: m.TID}
		if err := wire.Decode(&s.OSDOp, m.Front); err != nil {
			c.b.t.Error(err)
		}
		if err := s.SplitPayload(m.Data); err != nil {
			c.b.t.Error(err)
		}
		c.sent = append(c.sent, s)
	case wire.TypeOSDBackoff:
		var a wire.OSDBackoff
		if err := wire.Decode(&a, m.Front); err != nil {
			c.b.t.Error(err)
		}
		c.acks = append(c.acks, a)
	}
	return nil
}

// Wait implements osdConn.
func (c *testConn) Wait() {}

// Close implements osdConn.
func (c *testConn) Close() error {
	c.mu.Lock()
	c.dead = true
	c.mu.Unlock()
	return nil
}

// conn returns the newest connection to an OSD, nil for none.
func (b *bench) conn(osd int32) *testConn {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.links[osd]
}

// take returns what was sent to an OSD since the last call.
func (b *bench) take(osd int32) []*sentOp {
	c := b.conn(osd)
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sent
	c.sent = nil
	return s
}

// one is take when exactly one request was sent.
func (b *bench) one(osd int32) *sentOp {
	b.t.Helper()
	s := b.take(osd)
	if len(s) != 1 {
		b.t.Fatalf("%d requests were sent to osd.%d, want one", len(s), osd)
	}
	return s[0]
}

// none fails when something was sent to one of the OSDs.
func (b *bench) none(osds ...int32) {
	b.t.Helper()
	for _, osd := range osds {
		if s := b.take(osd); len(s) > 0 {
			b.t.Fatalf("%d requests were sent to osd.%d: %s %s", len(s), osd, s[0].Ops[0].Code, s[0].Object)
		}
	}
}

// cut loses the connection to an OSD.
func (b *bench) cut(osd int32) {
	c := b.conn(osd)
	_ = c.Close()
	c.l.lost(errors.New("cut by the test"))
	synctest.Wait()
}

// reply answers a request; outs are the operations' outputs.
func (s *sentOp) reply(result int32, outs ...[]byte) {
	s.answer(wire.OSDOpReply{Result: result, Retry: s.Retry, UserVersion: 7}, outs...)
}

func (s *sentOp) answer(rep wire.OSDOpReply, outs ...[]byte) {
	rep.Object, rep.PG, rep.Epoch = s.Object, s.PG.PG, s.Epoch
	rep.Ops = make([]wire.Op, len(s.Ops))
	for i := range rep.Ops {
		rep.Ops[i].Code = s.Ops[i].Code
		if i < len(outs) {
			rep.Ops[i].Data = msgr2.NewData(outs[i])
		}
	}
	if rep.Result < 0 {
		rep.Ops[0].Rval = rep.Result
	}
	h := rep.Header()
	s.conn.l.handle(s.conn, &msgr2.Message{Type: h.Type, TID: s.tid, Front: rep.Append(nil), Data: rep.Payload()})
	synctest.Wait()
}

// push sends a message to the client that is no reply.
func (c *testConn) push(f wire.Front, data []byte) {
	m := &msgr2.Message{Type: f.Header().Type, Front: f.Append(nil)}
	if len(data) > 0 {
		m.Data = msgr2.NewData(data)
	}
	c.l.handle(c, m)
	synctest.Wait()
}

// pending is an operation whose end the test looks at.
type pending struct {
	t    *testing.T
	op   *Op
	done bool
	err  error
}

func (b *bench) io() *IoCtx { return b.c.IoCtx(1) }

// write starts a one-byte write.
func (b *bench) write(oid string, opts ...OpOption) *pending {
	return b.goCtx(context.Background(), b.io(), oid, func(op *Op) { op.Write(0, msgr2.NewData([]byte(oid))) }, opts...)
}

// read starts a read.
func (b *bench) read(oid string) *pending {
	return b.goCtx(context.Background(), b.io(), oid, func(op *Op) { op.Read(0, 10) })
}

func (b *bench) goCtx(ctx context.Context, io *IoCtx, oid string, fill func(*Op), opts ...OpOption) *pending {
	p := &pending{t: b.t, op: NewOp()}
	fill(p.op)
	io.Go(ctx, oid, p.op, func(err error) {
		if p.done {
			p.t.Error("done was called twice")
		}
		p.done, p.err = true, err
	}, opts...)
	return p
}

// wantDone checks the operation's end; want 0 is success.
func (p *pending) wantDone(want errno.Errno) {
	p.t.Helper()
	synctest.Wait()
	switch {
	case !p.done:
		p.t.Fatal("not done")
	case want == 0 && p.err != nil:
		p.t.Fatalf("failed: %v", p.err)
	case want != 0 && !errors.Is(p.err, want):
		p.t.Fatalf("got %v, want %v", p.err, want)
	}
}

func (p *pending) wantPending() {
	p.t.Helper()
	synctest.Wait()
	if p.done {
		p.t.Fatalf("done too early: %v", p.err)
	}
}
