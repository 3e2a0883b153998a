package scenarios

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// cloned makes a mirrored parent in the second pool with a snapshot, and a mirrored
// clone of it in the first.
func cloned(t *testing.T, journal bool, format uint8) (w *world, parent, child string) {
	t.Helper()
	t.Parallel()
	w, parent, child = newWorld(t), second+"/parent", pool+"/child"
	w.journal = journal
	w.a.create(parent, imageSize, rbd.CreateOptions{})
	w.a.write(parent, 1)
	w.a.snap(parent, "base")
	if format == 1 {
		w.a.with(parent, func(img *rbd.Image) error {
			s, _ := img.UserSnapshot("base")
			return img.ProtectSnapshot(w.ctx, s.ID)
		})
	}
	w.a.write(parent, 2)
	w.a.enable(parent)
	w.b.run()
	w.synced(w.a, w.b, parent)
	w.a.clone(parent, child, format)
	w.a.enable(child)
	w.synced(w.a, w.b, child)
	return w, parent, child
}

func (s *site) clone(parent, child string, format uint8) {
	s.w.Helper()
	img := s.open(parent, rbd.OpenOptions{ReadOnly: true})
	base_, _ := img.UserSnapshot("base")
	require.NoError(s.w, img.Close(s.w.ctx))
	_, err := rbd.Clone(s.w.ctx, s.io(parent), img.ID(), base_.ID, s.io(child), base(child), rbd.CreateOptions{CloneFormat: format})
	require.NoError(s.w, err)
}

// follows changes a clone on the primary in all ways that matter and compares.
func (w *world) follows(child string) {
	w.Helper()
	w.a.write(child, 5) // copies objects up
	w.a.mirror(child)
	w.synced(w.a, w.b, child)
	w.a.snap(child, "own")
	w.a.with(child, func(img *rbd.Image) error { return img.Discard(w.ctx, 3<<order, 4<<order) })
	w.a.mirror(child)
	w.synced(w.a, w.b, child)
	w.a.with(child, func(img *rbd.Image) error { return img.Resize(w.ctx, 7<<order, true, nil) })
	w.a.with(child, func(img *rbd.Image) error { return img.Resize(w.ctx, imageSize, false, nil) })
	w.a.mirror(child)
	w.synced(w.a, w.b, child)
}

func (s *site) format(child string) int {
	s.w.Helper()
	img := s.open(child, rbd.OpenOptions{ReadOnly: true})
	defer img.Close(s.w.ctx)
	require.NotNil(s.w, img.Parent(), "%s on %s has no parent", child, s.name)
	if img.OpFeatures()&rbd.OpFeatureCloneChild != 0 {
		return 2
	}
	return 1
}

func TestScenario17CloneInAnotherPool(t *testing.T) { scenario17(cloned(t, false, 2)) }

func scenario17(w *world, _, child string) {
	w.Helper()
	require.Equal(w, w.a.format(child), w.b.format(child))
	w.follows(child)
}

func TestScenario18CloneOfFormat1(t *testing.T) { scenario18(cloned(t, false, 1)) }

func scenario18(w *world, parent, child string) {
	w.Helper()
	require.Equal(w, 1, w.b.format(child))
	// A clone of the secondary's own beside it.
	w.b.clone(parent, pool+"/local", 1)
	w.follows(child)
	w.b.remove(pool + "/local")
	w.a.disable(child)
	w.a.with(child, func(img *rbd.Image) error { return img.PurgeSnapshots(w.ctx, true, nil) })
	w.a.remove(child)
	w.b.awaitGone(child)
	w.a.with(parent, func(img *rbd.Image) error {
		s, _ := img.UserSnapshot("base")
		if err := img.UnprotectSnapshot(w.ctx, s.ID); err != nil {
			return err
		}
		return img.RemoveSnapshot(w.ctx, s.ID)
	})
	w.a.mirror(parent)
	w.synced(w.a, w.b, parent)
}

// snapKinds lists an image's snapshots but for those of mirroring.
func (s *site) snapKinds(spec string) (out []string) {
	s.w.Helper()
	img := s.open(spec, rbd.OpenOptions{ReadOnly: true})
	defer img.Close(s.w.ctx)
	for _, snap := range img.Snapshots() {
		switch snap.Namespace.Type {
		case rbd.SnapUser:
			out = append(out, "user "+snap.Name)
		case wire.SnapTrash:
			out = append(out, "trash")
		}
	}
	return out
}

func TestScenario19ParentSnapshotOfFormat2Removed(t *testing.T) { scenario19(cloned(t, false, 2)) }

func scenario19(w *world, parent, child string) {
	w.Helper()
	require.Equal(w, 2, w.b.format(child))
	w.a.with(parent, func(img *rbd.Image) error {
		s, _ := img.UserSnapshot("base")
		return img.RemoveSnapshot(w.ctx, s.ID)
	})
	w.a.mirror(parent)
	w.synced(w.a, w.b, parent)
	require.Equal(w, []string{"trash"}, w.a.snapKinds(parent))
	require.Equal(w, []string{"trash"}, w.b.snapKinds(parent))
	w.follows(child)
	w.a.disable(child)
	w.a.with(child, func(img *rbd.Image) error { return img.PurgeSnapshots(w.ctx, true, nil) })
	w.a.remove(child)
	w.b.awaitGone(child)
	require.Empty(w, w.a.snapKinds(parent))
	w.eventually("the trashed snapshot purged", func() (bool, string) {
		k := w.b.snapKinds(parent)
		return len(k) == 0, fmt.Sprint(k)
	})
}

func TestScenario20CloneOfTheNonPrimaryParent(t *testing.T) { scenario20(cloned(t, false, 2)) }

func scenario20(w *world, parent, _ string) {
	w.Helper()
	w.a.create(second+"/lonely", imageSize, rbd.CreateOptions{})
	lonely := second + "/lonely"
	w.a.write(lonely, 3)
	w.a.snap(lonely, "base")
	w.a.enable(lonely)
	w.synced(w.a, w.b, lonely)
	w.b.clone(lonely, pool+"/local", 2)
	before := w.b.contentOf(pool + "/local")
	w.a.with(lonely, func(img *rbd.Image) error {
		s, _ := img.UserSnapshot("base")
		return img.RemoveSnapshot(w.ctx, s.ID)
	})
	w.a.write(lonely, 4)
	w.a.mirror(lonely)
	w.synced(w.a, w.b, lonely)
	require.Empty(w, w.a.snapKinds(lonely))
	require.Equal(w, []string{"trash"}, w.b.snapKinds(lonely))
	require.True(w, before == w.b.contentOf(pool+"/local"))
	_ = parent
}

func TestClonesFollowAFlattening(t *testing.T) { flattening(t, false) }

func flattening(t *testing.T, journal bool) {
	t.Helper()
	for name, snap := range map[string]bool{"without a snapshot": false, "with a snapshot": true} {
		t.Run(name, func(t *testing.T) {
			w, parent, child := cloned(t, journal, 2)
			if snap {
				w.a.snap(child, "before")
				w.a.mirror(child)
				w.synced(w.a, w.b, child)
			}
			w.a.write(child, 6)
			w.a.with(child, func(img *rbd.Image) error { return img.Flatten(w.ctx, nil) })
			// An object that was the parent's, and is a hole now.
			w.a.with(child, func(img *rbd.Image) error { return img.Discard(w.ctx, 0, 20<<order) })
			w.a.mirror(child)
			w.synced(w.a, w.b, child)
			img := w.b.open(child, rbd.OpenOptions{ReadOnly: true})
			require.Nil(t, img.Parent())
			require.NoError(t, img.Close(w.ctx))
			w.a.write(child, 7)
			w.a.mirror(child)
			w.synced(w.a, w.b, child)
			_ = parent
		})
	}
}

func TestScenario21SeparateDataPool(t *testing.T) { scenario21(t, false) }

func scenario21(t *testing.T, journal bool) {
	t.Helper()
	t.Parallel()
	w := newWorld(t)
	w.journal = journal
	w.a.create(image, imageSize, rbd.CreateOptions{DataPool: data})
	w.a.write(image, 1)
	w.a.snap(image, "one")
	w.a.write(image, 2)
	w.a.enable(image)
	w.b.run()
	w.synced(w.a, w.b, image)
	w.a.write(image, 3)
	w.a.snap(image, "two")
	w.a.write(image, 4)
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
	img := w.b.open(image, rbd.OpenOptions{ReadOnly: true})
	name, err := w.b.client.PoolName(w.ctx, img.Layout().DataPool)
	require.NoError(t, err)
	require.Equal(t, data, name)
	require.NoError(t, img.Close(w.ctx))
	w.removed()
}

func TestScenario22DisabledOrDeleted(t *testing.T) { scenario22(t, false) }

func scenario22(t *testing.T, journal bool) {
	t.Helper()
	for _, how := range []string{"disable", "delete"} {
		for _, protected := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, protected snapshot %v", how, protected), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t).mirrored(journal)
				if protected {
					w.a.snap(image, "p")
					w.a.with(image, func(img *rbd.Image) error {
						s, _ := img.UserSnapshot("p")
						return img.ProtectSnapshot(w.ctx, s.ID)
					})
					w.a.mirror(image)
					w.synced(w.a, w.b, image)
				}
				if how == "disable" {
					w.a.disable(image)
				} else {
					if protected {
						w.a.with(image, func(img *rbd.Image) error { return img.PurgeSnapshots(w.ctx, true, nil) })
					}
					w.a.remove(image)
				}
				w.b.awaitGone(image)
				w.clean()
			})
		}
	}
}

func TestScenario40BootstrapInOneDirection(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t) // for two more clusters
	one, two := w.start("one"), w.start("two")
	for _, s := range []*site{one, two} {
		s.createPools(pool)
		require.NoError(t, rbd.PoolInit(w.ctx, s.io(pool+"/"), false))
		require.NoError(t, ops.EnablePool(w.ctx, s.io(pool+"/"), wire.MirrorModeImage))
		require.NoError(t, ops.SetSiteName(w.ctx, s.client, s.name))
	}
	token, err := ops.CreateToken(w.ctx, one.io(pool+"/"))
	require.NoError(t, err)
	again, err := ops.CreateToken(w.ctx, one.io(pool+"/"))
	require.NoError(t, err)
	require.Equal(t, token, again, "a token is the same for all who ask")
	require.NoError(t, ops.ImportToken(w.ctx, two.io(pool+"/"), pool, token, wire.MirrorPeerRX))
	direction := func(s *site) []uint8 {
		peers, err := meta.Peers(w.ctx, s.io(pool+"/"))
		require.NoError(t, err)
		var out []uint8
		for _, p := range peers {
			out = append(out, p.Direction)
		}
		return out
	}
	require.Equal(t, []uint8{wire.MirrorPeerRX}, direction(two))
	// The ping of the daemon makes the other side know of its receiver.
	two.run()
	w.eventually("a peer that only receives", func() (bool, string) {
		d := direction(one)
		return len(d) == 1 && d[0] == wire.MirrorPeerTX, fmt.Sprint(d)
	})
	one.create(image, imageSize, rbd.CreateOptions{})
	one.write(image, 1)
	one.enable(image)
	w.synced(one, two, image)
}

func TestScenario41BrokenPeer(t *testing.T) {
	w := mirrored(t)
	peers, err := meta.Peers(w.ctx, w.b.io(image))
	require.NoError(t, err)
	require.Len(t, peers, 1)
	good := peers[0].ClientName
	set := func(name string) {
		t.Helper()
		require.NoError(t, meta.SetPeerClient(w.ctx, w.b.io(image), peers[0].UUID, name))
	}
	set("client.nobody")
	w.eventually("the broken peer is shown", func() (bool, string) {
		out := w.b.admin("rbd mirror status")
		return !jsonHas(out, `"state": "running"`, pool), out
	})
	set(good)
	w.a.write(image, 2)
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
}

func TestScenario42LeaderReleasedAndTakenAgain(t *testing.T) {
	w := mirrored(t)
	for range 2 {
		w.b.admin("rbd mirror leader release")
		w.a.write(image, 2)
		w.a.mirror(image)
		w.synced(w.a, w.b, image)
	}
	w.removed()
}

func TestScenario55Features(t *testing.T) {
	for name, features := range map[string]uint64{
		"minimum": rbd.FeatureLayering, "exclusive lock": rbd.FeatureLayering | rbd.FeatureExclusiveLock,
		"object map": rbd.FeatureLayering | rbd.FeatureExclusiveLock | rbd.FeatureObjectMap,
		"fast-diff":  rbd.FeatureLayering | rbd.FeatureExclusiveLock | rbd.FeatureObjectMap | rbd.FeatureFastDiff,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.a.create(image, imageSize, rbd.CreateOptions{Features: features, HasFeatures: true})
			w.a.write(image, 1)
			w.a.enable(image)
			w.b.run()
			w.synced(w.a, w.b, image)
			w.a.snap(image, "s")
			w.a.write(image, 2)
			w.a.with(image, func(img *rbd.Image) error { return img.Resize(w.ctx, 9<<order, true, nil) })
			w.a.mirror(image)
			w.synced(w.a, w.b, image)
			img := w.b.open(image, rbd.OpenOptions{ReadOnly: true})
			require.Equal(t, features|rbd.FeatureNonPrimary, img.Features())
			require.NoError(t, img.Close(w.ctx))
			w.a.run()
			w.moved(w.a, w.b, image)
			w.b.write(image, 3)
			w.b.mirror(image)
			w.synced(w.b, w.a, image)
		})
	}
}

func TestStripedImages(t *testing.T) { striped(t, false) }

func striped(t *testing.T, journal bool) {
	t.Helper()
	t.Parallel()
	w := newWorld(t)
	w.journal = journal
	w.a.create(image, imageSize, rbd.CreateOptions{StripeUnit: 1 << 12, StripeCount: 5})
	w.a.write(image, 1)
	w.a.enable(image)
	w.b.run()
	w.synced(w.a, w.b, image)
	w.a.snap(image, "s")
	w.a.write(image, 2)
	w.a.with(image, func(img *rbd.Image) error { return img.Resize(w.ctx, 3*imageSize/2, false, nil) })
	w.a.mirror(image)
	w.synced(w.a, w.b, image)
	a, b := w.a.open(image, rbd.OpenOptions{ReadOnly: true}), w.b.open(image, rbd.OpenOptions{ReadOnly: true})
	require.Equal(t, a.Layout().StripeUnit, b.Layout().StripeUnit)
	require.Equal(t, a.Layout().StripeCount, b.Layout().StripeCount)
	require.NoError(t, a.Close(w.ctx))
	require.NoError(t, b.Close(w.ctx))
}
