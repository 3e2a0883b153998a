package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/rados"
)

// DeepCopy copies src as opened, with all of its user's snapshots, into a new
// image. A clone stays a clone of the same parent unless flatten is set. What it
// made is removed when it fails.
func DeepCopy(ctx context.Context, src *Image, dstIO *rados.IoCtx, name string, o CreateOptions, flatten bool, p Progress) (err error) {
	h := src.header()
	parent := h.parentAt(src.snapID)
	if o = likeSource(h, o); parent != nil && !flatten {
		o.FeaturesSet |= FeatureLayering
	} else {
		flatten = true
	}
	first := src.Size()
	// The copy is made past the journal, which therefore comes last.
	plan := o
	journaled := (o.Features&^o.FeaturesClear|o.FeaturesSet)&FeatureJournaling != 0
	o.FeaturesClear, o.FeaturesSet = o.FeaturesClear|FeatureJournaling, o.FeaturesSet&^FeatureJournaling
	mirror := o.Mirror
	o.unfinished = true
	id, err := Create(ctx, dstIO, name, first, o)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("deep copy of image %s to %s: %w", h.name, name, err), discardCopy(ctx, dstIO, id))
		}
	}()
	if !flatten {
		spec := *parent
		format := uint8(1)
		if h.opFeatures&OpFeatureCloneChild != 0 {
			format = 2
		}
		if err := attach(ctx, dstIO, id, spec, format); err != nil {
			return err
		}
	}
	if err := copyMetadata(ctx, src.io, src.id, dstIO, id); err != nil {
		return err
	}
	if mirror != nil && !journaled {
		if err := mirror(ctx, dstIO, id); err != nil {
			return err
		}
	}
	dst, err := OpenByID(ctx, dstIO, id, OpenOptions{Logger: src.opts.Logger})
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, dst.Close(ctx)); err == nil && mirror != nil && journaled {
			err = mirror(ctx, dstIO, id)
		}
	}()
	if err := dst.AcquireLock(ctx); err != nil {
		return err
	}
	r := CopyRange{SrcEnd: src.snapID, DstEnd: NoSnap, Flatten: flatten}
	seqs, err := CopySnapshots(ctx, src, dst, r, nil)
	if err != nil {
		return err
	}
	// A snapshot that is the end of the copy gets its data like the others.
	if d, ok := seqs[src.snapID]; ok {
		r.DstEnd = d
	}
	c, err := NewObjectCopier(src, dst, r, seqs)
	if err != nil {
		return err
	}
	if err := c.all(ctx, p); err != nil {
		return err
	}
	if err := src.SnapshotsExist(ctx, c.sources()...); err != nil {
		return err
	}
	if err := dst.Refresh(ctx); err != nil || !journaled {
		return err
	}
	return dst.EnableFeaturesAs(ctx, FeatureJournaling, plan)
}

// all copies every object, by fast-diff if it can be used.
func (c *ObjectCopier) all(ctx context.Context, p Progress) error {
	var delta *Delta
	if c.same && !(c.r.Flatten && c.sh.spec != nil) {
		var err error
		if delta, err = c.src.ObjectDelta(ctx, c.r.SrcStart, c.r.SrcEnd); err != nil {
			return err
		}
		if err := c.Prepare(ctx, delta); err != nil {
			return err
		}
	}
	err := forEach(ctx, 0, c.Objects(), c.dst.managementDepth(), p, func(ctx context.Context, n uint64) error {
		if delta != nil && delta.FastDiff && (delta.At(n) == ObjectHole || delta.At(n) == ObjectSame) {
			return nil
		}
		_, err := c.Copy(ctx, n)
		return err
	})
	if err != nil {
		return err
	}
	return c.Finish(ctx, delta)
}

// likeSource fills what the options leave open from the source.
func likeSource(h *header, o CreateOptions) CreateOptions {
	if o.Order == 0 {
		o.Order = h.layout.Order()
	}
	if o.StripeUnit == 0 && o.StripeCount == 0 && h.has(FeatureStriping) {
		o.StripeUnit, o.StripeCount = h.layout.StripeUnit(), h.layout.StripeCount()
	}
	if !o.HasFeatures {
		o.Features, o.HasFeatures = h.features&^(FeaturesInternal|FeatureStriping|FeatureDataPool|FeatureNonPrimary|FeatureDirtyCache), true
	}
	return o
}

// discardCopy removes an unfinished copy.
func discardCopy(ctx context.Context, io *rados.IoCtx, id string) error {
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	img, err := OpenByID(back, io, id, OpenOptions{SkipParent: true})
	if err != nil {
		return ignoreNotFound(err)
	}
	for _, s := range img.Snapshots() {
		if s.Protected() {
			err = errors.Join(err, img.UnprotectSnapshot(back, s.ID))
		}
		err = errors.Join(err, img.RemoveSnapshot(back, s.ID))
	}
	return errors.Join(err, img.Close(back), RemoveByID(back, io, id, nil))
}

// Copy copies src as opened, without its snapshots, into a new image that has no
// parent. Zeros, found in steps of sparse bytes, are not stored; sparse 0 stores
// them. What it made is removed when it fails.
func Copy(ctx context.Context, src *Image, dstIO *rados.IoCtx, name string, o CreateOptions, sparse uint64, p Progress) (err error) {
	h := src.header()
	size := src.Size()
	id, err := Create(ctx, dstIO, name, size, likeSource(h, o))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("copy of image %s to %s: %w", h.name, name, err), discardCopy(ctx, dstIO, id))
		}
	}()
	if err := copyMetadata(ctx, src.io, src.id, dstIO, id); err != nil {
		return err
	}
	dst, err := OpenByID(ctx, dstIO, id, OpenOptions{Logger: src.opts.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close(ctx)) }()
	step := max(src.period(), dst.header().layout.ObjectSize())
	n := (size + step - 1) / step
	return forEach(ctx, 0, n, dst.managementDepth(), p, func(ctx context.Context, i uint64) error {
		off := i * step
		d, err := src.Read(ctx, off, min(step, size-off))
		if err != nil {
			return err
		}
		for _, r := range runsOf(d, sparse) {
			if !r.Exists {
				continue
			}
			if err := dst.WriteData(ctx, off+r.Off, d.Slice(int(r.Off), int(r.Len))); err != nil {
				return err
			}
		}
		return nil
	})
}
