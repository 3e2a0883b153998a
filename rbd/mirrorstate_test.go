package rbd

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/rbd/wire"
)

// TestOwnerCompletesPrimarySnapshots: who has the lock makes mirror snapshots of the
// primary whole for those who ask for them. librbd of 16.2 and later unlinks the peers
// of one that is not, and then calls itself until its stack is full.
func TestOwnerCompletesPrimarySnapshots(t *testing.T) {
	ctx := t.Context()
	owner, other := openTwice(t)
	require.NoError(t, owner.AcquireLock(ctx))
	_, err := other.CreateSnapshot(ctx, "user", SnapshotNamespace{Type: wire.SnapUser}, SnapshotOptions{})
	require.NoError(t, err)
	for _, state := range []uint8{wire.MirrorSnapPrimary, wire.MirrorSnapPrimaryDemoted} {
		ns := SnapshotNamespace{Type: wire.SnapMirror, State: state, PeerUUIDs: []string{"peer"}, PrimarySnapID: NoSnap}
		id, err := other.CreateSnapshot(ctx, fmt.Sprintf(".mirror.primary.%d", state), ns, SnapshotOptions{})
		require.NoError(t, err)
		require.True(t, owner.LockOwned())
		for _, img := range []*Image{owner, other} {
			require.NoError(t, img.Refresh(ctx))
			s, ok := img.Snapshot(id)
			require.True(t, ok)
			require.True(t, s.Namespace.Complete)
			require.Equal(t, []string{"peer"}, s.Namespace.PeerUUIDs)
		}
		was, err := other.ReadImageState(ctx, id)
		require.NoError(t, err)
		require.Equal(t, "i", was.Name)
		require.Len(t, was.Snaps, 1)
	}
	// A copy is complete when it was copied.
	ns := SnapshotNamespace{Type: wire.SnapMirror, State: wire.MirrorSnapNonPrimary, PrimaryMirrorUUID: "there", PrimarySnapID: 3}
	id, err := other.CreateSnapshot(ctx, ".mirror.non_primary.x", ns, SnapshotOptions{})
	require.NoError(t, err)
	require.NoError(t, other.Refresh(ctx))
	s, ok := other.Snapshot(id)
	require.True(t, ok)
	require.False(t, s.Namespace.Complete)
}
