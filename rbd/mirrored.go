package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
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
	r := decode(res)
	var m wire.MirrorImage
	m.Decode(r)
	if err := r.Err(); err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	m.State = wire.MirrorImageDisabling
	op = rados.NewOp()
	op.CallWrite(rbdClass, "mirror_image_set", m.Append(denc.AppendString(nil, img.id)))
	if err := img.io.Operate(ctx, mirroringName, op); err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	if err := img.notifyMirroring(ctx, m.State, m.GlobalID); err != nil {
		return err
	}
	op = rados.NewOp()
	op.CallWrite(rbdClass, "mirror_image_remove", denc.AppendString(nil, img.id))
	if err := ignoreNotFound(img.io.Operate(ctx, mirroringName, op)); err != nil {
		return fmt.Errorf("mirroring: %w", err)
	}
	return img.notifyMirroring(ctx, wire.MirrorImageDisabled, m.GlobalID)
}

// notifyMirroring tells the daemons of the image's new mirroring state.
func (img *Image) notifyMirroring(ctx context.Context, state uint8, gid string) error {
	m := wire.MirroringMessage{Op: wire.MirroringImageUpdated, State: uint32(state), ImageID: img.id, GlobalID: gid}
	_, err := img.io.Notify(ctx, mirroringName, m.Append(nil), notifyTimeout)
	if err = ignoreNotFound(err); err != nil && !errors.Is(err, rados.ErrTimedOut) {
		return fmt.Errorf("mirroring: %w", err)
	}
	return nil
}
