package rbd

import (
	"context"
	"fmt"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
)

// RemoveSyncPoints removes the snapshots from which other sites copy the image for the
// first time, as far as their data in the image's journal names them. An image without
// a journal has none.
func (img *Image) RemoveSyncPoints(ctx context.Context) error {
	return img.removeSyncPoints(ctx, img.RemoveSnapshot)
}

// removeSyncPoints is RemoveSyncPoints for those who have ways of their own to remove
// a snapshot, as in the middle of an operation.
func (img *Image) removeSyncPoints(ctx context.Context, remove func(ctx context.Context, id uint64) error) error {
	state, err := journal.ReadState(ctx, img.io, img.id)
	if err != nil {
		return ignoreNotFound(err)
	}
	for _, c := range state.Clients {
		var d jwire.ClientData
		r := denc.NewReader(c.Data)
		if d.Decode(r); r.Err() != nil || d.Kind != jwire.ClientMirrorPeer {
			continue
		}
		for _, p := range d.SyncPoints {
			s, ok := img.UserSnapshot(p.SnapName)
			if !ok {
				continue
			}
			if err := remove(ctx, s.ID); ignoreNotFound(err) != nil {
				return fmt.Errorf("snapshot %s that a peer copies from: %w", p.SnapName, err)
			}
		}
	}
	return nil
}
