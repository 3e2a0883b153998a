package rbd

import "github.com/rbdm/rbdm/rbd/wire"

// SnapshotNamespace says what a snapshot is for. The zero value is a user's.
type SnapshotNamespace = wire.SnapshotNamespace

// The kinds of snapshots.
const (
	SnapUser   = wire.SnapUser
	SnapGroup  = wire.SnapGroup
	SnapTrash  = wire.SnapTrash
	SnapMirror = wire.SnapMirror
)

func isUser(n SnapshotNamespace) bool   { return n.Type == SnapUser }
func isMirror(n SnapshotNamespace) bool { return n.Type == SnapMirror }
func isTrash(n SnapshotNamespace) bool  { return n.Type == SnapTrash }

// sameNamespace reports whether two snapshots of one name would clash.
func sameNamespace(a, b SnapshotNamespace) bool { return a.Type == b.Type }

func userNamespace() SnapshotNamespace { return SnapshotNamespace{Type: SnapUser} }
