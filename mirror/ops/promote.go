package ops

import (
	"context"
	"fmt"
	"time"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// stopWait is how long a forced promotion waits for a replayer to let go.
const stopWait = 30 * time.Second

// Promote makes a replica the primary. Without force the primary must have been
// demoted and that must have arrived here. With force the image becomes primary as
// it is: what had not been copied completely is rolled back. The remote site is
// never asked.
func Promote(ctx context.Context, io *rados.IoCtx, id string, force bool) error {
	m, err := enabled(ctx, io, id)
	if err != nil {
		return err
	}
	if m.Mode == wire.MirrorImageJournal {
		return promoteJournal(ctx, io, id, force)
	}
	return with(ctx, io, id, func(img *rbd.Image) error {
		p, _ := PromotionOf(img)
		last := snapshots.Newest(img)
		switch {
		case p == Primary:
			return ErrPrimary
		case p == NonPrimary && !force, last != nil && !last.Namespace.Complete && !force:
			return ErrRemotePrimary
		}
		plan, err := snapshots.CanCreatePrimary(snapshots.Mirror(img), false, true)
		if err != nil {
			return err
		}
		if plan.Orphan {
			if err := snapshots.CreateOrphan(ctx, img, m.GlobalID); err != nil {
				return err
			}
			if err := waitForReplayer(ctx, img); err != nil {
				return err
			}
		}
		if err := img.AcquireLock(ctx); err != nil {
			return err
		}
		if plan.Rollback != 0 {
			if err := rollback(ctx, img, plan.Rollback); err != nil {
				return err
			}
		}
		_, err = snapshots.CreatePrimary(ctx, img, m.GlobalID, snapshots.PrimaryOptions{Force: true, WithoutPeers: true})
		if err != nil {
			return err
		}
		return setNonPrimary(ctx, img, false)
	})
}

// rollback returns to the last complete copy, and takes the user snapshots away
// that came with the incomplete one: they have no data.
func rollback(ctx context.Context, img *rbd.Image, snapID uint64) error {
	if err := img.Rollback(ctx, snapID, nil); err != nil {
		return fmt.Errorf("roll back to the last complete snapshot: %w", err)
	}
	return nil
}

// waitForReplayer waits until no mirroring daemon has the image open any more.
// When that takes too long the lock is taken away from it.
func waitForReplayer(ctx context.Context, img *rbd.Image) error {
	deadline := time.Now().Add(stopWait)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		busy, err := replayerWatches(ctx, img)
		if err != nil || !busy {
			return err
		}
		if time.Now().After(deadline) {
			owner, err := img.LockOwner(ctx)
			if err != nil || owner == nil {
				return err
			}
			return img.BreakLock(ctx, *owner)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// replayerWatches reports whether a mirroring daemon, which is whoever watches
// rbd_mirroring, watches the image's header.
func replayerWatches(ctx context.Context, img *rbd.Image) (bool, error) {
	daemons, err := img.IoCtx().ListWatchers(ctx, meta.Mirroring)
	if err != nil && !notFound(err) {
		return false, err
	}
	known := map[int64]bool{}
	for _, w := range daemons {
		known[w.Name.Num] = true
	}
	watchers, err := img.Watchers(ctx)
	if err != nil {
		return false, err
	}
	mine := int64(img.IoCtx().Client().GlobalID())
	for _, w := range watchers {
		if w.Name.Num != mine && known[w.Name.Num] {
			return true, nil
		}
	}
	return false, nil
}
