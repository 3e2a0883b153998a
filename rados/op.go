package rados

import (
	"strings"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/wire"
)

// inlineSteps is how many operations an Op holds without a further allocation.
// RBD's data path needs at most three (assertion, hint, write).
const inlineSteps = 4

// Op is a vector of operations on one object that the OSD applies in order and,
// when it writes, atomically: the first failure undoes and ends it, unless that
// operation was marked by FailOK. Its methods append an operation each and
// return where the result will be. Results are valid after Operate returned or
// the function given to Go was called.
//
// An Op is built and used by one goroutine and is used once.
type Op struct {
	steps  []*step
	inline [inlineSteps]step
	list   [inlineSteps]*step
	flags  wire.ReqFlag
	used   bool

	req     request
	result  int32
	version uint64
}

// step is one operation and the place of its result.
type step struct {
	wire.Op
	out result
}

// result receives an operation's own result and output.
type result interface {
	complete(rval int32, data msgr2.Data)
	fail(err error)
	Err() error
}

// NewOp returns an empty vector.
func NewOp() *Op {
	op := &Op{}
	op.steps = op.list[:0]
	return op
}

// Len returns the number of operations.
func (op *Op) Len() int { return len(op.steps) }

// String lists the operations' names.
func (op *Op) String() string {
	names := make([]string, len(op.steps))
	for i, s := range op.steps {
		names[i] = s.Code.String()
	}
	return strings.Join(names, "+")
}

// IsWrite reports whether the vector is sent as a write.
func (op *Op) IsWrite() bool { return op.flags&wire.FlagWrite != 0 }

// Version returns the object's version after the vector was applied, the one
// that AssertVersion talks about.
func (op *Op) Version() uint64 { return op.version }

// Release gives the buffers of the results back for reuse. It is optional;
// nothing that aliases a result may be used after it.
func (op *Op) Release() {
	if m := op.req.reply; m != nil {
		op.req.reply = nil
		m.Release()
	}
}

// Alone reports, of a vector that was carried out, that no copy of its message can
// still be on its way: it was sent once, and answered. Only then may the bytes that
// it wrote be overwritten; a copy to an OSD that is no longer the right one may be
// in a queue for a while.
func (op *Op) Alone() bool { return op.req.answered && op.req.attempts == 1 }

// add appends an operation. The flag READ or WRITE follows from the code.
func (op *Op) add(code wire.OpCode, out result) *step {
	var s *step
	if n := len(op.steps); n < inlineSteps {
		s = &op.inline[n]
	} else {
		s = &step{}
	}
	s.Code, s.out = code, out
	op.steps = append(op.steps, s)
	if code.IsWrite() {
		op.flags |= wire.FlagWrite
	} else {
		op.flags |= wire.FlagRead
	}
	return s
}

// addBytes appends an operation whose input is p, which is retained.
func (op *Op) addBytes(code wire.OpCode, out result, p []byte) *step {
	s := op.add(code, out)
	if len(p) > 0 {
		s.Data = msgr2.NewData(p)
	}
	return s
}

// FailOK marks the operation added last: when it fails the vector goes on. The
// failure is then only in that operation's own result.
func (op *Op) FailOK() *Op { return op.Flag(wire.OpFlagFailOK) }

// Flag sets flags (advice, mostly) of the operation added last.
func (op *Op) Flag(f wire.OpFlag) *Op {
	if n := len(op.steps); n > 0 {
		op.steps[n-1].Flags |= f
	}
	return op
}

// AssertExists fails the vector with ErrNotFound when the object is missing.
func (op *Op) AssertExists() { op.add(wire.OpStat, nil) }

// AssertVersion fails the vector with ErrRange when the object's version is
// higher than v, and with ErrOverflow when it is lower.
func (op *Op) AssertVersion(v uint64) { op.add(wire.OpAssertVer, nil).SetAssertVer(v) }

// Create makes the object. When exclusive it fails with ErrExists if it is
// there.
func (op *Op) Create(exclusive bool) {
	s := op.add(wire.OpCreate, nil)
	if exclusive {
		s.Flags |= wire.OpFlagExcl
	}
}

// Read reads up to n bytes from off; fewer at the object's end. The result
// aliases the receive buffer.
func (op *Op) Read(off, n uint64) *Bytes {
	out := &Bytes{}
	op.add(wire.OpRead, out).SetExtent(wire.Extent{Off: off, Len: n})
	return out
}

// SparseRead reads the parts of off..off+n that hold data.
func (op *Op) SparseRead(off, n uint64) *Sparse {
	out := &Sparse{}
	op.add(wire.OpSparseRead, out).SetExtent(wire.Extent{Off: off, Len: n})
	return out
}

// Stat reads the object's size and time of modification.
func (op *Op) Stat() *StatResult {
	out := &StatResult{}
	op.add(wire.OpStat, out)
	return out
}

func (op *Op) write(code wire.OpCode, off uint64, data msgr2.Data) {
	s := op.add(code, nil)
	s.Data = data
	s.SetExtent(wire.Extent{Off: off, Len: uint64(data.Len())})
}

// Write writes data at off. The bytes are not copied: they must not change
// until the operation is done, and not before Client.Close when it ended with
// an error for which MaybeApplied is true.
func (op *Op) Write(off uint64, data msgr2.Data) { op.write(wire.OpWrite, off, data) }

// WriteFull replaces the object's data. The bytes are not copied.
func (op *Op) WriteFull(data msgr2.Data) { op.write(wire.OpWriteFull, 0, data) }

// Append writes data at the object's end. The bytes are not copied.
func (op *Op) Append(data msgr2.Data) { op.write(wire.OpAppend, 0, data) }

// WriteSame fills off..off+n with repetitions of data, whose length must divide
// n.
func (op *Op) WriteSame(off, n uint64, data msgr2.Data) {
	s := op.add(wire.OpWriteSame, nil)
	s.Data = data
	s.SetWriteSame(wire.WriteSameArg{Off: off, Len: n, DataLen: uint64(data.Len())})
}

// Zero frees n bytes from off. It does not create or lengthen the object.
func (op *Op) Zero(off, n uint64) {
	op.add(wire.OpZero, nil).SetExtent(wire.Extent{Off: off, Len: n})
}

// Truncate makes the object size bytes long.
func (op *Op) Truncate(size uint64) {
	op.add(wire.OpTruncate, nil).SetExtent(wire.Extent{Off: size})
}

// Remove deletes the object.
func (op *Op) Remove() { op.add(wire.OpDelete, nil) }

// Rollback makes the object what it was at a snapshot.
func (op *Op) Rollback(snap uint64) { op.add(wire.OpRollback, nil).SetRollbackSnap(snap) }

// SetAllocHint tells the object store what sizes (bytes) to expect; flags as in
// wire.AllocHint. Its failure never fails the vector.
func (op *Op) SetAllocHint(objectSize, writeSize uint64, flags uint32) {
	s := op.add(wire.OpSetAllocHint, nil)
	s.SetAllocHint(wire.AllocHint{ObjectSize: objectSize, WriteSize: writeSize, Flags: flags})
	s.Flags |= wire.OpFlagFailOK
}

// CompareExtent fails the vector with a *CompareError when the object's bytes
// from off on are not data; a missing object compares as zeros.
func (op *Op) CompareExtent(off uint64, data msgr2.Data) {
	s := op.add(wire.OpCmpExt, nil)
	s.Data = data
	s.SetExtent(wire.Extent{Off: off, Len: uint64(data.Len())})
}

// Checksum reads checksums of n bytes (0: to the end) from off, one for every
// chunk bytes (0: one for all), each started with the initial value init, of
// which the low half counts for the algorithms with 4 bytes.
func (op *Op) Checksum(t wire.ChecksumType, init, off, n uint64, chunk uint32) *Checksums {
	out := &Checksums{typ: t}
	var p []byte
	if t.Size() == 8 {
		p = denc.AppendU64(nil, init)
	} else {
		p = denc.AppendU32(nil, uint32(init))
	}
	op.addBytes(wire.OpChecksum, out, p).SetChecksum(wire.ChecksumArg{Off: off, Len: n, ChunkSize: chunk, Type: t})
	return out
}

// Call runs a method of an object class that only reads.
func (op *Op) Call(class, method string, in []byte) *Bytes {
	return op.call(class, method, msgr2.NewData(in))
}

func (op *Op) call(class, method string, in msgr2.Data) *Bytes {
	out := &Bytes{}
	head := make([]byte, 0, len(class)+len(method))
	head = append(append(head, class...), method...)
	s := op.add(wire.OpCall, out)
	s.Data = msgr2.NewData(head)
	s.Data.AppendData(in)
	s.SetCall(wire.CallArg{ClassLen: uint8(len(class)), MethodLen: uint8(len(method)), InputLen: uint32(in.Len())})
	return out
}

// CallWrite runs a method of an object class that writes. OSDs return a writing
// method's output only under ReturnVec.
func (op *Op) CallWrite(class, method string, in []byte) *Bytes {
	return op.CallWriteData(class, method, msgr2.NewData(in))
}

// CallWriteData is CallWrite with an input of several parts, which are not copied.
func (op *Op) CallWriteData(class, method string, in msgr2.Data) *Bytes {
	op.flags |= wire.FlagWrite
	return op.call(class, method, in)
}

// ListSnaps reads the object's clones. Use it alone, on IoCtx.AtSnap(wire.SnapDir),
// or call IoCtx.ListSnaps.
func (op *Op) ListSnaps() *SnapSet {
	out := &SnapSet{}
	op.add(wire.OpListSnaps, out)
	return out
}

// ListWatchers reads who watches the object.
func (op *Op) ListWatchers() *Watchers {
	out := &Watchers{}
	op.add(wire.OpListWatchers, out)
	return out
}

// CopySource names what CopyFrom copies.
type CopySource struct {
	Pool      int64
	Namespace string
	Key       string // locator key, usually empty
	Object    string
	Snap      uint64 // wire.SnapHead for the object itself
	Version   uint64 // user version that the source must have; 0: any
}

// CopyFrom makes the object a copy of another one, by the OSDs themselves.
func (op *Op) CopyFrom(src CopySource) {
	in := wire.CopyFromInput{
		Object:  src.Object,
		Locator: wire.ObjectLocator{Pool: src.Pool, Key: src.Key, Namespace: src.Namespace, Hash: -1},
	}
	snap := src.Snap
	if snap == 0 {
		snap = wire.SnapHead
	}
	s := op.addBytes(wire.OpCopyFrom, nil, in.Append(nil))
	s.SetCopyFrom(wire.CopyFromArg{Snap: snap, SrcVersion: src.Version})
}
