package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// SnapshotInfo is the answer of snapshot_get (cls::rbd::SnapshotInfo, version 1).
type SnapshotInfo struct {
	ID        uint64
	Namespace SnapshotNamespace
	Name      string
	Size      uint64 // of the image then, bytes
	Timestamp denc.Time
	Children  uint32 // clones of format 2
}

// Append appends i.
func (i SnapshotInfo) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = i.Namespace.Append(denc.AppendU64(b, i.ID))
	b = denc.AppendU64(denc.AppendString(b, i.Name), i.Size)
	return denc.End(denc.AppendU32(denc.AppendTime(b, i.Timestamp), i.Children), at)
}

// Decode reads i.
func (i *SnapshotInfo) Decode(r *denc.Reader) {
	s := r.Enter("SnapshotInfo", 1)
	i.ID = r.U64()
	i.Namespace.Decode(r)
	i.Name, i.Size, i.Timestamp, i.Children = r.String(), r.U64(), r.Time(), r.U32()
	r.Leave(s)
}

// ParentImageSpec names the snapshot that an image is a clone of (version 1).
// Pool -1 means that there is none.
type ParentImageSpec struct {
	Pool      int64
	Namespace string
	ImageID   string
	SnapID    uint64
}

// Append appends p.
func (p ParentImageSpec) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendString(denc.AppendString(denc.AppendS64(b, p.Pool), p.Namespace), p.ImageID)
	return denc.End(denc.AppendU64(b, p.SnapID), at)
}

// Decode reads p.
func (p *ParentImageSpec) Decode(r *denc.Reader) {
	s := r.Enter("ParentImageSpec", 1)
	p.Pool, p.Namespace, p.ImageID, p.SnapID = r.S64(), r.String(), r.String(), r.U64()
	r.Leave(s)
}

// ChildImageSpec names a clone of format 2 (version 2, accepts 1 without the
// namespace).
type ChildImageSpec struct {
	Pool      int64
	ImageID   string
	Namespace string
}

// Append appends c.
func (c ChildImageSpec) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	return denc.End(denc.AppendString(denc.AppendString(denc.AppendS64(b, c.Pool), c.ImageID), c.Namespace), at)
}

// Decode reads c.
func (c *ChildImageSpec) Decode(r *denc.Reader) {
	s := r.Enter("ChildImageSpec", 2)
	c.Pool, c.ImageID, c.Namespace = r.S64(), r.String(), ""
	if s.V >= 2 {
		c.Namespace = r.String()
	}
	r.Leave(s)
}

// The sources (who moved it) and states of an image in the trash.
const (
	TrashSourceUser       uint8 = 0
	TrashSourceMirroring  uint8 = 1
	TrashSourceMigration  uint8 = 2
	TrashSourceRemoving   uint8 = 3
	TrashSourceUserParent uint8 = 4

	TrashStateNormal    uint8 = 0
	TrashStateMoving    uint8 = 1
	TrashStateRemoving  uint8 = 2
	TrashStateRestoring uint8 = 3
)

// TrashImageSpec is an entry of rbd_trash (version 2, accepts 1 without the
// state).
type TrashImageSpec struct {
	Source  uint8
	Name    string
	Deleted denc.Time
	Until   denc.Time // end of the deferment
	State   uint8
}

// Append appends t.
func (t TrashImageSpec) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 1)
	b = denc.AppendString(denc.AppendU8(b, t.Source), t.Name)
	b = denc.AppendTime(denc.AppendTime(b, t.Deleted), t.Until)
	return denc.End(denc.AppendU8(b, t.State), at)
}

// Decode reads t.
func (t *TrashImageSpec) Decode(r *denc.Reader) {
	s := r.Enter("TrashImageSpec", 2)
	t.Source, t.Name, t.Deleted, t.Until, t.State = r.U8(), r.String(), r.Time(), r.Time(), 0
	if s.V >= 2 {
		t.State = r.U8()
	}
	r.Leave(s)
}
