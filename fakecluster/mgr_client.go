package fakecluster

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// inhouse is the manager as a client of its own cluster, as its module
// rbd_support is one: what it does to objects goes through the placement groups
// like any client's request, without sockets. Cluster.mu must not be held while
// it works.
type inhouse struct {
	c    *Cluster
	name entity.Name
	addr entity.Addr
	tid  atomic.Uint64

	mu      sync.Mutex
	watches map[uint64]func(*wire.WatchNotify, []byte)
	results map[uint64]chan []byte // what notifies of ours were answered, by cookie
}

func newInhouse(c *Cluster) *inhouse {
	a := c.mgr.address()
	a.Nonce = c.nonce()
	return &inhouse{
		c: c, name: entity.Name{Type: entity.TypeClient, Num: int64(c.keys.NewGlobalID())}, addr: a,
		watches: map[uint64]func(*wire.WatchNotify, []byte){}, results: map[uint64]chan []byte{},
	}
}

// where is a pool and a namespace in it.
type where struct {
	pool int64
	ns   string
}

// group finds an object's placement group; nil when the pool is gone.
func (h *inhouse) group(at where, object string) (*view, *pg.Group, *poolView, uint32) {
	v := h.c.view.Load()
	p := v.pools[at.pool]
	if p == nil {
		return v, nil, nil, 0
	}
	hash := p.pool.Hash(at.ns, object)
	return v, p.groups[p.pool.Fold(osdmap.PG{Pool: at.pool, Seed: hash}).Seed], p, hash
}

// operate executes operations on the head of an object.
func (h *inhouse) operate(at where, object string, sc wire.SnapContext, ops ...wire.Op) ([]wire.Op, errno.Errno) {
	return h.operateAt(at, object, wire.SnapHead, sc, ops...)
}

// operateAt is operate on the state of a snapshot.
func (h *inhouse) operateAt(at where, object string, snap uint64, sc wire.SnapContext, ops ...wire.Op) ([]wire.Op, errno.Errno) {
	v, g, p, hash := h.group(at, object)
	if g == nil {
		return nil, errno.ErrNotFound
	}
	tid := h.tid.Add(1)
	req := &wire.OSDOp{
		PG: wire.SPG{PG: wire.PG{Pool: at.pool, Seed: hash}}, Hash: hash, Epoch: v.epoch, Object: object,
		Flags: wire.FlagFullForce | wire.FlagReturnVec, ReqID: wire.ReqID{Name: h.name, TID: tid},
		Locator: wire.ObjectLocator{Pool: at.pool, Namespace: at.ns}, ModTime: denc.TimeOf(h.c.clock.Now()),
		Snap: snap, SnapC: sc, Ops: ops,
	}
	out := g.Do(&pg.Request{Op: req, Peer: h, Addr: h.addr, Epoch: v.epoch, Pool: p.settings, Classes: h.c.classes})
	switch {
	case out.Reply == nil:
		return nil, errno.ErrCanceled
	case out.Reply.Result < 0:
		return out.Reply.Ops, errno.Errno(-out.Reply.Result)
	}
	return out.Reply.Ops, 0
}

// call executes a method of an object class.
func (h *inhouse) call(at where, object, class, method string, in []byte) ([]byte, errno.Errno) {
	ops, e := h.operate(at, object, wire.SnapContext{}, callOp(class, method, in))
	if e != 0 || len(ops) == 0 {
		return nil, e
	}
	return ops[0].Data.Bytes(), 0
}

func callOp(class, method string, in []byte) wire.Op {
	op := wire.Op{Code: wire.OpCall, Data: msgr2.NewData(append([]byte(class+method), in...))}
	op.SetCall(wire.CallArg{ClassLen: uint8(len(class)), MethodLen: uint8(len(method)), InputLen: uint32(len(in))})
	return op
}

// rbd calls a method of class rbd.
func (h *inhouse) rbd(at where, object, method string, in []byte) errno.Errno {
	_, e := h.call(at, object, "rbd", method, in)
	return e
}

// remove removes an object, which need not be there.
func (h *inhouse) remove(at where, object string, sc wire.SnapContext) errno.Errno {
	_, e := h.operate(at, object, sc, wire.Op{Code: wire.OpDelete})
	if e == errno.ErrNotFound {
		return 0
	}
	return e
}

// omap returns an object's omap; nil when it is not there.
func (h *inhouse) omap(at where, object string) map[string][]byte {
	_, g, _, _ := h.group(at, object)
	if g == nil {
		return nil
	}
	return g.OmapAll(pg.Name{Namespace: at.ns, Object: object})
}

// read returns an object's bytes.
func (h *inhouse) read(at where, object string) ([]byte, errno.Errno) {
	op := wire.Op{Code: wire.OpRead}
	op.SetExtent(wire.Extent{})
	ops, e := h.operate(at, object, wire.SnapContext{}, op)
	if e != 0 {
		return nil, e
	}
	return ops[0].Data.Bytes(), 0
}

func (h *inhouse) writeFull(at where, object string, p []byte, sc wire.SnapContext) errno.Errno {
	op := wire.Op{Code: wire.OpWriteFull, Data: msgr2.NewData(p)}
	op.SetExtent(wire.Extent{Len: uint64(len(p))})
	_, e := h.operate(at, object, sc, op)
	return e
}

// watch watches an object and returns the cookie.
func (h *inhouse) watch(at where, object string, f func(*wire.WatchNotify, []byte)) (uint64, errno.Errno) {
	cookie := h.tid.Add(1)
	h.mu.Lock()
	h.watches[cookie] = f
	h.mu.Unlock()
	op := wire.Op{Code: wire.OpWatch}
	op.SetWatch(wire.WatchArg{Cookie: cookie, Op: wire.WatchOpWatch, Timeout: 3600})
	_, e := h.operate(at, object, wire.SnapContext{}, op)
	if e != 0 {
		h.forget(cookie)
	}
	return cookie, e
}

func (h *inhouse) unwatch(at where, object string, cookie uint64) {
	op := wire.Op{Code: wire.OpWatch}
	op.SetWatch(wire.WatchArg{Cookie: cookie, Op: wire.WatchOpUnwatch})
	_, _ = h.operate(at, object, wire.SnapContext{}, op)
	h.forget(cookie)
}

func (h *inhouse) forget(cookie uint64) {
	h.mu.Lock()
	delete(h.watches, cookie)
	h.mu.Unlock()
}

// Inside implements pg.Insider.
func (h *inhouse) Inside() {}

// Send implements pg.Peer: it runs with the group locked.
func (h *inhouse) Send(m *wire.WatchNotify, data msgr2.Data) {
	h.mu.Lock()
	f := h.watches[m.Cookie]
	done := h.results[m.Cookie]
	h.mu.Unlock()
	switch {
	case m.Event == wire.WatchEventComplete && done != nil:
		select {
		case done <- data.Bytes():
		default:
		}
	case m.Event == wire.WatchEventNotify && f != nil:
		n := *m
		h.c.spawn(func() { f(&n, n.Payload) })
	}
}

// ack answers a notify that came by a watch.
func (h *inhouse) ack(at where, object string, m *wire.WatchNotify, reply []byte) {
	in := wire.NotifyAckInput{NotifyID: m.NotifyID, Cookie: m.Cookie, Reply: reply}
	_, _ = h.operate(at, object, wire.SnapContext{}, wire.Op{Code: wire.OpNotifyAck, Data: msgr2.NewData(in.Append(nil))})
}

// notifyTimeout is how long watchers may take to answer, as RBD has it.
const notifyTimeout = 5 * time.Second

// notify tells an object's watchers and returns what they answered. It need not
// exist.
func (h *inhouse) notify(ctx context.Context, at where, object string, payload []byte) (wire.NotifyReply, errno.Errno) {
	var r wire.NotifyReply
	cookie := h.tid.Add(1)
	done := make(chan []byte, 1)
	h.mu.Lock()
	h.results[cookie] = done
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.results, cookie)
		h.mu.Unlock()
	}()
	in := wire.NotifyInput{Timeout: uint32(notifyTimeout / time.Second), Payload: payload}
	op := wire.Op{Code: wire.OpNotify, Data: msgr2.NewData(in.Append(nil))}
	op.SetNotifyCookie(cookie)
	if _, e := h.operate(at, object, wire.SnapContext{}, op); e != 0 {
		return r, e
	}
	select {
	case p := <-done:
		rd := denc.NewReader(p)
		r.Decode(rd)
		if rd.Err() != nil {
			return r, errno.ErrIO
		}
		return r, 0
	case <-ctx.Done():
		return r, errno.ErrCanceled
	}
}

// objects calls f for every object of a pool and namespace whose name begins
// with prefix.
func (h *inhouse) objects(at where, prefix string, f func(name string)) {
	p := h.c.view.Load().pools[at.pool]
	if p == nil {
		return
	}
	for _, g := range p.groups {
		for _, n := range g.Names(at.ns, prefix) {
			f(n)
		}
	}
}

// stored returns a decoder of one value of an omap.
func stored[T any, P interface {
	*T
	Decode(*denc.Reader)
}](m map[string][]byte, key string) (v T, ok bool) {
	p, ok := m[key]
	if !ok {
		return v, false
	}
	r := denc.NewReader(p)
	P(&v).Decode(r)
	return v, r.Err() == nil
}

// namespaces returns the namespaces of RBD in a pool, "" first.
func (h *inhouse) namespaces(pool int64) []string {
	out := []string{""}
	for k := range maps.Keys(h.omap(where{pool: pool}, "rbd_namespace")) {
		out = append(out, k[len("name_"):])
	}
	return out
}
