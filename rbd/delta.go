package rbd

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/diff"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// ObjectState is what a Delta says of one object.
type ObjectState uint8

// What can have happened to an object.
const (
	// ObjectHole: it did not exist and does not.
	ObjectHole ObjectState = iota
	// ObjectSame: it existed and has not changed.
	ObjectSame
	// ObjectGone: it existed, or came and went, and does not exist now.
	ObjectGone
	// ObjectChanged: it exists and is new or may have changed.
	ObjectChanged
)

// Delta is which objects may have changed between two points of an image's
// history.
type Delta struct {
	// FastDiff says that valid object maps gave the answer. Otherwise Reason says
	// why they could not, and every object counts as changed: list-snaps tells.
	FastDiff bool
	Reason   string
	// Objects is their number at whichever point had most.
	Objects uint64

	history *objectmap.History
}

// At returns what happened to object n.
func (d *Delta) At(n uint64) ObjectState {
	if d.history == nil {
		return ObjectChanged
	}
	return [...]ObjectState{objectmap.Hole: ObjectHole, objectmap.Data: ObjectSame,
		objectmap.HoleUpdated: ObjectGone, objectmap.DataUpdated: ObjectChanged}[d.history.At(n)]
}

// Changed returns how many objects have to be looked at.
func (d *Delta) Changed() (n uint64) {
	for i := range d.Objects {
		if s := d.At(i); s == ObjectChanged || s == ObjectGone {
			n++
		}
	}
	return n
}

// ObjectDelta compares the image at two snapshots (from 0: the beginning of
// time; to NoSnap: the head) by the object maps of all snapshots in between. The
// flags that say whether the maps can be trusted, and whether the snapshots are
// still there, are read again after the maps: what became invalid meanwhile does
// not count. For the head, the answer is only as good as what the lock's owner
// has written; compare a snapshot to be sure.
//
// An object that is a hole at both points may still read differently in a clone:
// see ObjectCopier.
func (img *Image) ObjectDelta(ctx context.Context, from, to uint64) (*Delta, error) {
	if err := img.alive(); err != nil {
		return nil, err
	}
	h := img.header()
	d := &Delta{}
	for _, id := range []uint64{from, to} {
		if id == 0 {
			continue
		}
		size, err := h.sizeAt(id)
		if err != nil {
			return nil, err
		}
		d.Objects = max(d.Objects, h.layout.Objects(size))
	}
	hist, reason, err := img.readHistory(ctx, h, from, to)
	if err != nil {
		return nil, fmt.Errorf("object maps of image %s: %w", h.name, err)
	}
	d.Reason = reason
	if hist != nil {
		d.history, d.FastDiff = hist, true
		d.Objects = max(d.Objects, hist.Len())
	}
	return d, nil
}

// readHistory reads the object maps of all snapshots between two points. A nil
// history comes with the reason.
func (img *Image) readHistory(ctx context.Context, h *header, from, to uint64) (*objectmap.History, string, error) {
	if !h.has(FeatureObjectMap | FeatureFastDiff) {
		return nil, "the image does not have the fast-diff feature", nil
	}
	if from != 0 && h.parentAt(from) != nil && h.parentAt(to) == nil {
		// What the maps call a hole showed the parent before and zeros now.
		return nil, "the image was flattened", nil
	}
	points := pointsBetween(h, from, to)
	before, err := img.readFlags(ctx, points)
	if err != nil {
		return nil, "", err
	}
	if id, bad := firstInvalid(points, before); bad {
		return nil, "the object map of " + pointName(h, id) + " is marked invalid", nil
	}
	hist := &objectmap.History{}
	if from == 0 {
		hist = objectmap.FromEmpty()
	}
	for _, id := range points {
		bits, err := loadObjectMap(ctx, img.io, objectMapName(img.id, id))
		if errors.Is(err, rados.ErrNotFound) {
			return nil, "the object map of " + pointName(h, id) + " is missing", nil
		}
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, rados.ErrBlocklisted) {
				return nil, "", err
			}
			return nil, fmt.Sprintf("the object map of %s cannot be read: %v", pointName(h, id), err), nil
		}
		size, err := h.sizeAt(id)
		if err != nil {
			return nil, "", err
		}
		if want := h.layout.Objects(size); bits.Len() < want {
			return nil, fmt.Sprintf("the object map of %s has %d objects instead of %d", pointName(h, id), bits.Len(), want), nil
		} else if bits.Len() > want {
			bits.Resize(want, objectmap.Nonexistent)
		}
		hist.Add(bits)
	}
	after, err := img.readFlags(ctx, points)
	if errors.Is(err, rados.ErrNotFound) {
		return nil, "a snapshot was removed while the object maps were read", nil
	}
	if err != nil {
		return nil, "", err
	}
	if id, bad := firstInvalid(points, after); bad {
		return nil, "the object map of " + pointName(h, id) + " was marked invalid while it was read", nil
	}
	return hist, "", nil
}

// pointsBetween returns the snapshots whose maps tell the way between two
// points, the ends included.
func pointsBetween(h *header, from, to uint64) []uint64 {
	var points []uint64
	for i := range h.snaps {
		if id := h.snaps[i].ID; id >= from && id <= to {
			points = append(points, id)
		}
	}
	if to == NoSnap {
		points = append(points, NoSnap)
	}
	return points
}

func firstInvalid(points, flags []uint64) (uint64, bool) {
	for i, f := range flags {
		if f&(FlagObjectMapInvalid|FlagFastDiffInvalid) != 0 {
			return points[i], true
		}
	}
	return 0, false
}

func pointName(h *header, id uint64) string {
	if id == NoSnap {
		return "the head"
	}
	if s := h.snap(id); s != nil {
		return "snapshot " + s.Name
	}
	return fmt.Sprintf("snapshot %d", id)
}

// readFlags reads the flags of the given snapshots, or the head, from the
// cluster. A snapshot that is gone is ErrNotFound.
func (img *Image) readFlags(ctx context.Context, points []uint64) ([]uint64, error) {
	flags := make([]uint64, 0, len(points))
	for len(points) > 0 {
		n := min(len(points), 4*snapsPerOp)
		op := rados.NewOp()
		res := make([]*rados.Bytes, n)
		for i, id := range points[:n] {
			res[i] = callGetFlags(op, id)
		}
		if err := img.io.Operate(ctx, img.oid, op); err != nil {
			return nil, fmt.Errorf("flags: %w", err)
		}
		for _, b := range res {
			r := decode(b)
			flags = append(flags, r.U64())
			if err := r.Err(); err != nil {
				return nil, fmt.Errorf("flags: %w", err)
			}
		}
		points = points[n:]
	}
	return flags, nil
}

// SnapshotsExist makes sure, in the cluster and not from memory, that all the
// given snapshots are still there: data read from them before this call was
// theirs. ErrSnapshotGone names the first that is not. 0 and NoSnap always are.
func (img *Image) SnapshotsExist(ctx context.Context, ids ...uint64) error {
	for _, id := range ids {
		if id == 0 || id == NoSnap {
			continue
		}
		op := rados.NewOp()
		callSnapshotGet(op, id)
		err := img.io.Operate(ctx, img.oid, op)
		if errors.Is(err, rados.ErrNotFound) {
			return fmt.Errorf("snapshot %d of image %s: %w", id, img.Name(), ErrSnapshotGone)
		}
		if err != nil {
			return fmt.Errorf("snapshot %d of image %s: %w", id, img.Name(), err)
		}
	}
	return nil
}

// listSnaps returns all versions of an object; nil if it has none.
func listSnaps(ctx context.Context, io *rados.IoCtx, oid string) (*diff.SnapSet, error) {
	res, err := io.ListSnaps(ctx, oid)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	s := &diff.SnapSet{Seq: res.Seq, Clones: make([]diff.Clone, len(res.Clones))}
	for i, c := range res.Clones {
		ranges := make([]diff.Range, len(c.Overlap))
		for k, r := range c.Overlap {
			ranges[k] = diff.Range{Off: r.Off, Len: r.Len}
		}
		s.Clones[i] = diff.Clone{ID: c.ID, Snaps: c.Snaps, Overlap: diff.Of(ranges...), Size: c.Size}
	}
	s.Normalize()
	return s, nil
}
