package rbd

import (
	"context"
	"errors"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/diff"
)

// remove deletes the destination's object as of a point.
func (j *copyJob) remove(ctx context.Context, p *copyPoint) error {
	return ignoreNotFound(p.io.Operate(ctx, j.oid, removeOp(), rados.FullTry()))
}

// replaceOrRemove makes the destination's object anew, or removes it if it would
// be all zeros.
func (j *copyJob) replaceOrRemove(ctx context.Context, p *copyPoint) (there bool, err error) {
	data, err := j.read(ctx, p.src, diff.Range{Len: j.c.dh.layout.ObjectSize()})
	if err != nil {
		return false, err
	}
	if isZero(data) {
		return false, j.remove(ctx, p)
	}
	return true, j.put(ctx, p, data)
}

// replace makes the destination's object anew with all of its content; keep
// says that it must exist even if that is all zeros.
func (j *copyJob) replace(ctx context.Context, p *copyPoint, keep bool) error {
	data, err := j.read(ctx, p.src, diff.Range{Len: j.c.dh.layout.ObjectSize()})
	if err != nil {
		return err
	}
	return j.put(ctx, p, data)
}

// put writes a whole object.
func (j *copyJob) put(ctx context.Context, p *copyPoint, data msgr2.Data) error {
	op := rados.NewOp()
	op.Create(false)
	op.Truncate(0)
	j.c.dst.hint(op, j.c.dh)
	extents, payload := sparseOf(data, false)
	at := 0
	for _, e := range extents {
		op.Write(e.Off, payload.Slice(at, int(e.Len)))
		at += int(e.Len)
		j.cost.Written += e.Len
	}
	return j.send(ctx, p, op)
}

// send writes to the destination's object after its object map says that it may
// exist.
func (j *copyJob) send(ctx context.Context, p *copyPoint, op *rados.Op) error {
	if m := j.c.dst.headMap(); m != nil {
		leave, _, err := m.beginWrite(ctx, j.n)
		if err != nil {
			return err
		}
		defer leave()
	}
	err := p.io.Operate(ctx, j.oid, op)
	if err == nil && op.Alone() {
		for _, read := range j.reads {
			read.Release()
		}
	}
	j.reads = j.reads[:0]
	return err
}

// write changes ranges of the destination's object. guard makes it fail with
// ErrNotFound if there is no such object; keep says that an object without any
// data must still exist, to hide the parent.
func (j *copyJob) write(ctx context.Context, p *copyPoint, set diff.Set, guard, keep bool) (there bool, err error) {
	type chunk struct {
		off  uint64
		data msgr2.Data
	}
	var writes []chunk
	var zero diff.Set
	for _, r := range set {
		data, err := j.read(ctx, p.src, r)
		if err != nil {
			return false, err
		}
		extents, payload := sparseOf(data, false)
		at := 0
		var full []diff.Range
		for _, e := range extents {
			writes = append(writes, chunk{r.Off + e.Off, payload.Slice(at, int(e.Len))})
			full = append(full, diff.Range{Off: r.Off + e.Off, Len: e.Len})
			at += int(e.Len)
			j.cost.Written += e.Len
		}
		zero = zero.Union(diff.Of(r).Minus(diff.Of(full...)))
	}
	end := j.end(p.src)
	if !keep && (end == 0 || !guard && len(writes) == 0) {
		// An object that would only hold zeros.
		if err := j.remove(ctx, p); err != nil {
			return false, err
		}
		return false, nil
	}
	op := rados.NewOp()
	if guard {
		op.AssertExists()
	} else {
		op.Create(false)
		op.Truncate(0)
		j.c.dst.hint(op, j.c.dh)
		zero = nil
	}
	for _, r := range zero {
		j.cost.Zeroed += r.Len
		if r.End() >= end {
			op.Truncate(r.Off)
		} else {
			op.Zero(r.Off, r.Len)
		}
	}
	for _, w := range writes {
		op.Write(w.off, w.data)
	}
	if err := j.send(ctx, p, op); err != nil {
		return false, err
	}
	return true, nil
}

// end returns from where on the destination's object is certainly all zeros at
// a point of the source.
func (j *copyJob) end(snap uint64) (end uint64) {
	for i := range j.pieces {
		q := &j.pieces[i]
		n := j.shown(q.obj, snap)
		if k := q.set.At(snap); k >= 0 {
			n = q.set.Clones[k].Size
		}
		if n > q.off {
			end = max(end, q.dst+min(n-q.off, q.n))
		}
	}
	return end
}

// read reads a range of the destination's object from the source at a snapshot:
// from its own objects where they exist, from the parent where not.
func (j *copyJob) read(ctx context.Context, snap uint64, r diff.Range) (msgr2.Data, error) {
	c := j.c
	var d msgr2.Data
	io := c.sh.dataIO.AtSnap(snap)
	for i := range j.pieces {
		q := &j.pieces[i]
		lo, hi := max(r.Off, q.dst), min(r.End(), q.dst+q.n)
		if lo >= hi {
			continue
		}
		off, n := lo-q.dst+q.off, hi-lo
		var part msgr2.Data
		var err error
		if k := q.set.At(snap); k >= 0 {
			have := uint64(0)
			if size := q.set.Clones[k].Size; size > off {
				have = min(n, size-off)
				op := rados.NewOp()
				j.reads = append(j.reads, op)
				part, err = readWith(ctx, op, io, c.sh.objectName(q.obj), off, have)
				if errors.Is(err, rados.ErrNotFound) {
					return d, errVanished
				}
				j.cost.Read += have
			}
			appendZeros(&part, n-have)
		} else {
			part, err = c.src.readMissing(ctx, c.sh, snap, q.obj, off, n)
		}
		if err != nil {
			return d, err
		}
		d.AppendData(part)
	}
	// What the source does not reach.
	if got := uint64(d.Len()); got < r.Len {
		appendZeros(&d, r.Len-got)
	}
	return d, nil
}
