package rbd

import (
	"context"
	"errors"
	"fmt"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// RemoveSnapshot removes a snapshot of any namespace. One that has clones of
// format 2 goes to the image's trash namespace instead and is removed with the
// last of them. A protected one is ErrBusy.
func (img *Image) RemoveSnapshot(ctx context.Context, id uint64) error {
	s, err := img.needSnap(id)
	if err != nil {
		return err
	}
	err = img.maintain(ctx, maintenance{
		remote: func(r wire.RequestID) []byte { return snapRemoveMessage(r, s.Name, s.Namespace) },
		done:   rados.ErrNotFound,
		local:  func(ctx context.Context) error { return img.removeSnapshot(ctx, id) },
	})
	if err != nil {
		return fmt.Errorf("remove snapshot %s of image %s: %w", s.Name, img.Name(), err)
	}
	return nil
}

func (img *Image) removeSnapshot(ctx context.Context, id uint64) error {
	// The number of clones may have changed without a notification.
	img.stale.Add(1)
	if err := img.refresh(ctx); err != nil {
		return err
	}
	h := img.header()
	s := h.snap(id)
	if s == nil {
		return rados.ErrNotFound
	}
	ev := jwire.Event{Type: jwire.EventSnapRemove, Name: s.Name, Namespace: s.Namespace.Append(nil)}
	return img.journaled(ctx, ev, func(ctx context.Context) error { return img.dropSnapshot(ctx, h, s) })
}

// dropSnapshot is removeSnapshot without a record in the journal.
func (img *Image) dropSnapshot(ctx context.Context, h *header, s *Snapshot) error {
	id := s.ID
	if s.Protection != protectionNone {
		return fmt.Errorf("the snapshot is protected: %w", rados.ErrBusy)
	}
	if s.Children > 0 {
		left, err := img.trashSnapshot(ctx, s)
		if err != nil {
			return err
		}
		if left {
			return img.changed(ctx)
		}
	}
	if err := img.detachLastSnap(ctx, h, s); err != nil {
		return err
	}
	if err := img.mapSnapRemove(ctx, h, id); err != nil {
		return err
	}
	if isMirror(s.Namespace) {
		if err := img.removeImageState(ctx, id); err != nil {
			return err
		}
	}
	if err := ignoreNotFound(h.dataIO.RemoveSnapID(ctx, id)); err != nil {
		return fmt.Errorf("give the snapshot id back: %w", err)
	}
	op := rados.NewOp()
	img.guard(op)
	callSnapshotRemove(op, id)
	if err := ignoreNotFound(img.io.Operate(ctx, img.oid, op)); err != nil {
		return err
	}
	return img.changed(ctx)
}

// trashSnapshot hides a snapshot that has clones of format 2 and forgets clones
// that no longer exist. left reports whether any is left.
func (img *Image) trashSnapshot(ctx context.Context, s *Snapshot) (left bool, err error) {
	if !isTrash(s.Namespace) {
		op := rados.NewOp()
		img.guard(op)
		callSnapshotTrashAdd(op, s.ID)
		if err := img.io.Operate(ctx, img.oid, op); err != nil {
			return false, fmt.Errorf("move to the trash: %w", err)
		}
	}
	children, err := img.childrenV2(ctx, s.ID)
	if err != nil {
		return false, err
	}
	for _, c := range children {
		io := img.io.WithPool(c.Pool).WithNamespace(c.PoolNamespace)
		op := rados.NewOp()
		op.AssertExists()
		err := io.Operate(ctx, headerPrefix+c.ImageID, op)
		if err == nil {
			left = true
			continue
		}
		if !errors.Is(err, rados.ErrNotFound) {
			return false, fmt.Errorf("look for clone %s: %w", c.ImageID, err)
		}
		op = rados.NewOp()
		callChildDetach(op, s.ID, c)
		if err := ignoreNotFound(img.io.Operate(ctx, img.oid, op)); err != nil {
			return false, fmt.Errorf("forget clone %s: %w", c.ImageID, err)
		}
	}
	return left, nil
}

// detachLastSnap tells the parent that it has one clone less when the snapshot
// is the last thing that shows the parent's data.
func (img *Image) detachLastSnap(ctx context.Context, h *header, s *Snapshot) error {
	if s.Parent == nil || h.parent != nil {
		return nil
	}
	for i := range h.snaps {
		if h.snaps[i].ID != s.ID && h.snaps[i].Parent != nil {
			return nil
		}
	}
	return img.detachChild(ctx, s.Parent)
}

// removeImageState removes the objects in which a mirror snapshot keeps the
// image's properties.
func (img *Image) removeImageState(ctx context.Context, id uint64) error {
	name := func(n uint32) string { return stateObject(img.id, id, n) }
	p, err := img.io.Read(ctx, name(0), 0, 64)
	if errors.Is(err, rados.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("image state of the snapshot: %w", err)
	}
	r := denc.NewReader(p)
	s := r.Enter("image state header", 1)
	n := r.U32()
	r.Leave(s)
	const most = 1 << 16
	if r.Err() != nil || n > most {
		n = 1
	}
	for i := range max(n, 1) {
		if err := ignoreNotFound(img.io.Remove(ctx, name(max(n, 1)-1-i))); err != nil {
			return fmt.Errorf("image state of the snapshot: %w", err)
		}
	}
	return nil
}

// PurgeSnapshots removes all of the user's snapshots, youngest first, and with
// unprotect even the protected ones that have no clones; without it a protected
// one is ErrBusy and those older than it stay.
func (img *Image) PurgeSnapshots(ctx context.Context, unprotect bool, p Progress) error {
	all := img.Snapshots()
	for i := len(all) - 1; i >= 0; i-- {
		s := all[i]
		if isUser(s.Namespace) {
			if s.Protection != protectionNone && unprotect {
				if err := img.UnprotectSnapshot(ctx, s.ID); err != nil {
					return err
				}
			}
			if err := img.RemoveSnapshot(ctx, s.ID); err != nil && !errors.Is(err, rados.ErrNotFound) {
				return err
			}
		}
		if p != nil {
			p(uint64(len(all)-i), uint64(len(all)))
		}
	}
	return nil
}
