package pg

import (
	"slices"

	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// Pool is what of a pool matters to its objects.
type Pool struct {
	ID      int64
	Erasure bool
	// Overwrites says that an erasure coded pool takes more than appends.
	Overwrites bool
	// Full, when not 0, is the error of writes that take space: ErrNoSpace or
	// ErrQuota.
	Full errno.Errno
	// PoolSnaps is set for pools with snapshots of the whole pool: theirs is
	// the context of every write.
	PoolSnaps *wire.SnapContext
	// Removed says which snapshots are gone though not trimmed yet; nil for
	// none.
	Removed func(snap uint64) bool
	// Align is what the offset of appends must be a multiple of; 0 is any.
	Align uint64
	// PGNum is the number of groups.
	PGNum uint32
}

// Peer is the connection that a request came by. Peers are compared: a watch
// belongs to the connection that registered it last.
type Peer interface {
	// Send passes a watch event on. It must not block.
	Send(m *wire.WatchNotify, data msgr2.Data)
}

// Request is one MOSDOp.
type Request struct {
	Op    *wire.OSDOp
	Peer  Peer
	Addr  entity.Addr // of the client
	Epoch uint32      // of the OSD's map
	Pool  Pool
	// Release is the OSD's: 16, 18 or 20.
	Release int
	// Classes executes object class methods; nil knows none.
	Classes Classes
	// Sources holds, for the copy-from operations of the vector in order, what
	// they copy.
	Sources []Source
	// Fail is asked before every operation; a result other than 0 becomes the
	// operation's. It may be nil.
	Fail func(i int, op *wire.Op) int32
	// Hold says that the answer may come late or never: the Outcome then has a
	// Write to acknowledge.
	Hold bool
}

// Source is an object's content, taken by Group.Source.
type Source struct {
	Result  int32
	Version uint64
	content content
}

// Outcome says what became of a request.
type Outcome struct {
	// Reply is nil when the request was dropped without an answer.
	Reply *wire.OSDOpReply
	// Wrote says that the request changed the object.
	Wrote bool
	// Write is what a crash may take before it is acknowledged; nil for nothing.
	Write *Write
}

// snapc returns the snap context that a write to o is made under.
func (r *Request) snapc(o *object) wire.SnapContext {
	sc := r.sentContext()
	if sc.Seq < o.seq {
		return wire.SnapContext{Seq: o.seq}
	}
	return sc
}

// sentContext returns the snap context that came with the request, or the pool's
// own, without snapshots that are gone.
func (r *Request) sentContext() wire.SnapContext {
	sc := r.Op.SnapC
	if r.Pool.PoolSnaps != nil {
		sc = *r.Pool.PoolSnaps
	}
	if r.Pool.Removed != nil && slices.ContainsFunc(sc.Snaps, r.Pool.Removed) {
		sc.Snaps = slices.DeleteFunc(slices.Clone(sc.Snaps), r.Pool.Removed)
	}
	return sc
}

// validContext reports whether a snap context's ids descend from its sequence.
func validContext(sc wire.SnapContext) bool {
	last := sc.Seq
	for i, id := range sc.Snaps {
		if id > last || i > 0 && id == last {
			return false
		}
		last = id
	}
	return true
}

// MayWrite reports whether the vector is one that the OSD orders as a write,
// and the error of a class or method that does not exist.
func MayWrite(m *wire.OSDOp, classes Classes) (write bool, result int32) {
	for i := range m.Ops {
		op := &m.Ops[i]
		switch {
		case op.Code == wire.OpWatch && op.Watch().Op == wire.WatchOpPing:
		case op.Code == wire.OpCall:
			class, method, _, ok := op.CallParts()
			if !ok {
				return write, inval
			}
			if classes == nil {
				return write, errno.ErrNotSupported.Result()
			}
			w, r := classes.Writes(class, method)
			if r != 0 {
				return write, r
			}
			write = write || w
		case op.Code.IsWrite():
			write = true
		}
	}
	return write, 0
}

const (
	maxObjectName = 2048
	maxNamespace  = 256
	maxRequestOps = 16 << 10
	// maxObjectSize is osd_max_object_size.
	maxObjectSize = 128 << 20
	maxXattrName  = 100
	maxReturnVec  = 64
)

var (
	inval  = errno.ErrInvalid.Result()
	noent  = errno.ErrNotFound.Result()
	notsup = errno.ErrNotSupported.Result()
)

func (g *Group) reply(r *Request, result int32) *wire.OSDOpReply {
	m := r.Op
	return &wire.OSDOpReply{
		Object: m.Object, PG: m.PG.PG,
		Flags:  m.Flags | wire.FlagAck | wire.FlagOnDisk,
		Result: result, Epoch: r.Epoch, Ops: m.Ops, Retry: m.Retry,
	}
}

// replyEarly is reply to a request that is not executed, or not again: an OSD
// answers these elsewhere, and acknowledges only what the client asked for.
func (g *Group) replyEarly(r *Request, result int32) *wire.OSDOpReply {
	clearOutputs(r.Op.Ops)
	rep := g.reply(r, result)
	rep.Flags = r.Op.Flags
	return rep
}

// Refuse answers a request with an error, without executing it.
func (g *Group) Refuse(r *Request, e errno.Errno) *wire.OSDOpReply {
	return g.replyEarly(r, e.Result())
}

func clearOutputs(ops []wire.Op) {
	for i := range ops {
		ops[i].Data = msgr2.Data{}
	}
}

func checkNames(m *wire.OSDOp) int32 {
	switch {
	case len(m.Object) > maxObjectName || len(m.Locator.Key) > maxObjectName || len(m.Locator.Namespace) > maxNamespace:
		return errno.ErrNameTooLong.Result()
	case m.Object == "", len(m.Ops) == 0, m.Flags&wire.FlagParallelExec != 0:
		return inval
	case len(m.Ops) > maxRequestOps:
		return errno.ErrTooBig.Result()
	}
	return 0
}

// Do executes a request. Inputs are replaced by outputs in its operations.
func (g *Group) Do(r *Request) Outcome {
	m := r.Op
	if len(m.Ops) > 0 && m.Ops[0].Code.IsPG() {
		return Outcome{Reply: g.doPG(r)}
	}
	write, result := MayWrite(m, r.Classes)
	if result == 0 {
		result = checkNames(m)
	}
	if result == 0 && write && m.Snap != wire.SnapHead {
		result = inval
	}
	for i := range m.Ops {
		if result == 0 && (m.Ops[i].Code == wire.OpListSnaps) != (m.Snap == wire.SnapDir) {
			result = inval
		}
	}
	if result != 0 {
		return Outcome{Reply: g.replyEarly(r, result)}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return Outcome{}
	}
	if write {
		if d := g.dups[m.ReqID]; d != nil {
			return Outcome{Reply: g.repeat(r, d), Write: g.pending(m.ReqID)}
		}
	}
	key := m.Locator.Key
	if key == m.Object {
		key = ""
	}
	name := Name{m.Locator.Namespace, m.Object, key}
	o := g.objects[name]
	if o == nil {
		if !write {
			g.seenName(name)
			return Outcome{Reply: g.missing(r)}
		}
		o = g.object(name, m.Hash)
	}
	t := &txn{g: g, o: o, req: r, before: o.head.data.Size()}
	out := g.run(t, write)
	g.drop(o)
	return out
}

// pending returns the write without an answer of a request that is sent again.
func (g *Group) pending(id wire.ReqID) *Write {
	for _, w := range g.unacked {
		if w.ID == id {
			return w
		}
	}
	return nil
}

func (g *Group) repeat(r *Request, d *dup) *wire.OSDOpReply {
	rep := g.replyEarly(r, d.result)
	if len(d.ops) > 0 {
		rep.Ops = d.ops
	}
	rep.ReplayVersion, rep.UserVersion = d.version, d.userVersion
	rep.BadReplay = wire.EVersion{Version: d.userVersion, Epoch: d.version.Epoch}
	return rep
}

// missing answers a read of an object that is not there.
func (g *Group) missing(r *Request) *wire.OSDOpReply {
	return g.replyEarly(r, noent)
}

// run finds what the request is about, executes it and answers.
func (g *Group) run(t *txn, write bool) Outcome {
	r, m, o := t.req, t.req.Op, t.o
	if !write {
		g.seen(o)
	}
	t.at, t.existed, t.stored = &o.head, o.exists, o.stored()
	if !write && m.Snap != wire.SnapDir {
		c, _, ok := t.resolve(m.Snap)
		if !ok {
			return Outcome{Reply: g.missing(r)}
		}
		if c != nil {
			t.at, t.onClone = &c.content, true
		}
	}
	if write && m.Flags&wire.FlagOrderSnap != 0 && r.Pool.PoolSnaps == nil && m.SnapC.Seq < o.seq {
		return Outcome{Reply: g.replyEarly(r, errno.ErrOldSnapContext.Result())}
	}
	if write && !validContext(r.sentContext()) {
		clearOutputs(m.Ops)
		return Outcome{Reply: g.reply(r, inval)}
	}
	result, unlogged := t.execute(), false
	if t.sourceFailed != 0 {
		t.abandon()
		if m.Flags&wire.FlagReturnVec == 0 {
			clearOutputs(m.Ops)
		}
		rep := g.reply(r, t.sourceFailed)
		rep.Flags = m.Flags
		return Outcome{Reply: rep}
	}
	version := o.head.version
	if t.onClone {
		version = t.at.version
	}
	if result >= 0 && t.changed && t.grew() && r.Pool.Full != 0 && m.Flags&wire.FlagFullForce == 0 {
		if m.Flags&wire.FlagFullTry == 0 {
			t.abandon()
			return Outcome{}
		}
		result, unlogged = r.Pool.Full.Result(), true
	}
	if result >= 0 && t.changed && write {
		result = t.sealOutputs(result)
		unlogged = unlogged || result < 0 // an OSD notes neither
	}
	if result < 0 {
		t.abandon()
		g.seen(o)
		rep := g.reply(r, result)
		rep.UserVersion = version
		switch {
		case result == noent:
			rep.UserVersion = g.userVersion // the next one will be higher
		case !write:
			rep.UserVersion = 0
		case t.copied > 0:
			rep.UserVersion = t.copied
		}
		if write && !unlogged {
			g.logError(r, result)
		}
		return Outcome{Reply: rep}
	}
	if t.changed && !t.stored && !o.stored() {
		// What was made and removed at once was never there.
		t.rollback()
		t.changed = false
		if t.copied > 0 {
			version = t.copied
		}
	}
	if !t.changed {
		t.rollback()
		g.seen(o)
		g.apply(t)
		rep := g.reply(r, result)
		rep.UserVersion = version
		if write {
			g.logError(r, result)
		}
		return Outcome{Reply: rep}
	}
	t.commit()
	held := g.hold(t)
	g.apply(t)
	rep := g.reply(r, result)
	rep.ReplayVersion = wire.EVersion{Version: g.version, Epoch: r.Epoch}
	rep.UserVersion = o.head.version
	rep.BadReplay = wire.EVersion{Version: o.head.version, Epoch: r.Epoch}
	d := &dup{result: result, version: rep.ReplayVersion, userVersion: rep.UserVersion}
	if m.Flags&wire.FlagReturnVec != 0 {
		d.ops = slices.Clone(m.Ops)
	}
	g.remember(m.ReqID, d)
	return Outcome{Reply: rep, Wrote: true, Write: held}
}

// errorsInLog is the release from which on OSDs remember what each operation of a
// failed write had for a result.
const errorsInLog = 18

// logError notes a write that failed or did nothing: its answer is remembered, and
// it takes a place in the log.
func (g *Group) logError(r *Request, result int32) {
	g.version++
	d := &dup{result: result, version: wire.EVersion{Version: g.version, Epoch: r.Epoch}}
	if r.Op.Flags&wire.FlagReturnVec != 0 || result < 0 && r.Release >= errorsInLog {
		d.ops = slices.Clone(r.Op.Ops)
	}
	g.remember(r.Op.ReqID, d)
}

// sealOutputs does what an OSD does to the results of a write: without
// RETURNVEC they are thrown away, with it they must be small.
func (t *txn) sealOutputs(result int32) int32 {
	ops := t.req.Op.Ops
	if t.req.Op.Flags&wire.FlagReturnVec == 0 {
		for i := range ops {
			ops[i].Data = msgr2.Data{}
		}
		return 0
	}
	for i := range ops {
		if ops[i].Data.Len() > maxReturnVec {
			result = errno.ErrOverflow.Result()
			ops[i].Data, ops[i].Rval = msgr2.Data{}, result
		}
	}
	return result
}

// pass executes the vector up to the first failure.
func (t *txn) pass() int32 {
	var result int32
	ops := t.req.Op.Ops
	source := 0
	for i := range ops {
		if !ops[i].Code.IsWrite() {
			t.lastReader = i
		}
		if ops[i].Code == wire.OpOmapRmKeyRange && i > 0 {
			t.durable = &store.Omap{}
		}
	}
	for i := range ops {
		t.index = i
		op := &ops[i]
		before := result
		result = t.fault(op)
		if result == 0 {
			var out msgr2.Data
			out, result = t.step(op, &source)
			op.Data = t.output(op, out)
		} else {
			op.Data = msgr2.Data{}
		}
		if result == 0 && (t.keeps || keepsResult(op.Code)) {
			result = max(before, 0)
		}
		op.Rval = result
		if result < 0 && result != inProgress && op.Flags&wire.OpFlagFailOK != 0 {
			result = 0
		}
		if result < 0 {
			for j := i + 1; j < len(ops); j++ {
				ops[j].Data, ops[j].Rval = msgr2.Data{}, 0
			}
			break
		}
	}
	return result
}

// keepsResult reports whether an operation that succeeds leaves the result of the
// one before it (which may be positive), as some do in an OSD.
func keepsResult(code wire.OpCode) bool {
	switch code {
	case wire.OpStat, wire.OpMapExt, wire.OpNotify, wire.OpNotifyAck, wire.OpAssertVer, wire.OpOmapGetKeys, wire.OpOmapGetVals, wire.OpOmapGetHeader, wire.OpOmapGetByKeys, wire.OpOmapCmp:
		return true
	}
	return false
}

// reader is a Reader over an operation's whole input.
func reader(op *wire.Op) *denc.Reader { return denc.NewReader(op.Data.Bytes()) }
