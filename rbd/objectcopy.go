package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/diff"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// CopyRange is which part of an image's history a deep copy moves to another
// image.
type CopyRange struct {
	// SrcStart is the snapshot of the source that the destination's head equals
	// now; 0 means that the destination is empty.
	SrcStart uint64
	// SrcEnd is the snapshot to reach, or NoSnap for the source's head.
	SrcEnd uint64
	// DstEnd is the snapshot of the destination that is to equal SrcEnd: it
	// exists already, younger than everything else there, and its data is
	// written below it. NoSnap means the destination's head.
	DstEnd uint64
	// Flatten says that the destination has no parent though the source has.
	Flatten bool
	// Overwrite says that the destination's head may hold more than SrcStart,
	// from a copy that was interrupted and is begun anew.
	Overwrite bool
	// Skip, when set, says which user's snapshots of the source the destination
	// does not get.
	Skip func(Snapshot) bool
}

// copyPoint is a point of the source's history that the destination gets.
type copyPoint struct {
	src, dst uint64
	// io writes below dst and above every older snapshot of the destination.
	io *rados.IoCtx
}

// ObjectCopier copies single objects of one image, with their snapshots, to
// another. Its methods are safe for concurrent use on different objects.
type ObjectCopier struct {
	src, dst *Image
	r        CopyRange
	sh, dh   *header
	points   []copyPoint
	same     bool // equal layouts: object n comes from object n
	// base is the destination's object map before the copy; nil if there is none
	// to be trusted.
	base   *objectmap.Bits
	states *copyStates
}

// NewObjectCopier prepares the copy. snapSeqs maps the ids of the source's
// snapshots within the range to those of the destination, as CopySnapshots
// returned it. The destination must stay locked and otherwise unchanged.
func NewObjectCopier(src, dst *Image, r CopyRange, snapSeqs map[uint64]uint64) (*ObjectCopier, error) {
	c := &ObjectCopier{src: src, dst: dst, r: r, sh: src.header(), dh: dst.header()}
	if r.DstEnd == 0 {
		c.r.DstEnd = NoSnap
	}
	c.same = c.sh.layout == c.dh.layout
	var ids []uint64
	for id := range snapSeqs {
		if id > r.SrcStart && id < r.SrcEnd {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		if err := c.addPoint(id, snapSeqs[id]); err != nil {
			return nil, err
		}
	}
	if err := c.addPoint(r.SrcEnd, c.r.DstEnd); err != nil {
		return nil, err
	}
	if m := dst.trustedMap(); m != nil {
		bits := m.snapshot()
		c.base = &bits
	}
	c.states = newCopyStates(c)
	return c, nil
}

// addPoint adds the next point of the history.
func (c *ObjectCopier) addPoint(src, dst uint64) error {
	if _, err := c.sh.sizeAt(src); err != nil {
		return err
	}
	if _, err := c.dh.sizeAt(dst); err != nil {
		return err
	}
	if n := len(c.points); n > 0 && c.points[n-1].dst >= dst {
		return fmt.Errorf("snapshots %d and %d of the source are in another order in the destination: %w", c.points[n-1].src, src, rados.ErrInvalid)
	}
	var below []uint64
	for _, id := range c.dh.snapIDs {
		if id < dst {
			below = append(below, id)
		}
	}
	seq := uint64(0)
	if dst == NoSnap {
		seq = c.dh.snapSeq
	} else if len(below) > 0 {
		seq = below[0]
	}
	c.points = append(c.points, copyPoint{src: src, dst: dst, io: c.dh.dataIO.WithSnapContext(seq, below)})
	return nil
}

// Objects returns how many objects of the destination the copy may touch: those
// of every point and of the start.
func (c *ObjectCopier) Objects() uint64 {
	size, _ := c.sh.sizeAt(c.r.SrcEnd)
	if c.r.SrcStart != 0 {
		n, _ := c.sh.sizeAt(c.r.SrcStart)
		size = max(size, n)
	}
	for _, p := range c.points {
		n, _ := c.sh.sizeAt(p.src)
		size = max(size, n)
	}
	return c.dh.layout.Objects(size)
}

// CopyResult is what one object cost, in bytes.
type CopyResult struct{ Read, Written, Zeroed uint64 }

// Copy makes object n of the destination equal to the source at every point of
// the range. It can be repeated. ErrSnapshotGone says that a snapshot of the
// source was removed meanwhile; call SnapshotsExist on the source after the last
// object to be sure that none was.
func (c *ObjectCopier) Copy(ctx context.Context, n uint64) (CopyResult, error) {
	job := copyJob{c: c, n: n, oid: c.dh.objectName(n)}
	for try := 0; ; try++ {
		err := job.run(ctx)
		if errors.Is(err, errVanished) {
			// The list of versions was out of date, or the snapshot is gone.
			if gone := c.src.SnapshotsExist(ctx, c.sources()...); gone != nil {
				err = gone
			} else if try < 3 {
				continue
			}
		}
		if err != nil {
			return job.cost, fmt.Errorf("copy object %d of image %s: %w", n, c.sh.name, err)
		}
		return job.cost, nil
	}
}

// sources returns the source's snapshots that the copy depends on.
func (c *ObjectCopier) sources() []uint64 {
	ids := []uint64{c.r.SrcStart}
	for _, p := range c.points {
		ids = append(ids, p.src)
	}
	return ids
}

// errVanished says that an object version that was listed could not be read.
var errVanished = errors.New("a version of the object is missing")

// piece is a range of a source object and where it lies in the destination's.
type piece struct {
	obj, off, n, dst uint64
	set              *diff.SnapSet
}

// copyJob copies one object.
type copyJob struct {
	c      *ObjectCopier
	n      uint64
	oid    string
	pieces []piece
	cost   CopyResult
	// reads are what the data that is being written was read by; their buffers are
	// given back when it is.
	reads []*rados.Op
}

// run goes through the points from old to new.
func (j *copyJob) run(ctx context.Context) error {
	if err := j.list(ctx); err != nil {
		return err
	}
	prev := j.c.r.SrcStart
	exists := j.existed(prev)
	touched := false
	for i := range j.c.points {
		p := &j.c.points[i]
		changed, now, err := j.step(ctx, prev, p, exists)
		if err != nil {
			return err
		}
		if touched = touched || changed; !touched && j.c.base != nil {
			// Nothing was done to it yet, so the map is right.
			now = j.c.base.Get(j.n) != objectmap.Nonexistent
		}
		j.c.states.set(i, j.n, now, changed)
		exists = now
		prev = p.src
	}
	return nil
}

// list finds the source objects and their versions.
func (j *copyJob) list(ctx context.Context) error {
	c := j.c
	j.pieces = j.pieces[:0]
	size := c.dh.layout.ObjectSize()
	if c.same {
		j.pieces = append(j.pieces, piece{obj: j.n, n: size})
	} else {
		at := uint64(0)
		for r := range c.dh.layout.Image(j.n, 0, size) {
			for e := range c.sh.layout.Map(r.Off, r.Len) {
				j.pieces = append(j.pieces, piece{obj: e.Object, off: e.Off, n: e.Len, dst: at})
				at += e.Len
			}
		}
	}
	sets := map[uint64]*diff.SnapSet{}
	for i := range j.pieces {
		p := &j.pieces[i]
		set, ok := sets[p.obj]
		if !ok {
			var err error
			if set, err = listSnaps(ctx, c.sh.dataIO, c.sh.objectName(p.obj)); err != nil {
				return fmt.Errorf("list versions: %w", err)
			}
			if set == nil {
				set = &diff.SnapSet{}
			}
			sets[p.obj] = set
		}
		p.set = set
	}
	return nil
}

// existed reports whether the destination's object may be there before the copy:
// as far as the source tells, or the destination's object map, which knows
// nothing of objects that a shrink has cut off and left. It may say so of an
// object that is not there because it would be all zeros; writes are guarded.
func (j *copyJob) existed(start uint64) bool {
	c := j.c
	switch {
	case start == 0 && !c.r.Overwrite:
		return false
	case c.base != nil && c.base.Get(j.n) != objectmap.Nonexistent:
		return true
	case c.r.Flatten || len(c.dh.overlapAt(c.points[0].dst, j.n)) == 0:
		return j.end(start) > 0
	}
	return j.present(start)
}

// present reports whether any source object exists at a snapshot.
func (j *copyJob) present(snap uint64) bool {
	for i := range j.pieces {
		if j.pieces[i].set.At(snap) >= 0 {
			return true
		}
	}
	return false
}

// step brings the destination from one point to the next. existed is whether
// the destination's object should exist at prev. It returns whether the object
// changed and whether it exists now.
func (j *copyJob) step(ctx context.Context, prev uint64, p *copyPoint, existed bool) (changed, exists bool, err error) {
	c := j.c
	present := j.present(p.src)
	size := c.dh.layout.ObjectSize()
	throughParent := !c.r.Flatten && len(c.dh.overlapAt(p.dst, j.n)) > 0
	if throughParent && !present {
		// The destination's own parent shows what the source's shows.
		if existed || prev == 0 && c.r.Overwrite {
			return true, false, j.remove(ctx, p)
		}
		return false, false, nil
	}
	if throughParent && !existed {
		return true, true, j.replace(ctx, p, true)
	}
	if prev == 0 && c.r.Overwrite {
		there, err := j.replaceOrRemove(ctx, p)
		return true, there, err
	}
	set, err := j.changes(prev, p.src)
	if err != nil {
		return false, false, err
	}
	// What lies beyond the image's end is not part of it.
	set = set.Intersect(diff.Upto(size))
	if len(set) == 0 {
		if prev == 0 && throughParent {
			return true, true, j.replace(ctx, p, true)
		}
		return false, existed, nil
	}
	if !existed {
		there, err := j.write(ctx, p, set, false, throughParent)
		return there, there, err
	}
	there, err := j.write(ctx, p, set, true, throughParent)
	if errors.Is(err, rados.ErrNotFound) {
		// The destination lacks what the source had: a copy-up happened there, or
		// the content was all zeros. All of it is needed.
		if throughParent {
			return true, true, j.replace(ctx, p, true)
		}
		there, err = j.replaceOrRemove(ctx, p)
	}
	return true, there, err
}

// changes returns the ranges of the destination's object whose content may
// differ between two points of the source, parents included.
func (j *copyJob) changes(prev, cur uint64) (diff.Set, error) {
	var all []diff.Range
	for i := range j.pieces {
		q := &j.pieces[i]
		ch := q.set.Between(prev, cur)
		set := ch.Changed
		before, after := ch.OldSize, ch.Size
		if !ch.Existed && prev != 0 {
			before = j.shown(q.obj, prev)
		}
		if !ch.Exists {
			after = j.shown(q.obj, cur)
		}
		switch {
		case ch.Existed != ch.Exists:
			set = diff.Upto(max(before, after))
		case !ch.Exists && before != after:
			// Only the parent's part: it can only have become smaller, or be new.
			set = diff.Of(diff.Range{Off: min(before, after), Len: max(before, after) - min(before, after)})
		case ch.Exists && before != after:
			set = set.Union(diff.Of(diff.Range{Off: min(before, after), Len: max(before, after) - min(before, after)}))
		}
		for _, r := range set.Intersect(diff.Of(diff.Range{Off: q.off, Len: q.n})) {
			all = append(all, diff.Range{Off: r.Off - q.off + q.dst, Len: r.Len})
		}
	}
	return diff.Of(all...), nil
}

// shown returns how many bytes of the parent a missing source object shows.
func (j *copyJob) shown(obj, snap uint64) (n uint64) {
	for _, r := range j.c.sh.overlapAt(snap, obj) {
		n += r.Len
	}
	return n
}
