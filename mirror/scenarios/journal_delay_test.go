package scenarios

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// TestJournalReplayDelay: with rbd_mirroring_replay_delay entries wait, the status
// says so, and a change of the pool's configuration ends that.
func TestJournalReplayDelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.a.create(image, imageSize, rbd.CreateOptions{FeaturesSet: rbd.FeatureJournaling})
	x := w.a.own(image)
	rnd := rand.New(rand.NewPCG(3, 4))
	x.write(rnd)
	io, id := w.a.io(image), w.a.id(image)
	require.NoError(t, meta.SetImage(w.ctx, io, id, wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal}))
	w.b.run()
	w.replayed(x)
	w.b.stop()
	require.NoError(t, w.b.cfg.Set(conf.LevelOverride, "rbd_mirroring_replay_delay", "3600"))
	w.b.run()
	x.write(rnd)
	require.NoError(t, x.j.FlushCommitPosition(w.ctx))
	w.b.awaitStatus(image, "up+replaying", `"entries_behind_primary":1,`)
	require.NoError(t, rbd.PoolMetadataSet(w.ctx, w.b.io(image), "conf_rbd_mirroring_replay_delay", "0"))
	require.NoError(t, x.img.NotifyUpdate(w.ctx)) // or the daemon looks by itself, in a while
	w.replayed(x)
	x.close()
}
