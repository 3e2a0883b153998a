package rados

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/osdmap"
	"github.com/rbdm/rbdm/rados/wire"
)

// errDropped ends a request that must not be sent twice when the session that
// it was sent over is gone. It never leaves the package.
var errDropped = errors.New("session was lost")

// request is one vector on its way. It is part of its Op, so that sending costs
// no allocation for it.
type request struct {
	// Set before it is submitted, then constant.
	op      *Op
	io      *IoCtx
	oid     string
	flags   wire.ReqFlag // without those of tgt
	mtime   denc.Time
	cost    int64
	pgOp    bool    // addresses pg instead of an object
	pg      wire.PG // of a pgOp
	once    bool    // ends with errDropped instead of being sent again
	linger  *linger // whose session this request's becomes
	done    func(error)
	cleanup func() bool // ends the watch on the context

	// Guarded by throttle.mu.
	granted, abandoned bool

	// Owned by who submits it, then guarded by session.mu; a map change, which
	// excludes both, moves it.
	tid      uint64
	gid      uint64 // our id when it was started; repeats must carry the same
	since    uint32 // tick of the start
	tgt      target
	attempts int32
	retries  int32 // answers that asked for another attempt

	sess     atomic.Pointer[session]
	epoch    atomic.Uint32 // of the map by which it was sent last
	sent     atomic.Bool   // at least once
	finished atomic.Bool   // claimed by who completes it
	answered bool
	garbage  *msgr2.Garbage // its answers that could not be read; nil: none
	reply    *msgr2.Message
}

// isWrite reports whether the request changes something.
func (r *request) isWrite() bool { return r.flags&wire.FlagWrite != 0 }

// claim makes the caller the one who completes r.
func (r *request) claim() bool { return r.finished.CompareAndSwap(false, true) }

// scratch holds what encoding and decoding one message needs.
type scratch struct {
	op    wire.OSDOp
	reply wire.OSDOpReply
	rd    denc.Reader
}

// scratchPool is shared by all clients; it holds no state between uses.
var scratchPool = sync.Pool{New: func() any { return &scratch{} }}

func (s *scratch) release() {
	clear(s.op.Ops[:cap(s.op.Ops)])
	clear(s.reply.Ops[:cap(s.reply.Ops)])
	s.op = wire.OSDOp{Ops: s.op.Ops[:0]}
	s.reply.Redirect, s.reply.Object = nil, ""
	scratchPool.Put(s)
}

// Features is the mask of Ceph features that the client advertises: that of
// 18.2, which 16.2 to 20.2 take and which keeps 20.2 on the formats of 18.2; and
// multi-step-retry rules, without which 20.2 turns a client away from a cluster
// that has one.
const Features = osdmap.FeaturesReef | osdmap.FeatureCrushMSR

// opPriority is what librados sends operations with.
const opPriority = 63

// encode builds the message for the next attempt.
func (r *request) encode(epoch uint32) *msgr2.Message {
	sc := scratchPool.Get().(*scratch)
	m := &sc.op
	m.PG = wire.SPG{PG: r.tgt.pg, Shard: r.tgt.place.shard}
	m.Hash = r.tgt.hash
	m.Epoch = epoch
	m.Flags = r.flags | r.tgt.flags | wire.FlagsAlways
	if r.attempts > 1 {
		m.Flags |= wire.FlagRetry
	}
	m.ReqID = wire.ReqID{Name: entity.Name{Type: entity.TypeClient, Num: int64(r.gid)}, TID: r.tid}
	m.ModTime = r.mtime
	m.Locator = r.tgt.locator
	m.Object = r.tgt.oid
	m.Snap = r.io.snap
	if r.isWrite() {
		m.Snap = wire.SnapHead
		m.SnapC = r.io.snapc
	}
	m.Retry = r.attempts - 1
	m.Features = Features
	for _, s := range r.op.steps {
		m.Ops = append(m.Ops, s.Op)
	}
	h := m.Header()
	out := &msgr2.Message{
		Type: h.Type, Version: h.Version, Compat: h.Compat, Priority: opPriority, TID: r.tid,
		Front: m.Append(make([]byte, 0, 320+len(r.tgt.oid)+len(r.io.ns)+wire.OpSize*len(m.Ops)+8*len(m.SnapC.Snaps))),
		Data:  m.Payload(),
	}
	sc.release()
	return out
}

// deliver hands the reply's results to the vector's results and returns the
// vector's error.
func (r *request) deliver(rep *wire.OSDOpReply) error {
	overall := resultError(rep.Result)
	last := r.lastReached(rep)
	for i, s := range r.op.steps {
		switch {
		case s.out == nil:
		case i > last:
			s.out.fail(orError(overall, errShortReply))
		default:
			s.out.complete(rep.Ops[i].Rval, rep.Ops[i].Data)
			if err := s.out.Err(); err != nil && overall == nil && rep.Ops[i].Rval >= 0 && !r.isWrite() {
				overall = err // its output cannot be read
			}
		}
	}
	if overall == nil {
		r.op.result, r.op.version = rep.Result, rep.UserVersion
	}
	return overall
}

// lastReached returns the index of the last operation whose result counts: the
// one that failed the vector, or the last one of the reply.
func (r *request) lastReached(rep *wire.OSDOpReply) int {
	n := min(len(rep.Ops), len(r.op.steps))
	if rep.Result >= 0 {
		return n - 1
	}
	for i := range n {
		if rep.Ops[i].Rval < 0 && r.op.steps[i].Flags&wire.OpFlagFailOK == 0 {
			return i
		}
	}
	return -1
}

var errShortReply = errors.New("reply lacks an operation's result")

func orError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// failResults sets err on all results.
func (r *request) failResults(err error) {
	for _, s := range r.op.steps {
		if s.out != nil {
			s.out.fail(err)
		}
	}
}

// wrap makes err an OpError.
func (r *request) wrap(err error) error {
	return &OpError{
		Op: r.op.String(), Pool: r.io.pool, Namespace: r.io.ns, Object: r.oid, Epoch: r.epoch.Load(), Err: err,
		maybe: r.isWrite() && r.sent.Load() && (isContextErr(err) || errors.Is(err, ErrClosed) || errors.Is(err, ErrGarbage)),
	}
}

// prepare fills the request of op in.
func (io *IoCtx) prepare(oid string, op *Op, opts []OpOption) *request {
	if op.used {
		panic("rados: an Op was used twice")
	}
	op.used = true
	r := &op.req
	r.op, r.io, r.oid, r.flags = op, io, oid, op.flags
	if len(opts) > 0 {
		var o opOptions
		for _, f := range opts {
			f(&o)
		}
		r.flags |= o.flags
		r.mtime = denc.TimeOf(o.mtime)
	}
	if r.isWrite() {
		r.flags &^= wire.FlagRead
		if r.mtime.IsZero() {
			r.mtime = denc.TimeOf(time.Now())
		}
	}
	for _, s := range op.steps {
		r.cost += int64(s.Data.Len())
		switch s.Code {
		case wire.OpRead, wire.OpSparseRead:
			r.cost += int64(min(s.Extent().Len, maxReadCost))
		}
	}
	return r
}

// maxReadCost bounds what one read counts for: its length may be anything,
// objects are not larger than this in practice.
const maxReadCost = 32 << 20
