package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// snapMap is the object map of the snapshot that an image was opened at.
type snapMap struct {
	snapID uint64
	bits   objectmap.Bits
}

func (m *snapMap) mayExist(obj uint64) bool {
	return obj >= m.bits.Len() || m.bits.Get(obj) != objectmap.Nonexistent
}

// loadObjectMap reads an object map from its object.
func loadObjectMap(ctx context.Context, io *rados.IoCtx, oid string) (objectmap.Bits, error) {
	op := rados.NewOp()
	res := callObjectMapLoad(op)
	if err := io.Operate(ctx, oid, op); err != nil {
		return objectmap.Bits{}, err
	}
	return decodeObjectMap(res)
}

// saveObjectMap replaces or makes the object map of a snapshot.
func saveObjectMap(ctx context.Context, io *rados.IoCtx, oid string, bits objectmap.Bits) error {
	op := rados.NewOp()
	callObjectMapSave(op, bits)
	return io.Operate(ctx, oid, op)
}

// openHeadMap locks and loads the head's object map after the exclusive lock
// was taken. A map that cannot be used is marked invalid, and I/O goes on
// without it.
func (img *Image) openHeadMap(ctx context.Context) error {
	h := img.header()
	if !h.has(FeatureObjectMap) {
		img.omap.Store(nil)
		return nil
	}
	oid := objectMapName(img.id, NoSnap)
	if err := img.lockObjectMap(ctx, oid); err != nil {
		return fmt.Errorf("lock object map: %w", err)
	}
	m := &headMap{io: img.io, oid: oid, log: img.log, objs: map[uint64]*objectUse{}}
	m.invalidate = func(ctx context.Context, why error) error {
		return img.invalidateObjectMap(ctx, []uint64{NoSnap}, false)
	}
	want := h.layout.Objects(h.size)
	bits, err := loadObjectMap(ctx, img.io, oid)
	switch {
	case err == nil && bits.Len() == want:
	case err == nil && bits.Len() > want:
		// A shrink was interrupted after the header had changed.
		bits.Resize(want, objectmap.Nonexistent)
	case err != nil && ctx.Err() != nil:
		return err
	default:
		why := err
		if why == nil {
			why = fmt.Errorf("it has %d objects, the image %d", bits.Len(), want)
		}
		img.log.Warn("the object map cannot be used, marking it invalid", "error", why)
		if err := img.invalidateObjectMap(ctx, []uint64{NoSnap}, false); err != nil {
			return err
		}
		bits = objectmap.New(want, objectmap.Exists)
		op := rados.NewOp()
		callAssertLocked(op, "", "")
		callObjectMapSave(op, bits)
		if err := img.io.Operate(ctx, oid, op); err != nil {
			return fmt.Errorf("replace object map: %w", err)
		}
	}
	m.bits = bits
	img.omap.Store(m)
	return nil
}

// lockObjectMap takes the lock on the object map object, breaking what a
// previous owner of the exclusive lock left.
func (img *Image) lockObjectMap(ctx context.Context, oid string) error {
	for broken := false; ; broken = true {
		op := rados.NewOp()
		callLock(op, "", "")
		err := img.io.Operate(ctx, oid, op)
		if err == nil || errors.Is(err, rados.ErrExists) {
			return nil
		}
		if !errors.Is(err, rados.ErrBusy) || broken {
			return err
		}
		info := rados.NewOp()
		res := callLockInfo(info)
		if err := img.io.Operate(ctx, oid, info); err != nil {
			return err
		}
		owner, err := decodeLockInfo(res)
		if err != nil {
			return err
		}
		if owner == nil {
			continue
		}
		op = rados.NewOp()
		callBreakLock(op, owner.Name, owner.Cookie)
		if err := ignoreNotFound(img.io.Operate(ctx, oid, op)); err != nil {
			return err
		}
	}
}

// closeHeadMap gives the object map back before the exclusive lock.
func (img *Image) closeHeadMap(ctx context.Context) {
	if img.omap.Swap(nil) == nil {
		return
	}
	op := rados.NewOp()
	callUnlock(op, "")
	if err := ignoreNotFound(img.io.Operate(ctx, objectMapName(img.id, NoSnap), op)); err != nil {
		img.log.Warn("the object map could not be unlocked", "error", err)
	}
}

// invalidateObjectMap marks the object maps of the given snapshots (NoSnap: the
// head) invalid in the header, and fast-diff with them. force does so even
// without holding the lock.
func (img *Image) invalidateObjectMap(ctx context.Context, snapIDs []uint64, force bool) error {
	mask := FlagObjectMapInvalid
	if img.header().has(FeatureFastDiff) {
		mask |= FlagFastDiffInvalid
	}
	op := rados.NewOp()
	if img.LockOwned() && !force {
		img.assertLocked(op)
	}
	for _, id := range snapIDs {
		callSetFlags(op, id, mask, mask)
	}
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		return fmt.Errorf("mark the object map of image %s invalid: %w", img.Name(), err)
	}
	img.updateFlags(snapIDs, mask, mask)
	return nil
}

// updateFlags changes flags in the published header.
func (img *Image) updateFlags(snapIDs []uint64, flags, mask uint64) {
	img.changeHeader(func(h *header) {
		for _, id := range snapIDs {
			if id == NoSnap {
				h.flags = h.flags&^mask | flags&mask
			} else if s := h.snap(id); s != nil {
				s.Flags = s.Flags&^mask | flags&mask
			}
		}
	})
}

// changeHeader publishes a changed copy of the header. A refresh under way may
// overtake it; then it read what was changed anyway.
func (img *Image) changeHeader(f func(h *header)) {
	for {
		old := img.head.Load()
		h := *old
		h.snaps = append([]Snapshot(nil), old.snaps...)
		f(&h)
		if img.head.CompareAndSwap(old, &h) {
			return
		}
	}
}

// assertLocked makes op fail unless the exclusive lock is still ours.
func (img *Image) assertLocked(op *rados.Op) {
	img.lock.mu.Lock()
	cookie := img.lock.cookie
	img.lock.mu.Unlock()
	callAssertLocked(op, cookie, lockTag)
}

// updateSnapMap changes the states of objects [first, end) in a snapshot's map.
// A map that cannot be changed becomes invalid, which is no error.
func (img *Image) updateSnapMap(ctx context.Context, snapID, first, end uint64, state uint8) error {
	op := rados.NewOp()
	callObjectMapUpdate(op, first, end, state, anyState)
	err := img.io.Operate(ctx, objectMapName(img.id, snapID), op)
	if err == nil || ctx.Err() != nil {
		return err
	}
	img.log.Warn("object map of a snapshot cannot be kept, marking it invalid", "snapshot", snapID, "error", err)
	return img.invalidateObjectMap(ctx, []uint64{snapID}, false)
}

// mapSnapAdd keeps the object map through the creation of a snapshot: the
// snapshot gets a copy, and the head starts with nothing changed.
func (img *Image) mapSnapAdd(ctx context.Context, snapID uint64) error {
	m := img.headMap()
	if m == nil {
		return nil
	}
	err := saveObjectMap(ctx, img.io, objectMapName(img.id, snapID), m.snapshot())
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		img.log.Warn("object map of a new snapshot cannot be written, marking it invalid", "snapshot", snapID, "error", err)
		if err := img.invalidateObjectMap(ctx, []uint64{snapID, NoSnap}, false); err != nil {
			return err
		}
	}
	if !img.header().has(FeatureFastDiff) {
		return nil
	}
	return m.snapAdded(ctx)
}

// mapSnapRemove keeps the object maps through the removal of a snapshot: what
// had changed at it has changed at the next younger snapshot, or the head.
func (img *Image) mapSnapRemove(ctx context.Context, h *header, snapID uint64) error {
	if !h.has(FeatureObjectMap) {
		return nil
	}
	oid := objectMapName(img.id, snapID)
	if h.has(FeatureFastDiff) {
		next := NoSnap
		for i := range h.snaps {
			if h.snaps[i].ID > snapID {
				next = h.snaps[i].ID
				break
			}
		}
		if err := img.mergeMap(ctx, h, snapID, next); err != nil {
			return err
		}
	}
	if err := ignoreNotFound(img.io.Remove(ctx, oid)); err != nil {
		return fmt.Errorf("remove object map of snapshot %d: %w", snapID, err)
	}
	return nil
}

// mergeMap merges the map of a snapshot that goes away into the next one. One
// without a map is merged already, or its creation was interrupted before the maps of
// what follows could tell changes after it from those before.
func (img *Image) mergeMap(ctx context.Context, h *header, snapID, next uint64) error {
	flags, err := h.flagsAt(snapID)
	if err != nil {
		return err
	}
	bits, err := loadObjectMap(ctx, img.io, objectMapName(img.id, snapID))
	if errors.Is(err, rados.ErrNotFound) {
		return nil
	}
	if err == nil && flags&FlagObjectMapInvalid != 0 {
		err = fmt.Errorf("the object map of snapshot %d is invalid", snapID)
	}
	if err == nil {
		op := rados.NewOp()
		if next == NoSnap {
			callAssertLocked(op, "", "")
		}
		callObjectMapSnapRemove(op, bits)
		err = ignoreNotFound(img.io.Operate(ctx, objectMapName(img.id, next), op))
	}
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		img.log.Warn("object maps cannot be merged, marking the younger invalid", "snapshot", snapID, "error", err)
		return img.invalidateObjectMap(ctx, []uint64{next}, false)
	}
	if next == NoSnap {
		if m := img.headMap(); m != nil {
			m.merge(bits)
		}
	}
	return nil
}
