package rbd

import (
	"context"
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/rados"
)

// rebuildSnapshotMap makes the object map of the snapshot anew that the image was
// opened at. A snapshot does not change, so that this needs no lock.
func (img *Image) rebuildSnapshotMap(ctx context.Context, p Progress) error {
	h := img.header()
	i := slices.IndexFunc(h.snaps, func(s Snapshot) bool { return s.ID == img.snapID })
	if i < 0 {
		return h.errNoSnap(img.snapID)
	}
	maps, err := img.observeMaps(ctx, h, p)
	if err != nil {
		return err
	}
	if err := saveObjectMap(ctx, img.io, objectMapName(img.id, img.snapID), maps[i]); err != nil {
		return err
	}
	op := rados.NewOp()
	callSetFlags(op, img.snapID, 0, FlagObjectMapInvalid|FlagFastDiffInvalid)
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		return fmt.Errorf("clear the flags: %w", err)
	}
	return img.NotifyUpdate(ctx)
}
