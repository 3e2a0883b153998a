package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// replay keeps local in step with remote.
func (r *imageReplayer) replay(ctx context.Context, local, remote *rbd.Image) error {
	r.say(wire.MirrorStatusStartingReplay, "starting replay")
	for ctx.Err() == nil {
		if err := r.refresh(ctx, local, remote); err != nil {
			return err
		}
		resync, err := r.resyncRequested(ctx, local)
		if err != nil {
			return err
		}
		d := decide(snapshots.Mirror(local), snapshots.Mirror(remote), r.ns.sites, r.remembers(local))
		r.log.Debug("decided", "decision", d, "local", brief(snapshots.Mirror(local)), "remote", brief(snapshots.Mirror(remote)))
		if resync && d.verdict != verdictPrimary {
			r.log.Info("resync was requested: the local image goes")
			return r.discardLocal(ctx, local)
		}
		if again, err := r.act(ctx, local, remote, d); err != nil || !again {
			return err
		}
	}
	return ctx.Err()
}

// refresh reads both headers, and finds out whether the remote entry is still
// there: an image that is disabled does not change its header.
func (r *imageReplayer) refresh(ctx context.Context, local, remote *rbd.Image) error {
	if err := local.Refresh(ctx); err != nil {
		return fmt.Errorf("local image: %w", err)
	}
	rctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	e, err := meta.Image(rctx, r.ns.remote, remote.ID())
	if errors.Is(err, rados.ErrNotFound) || err == nil && e.State == wire.MirrorImageDisabling {
		return errAgain
	}
	if err == nil {
		err = remote.Refresh(rctx)
	}
	if errors.Is(err, rados.ErrNotFound) {
		return errAgain
	}
	if err != nil {
		return fmt.Errorf("remote image: %w", err)
	}
	return nil
}

// act does what was decided. again is false when the session is over.
func (r *imageReplayer) act(ctx context.Context, local, remote *rbd.Image, d decision) (again bool, err error) {
	idle := func(state uint8, description string) (bool, error) {
		// Pruning may wait for others: what is already true is told before. But one
		// who is told of a demotion may promote at once, and needs the lock.
		if d.verdict == verdictIdle {
			r.say(state, description)
		}
		if err := r.prune(ctx, local, remote, d); err != nil {
			return false, err
		}
		// An image that waits is not locked: others promote and open it.
		if err := r.unlock(ctx, local); err != nil {
			return false, err
		}
		r.say(state, description)
		r.wait(ctx, recheck)
		return true, nil
	}
	switch d.verdict {
	case verdictPrimary:
		return false, r.park(ctx, wire.MirrorStatusStopped, "local image is primary")
	case verdictOrphan:
		return false, r.stepAside(ctx, local)
	case verdictSplit:
		return idle(wire.MirrorStatusError, "split-brain")
	case verdictWait:
		return idle(wire.MirrorStatusUnknown, errNotPrimary.Error())
	case verdictDemoted:
		return idle(wire.MirrorStatusUnknown, "remote image demoted")
	case verdictDiscard:
		return true, r.undo(ctx, local, d.baseLocal, d.discard.ID)
	case verdictSync:
		return true, r.sync(ctx, local, remote, d)
	}
	r.stats.at(d)
	return idle(wire.MirrorStatusReplaying, r.stats.describe(nil))
}

// undo takes a copy back that was begun: the head returns to the base, because a
// later copy would take what this one wrote for the base's data, and the snapshot
// goes. Without a base the whole replica goes and is made again.
func (r *imageReplayer) undo(ctx context.Context, local *rbd.Image, base *rbd.Snapshot, begun uint64) error {
	if base == nil {
		return r.discardLocal(ctx, local)
	}
	r.copying.Store(true)
	defer r.copying.Store(false)
	if err := local.AcquireLock(ctx); err != nil {
		return err
	}
	if err := local.Rollback(ctx, base.ID, nil); err != nil {
		return fmt.Errorf("roll back to snapshot %d: %w", base.ID, err)
	}
	return local.RemoveSnapshot(ctx, begun)
}

func (r *imageReplayer) unlock(ctx context.Context, local *rbd.Image) error {
	if !local.LockOwned() {
		return nil
	}
	return local.ReleaseLock(ctx)
}

// sync copies one snapshot.
func (r *imageReplayer) sync(ctx context.Context, local, remote *rbd.Image, d decision) error {
	if err := r.ns.syncs.acquire(ctx); err != nil {
		return err
	}
	defer r.ns.syncs.release()
	r.copying.Store(true)
	defer r.copying.Store(false)
	began := time.Now()
	r.stats.at(d)
	job := &copyJob{
		local: local, remote: remote, gid: r.gid, sites: r.ns.sites, decision: d,
		depth: r.ns.depth, fresh: r.fresh,
		memory: r.ns.memory, key: r.copyKey(local, d.target.ID),
		watch: func(p progress) {
			r.say(wire.MirrorStatusReplaying, r.stats.describe(&p))
		},
	}
	r.log.Info("syncing", "snapshot", d.target.ID, "resumed", d.resume != nil, "full", d.baseRemote == nil)
	p, err := job.run(ctx)
	r.fresh = false
	if errors.Is(err, rbd.ErrSnapshotGone) {
		// What was copied may hold objects of a snapshot that no longer is.
		r.log.Warn("a snapshot of the source vanished: the copy is begun anew", "err", err)
		if err := local.Refresh(ctx); err != nil {
			return err
		}
		if begun := snapshots.Newest(local); begun != nil && !begun.Namespace.Complete {
			return r.undo(ctx, local, d.baseLocal, begun.ID)
		}
	}
	if err != nil {
		return fmt.Errorf("sync of snapshot %d: %w", d.target.ID, err)
	}
	r.mu.Lock()
	r.name = local.Name()
	r.mu.Unlock()
	r.stats.synced(d, p, time.Since(began))
	r.log.Info("synced", "snapshot", d.target.ID, "bytes", p.bytes, "took", time.Since(began))
	return nil
}

// prune unlinks this site from the remote snapshots that it needs no longer, and
// removes the local mirror snapshots before the newest complete one.
func (r *imageReplayer) prune(ctx context.Context, local, remote *rbd.Image, d decision) error {
	if d.baseLocal == nil {
		return nil
	}
	rctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	for _, s := range snapshots.Mirror(remote) {
		if s.ID >= d.baseRemote.ID {
			break
		}
		// Whoever promotes or demotes there just now refuses: it is tried again
		// when this image is next looked at.
		if err := r.unlink(rctx, remote, &s); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.log.Info("a remote snapshot stays linked for now", "snapshot", s.ID, "err", err)
		}
	}
	for _, s := range snapshots.Mirror(local) {
		if s.ID >= d.baseLocal.ID {
			break
		}
		if err := local.AcquireLock(ctx); err != nil {
			return err
		}
		if err := local.RemoveSnapshot(ctx, s.ID); err != nil && !errors.Is(err, rados.ErrNotFound) {
			return fmt.Errorf("remove mirror snapshot %d: %w", s.ID, err)
		}
	}
	return nil
}

// unlink takes this site out of the list of those who need a remote snapshot.
// The last one out removes it: nobody else would.
func (r *imageReplayer) unlink(ctx context.Context, remote *rbd.Image, s *rbd.Snapshot) error {
	if !snapshots.IsPrimary(s) {
		return nil
	}
	writable, err := rbd.OpenByID(ctx, r.ns.remote, remote.ID(), rbd.OpenOptions{SkipMirrorReadOnlyCheck: true, Logger: r.log})
	if err != nil {
		return fmt.Errorf("open the remote image to unlink snapshot %d: %w", s.ID, err)
	}
	defer closeImage(writable)
	if err := snapshots.Unlink(ctx, writable, s.ID, r.ns.sites.peerUUID); err != nil {
		return fmt.Errorf("unlink from remote snapshot %d: %w", s.ID, err)
	}
	return nil
}

// copyKey names the copy of a remote snapshot to local; which snapshot of local is
// filled is left open.
func (r *imageReplayer) copyKey(local *rbd.Image, remoteSnap uint64) checkpoint.Key {
	io := r.ns.local
	return checkpoint.Key{
		FSID: io.Client().FSID().String(), Pool: io.Pool(), Namespace: io.Namespace(),
		ImageID: local.ID(), RemoteSnap: remoteSnap,
	}
}

// remembers returns what reports whether a copy was begun by this daemon.
func (r *imageReplayer) remembers(local *rbd.Image) func(*rbd.Snapshot) bool {
	return func(s *rbd.Snapshot) bool {
		key := r.copyKey(local, s.Namespace.PrimarySnapID)
		key.LocalSnap = s.ID
		return r.ns.memory.Begun(key)
	}
}
