package rbd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// GroupSnapshot is a snapshot of all images that a group had.
type GroupSnapshot struct {
	ID, Name string
	// Complete is false while the images' snapshots are being made or removed, and
	// if that was interrupted.
	Complete bool
	// ImageSnapName is the name of the snapshots in the images; empty if the group
	// had none.
	ImageSnapName string
	// Images are the images' snapshots, ordered by pools and ids.
	Images []GroupImageSnapshot
}

// GroupImageSnapshot is the snapshot of one image that belongs to a group's.
type GroupImageSnapshot struct {
	Pool    int64
	ImageID string
	SnapID  uint64
}

// Snapshots returns the group's snapshots: from 20.2 on in the order in which they
// were made, before in that of their ids, as librbd lists them.
func (g *Group) Snapshots(ctx context.Context) ([]GroupSnapshot, error) {
	records, err := g.records(ctx)
	if err != nil {
		return nil, err
	}
	snaps := make([]GroupSnapshot, len(records))
	for i, r := range records {
		snaps[i] = g.snapshotOf(r)
	}
	return snaps, nil
}

// Snapshot returns the group's snapshot with the name; ErrNotFound without one.
func (g *Group) Snapshot(ctx context.Context, name string) (GroupSnapshot, error) {
	record, err := g.record(ctx, name)
	if err != nil {
		return GroupSnapshot{}, err
	}
	return g.snapshotOf(record), nil
}

func (g *Group) snapshotOf(r wire.GroupSnapshot) GroupSnapshot {
	s := GroupSnapshot{ID: r.ID, Name: r.Name, Complete: r.State == wire.GroupSnapComplete}
	for _, i := range r.Snaps {
		s.ImageSnapName = g.imageSnapName(r.ID)
		s.Images = append(s.Images, GroupImageSnapshot{Pool: i.Pool, ImageID: i.ImageID, SnapID: i.SnapID})
	}
	return s
}

// imageSnapName is what the images' snapshots of a group's snapshot are called.
func (g *Group) imageSnapName(id string) string {
	return fmt.Sprintf(".group.%x_%s_%s", g.io.Pool(), g.id, id)
}

// namespace is how an image's snapshot names the group's that it belongs to.
func (g *Group) namespace(id string) SnapshotNamespace {
	return SnapshotNamespace{Type: SnapGroup, GroupPool: g.io.Pool(), GroupID: g.id, GroupSnapID: id}
}

// record returns the record of the snapshot with the name.
func (g *Group) record(ctx context.Context, name string) (wire.GroupSnapshot, error) {
	all, err := g.records(ctx)
	if err != nil {
		return wire.GroupSnapshot{}, err
	}
	for _, r := range all {
		if r.Name == name {
			return r, nil
		}
	}
	return wire.GroupSnapshot{}, fmt.Errorf("snapshot %s of group %s: %w", name, g.name, rados.ErrNotFound)
}

// records returns what the header says of the snapshots. The order in which they
// were made is asked for first: a snapshot made meanwhile has none, and then the
// records stay in the order of their ids.
func (g *Group) records(ctx context.Context) ([]wire.GroupSnapshot, error) {
	orders, err := g.snapOrders(ctx)
	if err != nil && !errors.Is(err, rados.ErrNotSupported) {
		return nil, fmt.Errorf("snapshots of group %s: %w", g.name, err)
	}
	var all []wire.GroupSnapshot
	var last wire.GroupSnapshot
	for {
		out, err := g.io.Exec(ctx, g.oid, rbdClass, wire.MethodGroupSnapList, denc.AppendU64(last.Append(nil), pageSize))
		if err != nil {
			return nil, fmt.Errorf("snapshots of group %s: %w", g.name, err)
		}
		r := denc.NewReader(out)
		page := denc.Slice(r, 19, func(r *denc.Reader) (s wire.GroupSnapshot) {
			s.Decode(r)
			return s
		})
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("snapshots of group %s: %w", g.name, err)
		}
		all = append(all, page...)
		if len(page) < pageSize {
			break
		}
		last = page[len(page)-1]
	}
	unordered := func(s wire.GroupSnapshot) bool { _, ok := orders[s.ID]; return !ok }
	if !slices.ContainsFunc(all, unordered) {
		slices.SortStableFunc(all, func(a, b wire.GroupSnapshot) int { return cmp.Compare(orders[a.ID], orders[b.ID]) })
	}
	return all, nil
}

// snapOrders returns the numbers by which the snapshots were made.
func (g *Group) snapOrders(ctx context.Context) (map[string]uint64, error) {
	orders := map[string]uint64{}
	after := ""
	for {
		in := denc.AppendU64(denc.AppendString(nil, after), pageSize)
		out, err := g.io.Exec(ctx, g.oid, rbdClass, wire.MethodGroupSnapListOrder, in)
		if err != nil {
			return nil, err
		}
		r := denc.NewReader(out)
		page := denc.Map(r, 12, (*denc.Reader).String, (*denc.Reader).U64)
		if err := r.Err(); err != nil {
			return nil, err
		}
		for id, n := range page {
			orders[id] = n
			after = max(after, id)
		}
		if len(page) < pageSize {
			return orders, nil
		}
	}
}

// setRecord stores a snapshot's record.
func (g *Group) setRecord(ctx context.Context, r wire.GroupSnapshot) error {
	return g.call(ctx, wire.MethodGroupSnapSet, r.Append(nil))
}

// removeRecord forgets a snapshot.
func (g *Group) removeRecord(ctx context.Context, id string) error {
	return g.call(ctx, wire.MethodGroupSnapRemove, denc.AppendString(nil, id))
}

// RenameSnapshot gives a snapshot another name; one that exists, the old one
// included, is ErrExists.
func (g *Group) RenameSnapshot(ctx context.Context, from, to string) error {
	if from == to {
		return fmt.Errorf("snapshot %s of group %s: %w", to, g.name, rados.ErrExists)
	}
	r, err := g.record(ctx, from)
	if err != nil {
		return err
	}
	r.Name = to
	if err := g.setRecord(ctx, r); err != nil {
		return fmt.Errorf("rename snapshot %s of group %s to %s: %w", from, g.name, to, err)
	}
	return nil
}

// RemoveSnapshot removes the snapshot with the name from all its images. Those that
// lack it, because it was not finished or its removal was interrupted, are no
// error.
func (g *Group) RemoveSnapshot(ctx context.Context, name string) error {
	r, err := g.record(ctx, name)
	if err != nil {
		return err
	}
	if err := g.removeSnapshot(ctx, r); err != nil {
		return fmt.Errorf("remove snapshot %s of group %s: %w", name, g.name, err)
	}
	return nil
}

func (g *Group) removeSnapshot(ctx context.Context, r wire.GroupSnapshot) (err error) {
	images, err := g.open(ctx, r.Snaps, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.close(ctx)) }()
	if err := images.removeSnapshots(ctx, g.namespace(r.ID), r.State != wire.GroupSnapComplete); err != nil {
		return err
	}
	return g.removeRecord(ctx, r.ID)
}

// RollbackSnapshot takes all images back to the snapshot with the name. It must be
// complete and, unless o says otherwise, of exactly the images that the group has,
// else it is ErrInvalid. Nobody else can write to images with the exclusive-lock feature meanwhile. After
// an error some images may have been taken back, wholly or in part: repeating it
// mends that.
func (g *Group) RollbackSnapshot(ctx context.Context, name string, o RollbackOptions) error {
	r, err := g.record(ctx, name)
	if err != nil {
		return err
	}
	if err := g.rollback(ctx, r, o); err != nil {
		return fmt.Errorf("roll group %s back to snapshot %s: %w", g.name, name, err)
	}
	return nil
}

func (g *Group) rollback(ctx context.Context, r wire.GroupSnapshot, o RollbackOptions) (err error) {
	if r.State != wire.GroupSnapComplete {
		return fmt.Errorf("the snapshot is not complete: %w", rados.ErrInvalid)
	}
	if !o.OtherMembers {
		if err := g.sameMembers(ctx, r.Snaps); err != nil {
			return err
		}
	}
	images, err := g.open(ctx, r.Snaps, errGroupBusy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.close(ctx)) }()
	ns := g.namespace(r.ID)
	for _, img := range images {
		if img.memberSnap(ns) == nil {
			return fmt.Errorf("image %s lacks the snapshot: %w", img.Name(), rados.ErrNotFound)
		}
	}
	if err := images.lock(ctx); err != nil {
		return err
	}
	whole := &groupProgress{tell: o.Progress, done: make([]float64, len(images))}
	return forEach(ctx, 0, uint64(len(images)), len(images), nil, func(ctx context.Context, i uint64) error {
		img := images[i]
		return img.local(ctx, maintenance{local: func(ctx context.Context) error {
			s := img.memberSnap(ns)
			if s == nil {
				return fmt.Errorf("image %s lacks the snapshot: %w", img.Name(), rados.ErrNotFound)
			}
			return img.rollback(ctx, s.ID, whole.of(int(i)))
		}})
	})
}

// sameMembers makes sure that the group has the images of a snapshot and no other.
func (g *Group) sameMembers(ctx context.Context, snaps []wire.ImageSnapshotSpec) error {
	members, err := g.members(ctx)
	if err != nil {
		return err
	}
	then := make(map[wire.GroupImageSpec]bool)
	for _, s := range snaps {
		then[wire.GroupImageSpec{ImageID: s.ImageID, Pool: s.Pool}] = true
	}
	same := len(then) == len(members)
	for _, m := range members {
		same = same && then[m.Spec]
	}
	if !same {
		return fmt.Errorf("the group has other images than the snapshot: %w", rados.ErrInvalid)
	}
	return nil
}

// ofForgottenGroup says whether an event of the image's own journal makes the
// image's snapshot of a group's that is not there any more: its maker died, and
// the group's was removed before anybody replayed the journal, as librbd removes it.
func (img *Image) ofForgottenGroup(ctx context.Context, ev *jwire.Event) (bool, error) {
	if ev.Type != jwire.EventSnapCreate {
		return false, nil
	}
	var ns SnapshotNamespace
	r := denc.NewReader(ev.Namespace)
	if ns.Decode(r); r.Err() != nil || ns.Type != SnapGroup {
		return false, nil // what is wrong with it is told by who applies it
	}
	_, err := img.io.WithPool(ns.GroupPool).Exec(ctx, groupHeaderPrefix+ns.GroupID, rbdClass, wire.MethodGroupSnapGetByID, denc.AppendString(nil, ns.GroupSnapID))
	if errors.Is(err, rados.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("group of snapshot %s: %w", ev.Name, err)
	}
	return false, nil
}
