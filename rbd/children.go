package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// Child is a clone of one of an image's snapshots.
type Child struct {
	Pool          int64
	PoolNamespace string
	ImageID       string
	ImageName     string
	// SnapID is the snapshot it is a clone of.
	SnapID uint64
	// Trash says that the clone is in the trash.
	Trash bool
}

// Children returns the clones of a snapshot, of both formats, in all pools; of
// all snapshots when snapID is 0.
func (img *Image) Children(ctx context.Context, snapID uint64) ([]Child, error) {
	h := img.header()
	if snapID != 0 && h.snap(snapID) == nil {
		return nil, h.errNoSnap(snapID)
	}
	var all []Child
	for i := range h.snaps {
		if snapID != 0 && h.snaps[i].ID != snapID {
			continue
		}
		cs, err := img.children(ctx, h.snaps[i].ID)
		if err != nil {
			return nil, fmt.Errorf("clones of image %s: %w", h.name, err)
		}
		all = append(all, cs...)
	}
	for i := range all {
		if err := img.nameChild(ctx, &all[i]); err != nil {
			return nil, fmt.Errorf("clones of image %s: %w", h.name, err)
		}
	}
	slices.SortFunc(all, func(a, b Child) int {
		if a.Pool != b.Pool {
			return int(a.Pool - b.Pool)
		}
		return strings.Compare(a.PoolNamespace+"/"+a.ImageName, b.PoolNamespace+"/"+b.ImageName)
	})
	return all, nil
}

// Descendants returns the clones of the image, their clones, and so on.
func (img *Image) Descendants(ctx context.Context) ([]Child, error) {
	all, err := img.Children(ctx, 0)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(all); i++ {
		c := all[i]
		sub, err := OpenByID(ctx, img.io.WithPool(c.Pool).WithNamespace(c.PoolNamespace), c.ImageID, OpenOptions{ReadOnly: true, SkipParent: true})
		if errors.Is(err, rados.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		cs, err := sub.Children(ctx, 0)
		if err = errors.Join(err, sub.Close(ctx)); err != nil {
			return nil, err
		}
		all = append(all, cs...)
	}
	return all, nil
}

// children returns the clones of one snapshot without their names.
func (img *Image) children(ctx context.Context, snapID uint64) ([]Child, error) {
	all, err := img.childrenV2(ctx, snapID)
	if err != nil {
		return nil, err
	}
	v1, err := img.childrenV1(ctx, snapID)
	return append(all, v1...), err
}

// childrenV2 reads the clones that the header lists.
func (img *Image) childrenV2(ctx context.Context, snapID uint64) ([]Child, error) {
	op := rados.NewOp()
	res := op.Call(rbdClass, "children_list", denc.AppendU64(nil, snapID))
	err := img.io.Operate(ctx, img.oid, op)
	if errors.Is(err, rados.ErrNotFound) || errors.Is(err, rados.ErrNotSupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeChildren(res, snapID)
}

// childrenV1 asks every pool for clones of format 1.
func (img *Image) childrenV1(ctx context.Context, snapID uint64) ([]Child, error) {
	pools, err := img.io.Client().Pools(ctx)
	if err != nil {
		return nil, err
	}
	self := Parent{Pool: img.io.Pool(), PoolNamespace: img.io.Namespace(), ImageID: img.id, SnapID: snapID}
	var all []Child
	for _, p := range pools {
		io := img.io.WithPool(p.ID)
		if self.PoolNamespace == "" {
			io = io.WithNamespace("")
		}
		op := rados.NewOp()
		res := callGetChildren(op, self)
		err := io.Operate(ctx, childrenName, op)
		if errors.Is(err, rados.ErrNotFound) || errors.Is(err, rados.ErrNotSupported) || errors.Is(err, rados.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", p.Name, err)
		}
		r := decode(res)
		for _, id := range denc.Slice(r, 4, (*denc.Reader).String) {
			all = append(all, Child{Pool: p.ID, PoolNamespace: io.Namespace(), ImageID: id, SnapID: snapID})
		}
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("pool %s: %w", p.Name, err)
		}
	}
	return all, nil
}

// nameChild finds the name of a clone, in the directory or in the trash.
func (img *Image) nameChild(ctx context.Context, c *Child) error {
	io := img.io.WithPool(c.Pool).WithNamespace(c.PoolNamespace)
	name, err := LookupName(ctx, io, c.ImageID)
	if err == nil {
		c.ImageName = name
		return nil
	}
	if !errors.Is(err, rados.ErrNotFound) {
		return err
	}
	e, err := TrashGet(ctx, io, c.ImageID)
	if err == nil {
		c.ImageName, c.Trash = e.Name, true
		return nil
	}
	return ignoreNotFound(err)
}

// ProtectSnapshot keeps a user's snapshot from being removed, which clones of
// format 1 need. A protected one is ErrBusy.
func (img *Image) ProtectSnapshot(ctx context.Context, id uint64) error {
	s, err := img.needSnap(id)
	if err != nil {
		return err
	}
	if s.Protected() {
		return fmt.Errorf("protect snapshot %s of image %s: %w", s.Name, img.Name(), rados.ErrBusy)
	}
	if !img.header().has(FeatureLayering) {
		return fmt.Errorf("image %s does not have the layering feature: %w", img.Name(), rados.ErrNotImplemented)
	}
	err = img.maintain(ctx, maintenance{
		remote: func(r wire.RequestID) []byte { return snapProtectMessage(r, s.Name, s.Namespace, true) },
		done:   rados.ErrBusy,
		local:  func(ctx context.Context) error { return img.protect(ctx, id) },
		free:   true,
	})
	if err != nil {
		return fmt.Errorf("protect snapshot %s of image %s: %w", s.Name, img.Name(), err)
	}
	return nil
}

func (img *Image) protect(ctx context.Context, id uint64) error {
	s := img.header().snap(id)
	if s == nil {
		return rados.ErrNotFound
	}
	ev := jwire.Event{Type: jwire.EventSnapProtect, Name: s.Name, Namespace: s.Namespace.Append(nil)}
	return img.journaled(ctx, ev, func(ctx context.Context) error {
		return img.setProtection(ctx, id, protectionProtected)
	})
}

func (img *Image) setProtection(ctx context.Context, id uint64, state uint8) error {
	op := rados.NewOp()
	img.guard(op)
	op.CallWrite(rbdClass, "set_protection_status", denc.AppendU8(denc.AppendU64(nil, id), state))
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		return err
	}
	return img.changed(ctx)
}

// UnprotectSnapshot ends the protection. A snapshot with clones of format 1 is
// ErrBusy, one that is not protected ErrInvalid.
func (img *Image) UnprotectSnapshot(ctx context.Context, id uint64) error {
	s, err := img.needSnap(id)
	if err != nil {
		return err
	}
	if s.Protection == protectionNone {
		return fmt.Errorf("unprotect snapshot %s of image %s: %w", s.Name, img.Name(), rados.ErrInvalid)
	}
	err = img.maintain(ctx, maintenance{
		remote: func(r wire.RequestID) []byte { return snapProtectMessage(r, s.Name, s.Namespace, false) },
		done:   rados.ErrInvalid,
		local:  func(ctx context.Context) error { return img.unprotect(ctx, id) },
		free:   true,
	})
	if err != nil {
		return fmt.Errorf("unprotect snapshot %s of image %s: %w", s.Name, img.Name(), err)
	}
	return nil
}

func (img *Image) unprotect(ctx context.Context, id uint64) error {
	s := img.header().snap(id)
	if s == nil {
		return rados.ErrNotFound
	}
	ev := jwire.Event{Type: jwire.EventSnapUnprotect, Name: s.Name, Namespace: s.Namespace.Append(nil)}
	return img.journaled(ctx, ev, func(ctx context.Context) error { return img.endProtection(ctx, id) })
}

// endProtection first stops new clones, then looks for existing ones.
func (img *Image) endProtection(ctx context.Context, id uint64) error {
	if err := img.setProtection(ctx, id, protectionUnprotecting); err != nil {
		return err
	}
	cs, err := img.childrenV1(ctx, id)
	if err == nil && len(cs) > 0 {
		err = fmt.Errorf("it has %d clones: %w", len(cs), rados.ErrBusy)
	}
	if err != nil {
		return errors.Join(err, img.setProtection(context.WithoutCancel(ctx), id, protectionProtected))
	}
	return img.setProtection(ctx, id, protectionNone)
}
