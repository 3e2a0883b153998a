package wire

import (
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// The kinds of snapshots (SnapshotNamespaceType).
const (
	SnapUser   uint32 = 0
	SnapGroup  uint32 = 1
	SnapTrash  uint32 = 2
	SnapMirror uint32 = 3
)

// The states of a mirror snapshot (MirrorSnapshotState).
const (
	MirrorSnapPrimary           uint8 = 0
	MirrorSnapPrimaryDemoted    uint8 = 1
	MirrorSnapNonPrimary        uint8 = 2
	MirrorSnapNonPrimaryDemoted uint8 = 3
)

// SnapshotNamespace says what a snapshot is for. Which fields count depends on
// Type. Emitted and accepted version 1; a type this package does not know keeps
// only its number.
type SnapshotNamespace struct {
	Type uint32

	// SnapGroup: the group snapshot that it is part of.
	GroupPool            int64
	GroupID, GroupSnapID string

	// SnapTrash: what it was before it was hidden.
	OriginalName string
	OriginalType uint32

	// SnapMirror.
	State    uint8 // MirrorSnap…
	Complete bool  // all of its data is there
	// PeerUUIDs are the peers that still need it.
	PeerUUIDs []string
	// PrimaryMirrorUUID and PrimarySnapID name the snapshot that a non-primary one
	// copies; a primary one has its clean-since snapshot in PrimarySnapID.
	PrimaryMirrorUUID string
	PrimarySnapID     uint64
	// LastCopiedObject is how far the copy has come.
	LastCopiedObject uint64
	// SnapSeqs maps the primary's snapshot ids to the local ones.
	SnapSeqs map[uint64]uint64
}

// Append appends n.
func (n SnapshotNamespace) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU32(b, n.Type)
	switch n.Type {
	case SnapGroup:
		b = denc.AppendS64(b, n.GroupPool)
		b = denc.AppendString(denc.AppendString(b, n.GroupID), n.GroupSnapID)
	case SnapTrash:
		b = denc.AppendU32(denc.AppendString(b, n.OriginalName), n.OriginalType)
	case SnapMirror:
		b = denc.AppendBool(denc.AppendU8(b, n.State), n.Complete)
		b = denc.AppendSlice(b, slices.Sorted(slices.Values(n.PeerUUIDs)), denc.AppendString)
		b = denc.AppendU64(denc.AppendString(b, n.PrimaryMirrorUUID), n.PrimarySnapID)
		b = denc.AppendU64(b, n.LastCopiedObject)
		b = denc.AppendMap(b, n.SnapSeqs, denc.AppendU64, denc.AppendU64)
	}
	return denc.End(b, at)
}

// Decode reads n.
func (n *SnapshotNamespace) Decode(r *denc.Reader) {
	*n = SnapshotNamespace{}
	s := r.Enter("SnapshotNamespace", 1)
	n.Type = r.U32()
	switch n.Type {
	case SnapGroup:
		n.GroupPool, n.GroupID, n.GroupSnapID = r.S64(), r.String(), r.String()
	case SnapTrash:
		n.OriginalName, n.OriginalType = r.String(), r.U32()
	case SnapMirror:
		n.State, n.Complete = r.U8(), r.Bool()
		n.PeerUUIDs = denc.Slice(r, 4, (*denc.Reader).String)
		n.PrimaryMirrorUUID, n.PrimarySnapID, n.LastCopiedObject = r.String(), r.U64(), r.U64()
		n.SnapSeqs = denc.Map(r, 16, (*denc.Reader).U64, (*denc.Reader).U64)
	}
	r.Leave(s)
}
