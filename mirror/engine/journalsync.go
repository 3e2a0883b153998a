package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// syncPointPrefix begins the names of the snapshots from which images are copied
// for the first time, as Ceph's daemon calls them.
const syncPointPrefix = ".rbd-mirror."

// isSyncPoint reports whether a snapshot is one that some site copies from: it is no
// part of replicas.
func isSyncPoint(s rbd.Snapshot) bool { return strings.HasPrefix(s.Name, syncPointPrefix) }

// sync makes the local image equal to a snapshot of the remote one that is made
// for it, with all user's snapshots before. The journal is replayed from where the
// snapshot was made; where that is not known, from before: what is written twice
// does no harm.
func (j *journalReplica) sync(ctx context.Context) error {
	r := j.r
	if err := r.ns.syncs.acquire(ctx); err != nil {
		return err
	}
	defer r.ns.syncs.release()
	r.copying.Store(true)
	defer r.copying.Store(false)
	r.say(wire.MirrorStatusSyncing, "bootstrapping, IMAGE_SYNC")
	if err := j.local.AcquireLock(ctx); err != nil {
		return fmt.Errorf("lock the local image: %w", err)
	}
	// It records what it does: as the holder of the lock it carries out, too, what
	// the image's users ask for, and all of that belongs into the journal.
	writable, err := rbd.OpenByID(ctx, r.ns.remote, j.remote.ID(), rbd.OpenOptions{Logger: r.log})
	if err != nil {
		return fmt.Errorf("open the remote image to mark where to copy from: %w", err)
	}
	defer closeWithin(writable, farewell)
	point, again, err := j.syncPoint(ctx, writable)
	if err != nil {
		return err
	}
	// Who disables the image's mirroring removes the points that are on record. This
	// one may have been made after that.
	if e, err := meta.Image(ctx, r.ns.remote, j.remote.ID()); errors.Is(err, rados.ErrNotFound) || err == nil && e.State == wire.MirrorImageDisabling {
		return errors.Join(ignoreMissing(writable.RemoveSnapshot(ctx, point)), errAgain)
	} else if err != nil {
		return err
	}
	if err := j.remote.Refresh(ctx); err != nil {
		return err
	}
	if err := j.copyFrom(ctx, point, again); err != nil {
		return fmt.Errorf("copy the image: %w", err)
	}
	if err := j.startAt(ctx, j.client.SyncPoints[0].SnapName); err != nil {
		return fmt.Errorf("find where in the journal the copy is: %w", err)
	}
	j.client.State, j.client.SyncPoints, j.client.SnapSeqs = jwire.PeerReplaying, nil, nil
	if err := j.update(ctx); err != nil {
		return err
	}
	if err := writable.RemoveSnapshot(ctx, point); err != nil && !errors.Is(err, rados.ErrNotFound) {
		return fmt.Errorf("remove the snapshot that was copied from: %w", err)
	}
	return nil
}

// syncPoint returns the snapshot to copy from: that of a copy that was interrupted
// or a new one.
func (j *journalReplica) syncPoint(ctx context.Context, writable *rbd.Image) (id uint64, again bool, err error) {
	for _, p := range j.client.SyncPoints {
		if s, ok := writable.UserSnapshot(p.SnapName); ok {
			j.client.SyncPoints = []jwire.SyncPoint{p}
			return s.ID, true, nil
		}
	}
	if len(j.client.SyncPoints) > 0 {
		// Nobody knows what was copied from it.
		j.r.log.Info("the snapshot that was copied from is gone: the local image goes")
		return 0, false, errResync
	}
	// Those of a copy whose point is gone, or of another daemon's.
	for _, s := range j.oldPoints(writable) {
		if err := writable.RemoveSnapshot(ctx, s.ID); err != nil {
			return 0, false, fmt.Errorf("remove snapshot %s: %w", s.Name, err)
		}
	}
	name := syncPointPrefix + j.r.ns.sites.localUUID + "." + snapshots.NewUUID()
	j.client.SyncPoints = []jwire.SyncPoint{{SnapName: name, Namespace: wire.SnapshotNamespace{}.Append(nil)}}
	j.client.SnapSeqs = nil
	// The record comes first: a point that nobody knows of would stay for ever.
	if err := j.update(ctx); err != nil {
		return 0, false, err
	}
	id, err = writable.CreateSnapshot(ctx, name, wire.SnapshotNamespace{}, rbd.SnapshotOptions{SkipQuiesce: true})
	if err != nil {
		return 0, false, fmt.Errorf("make the snapshot to copy from: %w", err)
	}
	return id, false, nil
}

// oldPoints returns the snapshots of an image that this site copied from.
func (j *journalReplica) oldPoints(img *rbd.Image) (points []rbd.Snapshot) {
	for _, s := range img.Snapshots() {
		if strings.HasPrefix(s.Name, syncPointPrefix+j.r.ns.sites.localUUID+".") {
			points = append(points, s)
		}
	}
	return points
}

// dropOldPoints removes what a daemon left behind that died between the end of a
// copy and the removal of the snapshot that it copied from.
func (j *journalReplica) dropOldPoints(ctx context.Context) error {
	points := j.oldPoints(j.remote)
	if len(points) == 0 {
		return nil
	}
	writable, err := rbd.OpenByID(ctx, j.r.ns.remote, j.remote.ID(), rbd.OpenOptions{Logger: j.r.log})
	if err != nil {
		return fmt.Errorf("open the remote image to remove what was copied from: %w", err)
	}
	defer closeWithin(writable, farewell)
	for _, s := range points {
		if err := writable.RemoveSnapshot(ctx, s.ID); err != nil && !errors.Is(err, rados.ErrNotFound) {
			return fmt.Errorf("remove snapshot %s: %w", s.Name, err)
		}
	}
	return nil
}

// copyFrom copies everything up to a snapshot into the local head. again says that
// this was begun before; what is done is in the checkpoint, and up to which object
// without a gap in the client's data.
func (j *journalReplica) copyFrom(ctx context.Context, point uint64, again bool) error {
	job := &copyJob{
		local: j.local, remote: j.remote, depth: j.r.ns.depth, memory: j.r.ns.memory, key: j.r.copyKey(j.local, point),
		watch: func(p progress) {
			j.r.say(wire.MirrorStatusSyncing, fmt.Sprintf("bootstrapping, IMAGE_SYNC/COPY_IMAGE %d%%", 100*p.done/max(p.total, 1)))
		},
		record: j.recorder(),
	}
	job.key.LocalSnap = rbd.NoSnap
	rng := rbd.CopyRange{SrcEnd: point, DstEnd: rbd.NoSnap, Overwrite: again, Skip: isSyncPoint}
	first := uint64(0)
	if at := j.client.SyncPoints[0].Object; at != nil {
		first = *at
	}
	seqs, known := j.copiedSnapshots(point)
	if again && known && (first > 0 || job.memory.Begun(job.key)) {
		j.r.log.Info("the copy is gone on with", "point", point, "object", first)
		job.done = job.memory.Resume(job.key)
	} else {
		var err error
		if first, seqs, err = 0, nil, nil; again {
			err = j.dropCopied(ctx, point)
		}
		if err == nil {
			seqs, err = j.copySnapshots(ctx, rng)
		}
		if err == nil {
			job.done, err = job.memory.Begin(job.key)
		}
		if err != nil {
			return err
		}
	}
	if _, err := job.copyObjects(ctx, rng, seqs, first); err != nil {
		return err
	}
	all, err := j.remote.Metadata(ctx)
	if err != nil {
		return err
	}
	if err := applyMetadata(ctx, j.local, all); err != nil {
		return err
	}
	return job.memory.Forget(job.key)
}

// recorder returns what notes in the client's data how far the copy is.
func (j *journalReplica) recorder() func(ctx context.Context, last uint64) error {
	age := j.r.ns.local.Client().Config().Duration("rbd_mirror_sync_point_update_age")
	told := time.Now()
	return func(ctx context.Context, last uint64) error {
		if time.Since(told) < age {
			return errTooSoon
		}
		told = time.Now()
		j.client.SyncPoints[0].Object = &last
		return j.update(ctx)
	}
}

var errTooSoon = errors.New("told a moment ago")

// copiedSnapshots returns which local snapshots are those of the remote image, if
// all before the point were made already.
func (j *journalReplica) copiedSnapshots(point uint64) (seqs map[uint64]uint64, all bool) {
	seqs = make(map[uint64]uint64)
	for _, theirs := range j.remote.Snapshots() {
		if theirs.ID >= point || theirs.Namespace.Type != wire.SnapUser || isSyncPoint(theirs) {
			continue
		}
		ours, ok := j.local.Snapshot(j.client.SnapSeqs[theirs.ID])
		if !ok || ours.Name != theirs.Name {
			return nil, false
		}
		seqs[theirs.ID] = ours.ID
	}
	user := 0
	for _, ours := range j.local.Snapshots() {
		if ours.Namespace.Type == wire.SnapUser {
			user++
		}
	}
	return seqs, user == len(seqs)
}

// dropCopied removes the local snapshots of a copy that is begun again: what was
// copied of them may be half of it.
func (j *journalReplica) dropCopied(ctx context.Context, point uint64) error {
	for _, theirs := range j.remote.Snapshots() {
		if ours, ok := j.local.UserSnapshot(theirs.Name); ok && theirs.ID <= point {
			if err := j.dropSnapshot(ctx, ours); err != nil {
				return err
			}
		}
	}
	return nil
}

// copySnapshots makes the user's snapshots here, and notes them in the client's data.
func (j *journalReplica) copySnapshots(ctx context.Context, rng rbd.CopyRange) (map[uint64]uint64, error) {
	seqs, err := rbd.CopySnapshots(ctx, j.remote, j.local, rng, nil)
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	j.client.SnapSeqs, j.client.SyncPoints[0].Object = maps.Clone(seqs), nil
	return seqs, j.update(ctx)
}

func (j *journalReplica) dropSnapshot(ctx context.Context, s rbd.Snapshot) error {
	if s.Protected() {
		if err := j.local.UnprotectSnapshot(ctx, s.ID); err != nil {
			return err
		}
	}
	return j.local.RemoveSnapshot(ctx, s.ID)
}
