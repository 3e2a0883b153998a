package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// The states of an image in a group, and of a group's snapshot.
const (
	GroupImageAttached   uint8 = 0
	GroupImageIncomplete uint8 = 1

	GroupSnapIncomplete uint8 = 0
	GroupSnapComplete   uint8 = 1
)

// GroupSpec names a group (version 1). The empty ID is none.
type GroupSpec struct {
	Pool int64
	ID   string
}

// Append appends g.
func (g GroupSpec) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendString(denc.AppendS64(b, g.Pool), g.ID), at)
}

// Decode reads g.
func (g *GroupSpec) Decode(r *denc.Reader) {
	s := r.Enter("GroupSpec", 1)
	g.Pool, g.ID = r.S64(), r.String()
	r.Leave(s)
}

// GroupImageSpec names an image of a group (version 1).
type GroupImageSpec struct {
	ImageID string
	Pool    int64
}

// Append appends g.
func (g GroupImageSpec) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendS64(denc.AppendString(b, g.ImageID), g.Pool), at)
}

// Decode reads g.
func (g *GroupImageSpec) Decode(r *denc.Reader) {
	s := r.Enter("GroupImageSpec", 1)
	g.ImageID, g.Pool = r.String(), r.S64()
	r.Leave(s)
}

// Key returns the key of the image's entry in the group's header; empty for
// Pool -1.
func (g GroupImageSpec) Key() string {
	if g.Pool == -1 {
		return ""
	}
	return fmt.Sprintf("%s%016x_%s", PrefixGroupImage, uint64(g.Pool), g.ImageID)
}

// ParseGroupImageKey is the reverse of Key.
func ParseGroupImageKey(key string) (GroupImageSpec, error) {
	pool, id, ok := strings.Cut(strings.TrimPrefix(key, PrefixGroupImage), "_")
	n, err := strconv.ParseUint(pool, 16, 64)
	if !ok || err != nil {
		return GroupImageSpec{}, fmt.Errorf("%w: %q is no key of a group's image", denc.ErrValue, key)
	}
	return GroupImageSpec{ImageID: id, Pool: int64(n)}, nil
}

// GroupImageStatus is an image of a group and its state (version 1).
type GroupImageStatus struct {
	Spec  GroupImageSpec
	State uint8
}

// Append appends g.
func (g GroupImageStatus) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU8(g.Spec.Append(b), g.State), at)
}

// Decode reads g.
func (g *GroupImageStatus) Decode(r *denc.Reader) {
	s := r.Enter("GroupImageStatus", 1)
	g.Spec.Decode(r)
	g.State = r.U8()
	r.Leave(s)
}

// ImageSnapshotSpec names an image's snapshot (version 1).
type ImageSnapshotSpec struct {
	Pool    int64
	ImageID string
	SnapID  uint64
}

// Append appends i.
func (i ImageSnapshotSpec) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	return denc.End(denc.AppendU64(denc.AppendString(denc.AppendS64(b, i.Pool), i.ImageID), i.SnapID), at)
}

// Decode reads i.
func (i *ImageSnapshotSpec) Decode(r *denc.Reader) {
	s := r.Enter("ImageSnapshotSpec", 1)
	i.Pool, i.ImageID, i.SnapID = r.S64(), r.String(), r.U64()
	r.Leave(s)
}

// GroupSnapshot is a snapshot of a group (version 1).
type GroupSnapshot struct {
	ID, Name string
	State    uint8
	Snaps    []ImageSnapshotSpec
}

// Append appends g.
func (g GroupSnapshot) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU8(denc.AppendString(denc.AppendString(b, g.ID), g.Name), g.State)
	return denc.End(denc.AppendSlice(b, g.Snaps, func(b []byte, i ImageSnapshotSpec) []byte { return i.Append(b) }), at)
}

// Decode reads g.
func (g *GroupSnapshot) Decode(r *denc.Reader) {
	s := r.Enter("GroupSnapshot", 1)
	g.ID, g.Name, g.State = r.String(), r.String(), r.U8()
	g.Snaps = denc.Slice(r, 26, func(r *denc.Reader) (i ImageSnapshotSpec) {
		i.Decode(r)
		return i
	})
	r.Leave(s)
}
