package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/layout"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// copyup brings an object of a clone into being with the parent's data in it,
// and then lets add put the change that needed it on top. With snapshots, the
// parent's data is written first, as if it had always been there, so that the
// snapshots keep it after the image is flattened.
func (img *Image) copyup(ctx context.Context, h *header, obj uint64, overlap []layout.Range, add func(*rados.Op)) error {
	unlock, err := img.copyups.Lock(ctx, obj)
	if err != nil {
		return err
	}
	defer unlock()
	oid := h.objectName(obj)
	// Another copy-up may have been first.
	guarded := rados.NewOp()
	guarded.AssertExists()
	img.hint(guarded, h)
	add(guarded)
	if err := h.dataIO.Operate(ctx, oid, guarded); !errors.Is(err, rados.ErrNotFound) {
		return err
	}
	data, err := img.readParent(ctx, h, overlap)
	if err != nil {
		return fmt.Errorf("copy-up of object %d: %w", obj, err)
	}
	zero := isZero(data)
	extents, payload := sparseOf(data, zero)
	if !zero && len(h.snapIDs) > 0 {
		if err := img.copyupSnapshots(ctx, h, obj, oid, extents, payload); err != nil {
			return err
		}
	}
	op := rados.NewOp()
	if zero || len(h.snapIDs) == 0 {
		callSparseCopyup(op, extents, payload)
		img.hint(op, h)
	}
	add(op)
	if err := h.dataIO.Operate(ctx, oid, op); err != nil {
		return fmt.Errorf("copy-up of object %d: %w", obj, err)
	}
	return nil
}

// copyupIfMissing gives an object of a clone its own copy of the parent's data,
// if it has none yet and the data is not all zeros.
func (img *Image) copyupIfMissing(ctx context.Context, h *header, obj uint64) error {
	overlap := h.headOverlap(obj)
	if len(overlap) == 0 {
		return nil
	}
	unlock, err := img.copyups.Lock(ctx, obj)
	if err != nil {
		return err
	}
	defer unlock()
	oid := h.objectName(obj)
	exists := rados.NewOp()
	exists.AssertExists()
	if err := h.dataIO.Operate(ctx, oid, exists); !errors.Is(err, rados.ErrNotFound) {
		return err
	}
	data, err := img.readParent(ctx, h, overlap)
	if err != nil {
		return fmt.Errorf("copy-up of object %d: %w", obj, err)
	}
	if isZero(data) {
		return nil
	}
	if m := img.headMap(); m != nil {
		begin := func() (func(), error) {
			leave, _, err := m.beginWrite(ctx, obj)
			return leave, err
		}
		if h.has(FeatureFastDiff) && len(h.snapIDs) > 0 {
			begin = func() (func(), error) { return m.beginCopyup(ctx, obj) }
		}
		leave, err := begin()
		if err != nil {
			return err
		}
		defer leave()
	}
	extents, payload := sparseOf(data, false)
	if len(h.snapIDs) > 0 {
		return img.copyupSnapshots(ctx, h, obj, oid, extents, payload)
	}
	op := rados.NewOp()
	callSparseCopyup(op, extents, payload)
	img.hint(op, h)
	if err := h.dataIO.Operate(ctx, oid, op); err != nil {
		return fmt.Errorf("copy-up of object %d: %w", obj, err)
	}
	return nil
}

// copyupSnapshots writes the parent's data below all snapshots and says so in
// their object maps.
func (img *Image) copyupSnapshots(ctx context.Context, h *header, obj uint64, oid string, extents []rados.Extent, payload msgr2.Data) error {
	if img.headMap() != nil {
		first := true
		for i := range h.snaps {
			s := &h.snaps[i]
			if obj >= h.layout.Objects(s.Size) || len(h.overlapAt(s.ID, obj)) == 0 {
				continue
			}
			state := objectmap.Exists
			if h.has(FeatureFastDiff) && !first {
				// Later snapshots inherit the data of the first.
				state = objectmap.ExistsClean
			}
			first = false
			if err := img.updateSnapMap(ctx, s.ID, obj, obj+1, state); err != nil {
				return err
			}
		}
	}
	op := rados.NewOp()
	callSparseCopyup(op, extents, payload)
	img.hint(op, h)
	io := h.dataIO.WithSnapContext(0, nil)
	if err := io.Operate(ctx, oid, op); err != nil {
		return fmt.Errorf("copy-up of object %d below the snapshots: %w", obj, err)
	}
	return nil
}

// readParent reads ranges of the head's parent, which follow one another in the
// object from its start.
func (img *Image) readParent(ctx context.Context, h *header, overlap []layout.Range) (msgr2.Data, error) {
	var d msgr2.Data
	parent, err := img.parentImage(ctx, h.parent)
	if err != nil {
		return d, err
	}
	for _, r := range overlap {
		p, err := parent.readClipped(ctx, h.parent.SnapID, r.Off, r.Len)
		if err != nil {
			return d, fmt.Errorf("parent %s: %w", parent.Name(), err)
		}
		d.AppendData(p)
	}
	return d, nil
}

// sparseGrain is the finest hole in bytes that sparse copies leave.
const sparseGrain = 4096

// sparseOf returns the extents of data that are not zero, in steps of
// sparseGrain, and the bytes in them.
func sparseOf(data msgr2.Data, zero bool) ([]rados.Extent, msgr2.Data) {
	if zero {
		return nil, msgr2.Data{}
	}
	var out []rados.Extent
	var payload msgr2.Data
	at := uint64(0)
	for p := range data.Parts() {
		for len(p) > 0 {
			k := min(uint64(len(p)), sparseGrain-at%sparseGrain)
			if piece := p[:k:k]; !allZero(piece) {
				if n := len(out); n > 0 && out[n-1].Off+out[n-1].Len == at {
					out[n-1].Len += k
				} else {
					out = append(out, rados.Extent{Off: at, Len: k})
				}
			}
			p = p[k:]
			at += k
		}
	}
	for _, e := range out {
		payload.AppendData(data.Slice(int(e.Off), int(e.Len)))
	}
	return out, payload
}
