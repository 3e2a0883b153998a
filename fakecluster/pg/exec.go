package pg

import (
	"slices"

	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// step executes one operation: its output and its result.
func (t *txn) step(op *wire.Op, source *int) (msgr2.Data, int32) {
	t.quiet = false
	switch op.Code {
	case wire.OpWatch, wire.OpCopyFrom, wire.OpCopyFrom2:
		t.quiet = true
	default:
		t.visible = t.visible || op.Code.IsWrite()
	}
	switch op.Code {
	case wire.OpRead, wire.OpSparseRead, wire.OpMapExt, wire.OpStat, wire.OpCmpExt, wire.OpChecksum, wire.OpAssertVer:
		return t.stepRead(op)
	case wire.OpWrite, wire.OpWriteFull, wire.OpAppend, wire.OpWriteSame, wire.OpZero, wire.OpTruncate,
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
		e := op.Extent()
		if e.Len == 0 {
			e.Len = t.size()
		}
		if !t.stored && e.Off < t.size() {
			e.Len = 0
			op.SetExtent(e)
			return msgr2.Data{}, noent // it has a size, but nothing is there before the vector is done
		}
		d := t.readData(e.Off, untruncated(e))
		e.Len = uint64(d.Len())
		op.SetExtent(e)
		return d, 0
	case wire.OpSparseRead:
		if !t.stored {
			return msgr2.Data{}, noent
		}
		return t.sparseRead(op), 0
	case wire.OpMapExt:
		if !t.stored {
			return msgr2.Data{}, noent
		}
		e := op.Extent()
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
		case v < t.at.version:
			return msgr2.Data{}, errno.ErrRange.Result()
		case v > t.at.version:
			return msgr2.Data{}, errno.ErrOverflow.Result()
		}
		return msgr2.Data{}, 0
	case wire.OpCmpExt:
		return msgr2.Data{}, t.compareExtent(op)
	}
	return t.checksum(op)
}

// untruncated returns how many bytes of an extent a reader may see that says
// where the object ends.
func untruncated(e wire.Extent) uint64 {
	if e.TruncateSeq == 0 || e.Off+e.Len <= e.TruncateSize {
		return e.Len
	}
	return e.TruncateSize - min(e.TruncateSize, e.Off)
}

func (t *txn) sparseRead(op *wire.Op) msgr2.Data {
	e := op.Extent()
	var out wire.SparseReadOutput
	for _, r := range t.at.data.Extents(e.Off, untruncated(e)) {
		out.Extents = append(out.Extents, wire.Range{Off: r.Off, Len: r.Len})
		out.Data.AppendData(t.at.data.Read(r.Off, r.Len))
	}
	e.Len = uint64(out.Data.Len())
	op.SetExtent(e)
	return out.Encode()
}

// maxErrno is MAX_ERRNO: a compare's first difference is told below it.
const maxErrno = 4095

func (t *txn) compareExtent(op *wire.Op) int32 {
	e := op.Extent()
	want := op.Data.Bytes()
	size := t.size()
	if e.TruncateSeq > 0 && e.Off+e.Len > e.TruncateSize {
		size = e.TruncateSize
	}
	e.Len = min(e.Len, size-min(size, e.Off))
	op.SetExtent(e)
	have := t.readData(e.Off, e.Len).Bytes()
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
		if !t.o.exists {
			return noent
		}
		t.remove()
		return 0
	case wire.OpSetAllocHint:
		t.create()
		return 0
	case wire.OpWriteSame:
		return t.writeSame(op)
	case wire.OpWrite, wire.OpWriteFull, wire.OpAppend:
		return t.stepPlainWrite(op)
	}
	e := op.Extent()
	size := t.o.head.data.Size()
	if op.Code == wire.OpTruncate {
		switch {
		case t.req.Pool.Erasure && !t.req.Pool.Overwrites:
			return notsup
		case !t.o.exists:
			return 0
		case e.Off >= maxObjectSize:
			return errno.ErrFileTooBig.Result()
		}
		t.truncate(e.Off)
		return 0
	}
	if t.o.exists && e.Off < maxObjectSize && e.Len >= 1 && e.Len <= maxObjectSize && e.Off+e.Len >= size {
		if e.Off < size {
			op.Code = wire.OpTruncate // an OSD makes this of zeros up to the end
			t.truncate(e.Off)
		}
		return 0 // behind the end it is not even a write
	}
	if r := checkExtent(e.Off, e.Len); r != 0 {
		return r
	}
	if t.o.exists {
		t.zero(e.Off, e.Len)
	}
	return 0
}

func checkExtent(off, n uint64) int32 {
	if off >= maxObjectSize || n > maxObjectSize || off+n > maxObjectSize {
		if off == maxObjectSize && n == 0 {
			return 0
		}
		return errno.ErrFileTooBig.Result()
	}
	return 0
}

func (t *txn) stepPlainWrite(op *wire.Op) int32 {
	e := op.Extent()
	if e.Len != uint64(op.Data.Len()) {
		return inval
	}
	size := t.o.head.data.Size()
	if op.Code == wire.OpAppend {
		e.Off = size
	}
	if op.Code == wire.OpWriteFull {
		e.Off = 0
	}
	if r := checkExtent(e.Off, e.Len); r != 0 {
		return r
	}
	if p := t.req.Pool; p.Erasure && !p.Overwrites && op.Code != wire.OpWriteFull && (e.Off != size || p.Align > 0 && e.Off%p.Align != 0) {
		return notsup
	}
	if op.Code == wire.OpWriteFull {
		t.create()
		if size > 0 {
			t.truncate(0)
		}
	}
	if e.Len == 0 {
		t.create()
		if e.Off > size && op.Code == wire.OpWrite {
			t.truncate(e.Off)
		}
		return 0
	}
	t.write(e.Off, op.Data)
	return 0
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
	if r := checkExtent(a.Off, a.Len); r != 0 {
		return r
	}
	p := op.Data.Bytes()
	full := make([]byte, 0, a.Len)
	for uint64(len(full)) < a.Len {
		full = append(full, p...)
	}
	t.write(a.Off, msgr2.NewData(full))
	return 0
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
	if t.sourceFailed != 0 {
		return inProgress
	}
	if t.req.Pool.Erasure && (s.content.omap.Len() > 0 || len(s.content.omap.Header) > 0) {
		return notsup
	}
	if t.o.exists {
		t.remove()
		t.effects.dropWatches = false
	}
	c := s.content.clone()
	if size := c.data.Size(); c.data.Stored() < size {
		// What is copied is what was read: holes become zeros.
		var whole store.Bytes
		whole.Write(0, c.data.Read(0, size))
		c.data = whole
	}
	t.replace(c)
	t.copied, t.copiedTime = s.Version, s.content.mtime
	t.modified = t.modified.Add(0, c.data.Size())
	return 0
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
	t := &txn{g: g, o: o, req: &Request{Pool: pool}}
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
