package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

// journaled is an image whose owner records what it does before it does it, as
// librbd does.
type journaled struct {
	w   *world
	img *rbd.Image
	j   *journal.Journal
	rec *journal.Recorder
	tag jwire.Tag
	ops uint64
}

// own takes a journaled image over: a tag of its own, as every owner has.
func (s *site) own(spec string) *journaled {
	s.w.Helper()
	o := journal.DefaultOptions()
	o.CommitAge = 10 * time.Millisecond
	o.MaxConcurrentSets = uint64(s.cfg.Int("rbd_journal_max_concurrent_object_sets"))
	j, err := journal.Open(s.w.ctx, s.io(spec), s.id(spec), "", o)
	require.NoError(s.w, err)
	newest, data, err := rbd.NewestTag(s.w.ctx, j)
	require.NoError(s.w, err)
	require.Equal(s.w, jwire.LocalOwner, data.MirrorUUID, "%s is not primary on %s", spec, s.name)
	data.Predecessor = jwire.TagPredecessor{}
	if p := j.CommitPosition(); len(p) > 0 {
		data.Predecessor.CommitValid, data.Predecessor.TagTID, data.Predecessor.EntryTID = true, p[0].TagTID, p[0].EntryTID
	}
	x := &journaled{w: s.w, j: j, img: s.open(spec, rbd.OpenOptions{ExternalReplay: true})}
	x.tag, err = j.AllocateTag(s.w.ctx, newest.Class, data.Append(nil))
	require.NoError(s.w, err)
	x.rec, err = j.NewRecorder(s.w.ctx)
	require.NoError(s.w, err)
	return x
}

func (x *journaled) close() {
	x.w.Helper()
	require.NoError(x.w, x.rec.Close(x.w.ctx))
	require.NoError(x.w, x.j.FlushCommitPosition(x.w.ctx))
	require.NoError(x.w, x.j.Close(x.w.ctx))
	require.NoError(x.w, x.img.Close(x.w.ctx))
}

// do records an event, and carries it out.
func (x *journaled) do(ev jwire.Event, f func(ctx context.Context) error) {
	x.w.Helper()
	require.NoError(x.w, x.attempt(ev, f))
}

func (x *journaled) attempt(ev jwire.Event, f func(ctx context.Context) error) error {
	ev.Time = denc.TimeOf(time.Now())
	future, err := x.rec.Append(x.w.ctx, x.tag.TID, ev.Append(nil))
	if err != nil {
		return err
	}
	if err := future.Wait(x.w.ctx); err != nil {
		return err
	}
	if err := f(x.w.ctx); err != nil {
		return err
	}
	future.Committed()
	return nil
}

// op is do for operations, which have an end.
func (x *journaled) op(ev jwire.Event, f func(ctx context.Context) error) {
	x.w.Helper()
	x.ops++
	ev.OpTID = x.ops
	x.do(ev, f)
	x.do(jwire.Event{Type: jwire.EventOpFinish, OpTID: ev.OpTID}, func(context.Context) error { return nil })
}

func (x *journaled) write(rnd *rand.Rand) {
	size := x.img.Size()
	off := rnd.Uint64N(size)
	n := min(1+rnd.Uint64N(9000), size-off)
	p := bytes.Repeat([]byte{byte(rnd.Uint32())}, int(n))
	switch rnd.IntN(8) {
	case 0:
		x.do(jwire.Event{Type: jwire.EventDiscard, Offset: off, Length: n}, func(ctx context.Context) error {
			return x.img.WriteZeroes(ctx, off, n)
		})
	case 1:
		n = n / 16 * 16
		x.do(jwire.Event{Type: jwire.EventWriteSame, Offset: off, Length: n, Data: []byte("0123456789abcdef")}, func(ctx context.Context) error {
			_, err := x.img.WriteAt(ctx, bytes.Repeat([]byte("0123456789abcdef"), int(n/16)), off)
			return err
		})
	case 2:
		have := make([]byte, n)
		_, err := x.img.ReadAt(x.w.ctx, have, off)
		require.NoError(x.w, err)
		x.do(jwire.Event{Type: jwire.EventCompareAndWrite, Offset: off, Length: n, Compare: have, Data: p}, func(ctx context.Context) error {
			_, err := x.img.WriteAt(ctx, p, off)
			return err
		})
	default:
		x.do(jwire.Event{Type: jwire.EventWrite, Offset: off, Length: n, Data: p}, func(ctx context.Context) error {
			_, err := x.img.WriteAt(ctx, p, off)
			return err
		})
	}
}

func (x *journaled) snap(name string) {
	ns := wire.SnapshotNamespace{}
	x.op(jwire.Event{Type: jwire.EventSnapCreate, Name: name, Namespace: ns.Append(nil)}, func(ctx context.Context) error {
		_, err := x.img.CreateSnapshot(ctx, name, ns, rbd.SnapshotOptions{SkipQuiesce: true})
		return err
	})
}

func (x *journaled) resize(size uint64) {
	x.op(jwire.Event{Type: jwire.EventResize, Size: size}, func(ctx context.Context) error { return x.img.Resize(ctx, size, true, nil) })
}

// replayed waits until the status says that all entries are here, and compares.
func (w *world) replayed(x *journaled) {
	w.Helper()
	require.NoError(w, x.j.FlushCommitPosition(w.ctx))
	at := x.j.CommitPosition()[0]
	want := fmt.Sprintf(`"non_primary_position":{"entry_tid":%d,"object_number":%d,"tag_tid":%d}`, at.EntryTID, at.Object, at.TagTID)
	w.b.awaitStatus(image, "up+replaying", want)
	w.equal(w.a, image, w.b, image)
}

// TestScenario03JournalIsReplayed follows a writer through its journal while the
// daemon is killed now and then.
func TestScenario03JournalIsReplayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w.a.create(image, imageSize, rbd.CreateOptions{FeaturesSet: rbd.FeatureJournaling})
	x := w.a.own(image)
	for range 20 {
		x.write(rnd)
	}
	x.snap("before")
	io, id := w.a.io(image), w.a.id(image)
	require.NoError(t, meta.SetImage(w.ctx, io, id, wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal}))
	w.b.run()
	w.replayed(x)
	for round := range 6 {
		for range 30 {
			x.write(rnd)
		}
		x.snap(fmt.Sprintf("s%d", round))
		switch round {
		case 1:
			w.b.kill()
			x.write(rnd)
			w.b.run()
		case 2:
			x.resize(imageSize + 3<<order)
		case 3:
			x.resize(imageSize - 5<<order)
		case 4:
			s, _ := x.img.UserSnapshot("s1")
			x.op(jwire.Event{Type: jwire.EventSnapRollback, Name: "s1", Namespace: wire.SnapshotNamespace{}.Append(nil)}, func(ctx context.Context) error {
				return x.img.Rollback(ctx, s.ID, nil)
			})
		}
		for range 10 {
			x.write(rnd)
		}
		w.replayed(x)
	}
	x.close()
	// The next owner goes on under a tag of its own.
	x = w.a.own(image)
	for range 10 {
		x.write(rnd)
	}
	w.replayed(x)
	x.close()
}

// TestJournalWritesBeforeTheEndOfAnOperation has a writer that goes on, as librbd's
// may, after a snapshot or a resize is done and before the journal says so, or before
// a rollback begins that the journal announces.
func TestJournalWritesBeforeTheEndOfAnOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.a.create(image, imageSize, rbd.CreateOptions{FeaturesSet: rbd.FeatureJournaling})
	x := w.a.own(image)
	io, id := w.a.io(image), w.a.id(image)
	require.NoError(t, meta.SetImage(w.ctx, io, id, wire.MirrorImage{GlobalID: snapshots.NewUUID(), State: wire.MirrorImageEnabled, Mode: wire.MirrorImageJournal}))
	w.b.run()
	put := func(off uint64, c byte) {
		p := bytes.Repeat([]byte{c}, 4096)
		x.do(jwire.Event{Type: jwire.EventWrite, Offset: off, Length: uint64(len(p)), Data: p}, func(ctx context.Context) error {
			_, err := x.img.WriteAt(ctx, p, off)
			return err
		})
	}
	put(0, 'a')
	w.replayed(x)
	ns := wire.SnapshotNamespace{}
	x.ops++
	x.do(jwire.Event{Type: jwire.EventSnapCreate, OpTID: x.ops, Name: "s", Namespace: ns.Append(nil)}, func(ctx context.Context) error {
		_, err := x.img.CreateSnapshot(ctx, "s", ns, rbd.SnapshotOptions{SkipQuiesce: true})
		return err
	})
	put(0, 'b')
	x.do(jwire.Event{Type: jwire.EventOpFinish, OpTID: x.ops}, func(context.Context) error { return nil })
	x.ops++
	x.do(jwire.Event{Type: jwire.EventResize, OpTID: x.ops, Size: imageSize + 1<<order}, func(ctx context.Context) error {
		return x.img.Resize(ctx, imageSize+1<<order, true, nil)
	})
	put(imageSize, 'c')
	x.do(jwire.Event{Type: jwire.EventOpFinish, OpTID: x.ops}, func(context.Context) error { return nil })
	put(4096, 'd')
	w.replayed(x)
	// A rollback undoes what is written between its events: librbd stops the writers
	// only after the first, and lets them go on after the second.
	x.ops++
	x.do(jwire.Event{Type: jwire.EventSnapRollback, OpTID: x.ops, Name: "s", Namespace: ns.Append(nil)}, func(context.Context) error { return nil })
	put(0, 'e')
	s, _ := x.img.UserSnapshot("s")
	require.NoError(t, x.img.Rollback(w.ctx, s.ID, nil))
	x.do(jwire.Event{Type: jwire.EventOpFinish, OpTID: x.ops}, func(context.Context) error { return nil })
	put(8192, 'f')
	w.replayed(x)
	x.close()
}
