package rbd

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// CopySnapshots makes the user's snapshots of dst those of src up to r.SrcEnd,
// and dst's size and overlap with its parent those of src there; it copies no
// data. known maps the snapshots of src that dst already has to its own. What
// src no longer has is removed from dst, other names and protections are
// followed, new ones are made. The result is the new map; r.SrcEnd is in it only
// if it is a user's snapshot that is not skipped.
//
// dst must be locked. Its new snapshots have no valid object maps until
// ObjectCopier.Finish has written them.
func CopySnapshots(ctx context.Context, src, dst *Image, r CopyRange, known map[uint64]uint64) (map[uint64]uint64, error) {
	seqs := map[uint64]uint64{}
	err := dst.maintain(ctx, maintenance{local: func(ctx context.Context) error {
		c := snapCopy{src: src, dst: dst, r: r, seqs: seqs}
		if err := c.follow(ctx, known); err != nil {
			return err
		}
		if err := c.create(ctx); err != nil {
			return err
		}
		return c.setHead(ctx, r.SrcEnd)
	}})
	if err != nil {
		return nil, fmt.Errorf("copy snapshots of image %s to %s: %w", src.Name(), dst.Name(), err)
	}
	return seqs, nil
}

type snapCopy struct {
	src, dst *Image
	r        CopyRange
	seqs     map[uint64]uint64
}

// follow brings the snapshots that dst has up to date.
func (c *snapCopy) follow(ctx context.Context, known map[uint64]uint64) error {
	back := make(map[uint64]uint64, len(known))
	for s, d := range maps.All(known) {
		if d != NoSnap && d != 0 {
			back[d] = s
		}
	}
	for _, d := range c.dst.Snapshots() {
		if !isUser(d.Namespace) {
			continue
		}
		srcID, ok := back[d.ID]
		s := c.src.header().snap(srcID)
		if !ok || s == nil || !isUser(s.Namespace) || srcID > c.r.SrcEnd {
			if err := c.drop(ctx, &d); err != nil {
				return fmt.Errorf("snapshot %s: %w", d.Name, err)
			}
			continue
		}
		c.seqs[srcID] = d.ID
		if s.Name != d.Name {
			if err := c.dst.renameSnapshot(ctx, d.ID, s.Name); err != nil {
				return fmt.Errorf("rename snapshot %s to %s: %w", d.Name, s.Name, err)
			}
		}
		if err := c.protect(ctx, s, d.ID); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.Name, err)
		}
	}
	return nil
}

// drop removes a snapshot of dst that src does not have.
func (c *snapCopy) drop(ctx context.Context, d *Snapshot) error {
	if d.Protection != protectionNone {
		if err := c.dst.unprotect(ctx, d.ID); err != nil {
			return err
		}
	}
	return ignoreNotFound(c.dst.removeSnapshot(ctx, d.ID))
}

// protect gives the snapshot of dst the protection that src's has.
func (c *snapCopy) protect(ctx context.Context, s *Snapshot, dstID uint64) error {
	d := c.dst.header().snap(dstID)
	if d == nil || d.Protected() == s.Protected() {
		return nil
	}
	if s.Protected() {
		return c.dst.setProtection(ctx, dstID, protectionProtected)
	}
	// Clones of the copy keep it protected.
	if err := c.dst.unprotect(ctx, dstID); !errors.Is(err, rados.ErrBusy) {
		return err
	}
	return nil
}

// create makes the snapshots that dst lacks, from old to new.
func (c *snapCopy) create(ctx context.Context) error {
	for _, s := range c.src.Snapshots() {
		if !isUser(s.Namespace) || s.ID > c.r.SrcEnd || c.seqs[s.ID] != 0 || c.r.Skip != nil && c.r.Skip(s) {
			continue
		}
		if s.ID <= c.r.SrcStart {
			// It was there when the last copy was made and has been removed from
			// dst since; its data is no longer to be had in order.
			continue
		}
		if err := c.setHead(ctx, s.ID); err != nil {
			return err
		}
		id, err := c.dst.createSnapshot(ctx, s.Name, s.Namespace, SnapshotOptions{SkipQuiesce: true, SkipObjectMap: true})
		if err != nil {
			return fmt.Errorf("create snapshot %s: %w", s.Name, err)
		}
		c.seqs[s.ID] = id
		if err := c.protect(ctx, &s, id); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.Name, err)
		}
	}
	return nil
}

// setHead gives dst's head the size and the overlap that src has at a snapshot,
// without touching data: the objects are the copy's business.
func (c *snapCopy) setHead(ctx context.Context, srcID uint64) error {
	size, err := c.src.header().sizeAt(srcID)
	if err != nil {
		return err
	}
	h := c.dst.header()
	changed := false
	if h.size != size {
		if m := c.dst.headMap(); m != nil {
			// Objects beyond a smaller end stay until the copy removes them, but
			// the class refuses to cut off what the map says exists.
			n := h.layout.Objects(size)
			if err := m.set(ctx, n, h.layout.Objects(h.size), objectmap.Nonexistent, anyState); err != nil {
				return err
			}
			if err := m.resize(ctx, n); err != nil {
				return err
			}
		}
		if err := c.dst.setSize(ctx, size); err != nil {
			return fmt.Errorf("set size to %d: %w", size, err)
		}
		changed = true
	}
	p := c.src.header().parentAt(srcID)
	if p == nil && h.parent != nil && !c.r.Flatten {
		// The source was flattened. Parting with the parent takes it away from the
		// snapshots as well, so they get its data before.
		if err := c.dst.flatten(ctx, nil); err != nil {
			return fmt.Errorf("flatten: %w", err)
		}
		h, changed = c.dst.header(), true
	}
	if h.parent != nil && !c.r.Flatten {
		overlap := p.Overlap
		if h.parent.Overlap != overlap || changed {
			op := rados.NewOp()
			c.dst.guard(op)
			spec := *h.parent
			spec.Overlap = overlap
			callParentReattach(op, spec)
			if err := c.dst.io.Operate(ctx, c.dst.oid, op); err != nil {
				return fmt.Errorf("set overlap to %d: %w", overlap, err)
			}
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return c.dst.changed(ctx)
}
