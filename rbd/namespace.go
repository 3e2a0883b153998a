package rbd

import (
	"maps"
	"slices"

	"github.com/rbdm/rbdm/msgr2/denc"
)

// The kinds of snapshots.
const (
	SnapUser   uint32 = 0
	SnapGroup  uint32 = 1
	SnapTrash  uint32 = 2
	SnapMirror uint32 = 3
)

// SnapshotNamespace says what a snapshot is for.
type SnapshotNamespace struct {
	Type uint32
	// Group.
	GroupPool            int64
	GroupID, GroupSnapID string
	// Trash.
	OriginalName string
	OriginalType uint32
	// Mirror.
	State             uint8
	Complete          bool
	PeerUUIDs         []string
	PrimaryMirrorUUID string
	PrimarySnapID     uint64
	LastCopiedObject  uint64
	SnapSeqs          map[uint64]uint64
}

func (n *SnapshotNamespace) Append(b []byte) []byte {
	b, at := denc.Begin(b, 1, 1)
	b = denc.AppendU32(b, n.Type)
	switch n.Type {
	case SnapGroup:
		b = denc.AppendString(denc.AppendString(denc.AppendS64(b, n.GroupPool), n.GroupID), n.GroupSnapID)
	case SnapTrash:
		b = denc.AppendU32(denc.AppendString(b, n.OriginalName), n.OriginalType)
	case SnapMirror:
		b = denc.AppendBool(denc.AppendU8(b, n.State), n.Complete)
		peers := slices.Clone(n.PeerUUIDs)
		slices.Sort(peers)
		b = denc.AppendSlice(b, peers, denc.AppendString)
		b = denc.AppendU64(denc.AppendU64(denc.AppendString(b, n.PrimaryMirrorUUID), n.PrimarySnapID), n.LastCopiedObject)
		b = denc.AppendMap(b, n.SnapSeqs, denc.AppendU64, denc.AppendU64)
	}
	return denc.End(b, at)
}

func (n *SnapshotNamespace) Decode(r *denc.Reader) {
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
		n.SnapSeqs = maps.Clone(denc.Map(r, 16, (*denc.Reader).U64, (*denc.Reader).U64))
	}
	r.Leave(s)
}

func isUser(n SnapshotNamespace) bool   { return n.Type == SnapUser }
func isMirror(n SnapshotNamespace) bool { return n.Type == SnapMirror }
func isTrash(n SnapshotNamespace) bool  { return n.Type == SnapTrash }

// sameNamespace reports whether two snapshots of one name would clash.
func sameNamespace(a, b SnapshotNamespace) bool { return a.Type == b.Type }

func userNamespace() SnapshotNamespace { return SnapshotNamespace{Type: SnapUser} }
