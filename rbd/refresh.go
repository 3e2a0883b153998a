package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/layout"
)

// Refresh reads the header anew, as every notification of a change does by
// itself for images that watch it.
func (img *Image) Refresh(ctx context.Context) error {
	if err := img.alive(); err != nil {
		return err
	}
	img.stale.Add(1)
	return img.refresh(ctx)
}

// refresh brings the header up to date with all calls of stale.Add before it.
func (img *Image) refresh(ctx context.Context) error {
	img.refreshMu.Lock()
	defer img.refreshMu.Unlock()
	want := img.stale.Load()
	if img.fresh.Load() == want {
		return nil
	}
	h, err := img.loadHeader(ctx, "")
	if err != nil {
		return fmt.Errorf("refresh image %s: %w", img.Name(), err)
	}
	img.publish(h)
	img.fresh.Store(want)
	return nil
}

// publish makes h the current header.
func (img *Image) publish(h *header) {
	img.lastAccess.Store(max(img.lastAccess.Load(), h.accessed.Unix()))
	img.lastModify.Store(max(img.lastModify.Load(), h.modified.Unix()))
	img.head.Store(h)
}

// findName asks the directory for the image's name; in the trash, the trash.
// An image that is being created or removed may have none.
func (img *Image) findName(ctx context.Context) string {
	if name, err := LookupName(ctx, img.io, img.id); err == nil {
		return name
	}
	if e, err := TrashGet(ctx, img.io, img.id); err == nil {
		return e.Name
	}
	return img.id
}

// snapsPerOp is how many snapshots are asked for in one operation.
const snapsPerOp = 32

// loadHeader reads everything that rbd_header says. It starts over when a
// snapshot came or went meanwhile.
func (img *Image) loadHeader(ctx context.Context, name string) (*header, error) {
	const tries = 10
	for i := 0; ; i++ {
		h, err := img.loadHead(ctx)
		if err != nil {
			return nil, err
		}
		err = img.loadSnaps(ctx, h)
		if errors.Is(err, rados.ErrNotFound) && i < tries {
			continue
		}
		if err != nil {
			return nil, err
		}
		switch {
		case name != "":
			h.name = name
		case img.header() != nil:
			h.name = img.header().name
		}
		return h, nil
	}
}

// loadHead reads what concerns the head.
func (img *Image) loadHead(ctx context.Context) (*header, error) {
	op := rados.NewOp()
	features := callGetFeatures(op, NoSnap, img.opts.ReadOnly)
	size := callGetSize(op, NoSnap)
	prefix := callGetObjectPrefix(op)
	snapc := callGetSnapContext(op)
	flags := callGetFlags(op, NoSnap)
	opFeatures := callOpFeaturesGet(op)
	parent := callParentGet(op)
	overlap := callParentOverlapGet(op, NoSnap)
	stripe := callGetStripe(op)
	dataPool := callGetDataPool(op)
	created, accessed, modified := callGetTimestamp(op, "create"), callGetTimestamp(op, "access"), callGetTimestamp(op, "modify")
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		return nil, err
	}
	h := &header{dataPool: -1}
	f := decode(features)
	h.features = f.U64()
	if incompatible := f.U64() &^ featuresAll; incompatible != 0 && f.Err() == nil {
		return nil, fmt.Errorf("image uses unsupported features %#x: %w", incompatible, rados.ErrNotImplemented)
	}
	s := decode(size)
	order := s.U8()
	h.size = s.U64()
	p := decode(prefix)
	h.prefix = p.String()
	c := decode(snapc)
	h.snapSeq = c.U64()
	h.snapIDs = denc.Slice(c, 8, (*denc.Reader).U64)
	fl := decode(flags)
	h.flags = fl.U64()
	if err := errors.Join(f.Err(), s.Err(), p.Err(), c.Err(), fl.Err()); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if opFeatures.Err() == nil {
		h.opFeatures = decode(opFeatures).U64()
	}
	if err := h.setParent(parent, overlap); err != nil {
		return nil, err
	}
	var unit, count uint64
	if h.has(FeatureStriping) {
		r := decode(stripe)
		unit, count = r.U64(), r.U64()
		if err := errors.Join(stripe.Err(), r.Err()); err != nil {
			return nil, fmt.Errorf("striping: %w", err)
		}
		h.striped = true
	}
	var err error
	if h.layout, err = layout.New(order, unit, count); err != nil {
		return nil, fmt.Errorf("%w: %w", err, rados.ErrInvalid)
	}
	h.created, h.accessed, h.modified = timestamp(created), timestamp(accessed), timestamp(modified)
	if h.has(FeatureDataPool) {
		r := decode(dataPool)
		h.dataPool = r.S64()
		if err := errors.Join(dataPool.Err(), r.Err()); err != nil {
			return nil, fmt.Errorf("data pool: %w", err)
		}
	}
	h.dataIO = img.io
	if h.dataPool >= 0 {
		h.dataIO = img.io.WithPool(h.dataPool)
	}
	h.dataIO = h.dataIO.WithSnapContext(h.snapSeq, h.snapIDs)
	return h, nil
}

// timestamp reads the time in an optional result.
func timestamp(b *rados.Bytes) time.Time {
	if b.Err() != nil {
		return time.Time{}
	}
	return decode(b).Time().Std()
}

// errNoFeature is ENOEXEC, which the class answers when an image lacks the
// feature that a question is about.
const errNoFeature = rados.Errno(8)

// setParent takes the results of parent_get and parent_overlap_get.
func (h *header) setParent(parent, overlap *rados.Bytes) error {
	if err := parent.Err(); err != nil {
		if errors.Is(err, rados.ErrNotFound) || errors.Is(err, errNoFeature) {
			return nil
		}
		return fmt.Errorf("parent: %w", err)
	}
	p, err := decodeParent(parent)
	if err != nil || p == nil {
		return err
	}
	n, there, err := decodeOverlap(overlap)
	if err != nil {
		return err
	}
	if there {
		p.Overlap = n
		h.parent = p
	} else {
		// Flattened: only snapshots still have the parent.
		h.parent = nil
	}
	h.spec = p
	return nil
}

// loadSnaps reads what concerns the snapshots.
func (img *Image) loadSnaps(ctx context.Context, h *header) error {
	ids := slices.Clone(h.snapIDs)
	slices.Sort(ids)
	h.snaps = make([]Snapshot, 0, len(ids))
	for batch := range slices.Chunk(ids, snapsPerOp) {
		op := rados.NewOp()
		type calls struct{ info, flags, protection, overlap *rados.Bytes }
		cs := make([]calls, len(batch))
		for i, id := range batch {
			cs[i] = calls{callSnapshotGet(op, id), callGetFlags(op, id), callGetProtection(op, id), callParentOverlapGet(op, id)}
		}
		if err := img.io.Operate(ctx, img.oid, op); err != nil {
			return fmt.Errorf("snapshots: %w", err)
		}
		for i, c := range cs {
			s, err := decodeSnapshot(c.info)
			if err != nil {
				return fmt.Errorf("snapshot %d: %w", batch[i], err)
			}
			s.Flags = decode(c.flags).U64()
			s.Protection = decode(c.protection).U8()
			if h.spec != nil {
				n, there, err := decodeOverlap(c.overlap)
				if err != nil {
					return fmt.Errorf("snapshot %d: %w", batch[i], err)
				}
				if there {
					p := *h.spec
					p.Overlap = n
					s.Parent = &p
				}
			}
			h.snaps = append(h.snaps, s)
		}
	}
	return nil
}
