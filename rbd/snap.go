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

// CreateSnapshot makes a snapshot of the head and returns its id. On images
// whose exclusive lock somebody else holds, the owner does it. Writers wait
// meanwhile. A name that exists in the same namespace is ErrExists; too many
// snapshots are ErrQuota.
func (img *Image) CreateSnapshot(ctx context.Context, name string, ns SnapshotNamespace, o SnapshotOptions) (uint64, error) {
	if err := img.writable(); err != nil {
		return 0, err
	}
	if img.findSnap(name, ns) != nil {
		return 0, fmt.Errorf("snapshot %s of image %s: %w", name, img.Name(), rados.ErrExists)
	}
	var id uint64
	err := img.maintain(ctx, maintenance{
		remote: func(r wire.RequestID) []byte { return snapCreateMessage(r, name, ns, o) },
		done:   rados.ErrExists,
		local: func(ctx context.Context) (err error) {
			id, err = img.createSnapshot(ctx, name, ns, o)
			return err
		},
	})
	if err != nil {
		return 0, fmt.Errorf("create snapshot %s of image %s: %w", name, img.Name(), err)
	}
	if id == 0 {
		if err := img.Refresh(ctx); err != nil {
			return 0, err
		}
		s := img.findSnap(name, ns)
		if s == nil {
			return 0, fmt.Errorf("snapshot %s of image %s: %w", name, img.Name(), rados.ErrNotFound)
		}
		id = s.ID
	}
	return id, nil
}

// findSnap returns the snapshot with the name in the same kind of namespace.
func (img *Image) findSnap(name string, ns SnapshotNamespace) *Snapshot {
	h := img.header()
	for i := range h.snaps {
		if h.snaps[i].Name == name && sameNamespace(h.snaps[i].Namespace, ns) {
			return &h.snaps[i]
		}
	}
	return nil
}

// createSnapshot is CreateSnapshot by the owner of the lock.
func (img *Image) createSnapshot(ctx context.Context, name string, ns SnapshotNamespace, o SnapshotOptions) (uint64, error) {
	id, err := img.addSnapshot(ctx, name, ns, o)
	if err == nil && isPrimary(ns) {
		err = img.CompletePrimarySnapshot(ctx, id)
	}
	if id != 0 {
		err = errors.Join(err, img.NotifyUpdate(ctx))
	}
	return id, err
}

// addSnapshot makes a snapshot with writes held back. An id with an error means
// that the snapshot exists nevertheless.
func (img *Image) addSnapshot(ctx context.Context, name string, ns SnapshotNamespace, o SnapshotOptions) (id uint64, err error) {
	if img.findSnap(name, ns) != nil {
		return 0, rados.ErrExists
	}
	if !o.SkipQuiesce && img.watch != nil {
		unquiesce, err := img.watch.quiesce(ctx)
		defer unquiesce()
		if err != nil && !o.IgnoreQuiesceError {
			return 0, fmt.Errorf("quiesce: %w", err)
		}
	}
	if err := img.gate.Block(ctx); err != nil {
		return 0, err
	}
	defer img.gate.Unblock()
	ev := jwire.Event{Type: jwire.EventSnapCreate, Name: name, Namespace: ns.Append(nil)}
	var late error
	err = img.journaled(ctx, ev, func(ctx context.Context) error {
		var err error
		if id, err = img.takeSnapshot(ctx, name, ns, o); id != 0 {
			late, err = err, nil
		}
		return err
	})
	return id, errors.Join(err, late)
}

// takeSnapshot is addSnapshot when no writes are under way.
func (img *Image) takeSnapshot(ctx context.Context, name string, ns SnapshotNamespace, o SnapshotOptions) (id uint64, err error) {
	h := img.header()
	for {
		if id, err = h.dataIO.CreateSnapID(ctx); err != nil {
			return 0, fmt.Errorf("allocate a snapshot id: %w", err)
		}
		op := rados.NewOp()
		img.guard(op)
		callSnapshotAdd(op, name, id, ns)
		err = img.io.Operate(ctx, img.oid, op)
		if !errors.Is(err, rados.ErrStale) {
			break
		}
		// Somebody added a younger one; this id can no longer be used.
		if rerr := h.dataIO.RemoveSnapID(ctx, id); rerr != nil {
			img.log.Warn("unused snapshot id was not given back", "snapshot", id, "error", rerr)
		}
	}
	if err != nil {
		if !rados.MaybeApplied(err) {
			if rerr := h.dataIO.RemoveSnapID(ctx, id); rerr != nil {
				img.log.Warn("unused snapshot id was not given back", "snapshot", id, "error", rerr)
			}
		}
		return 0, err
	}
	// From here on the snapshot exists: the writers must learn of it before they
	// go on, whatever fails.
	defer func() {
		img.stale.Add(1)
		if rerr := img.refresh(ctx); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}()
	if o.SkipObjectMap {
		if img.header().has(FeatureObjectMap) {
			return id, img.invalidateObjectMap(ctx, []uint64{id}, false)
		}
		return id, nil
	}
	return id, img.mapSnapAdd(ctx, id)
}

// guard makes an operation on the header fail when the exclusive lock is not
// ours any more.
func (img *Image) guard(op *rados.Op) {
	if img.LockOwned() || img.lock.opening.Load() {
		img.assertLocked(op)
	}
}

// reload brings the header up to date after a change of ours.
func (img *Image) reload(ctx context.Context) error {
	img.stale.Add(1)
	return img.refresh(ctx)
}

// changed makes a change of the header known: here, and to everybody who watches.
func (img *Image) changed(ctx context.Context) error {
	if err := img.reload(ctx); err != nil {
		return err
	}
	return img.NotifyUpdate(ctx)
}

// RenameSnapshot gives a snapshot another name.
func (img *Image) RenameSnapshot(ctx context.Context, id uint64, name string) error {
	s, err := img.needSnap(id)
	if err != nil {
		return err
	}
	if img.findSnap(name, s.Namespace) != nil {
		return fmt.Errorf("snapshot %s of image %s: %w", name, img.Name(), rados.ErrExists)
	}
	err = img.maintain(ctx, maintenance{
		remote: func(r wire.RequestID) []byte { return snapRenameMessage(r, id, name, s.Namespace) },
		done:   rados.ErrExists,
		local:  func(ctx context.Context) error { return img.renameSnapshot(ctx, id, name) },
		free:   true,
	})
	if err != nil {
		return fmt.Errorf("rename snapshot %s of image %s: %w", s.Name, img.Name(), err)
	}
	return nil
}

func (img *Image) renameSnapshot(ctx context.Context, id uint64, name string) error {
	s := img.header().snap(id)
	if s == nil {
		return rados.ErrNotFound
	}
	ev := jwire.Event{Type: jwire.EventSnapRename, SnapID: id, OldName: s.Name, Name: name}
	return img.journaled(ctx, ev, func(ctx context.Context) error {
		op := rados.NewOp()
		img.guard(op)
		callSnapshotRename(op, id, name)
		if err := img.io.Operate(ctx, img.oid, op); err != nil {
			return err
		}
		return img.changed(ctx)
	})
}

// needSnap returns the snapshot with the id or an error.
func (img *Image) needSnap(id uint64) (*Snapshot, error) {
	if err := img.writable(); err != nil {
		return nil, err
	}
	s := img.header().snap(id)
	if s == nil {
		return nil, img.header().errNoSnap(id)
	}
	return s, nil
}

// SnapshotLimit returns how many snapshots the image may have; all bits set
// means no limit.
func (img *Image) SnapshotLimit(ctx context.Context) (uint64, error) {
	op := rados.NewOp()
	res := op.Call(rbdClass, "snapshot_get_limit", nil)
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		return 0, fmt.Errorf("snapshot limit of image %s: %w", img.Name(), err)
	}
	r := decode(res)
	return r.U64(), r.Err()
}

// SetSnapshotLimit changes how many snapshots the image may have.
func (img *Image) SetSnapshotLimit(ctx context.Context, n uint64) error {
	if err := img.writable(); err != nil {
		return err
	}
	err := img.maintain(ctx, maintenance{local: func(ctx context.Context) error {
		return img.journaled(ctx, jwire.Event{Type: jwire.EventSnapLimit, Size: n}, func(ctx context.Context) error {
			op := rados.NewOp()
			img.guard(op)
			callSetSnapLimit(op, n)
			return img.io.Operate(ctx, img.oid, op)
		})
	}})
	if err != nil {
		return fmt.Errorf("set snapshot limit of image %s: %w", img.Name(), err)
	}
	return nil
}

// Rollback makes the head equal to a snapshot, its size included.
func (img *Image) Rollback(ctx context.Context, id uint64, p Progress) error {
	s, err := img.needSnap(id)
	if err != nil {
		return err
	}
	err = img.maintain(ctx, maintenance{local: func(ctx context.Context) error { return img.rollback(ctx, id, p) }})
	if err != nil {
		return fmt.Errorf("roll image %s back to snapshot %s: %w", img.Name(), s.Name, err)
	}
	return nil
}

func (img *Image) rollback(ctx context.Context, id uint64, p Progress) error {
	s := img.header().snap(id)
	if s == nil {
		return img.header().errNoSnap(id)
	}
	if err := img.recordRollback(ctx, s, p); err != nil {
		return err
	}
	return img.NotifyUpdate(ctx)
}

// recordRollback is rollback without telling anybody.
func (img *Image) recordRollback(ctx context.Context, s *Snapshot, p Progress) error {
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	ev := jwire.Event{Type: jwire.EventSnapRollback, Name: s.Name, Namespace: s.Namespace.Append(nil)}
	return img.journaled(ctx, ev, func(ctx context.Context) error {
		if img.header().size != s.Size {
			if err := img.changeSize(ctx, s.Size, nil); err != nil {
				return fmt.Errorf("resize to %d: %w", s.Size, err)
			}
		}
		return img.rollbackObjects(ctx, s.ID, s.Size, p)
	})
}

// rollbackObjects takes all objects back to a snapshot with writes held back.
func (img *Image) rollbackObjects(ctx context.Context, id, size uint64, p Progress) error {
	if err := img.gate.Block(ctx); err != nil {
		return err
	}
	defer img.gate.Unblock()
	h := img.header()
	n := h.layout.Objects(size)
	if m := img.headMap(); m != nil {
		// What may exist before or after: the union, all of it changed.
		if err := m.markExisting(ctx, func(uint64) bool { return true }); err != nil {
			return err
		}
	}
	err := forEach(ctx, 0, n, img.managementDepth(), p, func(ctx context.Context, obj uint64) error {
		op := rados.NewOp()
		op.Rollback(id)
		if err := ignoreNotFound(h.dataIO.Operate(ctx, h.objectName(obj), op)); err != nil {
			return err
		}
		return img.rollbackToParent(ctx, h, id, obj)
	})
	if err != nil {
		return err
	}
	if m := img.headMap(); m != nil {
		return img.rollbackMap(ctx, h, m, id)
	}
	return nil
}

// rollbackToParent gives an object that does not exist at a snapshot the parent's
// data that the snapshot shows there, if the head has parted with the parent since,
// wholly or with a part of it.
func (img *Image) rollbackToParent(ctx context.Context, h *header, id, obj uint64) error {
	if !h.showsLess(id, obj) {
		return nil
	}
	oid := h.objectName(obj)
	if _, err := h.dataIO.Stat(ctx, oid); !errors.Is(err, rados.ErrNotFound) {
		return err
	}
	data, err := img.readMissing(ctx, h, id, obj, 0, h.layout.ObjectSize())
	if err != nil || isZero(data) {
		return err
	}
	op := rados.NewOp()
	img.hint(op, h)
	extents, payload := sparseOf(data, false)
	at := 0
	for _, e := range extents {
		op.Write(e.Off, payload.Slice(at, int(e.Len)))
		at += int(e.Len)
	}
	return h.dataIO.Operate(ctx, oid, op)
}

// showsLess reports whether of the parent's data that an object shows at a snapshot,
// if it is missing, the head would not show all.
func (h *header) showsLess(id, obj uint64) bool {
	var then, now uint64
	for _, r := range h.overlapAt(id, obj) {
		then += r.Len
	}
	for _, r := range h.headOverlap(obj) {
		now += r.Len
	}
	return then > now
}

// rollbackMap takes out of the head's map what the snapshot's map, if it can be
// trusted, says does not exist.
func (img *Image) rollbackMap(ctx context.Context, h *header, m *headMap, id uint64) error {
	if f, err := h.flagsAt(id); err != nil || f&FlagObjectMapInvalid != 0 {
		return err
	}
	bits, err := loadObjectMap(ctx, img.io, objectMapName(img.id, id))
	if err != nil {
		img.log.Warn("object map of the snapshot cannot be read", "snapshot", id, "error", err)
		return nil
	}
	n := min(bits.Len(), h.layout.Objects(h.size))
	for i := uint64(0); i < n; {
		if bits.Get(i) != objectmap.Nonexistent || h.showsLess(id, i) {
			i++
			continue
		}
		end := i + 1
		for end < n && bits.Get(end) == objectmap.Nonexistent && !h.showsLess(id, end) {
			end++
		}
		if err := m.set(ctx, i, end, objectmap.Nonexistent, anyState); err != nil {
			return err
		}
		i = end
	}
	return nil
}
