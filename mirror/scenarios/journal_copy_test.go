package scenarios

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// TestJournalFirstCopyIsGoneOnWith kills the daemon as soon as it has made the
// snapshot that it copies from; the next one finds it in the journal.
func TestJournalFirstCopyIsGoneOnWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.a.create(image, imageSize, rbd.CreateOptions{FeaturesSet: rbd.FeatureJournaling})
	x := w.a.own(image)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		x.write(rnd)
	}
	io, id := w.a.io(image), w.a.id(image)
	require.NoError(t, meta.SetImage(w.ctx, io, id, wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal}))
	reached, release := w.heldBack()
	w.b.run()
	<-reached
	w.b.cutOff()
	release()
	w.b.stop()
	state, err := journal.ReadState(w.ctx, io, id)
	require.NoError(t, err)
	site := ""
	for _, c := range state.Clients {
		var data jwire.ClientData
		r := denc.NewReader(c.Data)
		data.Decode(r)
		require.NoError(t, r.Err(), "data of client %q", c.ID)
		if c.ID != "" {
			site = c.ID
			require.Equal(t, jwire.PeerSyncing, data.State, "the copy was over before the daemon was killed")
			require.Len(t, data.SyncPoints, 1)
		}
	}
	x.write(rnd)
	w.b.run()
	w.replayed(x)
	// A daemon that died before it removed what it had copied from.
	w.b.kill()
	_, err = x.img.CreateSnapshot(w.ctx, ".rbd-mirror."+site+".left", wire.SnapshotNamespace{}, rbd.SnapshotOptions{SkipQuiesce: true})
	require.NoError(t, err)
	w.b.run()
	x.write(rnd)
	w.replayed(x)
	require.NoError(t, x.img.Refresh(w.ctx))
	require.Empty(t, x.img.Snapshots())
	x.close()
}
