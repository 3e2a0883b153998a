package rbd

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// featuresLeftOut are not part of an image state: they follow from other things,
// or belong to one site only.
const featuresLeftOut = FeaturesImplicit | FeaturesInternal | FeatureNonPrimary | FeatureDirtyCache

// maxStateObjects bounds what a damaged header can make a reader fetch.
const maxStateObjects = 1024

// stateObject is where a part of a mirror snapshot's image state is stored.
func stateObject(imageID string, snapID uint64, n uint32) string {
	return fmt.Sprintf("%s%s.%d.%d", mirrorStateName, imageID, snapID, n)
}

// isInternal reports whether a key of an image's metadata is RBD's own and stays
// at its site.
func isInternal(key string) bool { return strings.HasPrefix(key, ".rbd") }

// CaptureImageState returns what the image is like now, as far as a mirror snapshot
// made by the primary says it: only user snapshots older than snapID count.
func (img *Image) CaptureImageState(ctx context.Context, snapID uint64) (wire.ImageState, error) {
	s := wire.ImageState{Name: img.Name(), Features: img.Features() &^ featuresLeftOut, Snaps: map[uint64]wire.SnapState{}}
	var err error
	if s.SnapLimit, err = img.SnapshotLimit(ctx); err != nil {
		return s, err
	}
	if s.Metadata, err = img.Metadata(ctx); err != nil {
		return s, err
	}
	maps.DeleteFunc(s.Metadata, func(k string, _ []byte) bool { return isInternal(k) })
	for _, u := range img.Snapshots() {
		if u.Namespace.Type == wire.SnapUser && u.ID < snapID {
			s.Snaps[u.ID] = wire.SnapState{Namespace: u.Namespace, Name: u.Name, Protection: u.Protection}
		}
	}
	return s, nil
}

// WriteImageState stores the image state of a mirror snapshot.
func (img *Image) WriteImageState(ctx context.Context, snapID uint64, s wire.ImageState) error {
	body := s.Append(nil)
	limit := 1 << img.Layout().Order
	head := len(wire.ImageStateHeader{}.Append(nil))
	count := uint32(1 + (head+len(body))/limit)
	out := wire.ImageStateHeader{Objects: count}.Append(nil)
	for n := range count {
		room := min(limit-len(out), len(body))
		out = append(out, body[:room]...)
		body = body[room:]
		op := rados.NewOp()
		op.WriteFull(msgr2.NewData(out))
		if err := img.io.Operate(ctx, stateObject(img.id, snapID, n), op); err != nil {
			return fmt.Errorf("image state of snapshot %d: %w", snapID, err)
		}
		out = nil
	}
	return nil
}

// ReadImageState reads the image state of a mirror snapshot.
func (img *Image) ReadImageState(ctx context.Context, snapID uint64) (s wire.ImageState, err error) {
	first, err := img.io.Read(ctx, stateObject(img.id, snapID, 0), 0, 0)
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
	for n := uint32(1); n < h.Objects; n++ {
		more, err := img.io.Read(ctx, stateObject(img.id, snapID, n), 0, 0)
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

// SetCopyProgress records how far the copy of a mirror snapshot has come; complete
// says that it is all there. Others who have the image open are told only of the end.
func (img *Image) SetCopyProgress(ctx context.Context, snapID uint64, complete bool, last uint64) error {
	if err := img.setCopyProgress(ctx, snapID, complete, last); err != nil {
		return err
	}
	if complete {
		return img.NotifyUpdate(ctx)
	}
	return nil
}

func (img *Image) setCopyProgress(ctx context.Context, snapID uint64, complete bool, last uint64) error {
	in := denc.AppendU64(denc.AppendBool(denc.AppendU64(nil, snapID), complete), last)
	err := img.io.ExecWrite(ctx, img.oid, wire.Class, wire.MethodMirrorImageSnapshotSetCopyProgress, in)
	if err != nil {
		return fmt.Errorf("progress of snapshot %d: %w", snapID, err)
	}
	return nil
}

// isPrimary reports whether a snapshot is one that the primary image is mirrored by.
func isPrimary(ns SnapshotNamespace) bool {
	return ns.Type == wire.SnapMirror && (ns.State == wire.MirrorSnapPrimary || ns.State == wire.MirrorSnapPrimaryDemoted)
}

// CompletePrimarySnapshot writes what the image is like to a new primary snapshot and calls
// it complete. Whoever makes the snapshot does that, for others as well who asked
// because it has the lock: librbd takes an incomplete one for the remains of a
// failure, and unlinks its peers.
func (img *Image) CompletePrimarySnapshot(ctx context.Context, snapID uint64) error {
	state, err := img.CaptureImageState(ctx, snapID)
	if err != nil {
		return err
	}
	if err := img.WriteImageState(ctx, snapID, state); err != nil {
		return err
	}
	if err := img.setCopyProgress(ctx, snapID, true, 0); err != nil {
		return err
	}
	img.stale.Add(1)
	return img.refresh(ctx)
}
