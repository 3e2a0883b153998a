package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// remoteGone handles an image that the remote site no longer mirrors: the
// replica of it goes too, anything else stays.
func (r *imageReplayer) remoteGone(ctx context.Context, local *rbd.Image) error {
	if local == nil {
		return errDone
	}
	if replica, err := r.isReplica(ctx, local); err != nil || !replica {
		return errors.Join(err, r.park(ctx, wire.MirrorStatusError, "remote image does not exist"))
	}
	r.log.Info("the remote image is no longer mirrored: the local image goes")
	return r.discardLocal(ctx, local)
}

// isReplica reports whether the local image is a copy of what the remote site
// had. An image that was primary here, demoted, is not.
func (r *imageReplayer) isReplica(ctx context.Context, local *rbd.Image) (bool, error) {
	newest := snapshots.Newest(local)
	if newest != nil {
		return !snapshots.IsPrimary(newest) && newest.Namespace.PrimaryMirrorUUID == r.ns.sites.remoteUUID, nil
	}
	if local.Features()&rbd.FeatureJournaling != 0 {
		owner, ok, err := r.localJournalOwner(ctx, local.ID())
		return ok && owner.MirrorUUID == r.ns.sites.remoteUUID, err
	}
	// Its first copy had not begun.
	return local.Features()&rbd.FeatureNonPrimary != 0, nil
}

// discardLocal moves the local image to the trash, from where it is removed when
// rbd_mirroring_delete_delay has passed.
func (r *imageReplayer) discardLocal(ctx context.Context, local *rbd.Image) error {
	// It may have been promoted since it was decided that it goes.
	if err := local.Refresh(ctx); err != nil {
		return err
	}
	if newest := snapshots.Newest(local); newest != nil && (newest.Namespace.State == wire.MirrorSnapPrimary || snapshots.IsOrphan(newest)) {
		return errAgain
	}
	id, name := local.ID(), local.Name()
	e, err := meta.Image(ctx, r.ns.local, id)
	if err != nil {
		return fmt.Errorf("entry of the local image: %w", err)
	}
	closeImage(local)
	e.State = wire.MirrorImageDisabling
	if err := meta.SetImage(ctx, r.ns.local, id, e); err != nil {
		return fmt.Errorf("disable the local image: %w", err)
	}
	return r.trash(ctx, id, name, e)
}

// finishDisabling goes on where a removal was interrupted.
func (r *imageReplayer) finishDisabling(ctx context.Context, id string, e wire.MirrorImage) error {
	name, err := rbd.LookupName(ctx, r.ns.local, id)
	if errors.Is(err, rados.ErrNotFound) {
		return r.removeEntry(ctx, id, e)
	}
	if err != nil {
		return err
	}
	img, err := rbd.OpenByID(ctx, r.ns.local, id, rbd.OpenOptions{ReadOnly: true, SkipParent: true, Logger: r.log})
	if err != nil {
		return err
	}
	replica, err := r.isReplica(ctx, img)
	closeImage(img)
	if err != nil {
		return err
	}
	if !replica {
		return r.park(ctx, wire.MirrorStatusStopped, "mirroring is being disabled")
	}
	return r.trash(ctx, id, name, e)
}

func (r *imageReplayer) trash(ctx context.Context, id, name string, e wire.MirrorImage) error {
	delay := time.Duration(r.ns.local.Client().Config().Int("rbd_mirroring_delete_delay")) * time.Second
	_, err := rbd.TrashMove(ctx, r.ns.local, name, rbd.MoveOptions{Delay: delay, Source: rbd.TrashMirroring})
	if err != nil && !errors.Is(err, rados.ErrNotFound) {
		return err
	}
	return r.removeEntry(ctx, id, e)
}

func (r *imageReplayer) removeEntry(ctx context.Context, id string, e wire.MirrorImage) error {
	if err := meta.RemoveImage(ctx, r.ns.local, id, e.GlobalID); err != nil {
		return fmt.Errorf("entry of the local image: %w", err)
	}
	r.ns.emptyTrash()
	return errAgain
}

// mirrorTrash returns the images in the trash that mirroring moved there.
func mirrorTrash(ctx context.Context, io *rados.IoCtx) ([]rbd.TrashEntry, error) {
	entries, err := rbd.TrashList(ctx, io)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	return slices.DeleteFunc(entries, func(e rbd.TrashEntry) bool { return e.Source != rbd.TrashMirroring }), nil
}

// purgeTrash removes the images that mirroring moved to the trash and whose time
// has come. It returns when to look again.
func purgeTrash(ctx context.Context, io *rados.IoCtx) (pending bool, err error) {
	entries, err := mirrorTrash(ctx, io)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, e := range entries {
		if time.Now().Before(e.Until) {
			pending = true
			continue
		}
		if err := purge(ctx, io, e.ID); err != nil && !errors.Is(err, rados.ErrNotFound) {
			pending = true
			errs = append(errs, err)
		}
	}
	return pending, errors.Join(errs...)
}

func purge(ctx context.Context, io *rados.IoCtx, id string) error {
	img, err := rbd.OpenByID(ctx, io, id, rbd.OpenOptions{SkipParent: true, SkipMirrorReadOnlyCheck: true, ExternalReplay: true})
	if err == nil {
		err = img.PurgeSnapshots(ctx, true, nil)
		closeImage(img)
	}
	if err != nil && !errors.Is(err, rados.ErrNotFound) {
		return err
	}
	return rbd.TrashRemove(ctx, io, id, true, nil)
}

func ignoreMissing(err error) error {
	if errors.Is(err, rados.ErrNotFound) {
		return nil
	}
	return err
}
