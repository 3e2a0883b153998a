package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/denc"
	rwire "github.com/rbdm/rbdm/rados/wire"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// TestJournalFirstCopyIsGoneOnWith kills the daemon as soon as it has made the
// snapshot that it copies from; the next one finds it in the journal.
func TestJournalFirstCopyIsGoneOnWith(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t)
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

// TestJournalFirstCopyKnowsWhatIsDone kills the daemon in the middle of the first
// copy: the next one copies only what is not done.
func TestJournalFirstCopyKnowsWhatIsDone(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t)
	w.a.create(image, imageSize, rbd.CreateOptions{FeaturesSet: rbd.FeatureJournaling})
	x := w.a.own(image)
	x.snap("user")
	all := bytes.Repeat([]byte{7}, imageSize)
	x.do(jwire.Event{Type: jwire.EventFlush}, func(ctx context.Context) error {
		_, err := x.img.WriteAt(ctx, all, 0)
		return err
	})
	io, id := w.a.io(image), w.a.id(image)
	require.NoError(t, meta.SetImage(w.ctx, io, id, wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal}))
	remove := w.b.cluster.Inject(fakecluster.Fault{Prefix: "rbd_data.", Op: rwire.OpWrite, Skip: 6, Drop: true})
	w.b.run()
	w.b.awaitStatus(image, "up+syncing", "IMAGE_SYNC/COPY_IMAGE 28%")
	w.b.kill()
	remove()
	w.a.cluster.Record()
	w.b.run()
	w.b.awaitStatus(image, "up+replaying", "")
	read := map[string]bool{}
	for _, e := range w.a.cluster.Events() {
		for _, op := range e.Ops {
			if strings.HasPrefix(e.Object, "rbd_data.") && (op == rwire.OpRead || op == rwire.OpSparseRead || op == rwire.OpListSnaps) {
				read[e.Object] = true
			}
		}
	}
	require.NotEmpty(t, read)
	require.Less(t, len(read), imageSize>>order, "all was copied again")
	w.replayed(x)
	x.close()
}

// TestJournalReplayBeginsWhereTheCopyWasMade: what the journal says of the time before
// the snapshot that was copied from is not applied to the copy. It would make a
// snapshot again, of a name that was used twice, with what came later in it.
func TestJournalReplayBeginsWhereTheCopyWasMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.a.create(image, imageSize, rbd.CreateOptions{FeaturesSet: rbd.FeatureJournaling})
	img := w.a.open(image, rbd.OpenOptions{})
	write := func(off uint64) {
		_, err := img.WriteAt(w.ctx, bytes.Repeat([]byte{9}, 4096), off)
		require.NoError(t, err)
	}
	snap := func() uint64 {
		s, err := img.CreateSnapshot(w.ctx, "s", wire.SnapshotNamespace{}, rbd.SnapshotOptions{})
		require.NoError(t, err)
		return s
	}
	write(0)
	first := snap()
	write(4096)
	require.NoError(t, img.RemoveSnapshot(w.ctx, first))
	snap()
	write(8192)
	io, id := w.a.io(image), w.a.id(image)
	// As a writer leaves it that commits only now and then.
	nothing := jwire.CommitPosition(nil).Append(denc.AppendString(nil, ""))
	require.NoError(t, io.ExecWrite(w.ctx, journal.HeaderName(id), jwire.Class, jwire.MethodClientCommit, nothing))
	require.NoError(t, meta.SetImage(w.ctx, io, id, wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal}))
	w.b.run()
	w.b.awaitStatus(image, "up+replaying", "")
	write(12288)
	require.NoError(t, img.MetadataSet(w.ctx, "end", []byte("reached")))
	w.eventually("the end of the journal", func() (bool, string) {
		replica := w.b.open(image, rbd.OpenOptions{ReadOnly: true})
		defer replica.Close(w.ctx)
		v, err := replica.MetadataGet(w.ctx, "end")
		return string(v) == "reached", fmt.Sprint(err)
	})
	w.equal(w.a, image, w.b, image)
}
