package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/journal"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/layout"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// The orders that librbd accepts.
const (
	minOrder = 12
	maxOrder = 25
)

// Create makes an image of size bytes and returns its id. What it made is
// removed again when it fails half way. A name in use is ErrExists.
func Create(ctx context.Context, io *rados.IoCtx, name string, size uint64, o CreateOptions) (id string, err error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("create image %s: %w", name, err)
		}
	}()
	io = io.AtSnap(NoSnap).WithSnapContext(0, nil)
	c, err := plan(ctx, io, size, o)
	if err != nil {
		return "", err
	}
	made := o.ImageID // a result is "" already when what failed is undone
	if made == "" {
		made = NewImageID(io.Client())
	}
	var undo []func(context.Context) error
	defer func() {
		if err == nil {
			return
		}
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		for i := len(undo) - 1; i >= 0; i-- {
			if uerr := ignoreNotFound(undo[i](back)); uerr != nil {
				err = errors.Join(err, fmt.Errorf("and tidying up: %w", uerr))
			}
		}
	}()
	if err := createID(ctx, io, name, made); err != nil {
		return "", err
	}
	undo = append(undo, func(ctx context.Context) error { return io.Remove(ctx, idPrefix+name) })
	op := rados.NewOp()
	if io.Namespace() != "" {
		op.CallWrite(rbdClass, "dir_state_assert", denc.AppendU8(nil, dirReady))
	}
	op.CallWrite(rbdClass, "dir_add_image", denc.AppendString(denc.AppendString(nil, name), made))
	if err := io.Operate(ctx, directoryName, op); err != nil {
		return "", fmt.Errorf("directory: %w", err)
	}
	undo = append(undo, func(ctx context.Context) error { return directoryRemove(ctx, io, name, made) })
	op = rados.NewOp()
	op.Create(true)
	callCreate(op, size, c.layout.Order(), c.features, c.prefix(io, made), c.dataPool)
	if err := io.Operate(ctx, headerPrefix+made, op); err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	undo = append(undo, func(ctx context.Context) error { return io.Remove(ctx, headerPrefix+made) })
	if c.features&FeatureStriping != 0 {
		// An operation of its own: the class looks for the feature that the one
		// before has set.
		op := rados.NewOp()
		op.CallWrite(rbdClass, "set_stripe_unit_count", denc.AppendU64(denc.AppendU64(nil, c.layout.StripeUnit()), c.layout.StripeCount()))
		if err := io.Operate(ctx, headerPrefix+made, op); err != nil {
			return "", fmt.Errorf("striping: %w", err)
		}
	}
	if c.features&FeatureObjectMap != 0 {
		op := rados.NewOp()
		callObjectMapResize(op, c.layout.Objects(size), objectmap.Nonexistent)
		if err := io.Operate(ctx, objectMapName(made, NoSnap), op); err != nil {
			return "", fmt.Errorf("object map: %w", err)
		}
		undo = append(undo, func(ctx context.Context) error { return io.Remove(ctx, objectMapName(made, NoSnap)) })
	}
	if c.features&FeatureJournaling != 0 {
		undo = append(undo, func(ctx context.Context) error { return removeJournal(ctx, io, made, true) })
		if err := createJournal(ctx, io, made, c.journal, o.JournalOwner); err != nil {
			return "", err
		}
		if !o.unfinished && !o.NonPrimary {
			if err := mirrorInPoolMode(ctx, io, made, c.features); err != nil {
				return "", err
			}
		}
	}
	if o.Mirror != nil && !o.unfinished {
		if err := o.Mirror(ctx, io, made); err != nil {
			return "", fmt.Errorf("cannot enable mirroring: %w", err)
		}
	}
	return made, nil
}

// creation is what Create decided.
type creation struct {
	layout   layout.Layout
	features uint64
	dataPool int64
	journal  journal.Layout
}

// prefix returns the prefix of the data objects' names.
func (c *creation) prefix(io *rados.IoCtx, id string) string {
	if c.dataPool >= 0 {
		return fmt.Sprintf("%s%d.%s", dataPrefix, io.Pool(), id)
	}
	return dataPrefix + id
}

// plan turns options and configuration into what is to be made.
func plan(ctx context.Context, io *rados.IoCtx, size uint64, o CreateOptions) (*creation, error) {
	cfg, err := newSettings(ctx, io, "")
	if err != nil {
		return nil, err
	}
	c := &creation{dataPool: -1}
	order := o.Order
	if order == 0 {
		order = uint8(cfg.uint("rbd_default_order"))
	}
	if order < minOrder || order > maxOrder {
		return nil, fmt.Errorf("object size 2^%d is not between 2^%d and 2^%d: %w", order, minOrder, maxOrder, rados.ErrDomain)
	}
	unit, count := o.StripeUnit, o.StripeCount
	if unit == 0 && count == 0 {
		unit, count = cfg.uint("rbd_default_stripe_unit"), cfg.uint("rbd_default_stripe_count")
	}
	if (unit == 0) != (count == 0) {
		return nil, fmt.Errorf("stripe unit and stripe count go together: %w", rados.ErrInvalid)
	}
	if unit == 1<<order && count == 1 {
		unit, count = 0, 0
	}
	if c.layout, err = layout.New(order, unit, count); err != nil {
		return nil, fmt.Errorf("%w: %w", err, rados.ErrInvalid)
	}
	if c.features = o.Features; !o.HasFeatures {
		if c.features, err = ParseFeatures(cfg.get("rbd_default_features")); err != nil {
			return nil, err
		}
	}
	c.features = c.features&^o.FeaturesClear | o.FeaturesSet
	c.features &^= FeaturesInternal | FeatureStriping | FeatureDataPool | FeatureNonPrimary
	if unit != 0 {
		c.features |= FeatureStriping
	}
	if o.NonPrimary {
		c.features |= FeatureNonPrimary
	}
	if err := checkFeatures(c.features); err != nil {
		return nil, err
	}
	if c.features&FeatureJournaling != 0 {
		if c.journal, err = journalLayout(ctx, io, cfg, o); err != nil {
			return nil, err
		}
	}
	if c.features&FeatureObjectMap != 0 && c.layout.Objects(size) > objectmap.MaxObjects {
		return nil, fmt.Errorf("%d bytes are too many for an object map: %w", size, rados.ErrInvalid)
	}
	return c, c.choosePool(ctx, io, o, cfg)
}

// choosePool finds the data pool and makes sure that it can hold images.
func (c *creation) choosePool(ctx context.Context, io *rados.IoCtx, o CreateOptions, cfg *settings) error {
	name := o.DataPool
	if name == "" && !o.NoDataPool {
		name = cfg.get("rbd_default_data_pool")
	}
	if name != "" {
		pool, err := io.Client().LookupPool(ctx, name)
		if err != nil {
			return fmt.Errorf("data pool %s: %w", name, err)
		}
		if pool != io.Pool() {
			c.dataPool = pool
			c.features |= FeatureDataPool
		}
	}
	if cfg.bool("rbd_validate_pool") {
		pool := io.Pool()
		if c.dataPool >= 0 {
			pool = c.dataPool
		}
		if err := ValidatePool(ctx, io.WithPool(pool)); err != nil {
			return fmt.Errorf("validate pool: %w", err)
		}
	}
	return nil
}

// directoryRemove takes an image out of the directory.
func directoryRemove(ctx context.Context, io *rados.IoCtx, name, id string) error {
	op := rados.NewOp()
	op.CallWrite(rbdClass, "dir_remove_image", denc.AppendString(denc.AppendString(nil, name), id))
	return io.Operate(ctx, directoryName, op)
}
