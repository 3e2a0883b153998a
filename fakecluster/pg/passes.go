package pg

import (
	"slices"

	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// The shards of an erasure coded pool, and what copy-from copies, are read
// asynchronously, not within a vector: an OSD executes the vector up to an operation
// that cannot go on without the data (or all of it when none needs it at once),
// reads, and then executes the vector anew, from its beginning. What the operations
// before have put out is not taken back, so that it comes twice.

// passes is what a vector keeps from one execution to the next.
type passes struct {
	inputs  []wire.Op
	outputs []msgr2.Data
	faults  []int32 // what Request.Fail said
	ready   []bool  // the data that the operation reads was read
	waits   bool    // data is to be read for this pass
}

// execute runs the vector up to the first failure.
func (t *txn) execute() int32 {
	ops := t.req.Op.Ops
	if !t.req.Pool.Erasure && !slices.ContainsFunc(ops, copies) {
		return t.pass()
	}
	p := &passes{inputs: slices.Clone(ops), outputs: make([]msgr2.Data, len(ops)), faults: make([]int32, len(ops)), ready: make([]bool, len(ops))}
	for i := range ops {
		if t.req.Fail != nil {
			p.faults[i] = t.req.Fail(i, &ops[i])
		}
	}
	t.passes = p
	fresh := *t
	for {
		result := t.pass()
		if !p.waits {
			return result
		}
		t.abandon()
		p.waits = false
		*t = fresh
		for i := range ops { // with the arguments as the first time has left them
			p.inputs[i].Code, p.inputs[i].Union = ops[i].Code, ops[i].Union
		}
		copy(ops, p.inputs)
	}
}

func copies(op wire.Op) bool { return op.Code == wire.OpCopyFrom || op.Code == wire.OpCopyFrom2 }

// fault returns the result that the operation in execution is to fail with.
func (t *txn) fault(op *wire.Op) int32 {
	switch {
	case t.passes != nil:
		return t.passes.faults[t.index]
	case t.req.Fail != nil:
		return t.req.Fail(t.index, op)
	}
	return 0
}

// output adds what the operation in execution has put out in this pass.
func (t *txn) output(op *wire.Op, out msgr2.Data) msgr2.Data {
	p := t.passes
	if p == nil {
		return out
	}
	if replaces(op.Code) || p.ready[t.index] {
		p.outputs[t.index] = msgr2.Data{}
	}
	p.outputs[t.index].AppendData(out)
	return p.outputs[t.index]
}

// replaces reports whether an operation's output is put in the place of the one
// before, for an OSD's store does so.
func replaces(code wire.OpCode) bool {
	switch code {
	case wire.OpRead, wire.OpMapExt, wire.OpGetXattr, wire.OpOmapGetHeader:
		return true
	}
	return false
}

// await reports whether the operation in execution has to wait for its data.
func (t *txn) await() bool {
	p := t.passes
	if p == nil || p.ready[t.index] {
		return false
	}
	p.ready[t.index], p.waits = true, true
	return true
}

// shardRead is a read of an erasure coded pool, plain or sparse, which is the
// same but for the form of its output.
func (t *txn) shardRead(op *wire.Op, whole bool) (msgr2.Data, int32) {
	e := t.extent(op)
	size := t.sizeFor(e)
	if whole && e.Len == 0 {
		e.Len = size
	}
	n := min(e.Len, size-min(size, e.Off))
	if whole && t.passes.ready[t.index] {
		n = e.Len // what was read
	}
	if n == 0 {
		if whole {
			e.Len = 0
			op.SetExtent(e)
			return msgr2.Data{}, 0
		}
		none := wire.SparseReadOutput{}
		out := none.Encode()
		if t.req.Release < wholeSparse {
			out = out.Slice(0, 4) // only that there are no extents
		}
		return out, 0
	}
	if whole {
		e.Len = n
		op.SetExtent(e)
	}
	if t.await() {
		return msgr2.Data{}, 0
	}
	d, result := t.shards(e.Off, n)
	if result != 0 {
		return msgr2.Data{}, result
	}
	if whole {
		return d, 0
	}
	e.Len = n
	op.SetExtent(e)
	out := wire.SparseReadOutput{Extents: []wire.Range{{Off: e.Off, Len: n}}, Data: d}
	return out.Encode(), 0
}

// wholeSparse is the first release in which a sparse read of shards that finds nothing
// has its data, of 0 bytes, in the answer.
const wholeSparse = 20

// shards reads what the store has.
func (t *txn) shards(off, n uint64) (msgr2.Data, int32) {
	if !t.stored {
		return msgr2.Data{}, errno.ErrIO.Result()
	}
	d := t.at.data.Read(off, n)
	if missing := n - uint64(d.Len()); missing > 0 {
		var zeros store.Bytes
		zeros.Truncate(missing)
		d.AppendData(zeros.Read(0, missing))
	}
	return d, 0
}
