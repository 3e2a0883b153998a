package snapshots

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// featuresLeftOut are not part of an image state: they follow from other things,
// or belong to one site only.
const featuresLeftOut = rbd.FeaturesImplicit | rbd.FeaturesInternal | rbd.FeatureNonPrimary | rbd.FeatureDirtyCache

// maxStateObjects bounds what a damaged header can make a reader fetch.
const maxStateObjects = 1024

// IsInternal reports whether a key of an image's metadata is RBD's own and stays
// at its site.
func IsInternal(key string) bool { return strings.HasPrefix(key, ".rbd") }

func stateObject(imageID string, snapID uint64, n int) string {
	return fmt.Sprintf("rbd_mirror_snapshot.%s.%d.%d", imageID, snapID, n)
}

// Capture returns what an image is like now, as far as a mirror snapshot made by
// the primary says it: only user snapshots older than snapID count.
func Capture(ctx context.Context, img *rbd.Image, snapID uint64) (wire.ImageState, error) {
	s := wire.ImageState{Name: img.Name(), Features: img.Features() &^ featuresLeftOut, Snaps: map[uint64]wire.SnapState{}}
	var err error
	if s.SnapLimit, err = img.SnapshotLimit(ctx); err != nil {
		return s, err
	}
	if s.Metadata, err = img.Metadata(ctx); err != nil {
		return s, err
	}
	maps.DeleteFunc(s.Metadata, func(k string, _ []byte) bool { return IsInternal(k) })
	for _, u := range img.Snapshots() {
		if u.Namespace.Type == wire.SnapUser && u.ID < snapID {
			s.Snaps[u.ID] = wire.SnapState{Namespace: u.Namespace, Name: u.Name, Protection: u.Protection}
		}
	}
	return s, nil
}

// WriteState stores the image state of a mirror snapshot.
func WriteState(ctx context.Context, img *rbd.Image, snapID uint64, s wire.ImageState) error {
	body := s.Append(nil)
	limit := 1 << img.Layout().Order
	head := len(wire.ImageStateHeader{}.Append(nil))
	count := 1 + (head+len(body))/limit
	out := wire.ImageStateHeader{Objects: uint32(count)}.Append(nil)
	for n := range count {
		room := min(limit-len(out), len(body))
		out = append(out, body[:room]...)
		body = body[room:]
		op := rados.NewOp()
		op.WriteFull(msgr2.NewData(out))
		if err := img.IoCtx().Operate(ctx, stateObject(img.ID(), snapID, n), op); err != nil {
			return fmt.Errorf("image state of snapshot %d: %w", snapID, err)
		}
		out = nil
	}
	return nil
}

// ReadState reads the image state of a mirror snapshot.
func ReadState(ctx context.Context, img *rbd.Image, snapID uint64) (s wire.ImageState, err error) {
	first, err := img.IoCtx().Read(ctx, stateObject(img.ID(), snapID, 0), 0, 0)
	if err != nil {
		return s, fmt.Errorf("image state of snapshot %d: %w", snapID, err)
	}
	r := denc.NewReader(first)
	var h wire.ImageStateHeader
	h.Decode(r)
	if err := r.Err(); err != nil {
		return s, fmt.Errorf("image state of snapshot %d: %w", snapID, err)
	}
	if h.Objects > maxStateObjects {
		return s, fmt.Errorf("image state of snapshot %d in %d objects: %w", snapID, h.Objects, rados.ErrInvalid)
	}
	body := append([]byte(nil), r.Raw(r.Len())...)
	for n := 1; n < int(h.Objects); n++ {
		more, err := img.IoCtx().Read(ctx, stateObject(img.ID(), snapID, n), 0, 0)
		if err != nil {
			return s, fmt.Errorf("image state of snapshot %d: %w", snapID, err)
		}
		body = append(body, more...)
	}
	r = denc.NewReader(body)
	s.Decode(r)
	if err := r.Err(); err != nil {
		return s, fmt.Errorf("image state of snapshot %d: %w", snapID, err)
	}
	return s, nil
}

// SetProgress records how far the copy of a snapshot has come; complete says that
// it is all there. Others who have the image open are told only of the end.
func SetProgress(ctx context.Context, img *rbd.Image, snapID uint64, complete bool, last uint64) error {
	in := denc.AppendU64(denc.AppendBool(denc.AppendU64(nil, snapID), complete), last)
	err := img.IoCtx().ExecWrite(ctx, img.HeaderOID(), wire.Class, wire.MethodMirrorImageSnapshotSetCopyProgress, in)
	if err != nil {
		return fmt.Errorf("progress of snapshot %d: %w", snapID, err)
	}
	if complete {
		return img.NotifyUpdate(ctx)
	}
	return nil
}

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
