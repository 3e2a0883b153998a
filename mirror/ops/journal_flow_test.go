package ops

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// put writes one byte to an image that is opened for it.
func put(t *testing.T, io *rados.IoCtx, id string, b byte) error {
	t.Helper()
	img, err := rbd.OpenByID(t.Context(), io, id, rbd.OpenOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, img.Close(context.WithoutCancel(t.Context()))) }()
	_, err = img.WriteAt(t.Context(), []byte{b}, 0)
	return err
}

func features(t *testing.T, io *rados.IoCtx, id string) uint64 {
	t.Helper()
	img, err := rbd.OpenByID(t.Context(), io, id, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	require.NoError(t, err)
	defer img.Close(t.Context())
	return img.Features()
}

func requireRole(t *testing.T, io *rados.IoCtx, id string, want Promotion) {
	t.Helper()
	img, err := rbd.OpenByID(t.Context(), io, id, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	require.NoError(t, err)
	defer img.Close(t.Context())
	info, err := Info(t.Context(), img)
	require.NoError(t, err)
	require.Equal(t, want, info.Promotion)
	require.Equal(t, wire.MirrorImageJournal, info.Mode)
}

// TestALifeInJournalMode enables, demotes, promotes and disables an image.
func TestALifeInJournalMode(t *testing.T) {
	ctx, io := t.Context(), poolInMode(t, wire.MirrorModeImage)
	id, err := rbd.Create(ctx, io, "a", 8<<20, rbd.CreateOptions{HasFeatures: true, Features: rbd.FeatureLayering})
	require.NoError(t, err)
	require.NoError(t, EnableJournalImage(ctx, io, id))
	require.NoError(t, EnableJournalImage(ctx, io, id))
	require.Equal(t, rbd.FeatureLayering|rbd.FeatureExclusiveLock|rbd.FeatureJournaling, features(t, io, id))
	require.ErrorIs(t, EnableImage(ctx, io, id), rados.ErrInvalid)
	_, err = Snapshot(ctx, io, id, rbd.SnapshotOptions{})
	require.ErrorIs(t, err, ErrJournalMode)
	requireRole(t, io, id, Primary)
	require.NoError(t, put(t, io, id, 1))

	require.NoError(t, Demote(ctx, io, id))
	requireRole(t, io, id, Orphan)
	require.ErrorIs(t, Demote(ctx, io, id), ErrNotPrimary)
	require.Error(t, put(t, io, id, 2))
	require.ErrorIs(t, DisableImage(ctx, io, id, false), rados.ErrInvalid)
	require.ErrorIs(t, rbd.Remove(ctx, io, "a", nil), rados.ErrInvalid)
	requireRole(t, io, id, Orphan)

	require.NoError(t, Promote(ctx, io, id, false))
	requireRole(t, io, id, Primary)
	require.NoError(t, put(t, io, id, 3))
	require.NoError(t, DisableImage(ctx, io, id, false))
	require.NoError(t, DisableImage(ctx, io, id, false))
	require.Equal(t, rbd.FeatureLayering|rbd.FeatureExclusiveLock, features(t, io, id))
	require.NoError(t, put(t, io, id, 4))

	// The mode can be changed then.
	require.NoError(t, EnableImage(ctx, io, id))
	require.ErrorIs(t, EnableJournalImage(ctx, io, id), rados.ErrInvalid)
	require.Zero(t, features(t, io, id)&rbd.FeatureJournaling, "a refused command changed the image")
	require.NoError(t, DisableImage(ctx, io, id, false))
}

// TestDemotionFollowsTheLastWriter: what a writer left behind who died is applied
// and committed before the image is given away, and the tag leads to it.
func TestDemotionFollowsTheLastWriter(t *testing.T) {
	ctx, io := t.Context(), poolInMode(t, wire.MirrorModeImage)
	id := journaled(t, io, "a")
	require.NoError(t, EnableJournalImage(ctx, io, id))
	j, err := journal.Open(ctx, io, id, "", journal.Options{NoTrim: true})
	require.NoError(t, err)
	newest, _, err := rbd.NewestTag(ctx, j)
	require.NoError(t, err)
	tag, err := j.AllocateTag(ctx, newest.Class, jwire.TagData{}.Append(nil))
	require.NoError(t, err)
	rec, err := j.NewRecorder(ctx)
	require.NoError(t, err)
	for b := range byte(3) {
		_, err := rec.Append(ctx, tag.TID, jwire.Event{Type: jwire.EventWrite, Offset: 7, Length: 1, Data: []byte{b + 1}}.Append(nil))
		require.NoError(t, err)
	}
	require.NoError(t, rec.Close(ctx))
	require.NoError(t, j.Close(ctx))

	require.NoError(t, Demote(ctx, io, id))
	require.Equal(t, `"<orphan>" after "" true 1 2`, ownerOf(t, io, id))
	img, err := rbd.OpenByID(ctx, io, id, rbd.OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	defer img.Close(ctx)
	b := make([]byte, 1)
	_, err = img.ReadAt(ctx, b, 7)
	require.NoError(t, err)
	require.Equal(t, byte(3), b[0])
}

// TestDisablingForgetsThePeers: their clients, and the snapshots that they copied
// from.
func TestDisablingForgetsThePeers(t *testing.T) {
	for _, owner := range []string{jwire.LocalOwner, "there"} {
		ctx, io := t.Context(), poolInMode(t, wire.MirrorModeImage)
		id := replica(t, io, "a", owner)
		j, err := journal.Open(ctx, io, id, "", journal.Options{NoTrim: true})
		require.NoError(t, err)
		peer := jwire.ClientData{Kind: jwire.ClientMirrorPeer, ImageID: "x", SyncPoints: []jwire.SyncPoint{{SnapName: "point", Namespace: wire.SnapshotNamespace{}.Append(nil)}}}
		require.NoError(t, j.RegisterClient(ctx, "peer", peer.Append(nil)))
		require.NoError(t, j.RegisterClient(ctx, "tool", jwire.ClientData{Kind: jwire.ClientCLI}.Append(nil)))
		require.NoError(t, j.Close(ctx))
		img, err := rbd.OpenByID(ctx, io, id, rbd.OpenOptions{ExternalReplay: true})
		require.NoError(t, err)
		_, err = img.CreateSnapshot(ctx, "point", wire.SnapshotNamespace{}, rbd.SnapshotOptions{SkipQuiesce: true})
		require.NoError(t, err)
		require.NoError(t, img.Close(ctx))

		require.NoError(t, DisableImage(ctx, io, id, owner != jwire.LocalOwner))
		_, err = meta.Image(ctx, io, id)
		require.ErrorIs(t, err, rados.ErrNotFound)
		img, err = rbd.OpenByID(ctx, io, id, rbd.OpenOptions{ReadOnly: true})
		require.NoError(t, err)
		require.Empty(t, img.Snapshots())
		require.NoError(t, img.Close(ctx))
		require.NoError(t, put(t, io, id, 1))
	}
}

// TestPoolMode: all images with a journal are mirrored, and none any more after it.
func TestPoolMode(t *testing.T) {
	ctx, io := t.Context(), poolInMode(t, wire.MirrorModeDisabled)
	all := rbd.FeatureLayering | rbd.FeatureExclusiveLock | rbd.FeatureJournaling
	make := func(name string, features uint64) string {
		id, err := rbd.Create(ctx, io, name, 8<<20, rbd.CreateOptions{HasFeatures: true, Features: features})
		require.NoError(t, err)
		return id
	}
	parent, plain := make("p", all), make("plain", rbd.FeatureExclusiveLock)
	img, err := rbd.OpenByID(ctx, io, parent, rbd.OpenOptions{})
	require.NoError(t, err)
	snap, err := img.CreateSnapshot(ctx, "s", wire.SnapshotNamespace{}, rbd.SnapshotOptions{SkipQuiesce: true})
	require.NoError(t, err)
	require.NoError(t, img.ProtectSnapshot(ctx, snap))
	require.NoError(t, img.Close(ctx))
	clone, err := rbd.Clone(ctx, io, parent, snap, io, "a", rbd.CreateOptions{HasFeatures: true, Features: all, CloneFormat: 1})
	require.NoError(t, err)

	require.NoError(t, EnablePool(ctx, io, wire.MirrorModeImage))
	require.ErrorIs(t, EnableJournalImage(ctx, io, clone), rados.ErrInvalid, "the parent is not mirrored")
	require.NoError(t, EnablePool(ctx, io, wire.MirrorModePool))
	require.ErrorIs(t, EnablePool(ctx, io, wire.MirrorModePool), ErrModeSame)
	images, err := meta.Images(ctx, io)
	require.NoError(t, err)
	require.Len(t, images, 2)
	requireRole(t, io, parent, Primary)
	requireRole(t, io, clone, Primary)
	require.ErrorIs(t, EnableImage(ctx, io, plain), rados.ErrInvalid)
	require.ErrorIs(t, EnableJournalImage(ctx, io, plain), rados.ErrInvalid)
	require.ErrorIs(t, DisableImage(ctx, io, clone, false), rados.ErrInvalid)

	require.NoError(t, EnablePool(ctx, io, wire.MirrorModeImage))
	require.ErrorIs(t, DisablePool(ctx, io), rados.ErrInvalid, "images are mirrored")
	require.ErrorIs(t, DisableImage(ctx, io, parent, false), rados.ErrBusy, "its clone is mirrored")
	require.NoError(t, EnablePool(ctx, io, wire.MirrorModePool))
	require.NoError(t, Demote(ctx, io, clone))
	require.ErrorIs(t, DisablePool(ctx, io), rados.ErrInvalid, "an image is not primary")
	mode, err := meta.Mode(ctx, io)
	require.NoError(t, err)
	require.Equal(t, wire.MirrorModeImage, mode, "as librbd leaves it")
	require.NoError(t, Promote(ctx, io, clone, false))
	require.NoError(t, EnablePool(ctx, io, wire.MirrorModePool))
	require.NoError(t, DisablePool(ctx, io))
	images, err = meta.Images(ctx, io)
	require.NoError(t, err)
	require.Empty(t, images)
	require.Equal(t, all&^rbd.FeatureJournaling, features(t, io, clone))
	require.Equal(t, all&^rbd.FeatureJournaling, features(t, io, parent))
}
