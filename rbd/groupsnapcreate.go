package rbd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// CreateSnapshot makes a snapshot of all images of the group at one instant and
// returns its id: other openers are asked to hold their writes back, and while the
// images' snapshots are made, the exclusive locks of all of them are held here. A
// name that exists is ErrExists. What is left after a failure is taken back; if
// that fails too, the snapshot stays, not complete, and can be removed.
func (g *Group) CreateSnapshot(ctx context.Context, name string, o SnapshotOptions) (id string, err error) {
	members, err := g.members(ctx)
	if err != nil {
		return "", err
	}
	r := wire.GroupSnapshot{ID: NewImageID(g.io.Client()), Name: name, State: wire.GroupSnapIncomplete}
	for _, m := range members {
		r.Snaps = append(r.Snaps, wire.ImageSnapshotSpec{Pool: m.Spec.Pool, ImageID: m.Spec.ImageID})
	}
	switch err = g.setRecord(ctx, r); {
	case err == nil:
		err = g.fillSnapshot(ctx, r, o)
	case rados.MaybeApplied(err):
		err = errors.Join(err, g.takeBack(ctx, nil, r.ID))
	}
	if err != nil {
		return "", fmt.Errorf("create snapshot %s of group %s: %w", name, g.name, err)
	}
	return r.ID, nil
}

// fillSnapshot makes the images' snapshots for a record that is stored, and
// completes it, or takes all back.
func (g *Group) fillSnapshot(ctx context.Context, r wire.GroupSnapshot, o SnapshotOptions) (err error) {
	images, err := g.open(ctx, r.Snaps, errGroupBusy)
	if err == nil {
		err = g.snapshotImages(ctx, images, &r, o)
	}
	if err != nil {
		err = errors.Join(err, g.takeBack(ctx, images, r.ID))
	}
	return errors.Join(err, images.close(ctx))
}

// groupTidyTimeout bounds taking an unfinished snapshot back, and closing the images.
const groupTidyTimeout = 2 * time.Minute

// snapshotImages makes the images' snapshots and completes the record.
func (g *Group) snapshotImages(ctx context.Context, images groupImages, r *wire.GroupSnapshot, o SnapshotOptions) error {
	if !o.SkipQuiesce {
		unquiesce, err := images.quiesce(ctx)
		defer unquiesce()
		if err != nil && !o.IgnoreQuiesceError {
			return fmt.Errorf("quiesce: %w", err)
		}
	}
	if err := images.lock(ctx); err != nil {
		return err
	}
	name, ns := g.imageSnapName(r.ID), g.namespace(r.ID)
	snaps := make([]wire.ImageSnapshotSpec, len(images))
	err := images.each(ctx, func(ctx context.Context, i int) error {
		img := images[i]
		return img.local(ctx, maintenance{local: func(ctx context.Context) error {
			id, err := img.createSnapshot(ctx, name, ns, SnapshotOptions{SkipQuiesce: true, SkipObjectMap: o.SkipObjectMap})
			snaps[i] = wire.ImageSnapshotSpec{Pool: img.io.Pool(), ImageID: img.id, SnapID: id}
			return err
		}})
	})
	if err != nil {
		return err
	}
	// A lock that was lost on the way let others write before all snapshots were
	// there: they may show different instants.
	for _, img := range images {
		if img.header().has(FeatureExclusiveLock) && !img.LockOwned() {
			return fmt.Errorf("image %s: %w", img.Name(), ErrLockLost)
		}
	}
	r.Snaps, r.State = snaps, wire.GroupSnapComplete
	return g.setRecord(ctx, *r)
}

// takeBack removes what there is of a snapshot that failed. The record goes last,
// so that what cannot be removed now can be found again. It is done even if the
// caller gave up.
func (g *Group) takeBack(ctx context.Context, images groupImages, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), groupTidyTimeout)
	defer cancel()
	// What the caller gave up may yet be applied.
	if err := g.io.Client().Settle(ctx); err != nil {
		return fmt.Errorf("take the snapshot back: %w", err)
	}
	if err := images.removeSnapshots(ctx, g.namespace(id), true); err != nil {
		return fmt.Errorf("take the snapshot back: %w", err)
	}
	if err := ignoreNotFound(g.removeRecord(ctx, id)); err != nil {
		return fmt.Errorf("take the snapshot back: %w", err)
	}
	return nil
}

// errGroupBusy is what others are told that want the lock of an image, or want it
// changed, while it takes part in a snapshot or a rollback of its group.
var errGroupBusy = fmt.Errorf("the image's group is being worked on: %w", rados.ErrBusy)

// groupImages are images of a group that are opened to do something to all of them.
type groupImages []*Image

// open opens the images that snapshots are of. With an error to refuse with, others
// do not get their locks as long as they are open.
func (g *Group) open(ctx context.Context, specs []wire.ImageSnapshotSpec, refuse error) (groupImages, error) {
	images := make(groupImages, len(specs))
	o := OpenOptions{}
	if refuse != nil {
		o.LockRequest = func(bool) error { return refuse }
	}
	err := images.each(ctx, func(ctx context.Context, i int) (err error) {
		images[i], err = OpenByID(ctx, g.io.WithPool(specs[i].Pool), specs[i].ImageID, o)
		return err
	})
	if err == nil {
		return images, nil
	}
	return nil, errors.Join(err, images.close(ctx))
}

// groupDepth is at how many images of a group is worked at once.
const groupDepth = 64

// each calls f for all images at once.
func (is groupImages) each(ctx context.Context, f func(ctx context.Context, i int) error) error {
	return forEach(ctx, 0, uint64(len(is)), groupDepth, nil, func(ctx context.Context, i uint64) error { return f(ctx, int(i)) })
}

// all calls f for all images that are open at once, whatever fails.
func (is groupImages) all(f func(i int) error) error {
	errs := make([]error, len(is))
	var wg sync.WaitGroup
	for i := range is {
		if is[i] != nil {
			wg.Go(func() { errs[i] = f(i) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// close closes those that are open, and gives their locks back.
func (is groupImages) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), groupTidyTimeout)
	defer cancel()
	return is.all(func(i int) error { return is[i].Close(ctx) })
}

// quiesce asks the other openers of all images to hold their writes back until the
// returned function is called, which it must be after an error, too.
func (is groupImages) quiesce(ctx context.Context) (unquiesce func(), err error) {
	back := make([]func(), len(is))
	err = is.all(func(i int) (err error) {
		back[i], err = is[i].watch.quiesce(ctx)
		return err
	})
	return func() {
		for _, f := range back {
			f()
		}
	}, err
}

// lock takes the exclusive locks of all images that have one. Two that lock the
// same group meet at its first image, so that they do not wait for each other.
func (is groupImages) lock(ctx context.Context) error {
	first := 0
	for first < len(is) && !is[first].header().has(FeatureExclusiveLock) {
		first++
	}
	if first < len(is) {
		if err := is[first].lockForGroup(ctx); err != nil {
			return err
		}
	}
	return is.each(ctx, func(ctx context.Context, i int) error { return is[i].lockForGroup(ctx) })
}

// lockForGroup takes the lock, waiting for its owner a while: the owners of the
// other images cannot write meanwhile.
func (img *Image) lockForGroup(ctx context.Context) error {
	limit := time.Duration(max(1, img.settings.uint("rbd_request_timed_out_seconds"))) * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("image %s is not given its lock: %w", img.Name(), rados.ErrTimedOut))
	defer cancel()
	return img.AcquireLock(ctx)
}

// memberSnap returns the snapshot of a namespace that it has to itself, or nil.
func (img *Image) memberSnap(ns SnapshotNamespace) *Snapshot {
	h := img.header()
	for i := range h.snaps {
		n := h.snaps[i].Namespace
		if n.Type == SnapGroup && n.GroupPool == ns.GroupPool && n.GroupID == ns.GroupID && n.GroupSnapID == ns.GroupSnapID {
			return &h.snaps[i]
		}
	}
	return nil
}

// removeSnapshots removes the images' snapshots that belong to a group's; those
// that are not there are no error. If the group's was not finished, one that an
// image's journal tells of may yet be made by who takes the lock next: so that is
// done here before.
func (is groupImages) removeSnapshots(ctx context.Context, ns SnapshotNamespace, unfinished bool) error {
	return is.all(func(i int) error {
		if unfinished && is[i].header().has(FeatureJournaling) {
			if err := is[i].maintain(ctx, maintenance{local: func(context.Context) error { return nil }}); err != nil {
				return fmt.Errorf("journal of image %s: %w", is[i].Name(), err)
			}
		}
		if err := is[i].Refresh(ctx); err != nil {
			return err
		}
		s := is[i].memberSnap(ns)
		if s == nil {
			return nil
		}
		return ignoreNotFound(is[i].RemoveSnapshot(ctx, s.ID))
	})
}

// groupProgress makes one progress of those of several images.
type groupProgress struct {
	tell Progress

	mu   sync.Mutex
	done []float64 // of each image, up to 1
}

// of returns what image i tells its progress.
func (p *groupProgress) of(i int) Progress {
	if p.tell == nil {
		return nil
	}
	return func(done, total uint64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done[i] = 1
		if total > 0 {
			p.done[i] = float64(done) / float64(total)
		}
		sum := 0.0
		for _, d := range p.done {
			sum += d
		}
		const steps = 1000
		p.tell(uint64(sum/float64(len(p.done))*steps), steps)
	}
}
