package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// featuresOfPlace are those that say how or where an image is kept rather than
// what it can do; creating the replica sets its own.
const featuresOfPlace = rbd.FeaturesInternal | rbd.FeatureStriping | rbd.FeatureDataPool | rbd.FeatureNonPrimary |
	rbd.FeatureDirtyCache | rbd.FeatureJournaling

// create makes the local image of a remote primary, empty. The entry comes first,
// as `creating`, so that what a crash leaves behind is found and removed.
func (r *imageReplayer) create(ctx context.Context, remote *rbd.Image) error {
	newest := snapshots.Newest(remote)
	if newest == nil || !snapshots.IsPrimary(newest) {
		return errNotPrimary
	}
	r.say(wire.MirrorStatusStartingReplay, "bootstrapping, CREATE_LOCAL_IMAGE")
	if err := r.makeLocal(ctx, remote, wire.MirrorImageSnapshot, func(*rbd.CreateOptions) {}); err != nil {
		return err
	}
	return errAgain
}

// makeLocal makes the local image of a remote one, empty, for a mode of mirroring;
// adapt changes how.
func (r *imageReplayer) makeLocal(ctx context.Context, remote *rbd.Image, mode uint8, adapt func(*rbd.CreateOptions)) error {
	layout := remote.Layout()
	o := rbd.CreateOptions{
		Order: layout.Order, Features: remote.Features() &^ featuresOfPlace, HasFeatures: true,
		ImageID: rbd.NewImageID(r.ns.local.Client()), NonPrimary: true,
	}
	if remote.Features()&rbd.FeatureStriping != 0 {
		o.StripeUnit, o.StripeCount = layout.StripeUnit, layout.StripeCount
	}
	adapt(&o)
	var err error
	if o.DataPool, err = r.dataPool(ctx, layout); err != nil {
		return err
	}
	e := wire.MirrorImage{GlobalID: r.gid, State: wire.MirrorImageCreating, Mode: mode}
	if err := meta.SetImage(ctx, r.ns.local, o.ImageID, e); err != nil {
		return fmt.Errorf("announce the local image: %w", err)
	}
	if parent := remote.Parent(); parent != nil {
		err = r.clone(ctx, remote, *parent, o)
	} else {
		_, err = rbd.Create(ctx, r.ns.local, remote.Name(), remote.Size(), o)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("create the local image: %w", err), r.forget(ctx, o.ImageID, e))
	}
	e.State = wire.MirrorImageEnabled
	if err := meta.SetImage(ctx, r.ns.local, o.ImageID, e); err != nil {
		return err
	}
	r.fresh = true
	return nil
}

// dataPool names the data pool of a replica: the local default if there is one,
// else the pool of the same name as the primary's if there is one, else none.
func (r *imageReplayer) dataPool(ctx context.Context, remote rbd.Layout) (string, error) {
	if name := r.ns.local.Client().Config().Get("rbd_default_data_pool"); name != "" || remote.DataPool < 0 {
		return name, nil
	}
	name, err := r.ns.remote.Client().PoolName(ctx, remote.DataPool)
	if err != nil {
		return "", fmt.Errorf("data pool of the remote image: %w", err)
	}
	_, err = r.ns.local.Client().LookupPool(ctx, name)
	if errors.Is(err, rados.ErrNotFound) {
		return "", nil
	}
	return name, err
}

// clone makes the replica of a clone from the replica of its parent.
func (r *imageReplayer) clone(ctx context.Context, remote *rbd.Image, p rbd.Parent, o rbd.CreateOptions) error {
	remoteIO := r.ns.remote.WithPool(p.Pool).WithNamespace(p.PoolNamespace)
	e, err := meta.Image(ctx, remoteIO, p.ImageID)
	if errors.Is(err, rados.ErrNotFound) {
		return fmt.Errorf("parent image %s is not mirrored: enable mirroring for it, or flatten the image: %w", p.ImageID, err)
	}
	if err != nil {
		return fmt.Errorf("remote parent: %w", err)
	}
	poolName, err := r.ns.remote.Client().PoolName(ctx, p.Pool)
	if err != nil {
		return fmt.Errorf("pool of the remote parent: %w", err)
	}
	localIO, err := r.ns.local.Client().OpenPool(ctx, poolName)
	if err != nil {
		return fmt.Errorf("pool %s of the parent: %w", poolName, err)
	}
	localIO = localIO.WithNamespace(p.PoolNamespace)
	id, err := meta.ImageID(ctx, localIO, e.GlobalID)
	if err != nil {
		return fmt.Errorf("the parent image has not been mirrored yet: %w", err)
	}
	snapID, err := r.parentSnapshot(ctx, remoteIO, p, localIO, id)
	if err != nil {
		return err
	}
	// The format stays the primary's, whatever is the default here.
	o.CloneFormat = 1
	if remote.OpFeatures()&rbd.OpFeatureCloneChild != 0 {
		o.CloneFormat = 2
	}
	_, err = rbd.Clone(ctx, localIO, id, snapID, r.ns.local, remote.Name(), o)
	return err
}

// parentSnapshot finds the local snapshot that stands for a remote one: by the
// map that the newest complete copy of the parent recorded.
func (r *imageReplayer) parentSnapshot(ctx context.Context, remoteIO *rados.IoCtx, p rbd.Parent, localIO *rados.IoCtx, id string) (uint64, error) {
	local, err := rbd.OpenByID(ctx, localIO, id, rbd.OpenOptions{ReadOnly: true, SkipParent: true, Logger: r.log})
	if err != nil {
		return 0, fmt.Errorf("local parent: %w", err)
	}
	defer closeImage(local)
	remote, err := rbd.OpenByID(ctx, remoteIO, p.ImageID, rbd.OpenOptions{ReadOnly: true, SkipParent: true, Logger: r.log})
	if err != nil {
		return 0, fmt.Errorf("remote parent: %w", err)
	}
	defer closeImage(remote)
	d := decide(snapshots.Mirror(local), snapshots.Mirror(remote), r.ns.sites, nil)
	if d.baseLocal != nil {
		if s, ok := snapSeqs(d.baseLocal, d.baseRemote)[p.SnapID]; ok {
			return s, nil
		}
	}
	// The parent may be primary here, or its copy older than the map: a user
	// snapshot of the same name is the same one.
	if theirs, ok := remote.Snapshot(p.SnapID); ok {
		if ours, ok := local.UserSnapshot(theirs.Name); ok {
			return ours.ID, nil
		}
	}
	return 0, fmt.Errorf("snapshot %d of the parent image has not been mirrored yet: %w", p.SnapID, rados.ErrNotFound)
}
