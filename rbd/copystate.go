package rbd

import (
	"context"
	"fmt"
	"sync"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/objectmap"
)

// copyState is what the copy knows of an object at one point.
type copyState = uint8

const (
	copyUnknown copyState = iota // not copied in this run
	copyAbsent
	copyClean   // exists, as at the point before
	copyChanged // exists, new or changed
)

// copyStates remembers the outcome of every copied object for the object maps
// of the destination.
type copyStates struct {
	mu     sync.Mutex
	points []objectmap.Bits // of copyState
}

func newCopyStates(c *ObjectCopier) *copyStates {
	s := &copyStates{points: make([]objectmap.Bits, len(c.points))}
	for i := range s.points {
		s.points[i] = objectmap.New(c.Objects(), copyUnknown)
	}
	return s
}

func (s *copyStates) set(point int, obj uint64, exists, changed bool) {
	st := copyAbsent
	switch {
	case exists && changed:
		st = copyChanged
	case exists:
		st = copyClean
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if obj < s.points[point].Len() {
		s.points[point].Set(obj, st)
	}
}

// Prepare announces in the destination's object map the objects that delta says
// will be written, in few operations. Without it every new object costs one.
// The delta must be the source's, and both images have the same layout.
func (c *ObjectCopier) Prepare(ctx context.Context, delta *Delta) error {
	m := c.dst.headMap()
	if m == nil || delta == nil || !delta.FastDiff || !c.same {
		return nil
	}
	if err := m.markExisting(ctx, func(n uint64) bool { return delta.At(n) == ObjectChanged }); err != nil {
		return fmt.Errorf("object map of image %s: %w", c.dh.name, err)
	}
	return nil
}

// Finish writes the object maps of the destination's snapshots that the copy
// filled, and of its head, and clears the flags that said they were invalid.
// delta is the source's if the caller left out objects that did not change; nil
// means that all were copied, if not all by this ObjectCopier.
func (c *ObjectCopier) Finish(ctx context.Context, delta *Delta) error {
	if !c.dh.has(FeatureObjectMap) {
		return nil
	}
	m := c.dst.headMap()
	if m == nil {
		return fmt.Errorf("object maps of image %s: %w", c.dh.name, ErrLockLost)
	}
	if delta != nil && (!delta.FastDiff || !c.same) {
		delta = nil
	}
	base := m.snapshot()
	var done []uint64
	for i, p := range c.points {
		if p.dst == NoSnap {
			continue
		}
		size, err := c.dh.sizeAt(p.dst)
		if err != nil {
			return err
		}
		bits := c.mapAt(i, c.dh.layout.Objects(size), base, delta)
		if err := saveObjectMap(ctx, c.dst.io, objectMapName(c.dst.id, p.dst), bits); err != nil {
			return fmt.Errorf("object map of snapshot %d of image %s: %w", p.dst, c.dh.name, err)
		}
		done = append(done, p.dst)
	}
	if err := c.finishHead(ctx, m, base, delta); err != nil {
		return err
	}
	if len(done) == 0 {
		return nil
	}
	const mask = FlagObjectMapInvalid | FlagFastDiffInvalid
	op := rados.NewOp()
	c.dst.guard(op)
	for _, id := range done {
		callSetFlags(op, id, 0, mask)
	}
	if err := c.dst.io.Operate(ctx, c.dst.oid, op); err != nil {
		return fmt.Errorf("flags of image %s: %w", c.dh.name, err)
	}
	c.dst.updateFlags(done, 0, mask)
	return nil
}

// finishHead writes the map of the head, which equals the last point.
func (c *ObjectCopier) finishHead(ctx context.Context, m *headMap, base objectmap.Bits, delta *Delta) error {
	last := len(c.points) - 1
	if end := c.points[last].dst; end != NoSnap && len(c.dh.snapIDs) > 0 && c.dh.snapIDs[0] != end {
		return nil // the head has gone on since
	}
	bits := c.mapAt(last, base.Len(), base, delta)
	if c.points[last].dst != NoSnap && c.dh.has(FeatureFastDiff) {
		for i := range bits.Len() {
			if bits.Get(i) == objectmap.Exists {
				bits.Set(i, objectmap.ExistsClean)
			}
		}
	}
	op := rados.NewOp()
	callAssertLocked(op, "", "")
	callObjectMapSave(op, bits)
	if err := m.io.Operate(ctx, m.oid, op); err != nil {
		return fmt.Errorf("object map of image %s: %w", c.dh.name, err)
	}
	m.mu.Lock()
	m.bits = bits
	m.mu.Unlock()
	return nil
}

// mapAt returns the object map of one point. base is the head's map: what it
// says does not exist, does not exist anywhere in the range, unless this run
// knows better. What is not known counts as changed.
func (c *ObjectCopier) mapAt(point int, n uint64, base objectmap.Bits, delta *Delta) objectmap.Bits {
	bits := objectmap.New(n, objectmap.Nonexistent)
	fast := c.dh.has(FeatureFastDiff)
	c.states.mu.Lock()
	defer c.states.mu.Unlock()
	st := c.states.points[point]
	for i := range n {
		switch st.Get(i) {
		case copyAbsent:
		case copyClean:
			bits.Set(i, objectmap.ExistsClean)
		case copyChanged:
			bits.Set(i, objectmap.Exists)
		default:
			bits.Set(i, c.unknownState(point, i, base.Get(i) != objectmap.Nonexistent, delta))
		}
		if !fast && bits.Get(i) == objectmap.ExistsClean {
			bits.Set(i, objectmap.Exists)
		}
	}
	return bits
}

// unknownState returns the state of an object that this run has not copied.
// headHas is whether the head's map says that it exists.
func (c *ObjectCopier) unknownState(point int, obj uint64, headHas bool, delta *Delta) uint8 {
	if delta != nil {
		switch delta.At(obj) {
		case ObjectHole:
			return objectmap.Nonexistent
		case ObjectSame:
			if headHas {
				return objectmap.ExistsClean
			}
			return objectmap.Nonexistent
		}
	}
	// At an earlier point the head's map does not count: an earlier run may have
	// removed the object at a later one.
	if !headHas && point == len(c.points)-1 {
		return objectmap.Nonexistent
	}
	return objectmap.Exists
}
