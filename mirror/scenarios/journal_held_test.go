package scenarios

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// TestJournalMoreThanFitsIntoAnOperation: so much is written between the beginning of an
// operation and its end, that it cannot be held back; once the end comes, once its owner
// dies before. All of it arrives, and nothing of it in the snapshot.
func TestJournalMoreThanFitsIntoAnOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.a.create(image, imageSize, rbd.CreateOptions{FeaturesSet: rbd.FeatureJournaling})
	x := w.a.own(image)
	io, id := w.a.io(image), w.a.id(image)
	require.NoError(t, meta.SetImage(w.ctx, io, id, wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal}))
	w.b.run()
	nothing := func(context.Context) error { return nil }
	put := func(off uint64, c byte) {
		p := bytes.Repeat([]byte{c}, 1<<20)
		x.do(jwire.Event{Type: jwire.EventWrite, Offset: off, Length: uint64(len(p)), Data: p}, func(ctx context.Context) error {
			_, err := x.img.WriteAt(ctx, p, off)
			return err
		})
	}
	much := func() {
		for i := range 70 { // 70 MiB, of which 64 are held back
			put(uint64(i)<<12, byte(i)|1)
		}
	}
	put(0, 'a')
	w.replayed(x)

	ns := wire.SnapshotNamespace{}
	x.ops++
	x.do(jwire.Event{Type: jwire.EventSnapCreate, OpTID: x.ops, Name: "s", Namespace: ns.Append(nil)}, func(ctx context.Context) error {
		_, err := x.img.CreateSnapshot(ctx, "s", ns, rbd.SnapshotOptions{SkipQuiesce: true})
		return err
	})
	much()
	x.do(jwire.Event{Type: jwire.EventOpFinish, OpTID: x.ops}, nothing)
	put(0, 'b')
	w.replayed(x)

	x.ops++
	x.do(jwire.Event{Type: jwire.EventResize, OpTID: x.ops, Size: 2 * imageSize}, func(ctx context.Context) error {
		return x.img.Resize(ctx, 2*imageSize, true, nil)
	})
	put(imageSize, 'c')
	much()
	x.close()
	x = w.a.own(image)
	put(imageSize+1<<12, 'd')
	w.replayed(x)
	x.close()
}
