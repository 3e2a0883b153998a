package scenarios

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

func TestScenario13TwentyRoundsOfFailoverAndFailbackJournal(t *testing.T) {
	w := mirroredByJournal(t)
	w.a.run()
	from, to := w.a, w.b
	for i := range 20 {
		from.write(image, uint64(10+i))
		w.moved(from, to, image)
		from, to = to, from
	}
	w.synced(from, to, image)
	w.removed()
}

func TestScenario23JournalingTurnedOffAndOnJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		for _, s := range []*site{w.a, w.b} {
			require.NoError(w, ops.EnablePool(w.ctx, s.io(second+"/"), wire.MirrorModePool))
		}
	})
	w.journal = true
	spec := second + "/image"
	w.a.create(spec, imageSize, rbd.CreateOptions{FeaturesSet: rbd.FeatureJournaling})
	w.a.write(spec, 1)
	w.b.run()
	w.synced(w.a, w.b, spec)
	gid := w.a.gid(spec)
	w.a.with(spec, func(img *rbd.Image) error { return img.DisableFeatures(w.ctx, rbd.FeatureJournaling) })
	w.b.awaitGone(spec)
	w.a.write(spec, 2)
	w.a.with(spec, func(img *rbd.Image) error { return img.EnableFeatures(w.ctx, rbd.FeatureJournaling) })
	require.NotEqual(t, gid, w.a.gid(spec))
	w.synced(w.a, w.b, spec)
	w.a.write(spec, 3)
	w.synced(w.a, w.b, spec)
	w.a.remove(spec)
	w.b.awaitGone(spec)
	w.clean(spec)
}

func TestScenario24PoolsRemovedJournal(t *testing.T) {
	w := mirroredByJournal(t)
	spec := second + "/image"
	w.a.create(spec, imageSize, rbd.CreateOptions{DataPool: data})
	w.a.enable(spec)
	w.a.write(spec, 1)
	w.synced(w.a, w.b, spec)
	require.Contains(t, w.b.admin("rbd mirror status"), `"pool": "`+second+`"`)
	for _, s := range []*site{w.a, w.b} {
		for _, name := range []string{data, second} {
			require.NoError(t, s.client.DeletePool(w.ctx, name))
		}
	}
	w.eventually("the removed pool's replayer gone", func() (bool, string) {
		out := w.b.admin("rbd mirror status")
		return !strings.Contains(out, `"pool": "`+second+`"`), out
	})
	w.a.write(image, 2)
	w.synced(w.a, w.b, image)
	w.removed()
}

// A replica is taken into use while its first copy is half done, and the primary is
// made its replica later.
func TestScenario39ForcedPromotionOfAHalfCopiedImageJournal(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t)
	w.journal = true
	w.a.create(image, imageSize, rbd.CreateOptions{})
	w.a.fill(image, 1)
	w.a.enable(image)
	reached, release := w.heldBack()
	w.b.run()
	<-reached
	w.a.snap(image, "newer")
	w.b.cutOff()
	release()
	w.b.stop()
	w.b.promote(image, true)
	w.b.write(image, 60)
	w.a.run()
	w.a.demote(image)
	w.a.awaitStatus(image, "up+error", "split-brain")
	before := w.a.id(image)
	w.a.resync(image)
	w.a.recreated(before)
	w.synced(w.b, w.a, image)
	w.b.write(image, 61)
	w.synced(w.b, w.a, image)
}

// The daemon dies while it replays; the replica is taken into use as it is.
func TestScenario39ForcedPromotionOfAHalfReplayedImageJournal(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t).mirrored(true)
	reached, release := w.heldBack()
	for seed := range uint64(6) {
		w.a.write(image, 30+seed)
	}
	<-reached
	w.a.snap(image, "newer")
	w.b.cutOff()
	release()
	w.b.stop()
	w.b.promote(image, true)
	w.b.write(image, 60)
	w.a.run()
	w.a.awaitStatus(image, "up+stopped", "local image is primary")
	w.a.demote(image)
	w.a.awaitStatus(image, "up+error", "split-brain")
	before := w.a.id(image)
	w.a.resync(image)
	w.a.recreated(before)
	w.synced(w.b, w.a, image)
}

func TestScenario46FiftyImagesJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.journal = true
	const images = 50
	name := func(i int) string { return fmt.Sprintf("%s/image%d", pool, i) }
	w.b.run()
	for i := range images {
		w.a.create(name(i), 4<<order, rbd.CreateOptions{JournalOrder: 16, FeaturesSet: rbd.FeatureJournaling})
		w.a.enable(name(i))
		w.a.write(name(i), uint64(i))
		w.a.snap(name(i), "snap")
		w.a.write(name(i), uint64(100+i))
	}
	for i := range images {
		w.synced(w.a, w.b, name(i))
	}
	for i := range images {
		w.a.disable(name(i))
		w.a.with(name(i), func(img *rbd.Image) error { return img.PurgeSnapshots(w.ctx, true, nil) })
		w.a.remove(name(i))
	}
	for i := range images {
		w.b.awaitGone(name(i))
	}
	w.clean()
}

func TestScenario47DisabledOrDeletedDuringTheBootstrapJournal(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t)
	w.journal = true
	w.b.run()
	for i := range 10 {
		spec := fmt.Sprintf("%s/image%d", pool, i)
		w.a.create(spec, imageSize, rbd.CreateOptions{})
		w.a.fill(spec, byte(i))
		reached, release := w.heldBack()
		w.a.enable(spec)
		gid := w.a.gid(spec)
		switch i % 3 {
		case 0: // while it is copied
			<-reached
		case 1: // when it is there
			w.eventually("the replica is made", func() (bool, string) {
				_, err := meta.ImageID(w.ctx, w.b.io(spec), gid)
				return err == nil, fmt.Sprint(err)
			})
		}
		w.a.disable(spec)
		if i%2 == 0 {
			w.a.with(spec, func(img *rbd.Image) error { return img.PurgeSnapshots(w.ctx, true, nil) })
			require.NoError(t, rbd.Remove(w.ctx, w.a.io(spec), base(spec), nil))
		}
		release()
		w.b.awaitGone(spec)
		if i%2 != 0 {
			w.eventually("no point of a copy is left", func() (bool, string) {
				kinds := w.a.snapKinds(spec)
				return len(kinds) == 0, fmt.Sprint(kinds)
			})
		}
	}
	w.clean()
}
