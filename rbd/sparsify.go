package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
	"github.com/rbdm/rbdm/rbd/wire"
)

// Sparsify gives back the space of zeros within objects: runs of grain bytes (a
// power of two from 4 KiB to the object size) become holes, objects of zeros go.
func (img *Image) Sparsify(ctx context.Context, grain uint64, p Progress) error {
	if err := img.writable(); err != nil {
		return err
	}
	const least = 4096
	if grain < least || grain > img.header().layout.ObjectSize() || grain&(grain-1) != 0 {
		return fmt.Errorf("sparsify image %s by %d bytes: %w", img.Name(), grain, rados.ErrInvalid)
	}
	err := img.maintain(ctx, maintenance{
		remote:   func(r wire.RequestID) []byte { return sparsifyMessage(r, grain) },
		progress: p,
		local:    func(ctx context.Context) error { return img.sparsify(ctx, grain, p) },
	})
	if err != nil {
		return fmt.Errorf("sparsify image %s: %w", img.Name(), err)
	}
	return nil
}

func (img *Image) sparsify(ctx context.Context, grain uint64, p Progress) error {
	h := img.header()
	return forEach(ctx, 0, h.layout.Objects(h.size), img.managementDepth(), p, func(ctx context.Context, obj uint64) error {
		if err := img.gate.Enter(ctx); err != nil {
			return err
		}
		defer img.gate.Leave()
		return img.sparsifyObject(ctx, img.header(), obj, grain)
	})
}

// sparsifyObject treats one object. One that hides the parent stays even if it
// is empty.
func (img *Image) sparsifyObject(ctx context.Context, h *header, obj, grain uint64) error {
	m := img.headMap()
	if m != nil {
		leave, err := m.beginRemove(ctx, obj, obj+1)
		if err != nil {
			return err
		}
		if leave == nil && img.trustedMap() != nil {
			return nil
		}
		if leave != nil {
			defer leave()
		}
	}
	removeEmpty := len(h.headOverlap(obj)) == 0
	op := rados.NewOp()
	op.CallWrite(rbdClass, "sparsify", denc.AppendBool(denc.AppendU64(nil, grain), removeEmpty))
	err := ignoreNotFound(h.dataIO.Operate(ctx, h.objectName(obj), op))
	if m == nil {
		return err
	}
	state := objectmap.Exists
	op = rados.NewOp()
	op.AssertExists()
	if serr := h.dataIO.Operate(ctx, h.objectName(obj), op); errors.Is(serr, rados.ErrNotFound) {
		state = objectmap.Nonexistent
	}
	return errors.Join(err, m.set(ctx, obj, obj+1, state, objectmap.Pending))
}
