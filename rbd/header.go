package rbd

import (
	"fmt"
	"slices"
	"time"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/layout"
)

// Snapshot is one snapshot of an image, of any namespace.
type Snapshot struct {
	ID        uint64
	Name      string
	Namespace SnapshotNamespace
	// Size is the image's size then, in bytes.
	Size uint64
	// Protection is 0 (no), 1 (unprotecting) or 2 (protected).
	Protection uint8
	Flags      uint64
	Timestamp  time.Time
	// Children counts the clones of format 2.
	Children uint32
	// Parent is the parent as of the snapshot; nil without one.
	Parent *Parent
}

// Protected reports whether clones of format 1 can be made of the snapshot.
func (s *Snapshot) Protected() bool { return s.Protection == protectionProtected }

// The states of a snapshot's protection.
const (
	protectionNone         uint8 = 0
	protectionUnprotecting uint8 = 1
	protectionProtected    uint8 = 2
)

// Parent is what an image is cloned from.
type Parent struct {
	Pool          int64
	PoolNamespace string
	ImageID       string
	SnapID        uint64
	// Overlap is how many bytes of the parent shine through.
	Overlap uint64
}

// Layout says how an image's bytes are spread over objects.
type Layout struct {
	Order                   uint8
	StripeUnit, StripeCount uint64
	ObjectPrefix            string
	// DataPool is the pool of the data objects, -1 for the image's own.
	DataPool int64
}

// header is what rbd_header.<id> said at one refresh. It is never changed after
// it was published.
type header struct {
	name       string
	size       uint64
	layout     layout.Layout
	striped    bool // the striping feature is on
	features   uint64
	opFeatures uint64
	flags      uint64
	prefix     string
	dataPool   int64
	snapSeq    uint64
	snapIDs    []uint64 // descending, as in a snapshot context
	snaps      []Snapshot
	parent     *Parent
	// spec is the parent whose overlap the head or a snapshot may have.
	spec *Parent

	created, accessed, modified time.Time

	// dataIO is the data pool under the head's snapshot context.
	dataIO *rados.IoCtx
}

// has reports whether all features of mask are on.
func (h *header) has(mask uint64) bool { return h.features&mask == mask }

// objectName returns the name of a data object.
func (h *header) objectName(n uint64) string {
	const digits = "0123456789abcdef"
	b := make([]byte, len(h.prefix)+17)
	i := copy(b, h.prefix)
	b[i] = '.'
	for k := range 16 {
		b[i+1+k] = digits[n>>(60-4*k)&15]
	}
	return string(b)
}

// snap returns the snapshot with the id, or nil.
func (h *header) snap(id uint64) *Snapshot {
	i, ok := slices.BinarySearchFunc(h.snaps, id, func(s Snapshot, id uint64) int {
		switch {
		case s.ID < id:
			return -1
		case s.ID > id:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &h.snaps[i]
}

// errNoSnap says that the image has no snapshot with the id.
func (h *header) errNoSnap(id uint64) error {
	return fmt.Errorf("image %s has no snapshot with id %d: %w", h.name, id, rados.ErrNotFound)
}

// sizeAt returns the image's size at a snapshot, or of the head.
func (h *header) sizeAt(snapID uint64) (uint64, error) {
	if snapID == NoSnap {
		return h.size, nil
	}
	s := h.snap(snapID)
	if s == nil {
		return 0, h.errNoSnap(snapID)
	}
	return s.Size, nil
}

// flagsAt returns the flags of a snapshot, or of the head.
func (h *header) flagsAt(snapID uint64) (uint64, error) {
	if snapID == NoSnap {
		return h.flags, nil
	}
	s := h.snap(snapID)
	if s == nil {
		return 0, h.errNoSnap(snapID)
	}
	return s.Flags, nil
}

// parentAt returns the parent at a snapshot, or of the head; nil without one.
func (h *header) parentAt(snapID uint64) *Parent {
	if snapID == NoSnap {
		return h.parent
	}
	if s := h.snap(snapID); s != nil {
		return s.Parent
	}
	return nil
}

// overlapAt returns which ranges of the parent an object would show at a
// snapshot, if it did not exist.
func (h *header) overlapAt(snapID, obj uint64) []layout.Range {
	p := h.parentAt(snapID)
	if p == nil || p.Overlap == 0 {
		return nil
	}
	return h.layout.Within(obj, 0, h.layout.ObjectSize(), p.Overlap)
}

// headOverlap is overlapAt of the head.
func (h *header) headOverlap(obj uint64) []layout.Range {
	if h.parent == nil || h.parent.Overlap == 0 {
		return nil
	}
	return h.overlapAt(NoSnap, obj)
}

// inBounds refuses a range that reaches beyond the head's end.
func (h *header) inBounds(off, n uint64) error {
	if off > h.size || n > h.size-off {
		return fmt.Errorf("bytes %d~%d are beyond the end of image %s at %d: %w", off, n, h.name, h.size, rados.ErrInvalid)
	}
	return nil
}

// maxObjects returns how many objects the head or any snapshot has, whichever
// has most.
func (h *header) maxObjects() uint64 {
	n := h.layout.Objects(h.size)
	for i := range h.snaps {
		n = max(n, h.layout.Objects(h.snaps[i].Size))
	}
	return n
}
