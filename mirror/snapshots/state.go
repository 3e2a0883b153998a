package snapshots

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// Unlink says that a peer no longer needs a snapshot, and removes the snapshot
// when nobody does and a newer one exists.
func Unlink(ctx context.Context, img *rbd.Image, snapID uint64, peer string) error {
	for range 10 {
		if err := img.Refresh(ctx); err != nil {
			return err
		}
		s, ok := img.Snapshot(snapID)
		if !ok {
			return nil
		}
		if !IsMirror(&s) {
			return fmt.Errorf("snapshot %d is not a mirror snapshot: %w", snapID, rados.ErrInvalid)
		}
		linked, others := false, 0
		for _, p := range s.Namespace.PeerUUIDs {
			if p == peer {
				linked = true
			} else {
				others++
			}
		}
		newer := Newest(img).ID > snapID
		if others == 0 && newer {
			err := img.RemoveSnapshot(ctx, snapID)
			if errors.Is(err, rados.ErrNotFound) {
				return nil
			}
			return err
		}
		if !linked {
			return nil
		}
		in := denc.AppendString(denc.AppendU64(nil, snapID), peer)
		err := img.IoCtx().ExecWrite(ctx, img.HeaderOID(), wire.Class, wire.MethodMirrorImageSnapshotUnlinkPeer, in)
		switch {
		case errors.Is(err, rados.ErrRestart), errors.Is(err, rados.ErrNotFound):
			// The last peer goes with the snapshot, or somebody was faster.
		case err != nil:
			return fmt.Errorf("unlink peer from snapshot %d: %w", snapID, err)
		default:
			if err := img.NotifyUpdate(ctx); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("unlink peer from snapshot %d: %w", snapID, rados.ErrAgain)
}
