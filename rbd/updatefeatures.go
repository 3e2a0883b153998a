package rbd

import (
	"context"
	"fmt"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
	"github.com/rbdm/rbdm/rbd/wire"
)

// EnableFeatures turns features on. A new object map starts out invalid unless
// the image is empty of snapshots and data is known; `rbd object-map rebuild`,
// or RebuildObjectMap, makes it valid, as with librbd.
func (img *Image) EnableFeatures(ctx context.Context, mask uint64) error {
	return img.updateFeatures(ctx, mask, true)
}

// DisableFeatures turns features off and removes what belongs to them.
func (img *Image) DisableFeatures(ctx context.Context, mask uint64) error {
	return img.updateFeatures(ctx, mask, false)
}

func (img *Image) updateFeatures(ctx context.Context, mask uint64, on bool) error {
	if err := img.alive(); err != nil {
		return err
	}
	err := img.checkUpdate(mask, on)
	if err == nil {
		err = img.maintain(ctx, maintenance{
			remote: func(r wire.RequestID) []byte { return updateFeaturesMessage(r, mask, on) },
			local:  func(ctx context.Context) error { return img.switchFeatures(ctx, mask, on) },
		})
	}
	if err != nil {
		return fmt.Errorf("update features of image %s: %w", img.Name(), err)
	}
	return nil
}

// checkUpdate refuses what cannot be changed.
func (img *Image) checkUpdate(mask uint64, on bool) error {
	allowed := FeaturesMutable
	if !on {
		allowed |= FeaturesDisableOnly
	}
	if bad := mask &^ allowed; bad != 0 {
		return fmt.Errorf("%v cannot be changed: %w", FeatureNames(bad), rados.ErrInvalid)
	}
	if mask&FeatureJournaling != 0 {
		return ErrJournaling
	}
	if mask == 0 {
		return fmt.Errorf("no features: %w", rados.ErrInvalid)
	}
	have := img.header().features
	after := have | mask
	if !on {
		after = have &^ mask
		if have&mask == 0 {
			return fmt.Errorf("%v are not on: %w", FeatureNames(mask), rados.ErrInvalid)
		}
	} else if have&mask == mask {
		return fmt.Errorf("%v are on already: %w", FeatureNames(mask), rados.ErrInvalid)
	}
	return checkFeatures(after)
}

// switchFeatures changes features and makes that known.
func (img *Image) switchFeatures(ctx context.Context, mask uint64, on bool) error {
	change := img.disableFeatures
	if on {
		change = img.enableFeatures
	}
	if err := change(ctx, mask); err != nil {
		return err
	}
	return img.NotifyUpdate(ctx)
}

// setFeatures changes the features in the header.
func (img *Image) setFeatures(ctx context.Context, features, mask uint64) error {
	op := rados.NewOp()
	img.guard(op)
	callSetFeatures(op, features, mask)
	return img.io.Operate(ctx, img.oid, op)
}

func (img *Image) enableFeatures(ctx context.Context, mask uint64) error {
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	h := img.header()
	mask &^= h.features
	if mask == 0 {
		return nil
	}
	if mask&FeatureObjectMap != 0 {
		if err := img.createMaps(ctx, h); err != nil {
			return err
		}
	}
	flags := uint64(0)
	if mask&FeatureObjectMap != 0 {
		flags |= FlagObjectMapInvalid
	}
	if mask&FeatureFastDiff != 0 {
		flags |= FlagFastDiffInvalid
	}
	if flags != 0 {
		op := rados.NewOp()
		img.guard(op)
		for i := range h.snaps {
			callSetFlags(op, h.snaps[i].ID, flags, flags)
		}
		callSetFlags(op, NoSnap, flags, flags)
		if err := img.io.Operate(ctx, img.oid, op); err != nil {
			return fmt.Errorf("flags: %w", err)
		}
	}
	if err := img.setFeatures(ctx, mask, mask); err != nil {
		return err
	}
	if err := img.reload(ctx); err != nil {
		return err
	}
	if mask&FeatureObjectMap != 0 && img.LockOwned() {
		return img.openHeadMap(ctx)
	}
	return nil
}

// createMaps makes object maps, of the right length but with nothing in them,
// for the head and all snapshots.
func (img *Image) createMaps(ctx context.Context, h *header) error {
	if n := h.maxObjects(); n > objectmap.MaxObjects {
		return fmt.Errorf("the image is too large for an object map: %w", rados.ErrInvalid)
	}
	points := append([]uint64{NoSnap}, h.snapIDs...)
	for _, id := range points {
		size, err := h.sizeAt(id)
		if err != nil {
			return err
		}
		op := rados.NewOp()
		callObjectMapResize(op, h.layout.Objects(size), objectmap.Nonexistent)
		if err := img.io.Operate(ctx, objectMapName(img.id, id), op); err != nil {
			return fmt.Errorf("create object map: %w", err)
		}
	}
	return nil
}

func (img *Image) disableFeatures(ctx context.Context, mask uint64) error {
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	h := img.header()
	mask &= h.features
	if mask == 0 {
		return nil
	}
	flags := uint64(0)
	if mask&FeatureFastDiff != 0 {
		flags |= FlagFastDiffInvalid
	}
	if mask&FeatureObjectMap != 0 {
		flags |= FlagObjectMapInvalid
	}
	if err := img.setFeatures(ctx, 0, mask); err != nil {
		return err
	}
	if flags != 0 {
		op := rados.NewOp()
		img.guard(op)
		for i := range h.snaps {
			callSetFlags(op, h.snaps[i].ID, 0, flags)
		}
		callSetFlags(op, NoSnap, 0, flags)
		if err := img.io.Operate(ctx, img.oid, op); err != nil {
			return fmt.Errorf("flags: %w", err)
		}
	}
	if mask&FeatureObjectMap != 0 {
		img.closeHeadMap(ctx)
		for _, id := range append([]uint64{NoSnap}, h.snapIDs...) {
			if err := ignoreNotFound(img.io.Remove(ctx, objectMapName(img.id, id))); err != nil {
				return fmt.Errorf("remove object map: %w", err)
			}
		}
	}
	if err := img.reload(ctx); err != nil {
		return err
	}
	if mask&FeatureExclusiveLock != 0 && img.LockOwned() {
		img.lock.mu.Lock()
		cookie := img.lock.cookie
		img.lock.mu.Unlock()
		op := rados.NewOp()
		callUnlock(op, cookie)
		err := ignoreNotFound(img.io.Operate(ctx, img.oid, op))
		img.lock.lost()
		return err
	}
	return nil
}
