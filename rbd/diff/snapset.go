// Package diff computes what changed in an object between two snapshots from
// the object's list of clones, as RADOS' list-snaps reports it. It is pure: no
// I/O. (The facts are those of Ceph's src/librados/snap_set_diff.cc.)
package diff

import (
	"slices"
)

// NoSnap is the id of the head, of an object's list entry and of a point in
// time.
const NoSnap = ^uint64(0) - 1

// Clone is one version of an object that RADOS keeps.
type Clone struct {
	// ID is the clone's id, NoSnap for the head.
	ID uint64
	// Snaps are the snapshots that read this version; empty for the head.
	Snaps []uint64
	// Overlap are the bytes that are equal in the next newer version.
	Overlap Set
	// Size is the version's length in bytes.
	Size uint64
}

// SnapSet is all versions of an object.
type SnapSet struct {
	Clones []Clone
	// Seq is the newest snapshot that the last write knew of: the head is what
	// snapshots younger than that read.
	Seq uint64
}

// Normalize sorts the versions from old to new and the snapshots within each.
// The other methods need that; it is idempotent.
func (s *SnapSet) Normalize() {
	for i := range s.Clones {
		slices.Sort(s.Clones[i].Snaps)
	}
	slices.SortStableFunc(s.Clones, func(a, b Clone) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
}

// span returns the first and last snapshot id that clone i serves.
func (s *SnapSet) span(i int) (lo, hi uint64) {
	c := &s.Clones[i]
	if c.ID == NoSnap {
		return s.Seq + 1, NoSnap
	}
	if len(c.Snaps) == 0 {
		// A version without snapshots is about to be trimmed: nobody reads it,
		// but its overlap still links its neighbours.
		return c.ID, 0
	}
	return c.Snaps[0], c.Snaps[len(c.Snaps)-1]
}

// At returns the index in Clones of the version that a reader at snapshot id
// snap (NoSnap: the head) sees, or -1 if the object does not exist there. Snap 0
// is the beginning of time, when nothing exists.
func (s *SnapSet) At(snap uint64) int {
	if snap == 0 {
		return -1
	}
	for i := range s.Clones {
		if lo, hi := s.span(i); lo <= snap && snap <= hi {
			return i
		}
	}
	return -1
}

// Change is what happened to an object between two snapshots.
type Change struct {
	// Existed and Exists say whether the object was there at the start and at
	// the end.
	Existed, Exists bool
	// OldSize and Size are its lengths then, 0 if it was not there.
	OldSize, Size uint64
	// Changed are the bytes that may differ, all below the larger of the sizes.
	// Bytes at and above Size read as zeros now (or as the parent's, if the
	// object is not there and the image has one).
	Changed Set
	// ReadAt is the newest snapshot id that sees the same version as the end
	// does; reading there is as good as at the end. 0 if the object does not
	// exist at the end.
	ReadAt uint64
}

// Same reports that nothing happened.
func (c *Change) Same() bool {
	return c.Existed == c.Exists && len(c.Changed) == 0 && c.Size == c.OldSize
}

// Between compares the object at two snapshots, from <= to; 0 is the beginning
// of time and NoSnap the head. Both must exist as snapshots (or be 0, NoSnap):
// of a removed snapshot the versions may already be trimmed.
func (s *SnapSet) Between(from, to uint64) Change {
	a, b := s.At(from), s.At(to)
	var c Change
	if a >= 0 {
		c.Existed, c.OldSize = true, s.Clones[a].Size
	}
	if b >= 0 {
		c.Exists, c.Size = true, s.Clones[b].Size
		_, c.ReadAt = s.span(b)
	}
	switch {
	case a < 0 && b < 0, a == b:
	case a < 0:
		c.Changed = Upto(c.Size)
	case b < 0:
		c.Changed = Upto(c.OldSize)
	default:
		for i := a; i < b; i++ {
			step := Upto(max(s.Clones[i].Size, s.Clones[i+1].Size)).Minus(s.Clones[i].Overlap)
			c.Changed = c.Changed.Union(step)
		}
		c.Changed = c.Changed.Intersect(Upto(max(c.OldSize, c.Size)))
	}
	return c
}
