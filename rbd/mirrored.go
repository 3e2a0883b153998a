package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
)

// mirroringName is the object that says which images are mirrored.
const mirroringName = "rbd_mirroring"

// forgetMirroring takes an image that goes away out of the list of mirrored
// images, and tells the mirroring daemons.
func (img *Image) forgetMirroring(ctx context.Context) error {
	op := rados.NewOp()
	res := op.Call(rbdClass, "mirror_image_get", denc.AppendString(nil, img.id))
	err := img.io.Operate(ctx, mirroringName, op)
	if errors.Is(err, rados.ErrNotFound) || errors.Is(err, rados.ErrNotSupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	const disabling, disabled = 0, 2
	r := decode(res)
	s := r.Enter("MirrorImage", 2)
	gid := r.String()
	r.U8()
	mode := uint8(0)
	if s.V >= 2 {
		mode = r.U8()
	}
	r.Leave(s)
	if err := r.Err(); err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	set := denc.AppendString(nil, img.id)
	set, at := denc.Begin(set, 2, 1)
	set = denc.AppendU8(denc.AppendU8(denc.AppendString(set, gid), disabling), mode)
	op = rados.NewOp()
	op.CallWrite(rbdClass, "mirror_image_set", denc.End(set, at))
	if err := img.io.Operate(ctx, mirroringName, op); err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	if err := img.notifyMirroring(ctx, disabling, gid); err != nil {
		return err
	}
	op = rados.NewOp()
	op.CallWrite(rbdClass, "mirror_image_remove", denc.AppendString(nil, img.id))
	if err := ignoreNotFound(img.io.Operate(ctx, mirroringName, op)); err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	return img.notifyMirroring(ctx, disabled, gid)
}

// notifyMirroring tells the daemons of the image's new mirroring state.
func (img *Image) notifyMirroring(ctx context.Context, state uint32, gid string) error {
	const imageUpdated = 1
	b, at := denc.Begin(nil, 1, 1)
	b = denc.AppendU32(denc.AppendU32(b, imageUpdated), state)
	b = denc.End(denc.AppendString(denc.AppendString(b, img.id), gid), at)
	_, err := img.io.Notify(ctx, mirroringName, b, notifyTimeout)
	if err = ignoreNotFound(err); err != nil && !errors.Is(err, rados.ErrTimedOut) {
		return fmt.Errorf("mirroring: %w", err)
	}
	return nil
}
