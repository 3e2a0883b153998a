package rbd

import (
	"context"
	"fmt"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
	"github.com/rbdm/rbdm/rbd/wire"
)

// Resize changes the image's size. Making it smaller needs allowShrink and
// removes what lies beyond; without it the error is ErrInvalid.
func (img *Image) Resize(ctx context.Context, size uint64, allowShrink bool, p Progress) error {
	if err := img.writable(); err != nil {
		return err
	}
	h := img.header()
	if size < h.size && !allowShrink {
		return fmt.Errorf("image %s would shrink from %d to %d bytes: %w", h.name, h.size, size, rados.ErrInvalid)
	}
	if h.has(FeatureObjectMap) && h.layout.Objects(size) > objectmap.MaxObjects {
		return fmt.Errorf("image %s: %d bytes are too many for an object map: %w", h.name, size, rados.ErrInvalid)
	}
	err := img.maintain(ctx, maintenance{
		remote:   func(r wire.RequestID) []byte { return resizeMessage(r, size, allowShrink) },
		progress: p,
		local:    func(ctx context.Context) error { return img.resize(ctx, size, allowShrink, p) },
	})
	if err != nil {
		return fmt.Errorf("resize image %s: %w", img.Name(), err)
	}
	return nil
}

func (img *Image) resize(ctx context.Context, size uint64, allowShrink bool, p Progress) error {
	h := img.header()
	if size == h.size {
		return nil
	}
	if size < h.size && !allowShrink {
		return rados.ErrInvalid
	}
	if err := img.recordResize(ctx, size, p); err != nil {
		return err
	}
	return img.NotifyUpdate(ctx)
}

// recordResize is resize without telling anybody.
func (img *Image) recordResize(ctx context.Context, size uint64, p Progress) error {
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	return img.journaled(ctx, jwire.Event{Type: jwire.EventResize, Size: size}, func(ctx context.Context) error {
		return img.changeSize(ctx, size, p)
	})
}

// changeSize is recordResize without the record.
func (img *Image) changeSize(ctx context.Context, size uint64, p Progress) error {
	if size < img.header().size {
		return img.shrink(ctx, size, p)
	}
	return img.grow(ctx, size, p)
}

// shrink removes the data first: an interrupted one can be repeated.
func (img *Image) shrink(ctx context.Context, size uint64, p Progress) error {
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	h := img.header()
	if err := img.trim(ctx, h, h.size, size, p); err != nil {
		return err
	}
	if err := img.setSize(ctx, size); err != nil {
		return err
	}
	if m := img.headMap(); m != nil {
		if err := m.resize(ctx, h.layout.Objects(size)); err != nil {
			return err
		}
	}
	return img.reload(ctx)
}

// grow makes room in the object map before the header says that it is there.
func (img *Image) grow(ctx context.Context, size uint64, _ Progress) error {
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	if m := img.headMap(); m != nil {
		if err := m.resize(ctx, img.header().layout.Objects(size)); err != nil {
			return err
		}
	}
	if err := img.setSize(ctx, size); err != nil {
		return err
	}
	return img.reload(ctx)
}

func (img *Image) setSize(ctx context.Context, size uint64) error {
	op := rados.NewOp()
	img.guard(op)
	callSetSize(op, size)
	return img.io.Operate(ctx, img.oid, op)
}

// trim removes the head's data between two sizes. Objects of a clone that
// snapshots still need are copied up first: the overlap with the parent will
// shrink.
func (img *Image) trim(ctx context.Context, h *header, from, to uint64, p Progress) error {
	l := h.layout
	n := l.Objects(from)
	// With striping, objects before the last full set may be cut, not removed.
	keep := l.Objects(to)
	first := keep
	if l.Striped() {
		set := l.StripeCount()
		first = to / (set << l.Order()) * set
	} else if to%l.ObjectSize() != 0 {
		first = keep - 1
	}
	if h.parent != nil && len(h.snapIDs) > 0 {
		err := forEach(ctx, first, n-min(first, n), img.managementDepth(), nil, func(ctx context.Context, obj uint64) error {
			return img.copyupIfMissing(ctx, h, obj)
		})
		if err != nil {
			return err
		}
	}
	if m := img.headMap(); m != nil && n > keep {
		leave, err := m.beginRemove(ctx, keep, n)
		if err != nil {
			return err
		}
		if leave != nil {
			defer leave()
		}
	}
	err := forEach(ctx, first, n-min(first, n), img.managementDepth(), trimProgress(p, first, keep, n), func(ctx context.Context, obj uint64) error {
		return img.trimObject(ctx, h, obj, from, to)
	})
	if err != nil {
		return err
	}
	if m := img.headMap(); m != nil && n > keep {
		return m.set(ctx, keep, n, objectmap.Nonexistent, objectmap.Pending)
	}
	return nil
}

// trimProgress tells of the objects from first that were worked on as rbd shows it:
// the number of the one that was removed last, of all n, from keep on.
func trimProgress(p Progress, first, keep, n uint64) Progress {
	if p == nil {
		return nil
	}
	return func(done, _ uint64) {
		if at := first + done; at > keep {
			p(at-1, n)
		}
	}
}

// trimObject removes or cuts one object to what an image of the new size needs.
func (img *Image) trimObject(ctx context.Context, h *header, obj, from, to uint64) error {
	end := h.layout.ObjectEnd(obj, to)
	if end >= h.layout.ObjectEnd(obj, from) && end > 0 {
		return nil
	}
	if m := img.trustedMap(); m != nil && obj < h.layout.Objects(to) && !m.mayExist(obj) && len(h.headOverlap(obj)) == 0 {
		return nil
	}
	if end == 0 && obj >= h.layout.Objects(to) {
		m := img.trustedMap()
		if m != nil && m.get(obj) == objectmap.Nonexistent {
			return nil
		}
		return ignoreNotFound(h.dataIO.Operate(ctx, h.objectName(obj), removeOp(), rados.FullTry()))
	}
	if m := img.headMap(); m != nil {
		leave, _, err := m.beginWrite(ctx, obj)
		if err != nil {
			return err
		}
		defer leave()
	}
	// The rest of an object that stays. Without an object of its own, the
	// smaller overlap hides the parent's data.
	op := rados.NewOp()
	op.Truncate(end)
	return ignoreNotFound(h.dataIO.Operate(ctx, h.objectName(obj), op, rados.FullTry()))
}

func removeOp() *rados.Op {
	op := rados.NewOp()
	op.Remove()
	return op
}
