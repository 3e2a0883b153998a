package pg

import (
	"maps"
	"math"
	"slices"

	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// step executes one operation: its output and its result.
func (t *txn) step(op *wire.Op, source *int) (msgr2.Data, int32) {
	t.quiet, t.keeps = false, false
	switch op.Code {
	case wire.OpWatch, wire.OpCopyFrom, wire.OpCopyFrom2:
		t.quiet = true
	default:
		t.visible = t.visible || op.Code.IsWrite()
	}
	switch op.Code {
	case wire.OpRead, wire.OpSparseRead, wire.OpMapExt, wire.OpStat, wire.OpCmpExt, wire.OpChecksum, wire.OpAssertVer:
		return t.stepRead(op)
	case wire.OpWrite, wire.OpWriteFull, wire.OpAppend, wire.OpWriteSame, wire.OpZero, wire.OpTruncate, wire.OpTrimTrunc,
		wire.OpCreate, wire.OpDelete, wire.OpSetAllocHint:
		return msgr2.Data{}, t.stepWrite(op)
	case wire.OpGetXattr, wire.OpGetXattrs, wire.OpCmpXattr, wire.OpSetXattr, wire.OpRmXattr:
		return t.stepXattr(op)
	case wire.OpOmapGetKeys, wire.OpOmapGetVals, wire.OpOmapGetHeader, wire.OpOmapGetByKeys, wire.OpOmapCmp:
		return t.stepOmapRead(op)
	case wire.OpOmapSetVals, wire.OpOmapSetHeader, wire.OpOmapClear, wire.OpOmapRmKeys, wire.OpOmapRmKeyRange:
		return msgr2.Data{}, t.stepOmapWrite(op)
	case wire.OpWatch, wire.OpNotify, wire.OpNotifyAck, wire.OpListWatchers:
		return t.stepWatch(op)
	case wire.OpListSnaps:
		return t.listSnaps()
	case wire.OpRollback:
		return msgr2.Data{}, t.rollbackTo(op.RollbackSnap())
	case wire.OpCall:
		return t.call(op)
	case wire.OpTmapUp:
		return msgr2.Data{}, t.tmapUpdate(op)
	case wire.OpCopyFrom, wire.OpCopyFrom2:
		*source++
		return msgr2.Data{}, t.copyFrom(op, *source-1)
	}
	if slices.Contains(tierOps, op.Code) {
		return msgr2.Data{}, inval
	}
	return msgr2.Data{}, notsup
}

// tierOps are operations on objects of cache tiers and on manifests, of which
// there are none: flush, try to flush and evict, of the one and the other.
var tierOps = []wire.OpCode{opCacheFlush, opCacheEvict, opCacheTryFlush, opTierFlush, opTierEvict}

const (
	opCacheFlush    wire.OpCode = 0x821f
	opCacheEvict    wire.OpCode = 0x8220
	opCacheTryFlush wire.OpCode = 0x8221
	opTierFlush     wire.OpCode = 0x822b
	opTierEvict     wire.OpCode = 0x822c
)

// there reports whether what the vector reads exists.
func (t *txn) there() bool { return t.onClone || t.o.exists }

func (t *txn) stepRead(op *wire.Op) (msgr2.Data, int32) {
	switch op.Code {
	case wire.OpRead:
		if t.req.Pool.Erasure {
			return t.shardRead(op, true)
		}
		e := t.extent(op)
		size := t.sizeFor(e)
		if e.Len == 0 {
			e.Len = size
		}
		e.Len = min(e.Len, size-min(size, e.Off))
		if !t.stored && e.Len > 0 {
			e.Len = 0
			op.SetExtent(e)
			return msgr2.Data{}, noent // it has a size, but nothing is there before the vector is done
		}
		d := t.readData(e.Off, e.Len)
		e.Len = uint64(d.Len())
		op.SetExtent(e)
		return d, 0
	case wire.OpSparseRead:
		if t.req.Release < sparseEnds && t.extent(op).TruncateSeq != 0 {
			return msgr2.Data{}, inval
		}
		if t.req.Pool.Erasure {
			return t.shardRead(op, false)
		}
		if !t.stored {
			return msgr2.Data{}, noent
		}
		return t.sparseRead(op), 0
	case wire.OpMapExt:
		if t.req.Pool.Erasure {
			return msgr2.Data{}, notsup
		}
		if !t.stored {
			return msgr2.Data{}, noent
		}
		e := t.extent(op)
		var b []byte
		m := map[uint64]uint64{}
		for _, r := range t.at.data.Extents(e.Off, e.Len) {
			m[r.Off] = r.Len
		}
		return msgr2.NewData(denc.AppendMap(b, m, denc.AppendU64, denc.AppendU64)), 0
	case wire.OpStat:
		if !t.there() {
			return msgr2.Data{}, noent
		}
		s := wire.StatOutput{Size: t.size(), ModTime: t.now().mtime}
		return msgr2.NewData(s.Append(nil)), 0
	case wire.OpAssertVer:
		v := op.AssertVer()
		switch {
		case v == 0:
			return msgr2.Data{}, inval
		case v < t.now().version:
			return msgr2.Data{}, errno.ErrRange.Result()
		case v > t.now().version:
			return msgr2.Data{}, errno.ErrOverflow.Result()
		}
		return msgr2.Data{}, 0
	case wire.OpCmpExt:
		return msgr2.Data{}, t.compareExtent(op)
	}
	return t.checksum(op)
}

// extent returns the extent of an operation. An end of the file at 2^64-1 is
// none.
func (t *txn) extent(op *wire.Op) wire.Extent {
	e := op.Extent()
	if e.TruncateSeq == 1 && e.TruncateSize == math.MaxUint64 {
		e.TruncateSeq, e.TruncateSize = 0, 0
		op.SetExtent(e)
	}
	return e
}

// sizeFor returns the size of the object for a reader who says where the file
// ends.
func (t *txn) sizeFor(e wire.Extent) uint64 {
	if t.now().truncSeq < e.TruncateSeq && e.Off+e.Len > e.TruncateSize {
		return min(t.size(), e.TruncateSize)
	}
	return t.size()
}

func (t *txn) sparseRead(op *wire.Op) msgr2.Data {
	e := t.extent(op)
	n := e.Len
	if t.req.Release >= sparseEnds {
		size := t.sizeFor(e)
		n = min(n, size-min(size, e.Off))
	}
	var out wire.SparseReadOutput
	for _, r := range t.at.data.Extents(e.Off, n) {
		out.Extents = append(out.Extents, wire.Range{Off: r.Off, Len: r.Len})
		out.Data.AppendData(t.at.data.Read(r.Off, r.Len))
	}
	e.Len = uint64(out.Data.Len())
	op.SetExtent(e)
	return out.Encode()
}

// sparseEnds is the first release whose sparse reads may say where the file ends,
// and end where the vector has cut the object. Those before read what the store has.
const sparseEnds = 18

// maxErrno is MAX_ERRNO: a compare's first difference is told below it.
const maxErrno = 4095

func (t *txn) compareExtent(op *wire.Op) int32 {
	e := t.extent(op)
	want := op.Data.Bytes()
	size := t.size()
	if t.now().truncSeq < e.TruncateSeq && e.Off+e.Len > e.TruncateSize {
		size = e.TruncateSize
	}
	if t.passes == nil || !t.passes.ready[t.index] {
		e.Len = min(e.Len, size-min(size, e.Off))
	}
	op.SetExtent(e)
	var have []byte
	if t.onClone || t.existed {
		if e.Len > 0 && t.req.Pool.Erasure && t.await() {
			return inProgress
		}
		have = t.readData(e.Off, e.Len).Bytes()
	}
	for i, b := range want {
		var h byte
		if i < len(have) {
			h = have[i]
		}
		if h != b {
			return -maxErrno - int32(i)
		}
	}
	return 0
}

func (t *txn) stepWrite(op *wire.Op) int32 {
	switch op.Code {
	case wire.OpCreate:
		if t.o.exists && op.Flags&wire.OpFlagExcl != 0 {
			return errno.ErrExists.Result()
		}
		if r := reader(op); r.Len() > 0 {
			// A category, which nobody has used for long.
			if _ = r.String(); r.Err() != nil {
				return inval
			}
		}
		t.create()
		return 0
	case wire.OpDelete:
		return t.remove()
	case wire.OpSetAllocHint:
		t.create()
		return 0
	case wire.OpWriteSame:
		return t.writeSame(op)
	case wire.OpWrite, wire.OpWriteFull, wire.OpAppend:
		return t.stepPlainWrite(op)
	}
	if op.Code == wire.OpZero {
		return t.stepZero(op)
	}
	e := t.extent(op)
	if op.Code == wire.OpTrimTrunc {
		e.Off = e.TruncateSize
		op.SetExtent(e)
	}
	return t.stepTruncate(e)
}

func (t *txn) stepTruncate(e wire.Extent) int32 {
	if r := t.rewritable(); r != 0 {
		return r
	}
	if !t.o.exists {
		return 0
	}
	if r := checkExtent(e.Off, e.Len); r != 0 {
		return r
	}
	if e.TruncateSeq > 0 {
		if e.TruncateSeq <= t.o.head.truncSeq {
			return 0 // it knows of a later one
		}
		t.touch()
		t.o.head.truncSeq, t.o.head.truncSize = e.TruncateSeq, e.TruncateSize
	}
	t.truncate(e.Off)
	return 0
}

func (t *txn) stepZero(op *wire.Op) int32 {
	e := t.extent(op)
	size := t.o.head.data.Size()
	if t.o.stored() && e.Off < maxObjectSize && e.Len >= 1 && e.Len <= maxObjectSize && e.Off+e.Len >= size {
		if e.Off >= size {
			t.keeps = true
			return 0 // behind the end it is not even a write
		}
		op.Code = wire.OpTruncate // an OSD makes this of zeros up to the end
		return t.stepTruncate(e)
	}
	if r := t.rewritable(); r != 0 {
		return r
	}
	if r := checkExtent(e.Off, e.Len); r != 0 {
		return r
	}
	if t.o.exists && e.Len > 0 {
		t.zero(e.Off, e.Len)
	}
	return 0
}

// rewritable is the result of changing data that is there: shards that are only
// appended to can be taken back to what they were.
func (t *txn) rewritable() int32 {
	if t.req.Pool.Erasure && !t.req.Pool.Overwrites {
		return notsup
	}
	return 0
}

// appendable is the result of a write at off, as far as that matters.
func (t *txn) appendable(off uint64) int32 {
	p := t.req.Pool
	if off != t.o.head.data.Size() || p.Align > 0 && off%p.Align != 0 {
		return t.rewritable()
	}
	return 0
}

// keyless is the result of a change of the omap where there is none.
func (t *txn) keyless() int32 {
	if t.req.Pool.Erasure {
		return notsup
	}
	return 0
}

func checkExtent(off, n uint64) int32 {
	if off >= maxObjectSize || n > maxObjectSize || off+n > maxObjectSize {
		return errno.ErrFileTooBig.Result()
	}
	return 0
}

func (t *txn) stepPlainWrite(op *wire.Op) int32 {
	e := t.extent(op)
	switch op.Code {
	case wire.OpAppend:
		e.Off, e.TruncateSeq = t.o.head.data.Size(), t.o.head.truncSeq
	case wire.OpWriteFull:
		return t.writeFull(e.Len, op.Data)
	}
	r, n := t.writeExtent(e, op.Data)
	if op.Code == wire.OpWrite && n != e.Len {
		e.Len = n
		op.SetExtent(e)
		if t.passes != nil { // it is cut for good
			t.passes.inputs[t.index].Data = op.Data.Slice(0, int(n))
		}
	}
	return r
}

// writeFull replaces all bytes.
func (t *txn) writeFull(n uint64, d msgr2.Data) int32 {
	if n != uint64(d.Len()) {
		return inval
	}
	if r := checkExtent(0, n); r != 0 {
		return r
	}
	t.ensure()
	if t.o.head.data.Size() > 0 || t.req.Pool.Erasure {
		t.truncate(0)
	}
	if n > 0 {
		t.write(0, d)
	}
	return 0
}

// writeExtent writes bytes, as far as what the writer knows of the end of the file
// is not older than what the object knows, and returns how many.
func (t *txn) writeExtent(e wire.Extent, d msgr2.Data) (result int32, n uint64) {
	h := &t.o.head
	if e.Len != uint64(d.Len()) {
		return inval, e.Len
	}
	size, seq := h.data.Size(), h.truncSeq
	if r := t.appendable(e.Off); r != 0 {
		return r, e.Len
	}
	old := seq > e.TruncateSeq
	if e = t.beforeEnd(e); e.Len < uint64(d.Len()) {
		d = d.Slice(0, int(e.Len))
	}
	if e.TruncateSeq > seq {
		if t.o.exists {
			t.touch()
			t.truncate(e.TruncateSize)
			size = e.TruncateSize
		}
		t.noteEnd(e)
	}
	if r := checkExtent(e.Off, e.Len); r != 0 {
		return r, e.Len
	}
	t.ensure()
	switch {
	case e.Len > 0:
		t.write(e.Off, d)
	case e.Off <= size:
		t.touch() // nothing is written, but that is
	case !old || t.req.Release < oldWritesEnd:
		t.truncate(e.Off) // also when nothing is left of the write
	}
	return 0, e.Len
}

// oldWritesEnd is the first release in which writes that do not know of the last
// truncation, and lie behind the end, do not make the object larger.
const oldWritesEnd = 18

// beforeEnd cuts a write whose writer does not know of the object's last truncation.
func (t *txn) beforeEnd(e wire.Extent) wire.Extent {
	size := t.o.head.data.Size()
	if t.o.head.truncSeq > e.TruncateSeq && e.Off+e.Len > size {
		e.Len = size - min(size, e.Off)
	}
	return e
}

// noteEnd keeps what a writer says of the end of the file. It is no change that
// is written by itself.
func (t *txn) noteEnd(e wire.Extent) {
	h := &t.o.head
	seq, size := h.truncSeq, h.truncSize
	t.undo = append(t.undo, func() { h.truncSeq, h.truncSize = seq, size })
	h.truncSeq, h.truncSize = e.TruncateSeq, e.TruncateSize
}

func (t *txn) writeSame(op *wire.Op) int32 {
	a := op.WriteSame()
	n := uint64(op.Data.Len())
	if a.Len == 0 {
		return 0
	}
	if a.DataLen == 0 || a.DataLen != n || a.Len%a.DataLen != 0 {
		return inval
	}
	if r := t.appendable(a.Off); r != 0 {
		return r
	}
	e := t.beforeEnd(wire.Extent{Off: a.Off, Len: a.Len})
	if r := checkExtent(e.Off, e.Len); r != 0 {
		return r // before all that memory is filled
	}
	p := op.Data.Bytes()
	full := make([]byte, 0, e.Len+n)
	for uint64(len(full)) < e.Len {
		full = append(full, p...)
	}
	r, _ := t.writeExtent(e, msgr2.NewData(full[:e.Len]))
	return r
}

// inProgress is EINPROGRESS: what an OSD makes of copy-from until it has the
// source.
const inProgress int32 = -115

func (t *txn) copyFrom(op *wire.Op, i int) int32 {
	if i >= len(t.req.Sources) {
		return inval
	}
	s := &t.req.Sources[i]
	a := op.CopyFrom()
	var in wire.CopyFromInput
	in.Decode(reader(op))
	n := t.o.name
	if in.Object == n.Object && in.Locator.Key == n.Key && in.Locator.Namespace == n.Namespace && in.Locator.Pool == t.req.Pool.ID && a.Snap == wire.SnapHead {
		return inval // onto itself
	}
	switch {
	case s.Result != 0:
		t.sourceFailed = s.Result
	case a.SrcVersion != 0 && a.SrcVersion < s.Version:
		t.sourceFailed = errno.ErrRange.Result()
	case a.SrcVersion != 0 && a.SrcVersion > s.Version:
		t.sourceFailed = errno.ErrOverflow.Result()
	}
	if t.sourceFailed != 0 || t.await() {
		return inProgress
	}
	if t.req.Pool.Erasure && (s.content.omap.Len() > 0 || len(s.content.omap.Header) > 0) {
		return notsup
	}
	size := t.o.head.data.Size()
	c := s.content.clone()
	c.omap.Remove("") // an OSD asks for the keys above ""
	c.hasOmap = c.omap.Len() > 0 || len(c.omap.Header) > 0
	if size := c.data.Size(); c.data.Stored() < size {
		// What is copied is what was read: holes become zeros.
		var whole store.Bytes
		whole.Write(0, c.data.Read(0, size))
		c.data = whole
	}
	if t.removed != nil && t.o.stored() {
		c.keep(t.removed)
	}
	t.replace(c)
	t.copied, t.copiedTime = s.Version, s.content.mtime
	t.o.head.version, t.o.head.mtime = t.copied, t.copiedTime
	t.modified = t.modified.Add(0, size)
	return 0
}

// keep adds the old attributes and keys that c does not replace. An OSD that takes
// away what a vector has made forgets that the vector took away something before, and
// so it stays in the store.
func (c *content) keep(old *content) {
	xattrs := map[string][]byte{}
	maps.Copy(xattrs, old.xattrs)
	maps.Copy(xattrs, c.xattrs)
	c.xattrs = xattrs
	omap := old.omap.Clone()
	for k, v := range c.omap.From("") {
		omap.Set(k, v)
	}
	if c.hasOmap {
		omap.Header = c.omap.Header
	}
	c.omap = omap
}

// Source takes what a copy-from of another object copies.
func (g *Group) Source(n Name, snap uint64, pool Pool) Source {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.objects[n]
	if o == nil {
		return Source{Result: noent}
	}
	g.seen(o)
	t := &txn{g: g, o: o, req: &Request{Pool: pool}, existed: o.exists}
	c, head, ok := t.resolve(snap)
	switch {
	case !ok:
		return Source{Result: noent}
	case head:
		return Source{Version: o.head.version, content: o.head.clone()}
	}
	return Source{Version: c.content.version, content: c.content.clone()}
}

func (t *txn) listSnaps() (msgr2.Data, int32) {
	var l wire.SnapList
	l.Seq = t.o.seq
	for _, c := range t.o.clones {
		k := wire.SnapClone{ID: c.id, Size: c.content.data.Size()}
		for i := range c.snaps {
			k.Snaps = append(k.Snaps, c.snaps[len(c.snaps)-1-i])
		}
		for _, r := range c.overlap {
			k.Overlap = append(k.Overlap, wire.Range{Off: r.Off, Len: r.Len})
		}
		l.Clones = append(l.Clones, k)
	}
	if t.o.exists {
		l.Clones = append(l.Clones, wire.SnapClone{ID: wire.SnapHead, Size: t.o.head.data.Size()})
	}
	return msgr2.NewData(l.Append(nil)), 0
}
