package rbd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// mirroringName is the object that says which images are mirrored.
const mirroringName = "rbd_mirroring"

// NewUUID returns a random UUID (version 4), as mirrored images and sites are called
// by.
func NewUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// mirrorMode returns the pool's (or namespace's) mirroring mode.
func mirrorMode(ctx context.Context, io *rados.IoCtx) (uint32, error) {
	op := rados.NewOp()
	res := op.Call(rbdClass, "mirror_mode_get", nil)
	err := io.Operate(ctx, mirroringName, op)
	if errors.Is(err, rados.ErrNotFound) || errors.Is(err, rados.ErrNotSupported) {
		return wire.MirrorModeDisabled, nil
	}
	if err != nil {
		return wire.MirrorModeDisabled, fmt.Errorf("mirroring mode: %w", err)
	}
	r := decode(res)
	mode := r.U32()
	return mode, r.Err()
}

// mirrorStored is mirrorInPoolMode of an image that is not open.
func mirrorStored(ctx context.Context, io *rados.IoCtx, id string) error {
	op := rados.NewOp()
	res := callGetFeatures(op, NoSnap, true)
	if err := io.Operate(ctx, headerPrefix+id, op); err != nil {
		return err
	}
	r := decode(res)
	features := r.U64()
	if err := r.Err(); err != nil {
		return err
	}
	return mirrorInPoolMode(ctx, io, id, features)
}

// mirrorInPoolMode makes an image mirrored that has just got a journal, if the pool
// mirrors all those.
func mirrorInPoolMode(ctx context.Context, io *rados.IoCtx, id string, features uint64) error {
	if features&FeatureJournaling == 0 {
		return nil
	}
	mode, err := mirrorMode(ctx, io)
	if err != nil || mode != wire.MirrorModePool {
		return err
	}
	switch _, err := mirrorEntry(ctx, io, id); {
	case err == nil:
		return nil
	case !errors.Is(err, rados.ErrNotFound):
		return err
	}
	_, owner, err := JournalOwner(ctx, io, id)
	if err != nil || owner.MirrorUUID != jwire.LocalOwner {
		return ignoreNotFound(err)
	}
	m := wire.MirrorImage{GlobalID: NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal}
	if err := setMirrorEntry(ctx, io, id, m); err != nil {
		return err
	}
	return notifyMirroring(ctx, io, id, m.State, m.GlobalID)
}

// mirrorEntry returns what the pool says of an image's mirroring; rados.ErrNotFound
// when it is not mirrored.
func mirrorEntry(ctx context.Context, io *rados.IoCtx, id string) (m wire.MirrorImage, err error) {
	op := rados.NewOp()
	res := op.Call(rbdClass, "mirror_image_get", denc.AppendString(nil, id))
	err = io.Operate(ctx, mirroringName, op)
	if errors.Is(err, rados.ErrNotSupported) {
		err = rados.ErrNotFound
	}
	if err != nil {
		return m, fmt.Errorf("mirroring: %w", err)
	}
	r := decode(res)
	m.Decode(r)
	if err := r.Err(); err != nil {
		return m, fmt.Errorf("mirroring: %w", err)
	}
	return m, nil
}

func (img *Image) mirrorEntry(ctx context.Context) (wire.MirrorImage, error) {
	return mirrorEntry(ctx, img.io, img.id)
}

func setMirrorEntry(ctx context.Context, io *rados.IoCtx, id string, m wire.MirrorImage) error {
	op := rados.NewOp()
	op.CallWrite(rbdClass, "mirror_image_set", m.Append(denc.AppendString(nil, id)))
	if err := io.Operate(ctx, mirroringName, op); err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	return nil
}

// forgetMirroring takes an image that goes away out of the list of mirrored
// images, and tells the mirroring daemons.
func (img *Image) forgetMirroring(ctx context.Context) error {
	m, err := img.mirrorEntry(ctx)
	if errors.Is(err, rados.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m.State = wire.MirrorImageDisabling
	if err := setMirrorEntry(ctx, img.io, img.id, m); err != nil {
		return err
	}
	if err := img.notifyMirroring(ctx, m.State, m.GlobalID); err != nil {
		return err
	}
	op := rados.NewOp()
	op.CallWrite(rbdClass, "mirror_image_remove", denc.AppendString(nil, img.id))
	if err := ignoreNotFound(img.io.Operate(ctx, mirroringName, op)); err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	return img.notifyMirroring(ctx, wire.MirrorImageDisabled, m.GlobalID)
}

// notifyMirroring tells the daemons of the image's new mirroring state.
func (img *Image) notifyMirroring(ctx context.Context, state uint8, gid string) error {
	return notifyMirroring(ctx, img.io, img.id, state, gid)
}

func notifyMirroring(ctx context.Context, io *rados.IoCtx, id string, state uint8, gid string) error {
	m := wire.MirroringMessage{Op: wire.MirroringImageUpdated, State: uint32(state), ImageID: id, GlobalID: gid}
	_, err := io.Notify(ctx, mirroringName, m.Append(nil), notifyTimeout)
	if err = ignoreNotFound(err); err != nil && !errors.Is(err, rados.ErrTimedOut) {
		return fmt.Errorf("mirroring: %w", err)
	}
	return nil
}

// primaryByJournal refuses an image that is mirrored by its journal and that
// another site, or nobody, may write to.
func (img *Image) primaryByJournal(ctx context.Context) error {
	m, err := img.mirrorEntry(ctx)
	if err != nil || m.Mode != wire.MirrorImageJournal {
		return ignoreNotFound(err)
	}
	_, owner, err := JournalOwner(ctx, img.io, img.id)
	if err == nil && owner.MirrorUUID != jwire.LocalOwner {
		err = fmt.Errorf("it is a mirrored image that is not primary: %w", rados.ErrInvalid)
	}
	return ignoreNotFound(err)
}
