package snapshots

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// ErrNoPeer says that no peer receives from the pool, so that a snapshot would be
// of no use.
var ErrNoPeer = fmt.Errorf("no mirror tx peers configured for the pool: %w", rados.ErrInvalid)

// PrimaryOptions is for CreatePrimary.
type PrimaryOptions struct {
	// Demoted makes it the last one of this site.
	Demoted bool
	// Force makes it even after a demoted or a non-primary one, as a promotion does.
	Force bool
	// WithoutPeers makes it even if nobody receives it.
	WithoutPeers bool
	// Quiesce is how other clients are asked to hold their writes back.
	Quiesce rbd.SnapshotOptions
}

// Plan is what a promotion has to do before its snapshot.
type Plan struct {
	// Orphan: a replayer may be at work and has to be told to stop.
	Orphan bool
	// Rollback is the snapshot whose data is the last complete one, 0 if that is
	// the head.
	Rollback uint64
}

// CanCreatePrimary says whether a primary snapshot may be made after the mirror
// snapshots (oldest first) that there are, and what comes before it.
func CanCreatePrimary(snaps []rbd.Snapshot, demoted, force bool) (p Plan, err error) {
	if len(snaps) == 0 {
		return p, nil
	}
	last := &snaps[len(snaps)-1]
	switch {
	case IsDemoted(last) && !force:
		return p, fmt.Errorf("the image was demoted: %w", rados.ErrInvalid)
	case IsPrimary(last), IsDemoted(last) && last.Namespace.Complete:
		return p, nil
	case !force || demoted:
		return p, fmt.Errorf("the image is not primary: %w", rados.ErrInvalid)
	}
	p.Orphan = true
	if last.Namespace.Complete {
		return p, nil
	}
	for _, s := range slices.Backward(snaps[:len(snaps)-1]) {
		if IsPrimary(&s) || s.Namespace.Complete {
			p.Rollback = s.ID
			return p, nil
		}
	}
	return p, fmt.Errorf("the first copy of the image has not been completed: there is nothing to go back to: %w", rados.ErrInvalid)
}

// senders returns the uuids of the peers that receive from the pool.
func senders(ctx context.Context, io *rados.IoCtx) (uuids []string, err error) {
	peers, err := meta.Peers(ctx, io.WithNamespace(""))
	for _, p := range peers {
		if p.Direction != wire.MirrorPeerRX {
			uuids = append(uuids, p.UUID)
		}
	}
	return uuids, err
}

// CreatePrimary makes a primary snapshot, which whoever has the lock completes, and
// takes those away that are more than the image should have. img must be open for
// writing.
func CreatePrimary(ctx context.Context, img *rbd.Image, gid string, o PrimaryOptions) (uint64, error) {
	if _, err := CanCreatePrimary(Mirror(img), o.Demoted, o.Force); err != nil {
		return 0, err
	}
	peers, err := senders(ctx, img.IoCtx())
	if err != nil {
		return 0, err
	}
	if len(peers) == 0 && !o.WithoutPeers {
		return 0, ErrNoPeer
	}
	ns := wire.SnapshotNamespace{Type: wire.SnapMirror, State: wire.MirrorSnapPrimary, PeerUUIDs: peers, PrimarySnapID: rbd.NoSnap}
	if o.Demoted {
		ns.State = wire.MirrorSnapPrimaryDemoted
	}
	id, err := img.CreateSnapshot(ctx, ".mirror.primary."+gid+"."+NewUUID(), ns, o.Quiesce)
	if err != nil {
		return 0, err
	}
	if err := img.Refresh(ctx); err != nil {
		return id, err
	}
	// Whoever has the lock has completed it, unless he died before.
	if s, ok := img.Snapshot(id); ok && !s.Namespace.Complete {
		if err := img.CompletePrimarySnapshot(ctx, id); err != nil {
			return id, err
		}
	}
	return id, prune(ctx, img, peers, id)
}

// minSnapshots is the least that rbd_mirroring_max_mirroring_snapshots can say.
const minSnapshots = 3

// prune unlinks what the new snapshot newest made superfluous. That this fails does not
// make the new snapshot a failure: the next one tries again.
func prune(ctx context.Context, img *rbd.Image, peers []string, newest uint64) error {
	limit := 5
	values, err := img.Config(ctx)
	if err != nil {
		return err
	}
	for _, v := range values {
		if v.Name == "rbd_mirroring_max_mirroring_snapshots" {
			if n, err := strconv.Atoi(v.Value); err == nil {
				limit = max(n, minSnapshots)
			}
		}
	}
	for range 1000 {
		id, peer := surplus(Mirror(img), peers, limit, newest)
		if id == 0 {
			return nil
		}
		if err := Unlink(ctx, img, id, peer); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return nil
		}
		if err := img.Refresh(ctx); err != nil {
			return err
		}
	}
	return nil
}

// surplus returns the next snapshot that a peer is to be unlinked from: one that
// no peer needs or that was never completed, or the last one within the limit
// when there are more. It counts from the last promotion on. 0 means none. The
// newest one, and any that another client has made since, is nobody's to unlink.
func surplus(snaps []rbd.Snapshot, peers []string, limit int, newest uint64) (id uint64, peer string) {
	for _, peer := range peers {
		count, last := 0, uint64(0)
		for i := range snaps {
			n := &snaps[i].Namespace
			if n.State != wire.MirrorSnapPrimary {
				count, last = 0, 0
				continue
			}
			if len(n.PeerUUIDs) > 0 && !slices.Contains(n.PeerUUIDs, peer) {
				continue
			}
			if snaps[i].ID < newest && (len(n.PeerUUIDs) == 0 || !n.Complete) {
				return snaps[i].ID, peer
			}
			if count++; count == limit {
				last = snaps[i].ID
			}
			if count > limit {
				return last, peer
			}
		}
	}
	return 0, ""
}

// NonPrimary says what a non-primary snapshot is a copy of.
type NonPrimary struct {
	Demoted    bool
	MirrorUUID string
	SnapID     uint64
	SnapSeqs   map[uint64]uint64
	State      wire.ImageState
}

// CreateNonPrimary makes the snapshot that a copy then fills. Its image state is
// written with it; user snapshots in the state keep the primary's ids.
func CreateNonPrimary(ctx context.Context, img *rbd.Image, gid string, n NonPrimary) (uint64, error) {
	ns := wire.SnapshotNamespace{
		Type: wire.SnapMirror, State: wire.MirrorSnapNonPrimary,
		PrimaryMirrorUUID: n.MirrorUUID, PrimarySnapID: n.SnapID, SnapSeqs: n.SnapSeqs,
	}
	if n.Demoted {
		ns.State = wire.MirrorSnapNonPrimaryDemoted
		var err error
		if ns.PeerUUIDs, err = senders(ctx, img.IoCtx()); err != nil {
			return 0, err
		}
	}
	id, err := img.CreateSnapshot(ctx, nonPrimaryName(gid), ns, rbd.SnapshotOptions{SkipQuiesce: true, SkipObjectMap: true})
	if err != nil {
		return 0, err
	}
	return id, img.WriteImageState(ctx, id, n.State)
}

// CreateOrphan makes the snapshot that tells a replayer of the image to stop.
func CreateOrphan(ctx context.Context, img *rbd.Image, gid string) error {
	ns := wire.SnapshotNamespace{Type: wire.SnapMirror, State: wire.MirrorSnapNonPrimary, PrimarySnapID: rbd.NoSnap, Complete: true}
	_, err := img.CreateSnapshot(ctx, nonPrimaryName(gid), ns, rbd.SnapshotOptions{SkipQuiesce: true})
	if errors.Is(err, rados.ErrExists) {
		return nil
	}
	return err
}

func nonPrimaryName(gid string) string { return ".mirror.non_primary." + gid + "." + NewUUID() }
