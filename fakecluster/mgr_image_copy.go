package fakecluster

import (
	"bytes"
	"slices"

	"github.com/rbdm/rbdm/fakecluster/store"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
	rbdwire "github.com/rbdm/rbdm/rbd/wire"
)

// compareUnit is how finely versions of an object are compared before what
// changed is written.
const compareUnit = 4 << 10

// version is what an object is to hold in a snapshot, or in the image itself
// (wire.SnapHead).
type version struct {
	snap uint64
	// read returns the contents, nil where there is to be no object.
	read func() (*part, errno.Errno)
}

// overlap returns how many bytes of a state of the image come from its parent.
func (i *image) overlap(snap uint64) uint64 {
	o := i.parent.Overlap
	if s := i.snapshot(snap); s != nil {
		o = s.ParentOverlap
	}
	if i.parent.Pool < 0 || o == nil {
		return 0
	}
	return *o
}

// snapshot returns a snapshot by its id; nil when there is none, as for the head.
func (i *image) snapshot(id uint64) *rbdwire.SnapshotRecord {
	for k := range i.snaps {
		if i.snaps[k].ID == id {
			return &i.snaps[k]
		}
	}
	return nil
}

// part is what a range of an image holds.
type part struct {
	p         []byte
	written   []store.Range // of p; all else was never written, or is a hole
	own       bool          // some of it is in the image's own objects
	inherited bool          // some of it is in a parent's
}

// put writes p at an offset.
func (t *part) put(at uint64, p []byte) {
	copy(t.p[at:], p)
	t.written = append(t.written, store.Range{Off: at, Len: uint64(len(p))})
}

// take puts what was written of another part at an offset.
func (t *part) take(at uint64, o part) {
	for _, r := range o.written {
		t.put(at+r.Off, o.p[r.Off:r.End()])
	}
}

// read returns n bytes of the image from off on as they are in a snapshot or, at
// wire.SnapHead, now. What lies behind the end reads as zeros.
func (i *image) read(snap, off, n uint64) (part, errno.Errno) {
	out := part{p: make([]byte, n)}
	size := i.size
	if snap != wire.SnapHead {
		s := i.snapshot(snap)
		if s == nil {
			return out, errno.ErrNotFound
		}
		size = s.Size
	}
	if off >= size {
		return out, 0
	}
	for x := range i.layout.Map(off, min(n, size-off)) {
		op := wire.Op{Code: wire.OpSparseRead}
		op.SetExtent(wire.Extent{Off: x.Off, Len: x.Len})
		ops, e := i.h.operateAt(i.data, i.object(x.Object), snap, wire.SnapContext{}, op)
		switch {
		case e == 0:
			out.own = true
			var got wire.SparseReadOutput
			if got.Split(ops[0].Data) != nil {
				return out, errno.ErrIO
			}
			for _, r := range got.Extents {
				out.put(x.Buf+r.Off-x.Off, got.Data.Slice(0, int(r.Len)).Bytes())
				got.Data = got.Data.Slice(int(r.Len), got.Data.Len()-int(r.Len))
			}
			continue
		case e != errno.ErrNotFound:
			return out, e
		}
		from, overlap := off+x.Buf, i.overlap(snap)
		if from >= overlap {
			continue
		}
		parent, e := i.h.openImage(where{i.parent.Pool, i.parent.Namespace}, i.parent.ImageID)
		if e != 0 {
			return out, e
		}
		above, e := parent.read(i.parent.SnapID, from, min(x.Len, overlap-from))
		if e != 0 {
			return out, e
		}
		out.inherited = out.inherited || above.own || above.inherited
		out.take(x.Buf, above)
	}
	return out, 0
}

// gather reads what an object of the layout of i holds from another image, within
// limit bytes of it.
func (i *image) gather(k uint64, from *image, snap, limit uint64) (part, errno.Errno) {
	out := part{p: make([]byte, i.layout.ObjectSize())}
	at := uint64(0)
	for r := range i.layout.Image(k, 0, i.layout.ObjectSize()) {
		if r.Off < limit {
			got, e := from.read(snap, r.Off, min(r.Len, limit-r.Off))
			if e != 0 {
				return out, e
			}
			out.own, out.inherited = out.own || got.own, out.inherited || got.inherited
			out.take(at, got)
		}
		at += r.Len
	}
	return out, 0
}

// inherited is the history of an object that only the parent has: all snapshots
// are to show what the parent holds, as if it had been written before them.
func (i *image) inherited(k uint64) []version {
	first := wire.SnapHead
	if len(i.snaps) > 0 {
		first = i.snaps[0].ID
	}
	return []version{{first, func() (*part, errno.Errno) {
		parent, e := i.h.openImage(where{i.parent.Pool, i.parent.Namespace}, i.parent.ImageID)
		if e != 0 {
			return nil, e
		}
		got, e := i.gather(k, parent, i.parent.SnapID, *i.parent.Overlap)
		if e != 0 || !got.own && !got.inherited || allZero(got.p) {
			return nil, e
		}
		return &got, 0
	}}}
}

// fill writes an object that is not there, with what it held in snapshots: each
// version as it would have been written before its snapshot was made. The last
// one also stands for all snapshots behind its own. An object that is there stays:
// somebody wrote to it, and filled it first.
func (i *image) fill(k uint64, history []version) errno.Errno {
	_, e := i.h.operateAt(i.data, i.object(k), wire.SnapDir, wire.SnapContext{}, wire.Op{Code: wire.OpListSnaps})
	if e != errno.ErrNotFound {
		return e
	}
	var sc wire.SnapContext
	var was *part
	began := false
	states := map[uint64]uint8{}
	state := rbdwire.ObjectNonexistent
	for _, v := range history {
		p, e := v.read()
		if e != 0 {
			return e
		}
		ops := transition(was, p)
		if len(ops) > 0 {
			if !began {
				ops[0].Flags |= wire.OpFlagExcl
			}
			_, e := i.h.operate(i.data, i.object(k), sc, ops...)
			if e == errno.ErrExists && !began {
				return 0 // somebody was faster
			}
			if e != 0 {
				return e
			}
			began = true
		}
		switch {
		case p == nil:
			state = rbdwire.ObjectNonexistent
		case len(ops) > 0 || !i.has(rbdwire.FeatureFastDiff):
			state = rbdwire.ObjectExists
		default:
			state = rbdwire.ObjectExistsClean
		}
		states[v.snap] = state
		sc = wire.SnapContext{Seq: v.snap, Snaps: append([]uint64{v.snap}, sc.Snaps...)}
		was = p
	}
	if !began {
		return 0
	}
	return i.mark(k, states)
}

// mark enters an object into the object maps of all states of the image; those
// that are not in states have the object as the state before them.
func (i *image) mark(k uint64, states map[uint64]uint8) errno.Errno {
	if !i.has(rbdwire.FeatureObjectMap) {
		return 0
	}
	state := rbdwire.ObjectNonexistent
	enter := func(snap, size uint64) errno.Errno {
		if s, ok := states[snap]; ok {
			state = s
		} else if state == rbdwire.ObjectExists && i.has(rbdwire.FeatureFastDiff) {
			state = rbdwire.ObjectExistsClean
		}
		if k >= i.layout.Objects(size) {
			return 0
		}
		in := denc.AppendU8(denc.AppendU64(denc.AppendU64(nil, k), k+1), state)
		return i.h.rbd(i.at, i.mapName(snap), rbdwire.MethodObjectMapUpdate, denc.AppendBool(in, false))
	}
	for _, s := range i.snaps {
		if e := enter(s.ID, s.Size); e != 0 && e != errno.ErrNotFound {
			return e
		}
	}
	return enter(wire.SnapHead, i.size)
}

// transition returns the operations that make one version of an object of
// another; nil is no object.
func transition(was, now *part) []wire.Op {
	switch {
	case now == nil && was == nil:
		return nil
	case now == nil:
		return []wire.Op{{Code: wire.OpDelete}}
	}
	var ops []wire.Op
	changed := now.written
	if was == nil {
		ops = append(ops, wire.Op{Code: wire.OpCreate})
	} else {
		changed = differences(was.p, now.p)
	}
	for _, r := range changed {
		op := wire.Op{Code: wire.OpWrite, Data: msgr2.NewData(slices.Clone(now.p[r.Off:r.End()]))}
		op.SetExtent(wire.Extent{Off: r.Off, Len: r.Len})
		ops = append(ops, op)
	}
	return ops
}

// differences returns where two slices of the same length differ, ascending: in
// every compareUnit from the first byte that does to the last.
func differences(a, b []byte) []store.Range {
	var out []store.Range
	for at := 0; at < len(a); at += compareUnit {
		end := min(at+compareUnit, len(a))
		if bytes.Equal(a[at:end], b[at:end]) {
			continue
		}
		from, to := at, end
		for a[from] == b[from] {
			from++
		}
		for a[to-1] == b[to-1] {
			to--
		}
		if k := len(out) - 1; k >= 0 && out[k].End() == uint64(from) {
			out[k].Len += uint64(to - from)
		} else {
			out = append(out, store.Range{Off: uint64(from), Len: uint64(to - from)})
		}
	}
	return out
}

func allZero(p []byte) bool { return !slices.ContainsFunc(p, func(b byte) bool { return b != 0 }) }
