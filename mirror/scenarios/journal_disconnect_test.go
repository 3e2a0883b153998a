package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
)

// disconnect takes site-b's client of the image's journal off, as `rbd journal
// client disconnect` does.
func (w *world) disconnect() {
	w.Helper()
	uuid, err := meta.UUID(w.ctx, w.b.io(image))
	require.NoError(w, err)
	require.NoError(w, withJournal(w.ctx, w.a.io(image), w.a.id(image), func(j *journal.Journal, _ jwire.Tag, _ jwire.TagData) error {
		return j.SetClientState(w.ctx, uuid, jwire.ClientDisconnected)
	}))
}

func TestScenario33DisconnectedClientJournal(t *testing.T) {
	w := mirroredByJournal(t)
	before := w.b.id(image)
	w.disconnect()
	w.b.awaitStatus(image, "up+error", "disconnected")
	w.a.write(image, 2)
	w.b.resync(image)
	w.b.recreated(before)
	w.synced(w.a, w.b, image)
	w.b.awaitStatus(image, "up+replaying", w.idle())
	w.a.write(image, 3)
	w.synced(w.a, w.b, image)
	w.removed()
}

func TestScenario34DisconnectedByLagJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.journal = true
	w.a.create(image, imageSize, rbd.CreateOptions{JournalOrder: 14, FeaturesSet: rbd.FeatureJournaling})
	w.a.write(image, 1)
	w.a.enable(image)
	w.b.run()
	w.synced(w.a, w.b, image)
	w.b.stop()
	require.NoError(t, w.a.cfg.Set(conf.LevelOverride, "rbd_journal_max_concurrent_object_sets", "2"))
	uuid, err := meta.UUID(w.ctx, w.b.io(image))
	require.NoError(t, err)
	w.eventually("site-b's client is disconnected", func() (bool, string) {
		w.a.write(image, 2)
		st, err := journal.ReadState(w.ctx, w.a.io(image), w.a.id(image))
		require.NoError(t, err)
		return st.Client(uuid).State == jwire.ClientDisconnected, ""
	})
	before := w.b.id(image)
	for range 2 { // also after another start
		w.b.run()
		w.b.awaitStatus(image, "up+error", "disconnected")
		w.b.stop()
	}
	require.Equal(t, before, w.b.id(image))
	w.b.run()
	w.b.resync(image)
	w.b.recreated(before)
	w.synced(w.a, w.b, image)
	w.removed()
}

func TestScenario35ResyncAfterDisconnectJournal(t *testing.T) {
	t.Run("is set for the image", func(t *testing.T) {
		w := mirroredByJournal(t)
		before := w.b.id(image)
		// The replica has it from the primary.
		w.a.with(image, func(img *rbd.Image) error {
			return img.MetadataSet(w.ctx, "conf_rbd_mirroring_resync_after_disconnect", []byte("true"))
		})
		w.synced(w.a, w.b, image)
		w.disconnect()
		w.b.recreated(before)
		w.synced(w.a, w.b, image)
		w.a.write(image, 2)
		w.synced(w.a, w.b, image)
		w.removed()
	})
	t.Run("is not set", func(t *testing.T) {
		w := mirroredByJournal(t)
		before := w.b.id(image)
		w.disconnect()
		w.b.awaitStatus(image, "up+error", "disconnected")
		w.a.write(image, 2)
		w.b.stop()
		w.b.run()
		w.b.awaitStatus(image, "up+error", "disconnected")
		require.Equal(t, before, w.b.id(image))
	})
}
