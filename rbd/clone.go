package rbd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/rados"
)

// Clone makes the image child in dst, whose data is that of a snapshot of the
// image parentID until it is written to. A clone of format 1 needs a protected
// snapshot; see CreateOptions.CloneFormat.
func Clone(ctx context.Context, parentIO *rados.IoCtx, parentID string, snapID uint64, dst *rados.IoCtx, child string, o CreateOptions) (id string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("clone image %s to %s: %w", parentID, child, err)
		}
	}()
	parent, err := OpenByID(ctx, parentIO, parentID, OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, parent.Close(ctx)) }()
	snap, ok := parent.Snapshot(snapID)
	if !ok {
		return "", parent.header().errNoSnap(snapID)
	}
	if !parent.header().has(FeatureLayering) {
		return "", fmt.Errorf("the parent does not have the layering feature: %w", rados.ErrInvalid)
	}
	if o.CloneFormat == 0 {
		if o.CloneFormat, err = CloneFormat(ctx, parentIO.Client()); err != nil {
			return "", err
		}
	}
	if o.CloneFormat == 1 && !snap.Protected() {
		return "", fmt.Errorf("the parent snapshot must be protected: %w", rados.ErrInvalid)
	}
	o = likeSource(parent.header(), o)
	o.FeaturesSet |= FeatureLayering
	o.unfinished = true
	id, err = Create(ctx, dst, child, snap.Size, o)
	if err != nil {
		return "", err
	}
	spec := Parent{Pool: parentIO.Pool(), PoolNamespace: parentIO.Namespace(), ImageID: parentID, SnapID: snapID, Overlap: snap.Size}
	if err = attach(ctx, dst, id, spec, o.CloneFormat); err == nil {
		err = copyMetadata(ctx, parentIO, parentID, dst, id)
	}
	if err == nil && !o.NonPrimary {
		err = mirrorStored(ctx, dst, id)
	}
	if err == nil && o.Mirror != nil {
		err = o.Mirror(ctx, dst, id)
	}
	if err != nil {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if rerr := RemoveByID(back, dst, id, nil); rerr != nil {
			err = errors.Join(err, fmt.Errorf("and the unfinished clone stays: %w", rerr))
		}
		return "", err
	}
	return id, nil
}

// attach links a new image with its parent, on both sides.
func attach(ctx context.Context, dst *rados.IoCtx, id string, p Parent, format uint8) error {
	op := rados.NewOp()
	callParentAttach(op, p)
	if err := dst.Operate(ctx, headerPrefix+id, op); err != nil {
		return fmt.Errorf("attach parent: %w", err)
	}
	if format == 1 {
		op := rados.NewOp()
		callAddChild(op, p, id)
		if err := dst.Operate(ctx, childrenName, op); err != nil {
			return fmt.Errorf("register child: %w", err)
		}
		// The protection may have ended before the registration.
		return stillProtected(ctx, dst.WithPool(p.Pool).WithNamespace(p.PoolNamespace), p)
	}
	op = rados.NewOp()
	callOpFeaturesSet(op, OpFeatureCloneChild, OpFeatureCloneChild)
	if err := dst.Operate(ctx, headerPrefix+id, op); err != nil {
		return fmt.Errorf("mark as clone: %w", err)
	}
	op = rados.NewOp()
	callChildAttach(op, p.SnapID, Child{Pool: dst.Pool(), PoolNamespace: dst.Namespace(), ImageID: id})
	parentIO := dst.WithPool(p.Pool).WithNamespace(p.PoolNamespace)
	if err := parentIO.Operate(ctx, headerPrefix+p.ImageID, op); err != nil {
		return fmt.Errorf("register child with the parent: %w", err)
	}
	return notifyHeader(ctx, parentIO, headerPrefix+p.ImageID)
}

// stillProtected fails unless the parent's snapshot is protected.
func stillProtected(ctx context.Context, io *rados.IoCtx, p Parent) error {
	op := rados.NewOp()
	res := callGetProtection(op, p.SnapID)
	if err := io.Operate(ctx, headerPrefix+p.ImageID, op); err != nil {
		return err
	}
	if r := decode(res); r.U8() != protectionProtected || r.Err() != nil {
		return fmt.Errorf("the parent snapshot is being unprotected: %w", rados.ErrBusy)
	}
	return nil
}

// CloneFormat returns the format of new clones that name none: 2 if the cluster only lets clients in that know it
// (rbd_default_clone_format auto).
func CloneFormat(ctx context.Context, c *rados.Client) (uint8, error) {
	switch clientConfig(c, "rbd_default_clone_format", "auto") {
	case "1":
		return 1, nil
	case "2":
		return 2, nil
	}
	out, status, err := c.MonCommand(ctx, map[string]any{"prefix": "osd get-require-min-compat-client"}, nil)
	if err != nil {
		return 0, fmt.Errorf("ask for the oldest clients allowed: %s: %w", status, err)
	}
	// Releases have names in alphabetical order; an unset one is "luminous" or
	// earlier, or begins with "0.".
	if name := strings.TrimSpace(string(out)); name >= "mimic" && name < "zz" {
		return 2, nil
	}
	return 1, nil
}

// Flatten copies all of the parent's data that shines through into the image
// and then parts with the parent.
func (img *Image) Flatten(ctx context.Context, p Progress) error {
	if err := img.writable(); err != nil {
		return err
	}
	if img.header().parent == nil {
		return fmt.Errorf("image %s has no parent: %w", img.Name(), rados.ErrInvalid)
	}
	err := img.maintain(ctx, maintenance{
		remote:   flattenMessage,
		done:     rados.ErrInvalid,
		progress: p,
		local:    func(ctx context.Context) error { return img.flatten(ctx, p) },
	})
	if err != nil {
		return fmt.Errorf("flatten image %s: %w", img.Name(), err)
	}
	return nil
}

func (img *Image) flatten(ctx context.Context, p Progress) error {
	h := img.header()
	if h.parent == nil {
		return rados.ErrInvalid
	}
	return img.journaled(ctx, jwire.Event{Type: jwire.EventFlatten}, func(ctx context.Context) error {
		return img.flattenObjects(ctx, h, p)
	})
}

// flattenObjects is flatten without a record in the journal.
func (img *Image) flattenObjects(ctx context.Context, h *header, p Progress) error {
	n := h.layout.Objects(min(h.size, h.parent.Overlap))
	err := forEach(ctx, 0, n, img.managementDepth(), p, func(ctx context.Context, obj uint64) error {
		// A snapshot made meanwhile must be in the context of the copy.
		return img.copyupIfMissing(ctx, img.header(), obj)
	})
	if err != nil {
		return err
	}
	h = img.header()
	if h.parent == nil {
		return nil
	}
	parent := *h.parent
	if len(h.snapIDs) == 0 || h.has(FeatureDeepFlatten) {
		if err := img.detachChild(ctx, &parent); err != nil {
			return err
		}
	}
	op := rados.NewOp()
	img.guard(op)
	op.CallWrite(rbdClass, "parent_detach", nil)
	if err := ignoreNotFound(img.io.Operate(ctx, img.oid, op)); err != nil {
		return fmt.Errorf("detach parent: %w", err)
	}
	return img.changed(ctx)
}

// detachChild tells the parent that this image is no longer its clone. If it
// was the last one of a snapshot in the trash, the snapshot goes.
func (img *Image) detachChild(ctx context.Context, p *Parent) error {
	return detachChild(ctx, img.io, img.id, img.header().opFeatures, p)
}

func detachChild(ctx context.Context, io *rados.IoCtx, id string, opFeatures uint64, p *Parent) error {
	if opFeatures&OpFeatureCloneChild == 0 {
		op := rados.NewOp()
		callRemoveChild(op, *p, id)
		if err := ignoreNotFound(io.Operate(ctx, childrenName, op)); err != nil {
			return fmt.Errorf("remove from the parent's children: %w", err)
		}
		return nil
	}
	parentIO := io.WithPool(p.Pool).WithNamespace(p.PoolNamespace)
	op := rados.NewOp()
	callChildDetach(op, p.SnapID, Child{Pool: io.Pool(), PoolNamespace: io.Namespace(), ImageID: id})
	if err := ignoreNotFound(parentIO.Operate(ctx, headerPrefix+p.ImageID, op)); err != nil {
		return fmt.Errorf("remove from the parent's children: %w", err)
	}
	if err := removeTrashSnapshot(ctx, parentIO, p); err != nil {
		return fmt.Errorf("parent's trashed snapshot: %w", err)
	}
	return nil
}

// removeTrashSnapshot removes a snapshot in the parent's trash namespace when
// its last clone has gone.
func removeTrashSnapshot(ctx context.Context, io *rados.IoCtx, p *Parent) error {
	op := rados.NewOp()
	res := callSnapshotGet(op, p.SnapID)
	if err := io.Operate(ctx, headerPrefix+p.ImageID, op); err != nil {
		return ignoreNotFound(err)
	}
	s, err := decodeSnapshot(res)
	if err != nil {
		return err
	}
	if !isTrash(s.Namespace) || s.Children > 0 {
		return nil
	}
	parent, err := OpenByID(ctx, io, p.ImageID, OpenOptions{SkipParent: true, SkipMirrorReadOnlyCheck: true})
	if err != nil {
		return ignoreNotFound(err)
	}
	err = parent.RemoveSnapshot(ctx, p.SnapID)
	return errors.Join(ignoreNotFound(err), parent.Close(ctx))
}

// copyMetadata copies all of an image's metadata.
func copyMetadata(ctx context.Context, srcIO *rados.IoCtx, srcID string, dst *rados.IoCtx, dstID string) error {
	all, err := metadataList(ctx, srcIO, headerPrefix+srcID)
	if err != nil {
		return fmt.Errorf("read metadata: %w", err)
	}
	if len(all) == 0 {
		return nil
	}
	op := rados.NewOp()
	callMetadataSet(op, all)
	if err := dst.Operate(ctx, headerPrefix+dstID, op); err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	return nil
}
