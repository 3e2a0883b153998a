package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// Parent is what a clone's header says of its parent (cls_rbd_parent, version 2;
// 1 is accepted). Pool -1 means that there is none.
type Parent struct {
	ParentImageSpec
	// Overlap is how many bytes of the head come from the parent; nil when only
	// snapshots still need it.
	Overlap *uint64
}

// NoParent is the Parent of an image that has none.
func NoParent() Parent { return Parent{ParentImageSpec: ParentImageSpec{Pool: -1, SnapID: NoSnap}} }

// Exists reports whether there is a parent.
func (p Parent) Exists() bool { return p.SnapID != NoSnap && p.Pool >= 0 && p.ImageID != "" }

// Append appends p.
func (p Parent) Append(b []byte) []byte {
	b, at := denc.Begin(b, 2, 2)
	b = denc.AppendString(denc.AppendString(denc.AppendS64(b, p.Pool), p.Namespace), p.ImageID)
	return denc.End(AppendOptionalU64(denc.AppendU64(b, p.SnapID), p.Overlap), at)
}

// Decode reads p.
func (p *Parent) Decode(r *denc.Reader) {
	*p = Parent{}
	s := r.Enter("cls_rbd_parent", 2)
	p.Pool = r.S64()
	if s.V >= 2 {
		p.Namespace = r.String()
	}
	p.ImageID, p.SnapID = r.String(), r.U64()
	if s.V >= 2 {
		p.Overlap = ReadOptionalU64(r)
	} else {
		n := r.U64()
		p.Overlap = &n
	}
	r.Leave(s)
}

// AppendOptionalU64 appends a byte that says whether v is there, and v.
func AppendOptionalU64(b []byte, v *uint64) []byte {
	b = denc.AppendBool(b, v != nil)
	if v != nil {
		b = denc.AppendU64(b, *v)
	}
	return b
}

// ReadOptionalU64 reads what AppendOptionalU64 wrote.
func ReadOptionalU64(r *denc.Reader) *uint64 {
	if !r.Bool() {
		return nil
	}
	v := r.U64()
	return &v
}

// snapshotRecordVersion broke compatibility: the parent moved to the header.
const snapshotRecordVersion = 8

// SnapshotRecord is a snapshot as an image's header keeps it (cls_rbd_snap,
// version 8; older ones are accepted, whose own parent is kept).
type SnapshotRecord struct {
	ID         uint64
	Name       string
	Size       uint64 // of the image then, bytes
	Protection uint8
	Flags      uint64
	Namespace  SnapshotNamespace
	Timestamp  denc.Time
	Children   uint32 // clones of format 2
	// ParentOverlap is how many bytes come from the parent, if it has one.
	ParentOverlap *uint64
	// OldParent is the parent in records older than version 8. Append turns it
	// into ParentOverlap.
	OldParent Parent
}

// Append appends s.
func (s SnapshotRecord) Append(b []byte) []byte {
	b, at := denc.Begin(b, snapshotRecordVersion, snapshotRecordVersion)
	b = denc.AppendU64(denc.AppendString(denc.AppendU64(b, s.ID), s.Name), s.Size)
	b = denc.AppendU64(denc.AppendU8(b, s.Protection), s.Flags)
	b = denc.AppendU32(denc.AppendTime(s.Namespace.Append(b), s.Timestamp), s.Children)
	overlap := s.ParentOverlap
	if overlap == nil && s.OldParent.Exists() {
		overlap = s.OldParent.Overlap
	}
	return denc.End(AppendOptionalU64(b, overlap), at)
}

// Decode reads s.
func (s *SnapshotRecord) Decode(r *denc.Reader) {
	*s = SnapshotRecord{OldParent: NoParent()}
	sec := r.Enter("cls_rbd_snap", snapshotRecordVersion)
	s.ID, s.Name, s.Size = r.U64(), r.String(), r.U64()
	if sec.Compat < snapshotRecordVersion {
		r.U64() // features
		if sec.V >= 2 {
			s.OldParent.Decode(r)
		}
	}
	if sec.V >= 3 {
		s.Protection = r.U8()
	}
	if sec.V >= 4 {
		s.Flags = r.U64()
	}
	if sec.V >= 5 {
		s.Namespace.Decode(r)
	}
	if sec.V >= 6 {
		s.Timestamp = r.Time()
	}
	if sec.V >= 7 {
		s.Children = r.U32()
	}
	if sec.V >= 8 {
		s.ParentOverlap = ReadOptionalU64(r)
	}
	r.Leave(sec)
}

// HasParent reports whether the snapshot needs the image's parent.
func (s *SnapshotRecord) HasParent() bool { return s.OldParent.Pool != -1 || s.ParentOverlap != nil }

// The ends of a migration that an image can be.
const (
	MigrationSource      uint8 = 1
	MigrationDestination uint8 = 2
)

// MigrationSpec says that an image is moving (version 3, readable as 1 unless it
// comes from outside RBD; 1 and 2 are accepted).
type MigrationSpec struct {
	Header                        uint8 // MigrationSource or MigrationDestination
	Pool                          int64
	Namespace, ImageName, ImageID string
	SnapSeqs                      map[uint64]uint64
	Overlap                       uint64
	Flatten, Mirroring            bool
	State                         uint8
	StateDescription              string
	MirrorMode                    uint8
	SourceSpec                    string // JSON, of a source that is no image
}

// Append appends m.
func (m MigrationSpec) Append(b []byte) []byte {
	compat := uint8(1)
	if m.SourceSpec != "" {
		compat = 3
	}
	b, at := denc.Begin(b, 3, compat)
	b = denc.AppendS64(denc.AppendU8(b, m.Header), m.Pool)
	b = denc.AppendString(denc.AppendString(denc.AppendString(b, m.Namespace), m.ImageName), m.ImageID)
	b = denc.AppendU64(denc.AppendMap(b, m.SnapSeqs, denc.AppendU64, denc.AppendU64), m.Overlap)
	b = denc.AppendBool(denc.AppendBool(b, m.Flatten), m.Mirroring)
	b = denc.AppendString(denc.AppendU8(b, m.State), m.StateDescription)
	return denc.End(denc.AppendString(denc.AppendU8(b, m.MirrorMode), m.SourceSpec), at)
}

// Decode reads m.
func (m *MigrationSpec) Decode(r *denc.Reader) {
	*m = MigrationSpec{}
	s := r.Enter("MigrationSpec", 3)
	m.Header, m.Pool = r.U8(), r.S64()
	m.Namespace, m.ImageName, m.ImageID = r.String(), r.String(), r.String()
	m.SnapSeqs = denc.Map(r, 16, (*denc.Reader).U64, (*denc.Reader).U64)
	m.Overlap, m.Flatten, m.Mirroring = r.U64(), r.Bool(), r.Bool()
	m.State, m.StateDescription = r.U8(), r.String()
	if s.V >= 2 {
		m.MirrorMode = r.U8()
	}
	if s.V >= 3 {
		m.SourceSpec = r.String()
	}
	r.Leave(s)
}
