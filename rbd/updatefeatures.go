package rbd

import (
	"context"
	"errors"
	"fmt"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
	"github.com/rbdm/rbdm/rbd/wire"
)

// EnableFeatures turns features on. A new object map starts out invalid unless
// the image is empty of snapshots and data is known; `rbd object-map rebuild`,
// or RebuildObjectMap, makes it valid, as with librbd.
func (img *Image) EnableFeatures(ctx context.Context, mask uint64) error {
	return img.updateFeatures(ctx, mask, true, CreateOptions{})
}

// EnableFeaturesAs is EnableFeatures with the journal as the options say, of which
// only those of the journal count. Where another client holds the exclusive lock, its
// own configuration holds.
func (img *Image) EnableFeaturesAs(ctx context.Context, mask uint64, o CreateOptions) error {
	return img.updateFeatures(ctx, mask, true, o)
}

// DisableFeatures turns features off and removes what belongs to them.
func (img *Image) DisableFeatures(ctx context.Context, mask uint64) error {
	return img.updateFeatures(ctx, mask, false, CreateOptions{})
}

func (img *Image) updateFeatures(ctx context.Context, mask uint64, on bool, plan CreateOptions) error {
	if err := img.alive(); err != nil {
		return err
	}
	err := img.checkUpdate(mask, on)
	if err == nil && !on && mask&img.header().features&FeatureJournaling != 0 {
		err = img.journalNotNeeded(ctx)
	}
	if err == nil {
		err = img.maintain(ctx, maintenance{
			remote: func(r wire.RequestID) []byte { return updateFeaturesMessage(r, mask, on) },
			local:  func(ctx context.Context) error { return img.switchFeatures(ctx, mask, on, plan) },
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
func (img *Image) switchFeatures(ctx context.Context, mask uint64, on bool, plan CreateOptions) error {
	change := img.disableFeatures
	if on {
		change = func(ctx context.Context, mask uint64) error { return img.enableFeatures(ctx, mask, plan) }
	}
	record := img.journaled
	if mask&FeatureJournaling != 0 {
		// The journal has no record of its own beginning and end.
		record = func(ctx context.Context, _ jwire.Event, f func(context.Context) error) error { return f(ctx) }
	}
	ev := jwire.Event{Type: jwire.EventUpdateFeatures, Features: mask, Enabled: on}
	if err := record(ctx, ev, func(ctx context.Context) error { return change(ctx, mask) }); err != nil {
		return err
	}
	if err := img.NotifyUpdate(ctx); err != nil {
		return err
	}
	if on && mask&FeatureJournaling != 0 {
		return mirrorInPoolMode(ctx, img.io, img.id, img.Features())
	}
	return nil
}

// setFeatures changes the features in the header.
func (img *Image) setFeatures(ctx context.Context, features, mask uint64) error {
	op := rados.NewOp()
	img.guard(op)
	callSetFeatures(op, features, mask)
	return img.io.Operate(ctx, img.oid, op)
}

func (img *Image) enableFeatures(ctx context.Context, mask uint64, plan CreateOptions) error {
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
	if mask&FeatureJournaling != 0 {
		if err := img.newJournal(ctx, plan); err != nil {
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
		if err := img.openHeadMap(ctx); err != nil {
			return err
		}
	}
	if mask&FeatureJournaling != 0 && img.LockOwned() {
		return img.openJournal(ctx, false)
	}
	return nil
}

// newJournal makes the journal of an image that has none yet. One that is there was
// left by somebody who died while he made or removed it.
func (img *Image) newJournal(ctx context.Context, plan CreateOptions) error {
	l, err := journalLayout(ctx, img.io, img.settings, plan)
	if err != nil {
		return err
	}
	if err := removeJournal(ctx, img.io, img.id, true); err != nil {
		return err
	}
	if err := createJournal(ctx, img.io, img.id, l, jwire.LocalOwner); err != nil {
		return errors.Join(err, removeJournal(context.WithoutCancel(ctx), img.io, img.id, true))
	}
	return nil
}

// journalNotNeeded refuses to end a journal by which an image is mirrored that was
// chosen for it.
func (img *Image) journalNotNeeded(ctx context.Context) error {
	mode, err := mirrorMode(ctx, img.io)
	if err != nil || mode != wire.MirrorModeImage {
		return err
	}
	m, err := img.mirrorEntry(ctx)
	if err == nil && m.State == wire.MirrorImageEnabled && m.Mode == wire.MirrorImageJournal {
		return fmt.Errorf("journaling is needed by the mirroring of the image, which is to be disabled first: %w", rados.ErrInvalid)
	}
	return ignoreNotFound(err)
}

// endJournal ends the recording before the journal goes away, and the mirroring that
// stands on it. In the mirroring mode that is chosen image by image the user has to
// end the mirroring first.
func (img *Image) endJournal(ctx context.Context) error {
	if err := img.journalNotNeeded(ctx); err != nil {
		return err
	}
	m, err := img.mirrorEntry(ctx)
	switch {
	case errors.Is(err, rados.ErrNotFound):
	case err != nil:
		return err
	case m.Mode == wire.MirrorImageJournal:
		if err := img.removeSyncPoints(ctx, img.removeSnapshot); err != nil {
			return err
		}
		if err := img.forgetMirroring(ctx); err != nil {
			return err
		}
	}
	return img.closeJournal(ctx)
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
	if mask&FeatureJournaling != 0 {
		if err := img.endJournal(ctx); err != nil {
			return err
		}
	}
	if err := img.setFeatures(ctx, 0, mask); err != nil {
		return err
	}
	if mask&FeatureJournaling != 0 {
		if err := removeJournal(ctx, img.io, img.id, true); err != nil {
			return err
		}
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
