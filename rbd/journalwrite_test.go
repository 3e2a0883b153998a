package rbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/journal"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd/wire"
)

const journaledFeatures = FeatureLayering | FeatureExclusiveLock | FeatureObjectMap | FeatureFastDiff | FeatureDeepFlatten | FeatureJournaling

// fakePool is a pool "rbd" of a cluster in memory, through a client of its own.
func fakePool(t testing.TB, c *fakecluster.Cluster) *rados.IoCtx {
	t.Helper()
	key, err := c.Key("client.admin")
	if err != nil {
		t.Fatal(err)
	}
	cfg := conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	for k, v := range map[string]string{"mon_host": c.MonHost(), "key": key} {
		if err := cfg.Set(conf.LevelOverride, k, v); err != nil {
			t.Fatal(err)
		}
	}
	cl, err := rados.Connect(t.Context(), cfg, rados.WithDialer(c.Dialer()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	pool, err := cl.OpenPool(t.Context(), "rbd")
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func journaledImage(t *testing.T, pool *rados.IoCtx, name string, size uint64) *Image {
	t.Helper()
	_, err := Create(t.Context(), pool, name, size, CreateOptions{Order: 16, Features: journaledFeatures, HasFeatures: true, JournalOrder: 16})
	if err != nil {
		t.Fatal(err)
	}
	img := openImage(t, pool, name)
	// A reader who reads nothing keeps the journal whole.
	j, err := journal.Open(t.Context(), pool, img.ID(), "reader", journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close(t.Context())
	if err := j.Register(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return img
}

func openImage(t testing.TB, pool *rados.IoCtx, name string) *Image {
	t.Helper()
	img, err := Open(t.Context(), pool, name, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = img.Close(ctx)
	})
	return img
}

// journalEvents reads all events of an image's journal.
func journalEvents(t *testing.T, pool *rados.IoCtx, id string) (events []jwire.Event, tags []uint64) {
	t.Helper()
	ctx := t.Context()
	j, err := journal.Open(ctx, pool, id, "", journal.Options{NoTrim: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close(ctx)
	p, err := j.NewPlayer(ctx, journal.PlayerOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for {
		e, err := p.Next(ctx)
		if errors.Is(err, io.EOF) {
			return events, tags
		}
		if err != nil {
			t.Fatal(err)
		}
		var ev jwire.Event
		r := denc.NewReader(e.Data)
		if ev.Decode(r); r.Err() != nil {
			t.Fatal(r.Err())
		}
		events, tags = append(events, ev), append(tags, e.TagTID)
	}
}

func kinds(events []jwire.Event) (k []jwire.EventType) {
	for _, ev := range events {
		k = append(k, ev.Type)
	}
	return k
}

// replayed applies a journal to an image of its own and returns it.
func replayed(t *testing.T, pool *rados.IoCtx, name string, size uint64, events []jwire.Event) *Image {
	t.Helper()
	ctx := t.Context()
	if _, err := Create(ctx, pool, name, size, CreateOptions{Order: 16, Features: journaledFeatures &^ FeatureJournaling, HasFeatures: true}); err != nil {
		t.Fatal(err)
	}
	img := openImage(t, pool, name)
	p := NewEventReplay(img, 8)
	defer p.Close()
	for _, ev := range events {
		if ev.Type == jwire.EventRename {
			continue
		}
		if err := p.Apply(ctx, ev, func(error) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	return img
}

// content reads an image at a snapshot, or its head.
func content(t *testing.T, img *Image, snap uint64) []byte {
	t.Helper()
	if err := img.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := img.SizeAt(snap)
	if err != nil {
		t.Fatal(err)
	}
	d, err := img.ReadSnap(t.Context(), snap, 0, n)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(d.Bytes())
}

func sameImages(t *testing.T, a, b *Image) {
	t.Helper()
	if !bytes.Equal(content(t, a, NoSnap), content(t, b, NoSnap)) {
		t.Errorf("the heads of %s and %s differ", a.Name(), b.Name())
	}
	for _, s := range a.Snapshots() {
		o, ok := b.UserSnapshot(s.Name)
		if !ok {
			t.Errorf("%s has no snapshot %s", b.Name(), s.Name)
			continue
		}
		if !bytes.Equal(content(t, a, s.ID), content(t, b, o.ID)) {
			t.Errorf("snapshot %s differs", s.Name)
		}
	}
	if len(a.Snapshots()) != len(b.Snapshots()) {
		t.Errorf("%d and %d snapshots", len(a.Snapshots()), len(b.Snapshots()))
	}
}

func user() SnapshotNamespace { return SnapshotNamespace{} }

func TestJournalRecordsEverythingThatAnOwnerDoes(t *testing.T) {
	ctx := t.Context()
	pool := anycluster.Pool(t)
	img := journaledImage(t, pool, "i", 1<<20)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(off uint64, n int, b byte) {
		t.Helper()
		_, err := img.WriteAt(ctx, bytes.Repeat([]byte{b}, n), off)
		must(err)
	}
	snap := func(name string) uint64 {
		t.Helper()
		id, err := img.CreateSnapshot(ctx, name, user(), SnapshotOptions{SkipQuiesce: true})
		must(err)
		return id
	}
	write(100, 5000, 1)
	one := snap("one")
	write(60000, 40000, 2) // more than an entry holds
	must(img.Discard(ctx, 0, 1<<17))
	must(img.WriteZeroes(ctx, 70000, 512))
	must(img.WriteSame(ctx, 1000, 70000, []byte("seventy")))
	must(img.CompareAndWrite(ctx, 1001, []byte("eventys"), []byte("another")))
	var differs *MismatchError
	if err := img.CompareAndWrite(ctx, 1001, []byte("anoTher"), []byte("changes")); !errors.As(err, &differs) || differs.Offset != 1004 {
		t.Fatalf("got %v", err)
	}
	if err := img.CompareAndWrite(ctx, 1<<16-3, []byte("anoTher"), []byte("changes")); !errors.Is(err, rados.ErrInvalid) {
		t.Fatalf("across two objects: %v", err)
	}
	must(img.Flush(ctx))
	must(img.Resize(ctx, 2<<20, false, nil))
	write(2<<20-100, 100, 3)
	must(img.RenameSnapshot(ctx, one, "uno"))
	must(img.ProtectSnapshot(ctx, one))
	must(img.UnprotectSnapshot(ctx, one))
	two := snap("two")
	write(0, 1<<17, 4)
	must(img.Rollback(ctx, two, nil))
	must(img.Resize(ctx, 300000, true, nil))
	must(img.SetSnapshotLimit(ctx, 9))
	must(img.MetadataSet(ctx, "k", []byte("v")))
	must(img.MetadataRemove(ctx, "k"))
	must(img.Rename(ctx, "other"))
	must(img.DisableFeatures(ctx, FeatureFastDiff))
	three := snap("three")
	must(img.RemoveSnapshot(ctx, three))
	must(img.Close(ctx))

	events, tags := journalEvents(t, pool, img.ID())
	const end = jwire.EventOpFinish
	want := []jwire.EventType{
		jwire.EventWrite, jwire.EventSnapCreate, end, jwire.EventWrite, jwire.EventWrite, jwire.EventWrite, jwire.EventDiscard, jwire.EventDiscard,
		jwire.EventWriteSame, jwire.EventCompareAndWrite, jwire.EventCompareAndWrite, jwire.EventFlush,
		jwire.EventResize, end, jwire.EventWrite, jwire.EventSnapRename, end, jwire.EventSnapProtect, end, jwire.EventSnapUnprotect, end, jwire.EventSnapCreate, end,
		jwire.EventWrite, jwire.EventWrite, jwire.EventWrite, jwire.EventWrite, jwire.EventWrite, jwire.EventWrite, jwire.EventWrite, jwire.EventWrite, jwire.EventWrite,
		jwire.EventSnapRollback, end, jwire.EventResize, end, jwire.EventSnapLimit, end, jwire.EventMetadataSet, end, jwire.EventMetadataRemove, end,
		jwire.EventRename, end, jwire.EventUpdateFeatures, end, jwire.EventSnapCreate, end, jwire.EventSnapRemove, end,
	}
	if got := kinds(events); !slices.Equal(got, want) {
		t.Errorf("events %v\nwant   %v", got, want)
	}
	for i, ev := range events {
		if ev.Result != 0 || ev.Time.IsZero() || tags[i] != 1 {
			t.Errorf("event %d of tag %d: %+v", i, tags[i], ev)
		}
	}
	sameImages(t, openImage(t, pool, "other"), replayed(t, pool, "copy", 1<<20, events))
	// All of it is committed, and the next owner's tag says so.
	again := openImage(t, pool, "other")
	must(again.AcquireLock(ctx))
	tag, data, err := JournalOwner(ctx, pool, img.ID())
	must(err)
	p := data.Predecessor
	if tag.TID != 2 || !p.CommitValid || p.TagTID != 1 || p.EntryTID != uint64(len(events)-1) || p.MirrorUUID != jwire.LocalOwner {
		t.Errorf("tag %d: %+v after %d events", tag.TID, data, len(events))
	}
}

// crash makes the image's owner disappear: it writes nothing any more, and the lock
// is free for the next.
func crash(t *testing.T, img *Image) {
	t.Helper()
	ctx := t.Context()
	o := img.journal.Swap(nil)
	if err := o.rec.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	owner, err := img.LockOwner(ctx)
	if err != nil {
		t.Fatal(err)
	}
	op := rados.NewOp()
	callBreakLock(op, owner.Name, owner.Cookie)
	if err := img.io.Operate(ctx, img.oid, op); err != nil {
		t.Fatal(err)
	}
	img.lock.lost()
}

func TestNextOwnerAppliesWhatADeadOneRecorded(t *testing.T) {
	ctx := t.Context()
	pool := anycluster.Pool(t)
	img := journaledImage(t, pool, "i", 1<<20)
	if _, err := img.WriteAt(ctx, []byte("before"), 0); err != nil {
		t.Fatal(err)
	}
	o := img.journal.Load()
	c := o.newRecording()
	for _, ev := range []jwire.Event{
		{Type: jwire.EventWrite, Offset: 4096, Length: 5, Data: []byte("after")},
		{Type: jwire.EventSnapCreate, OpTID: 7, Name: "s", Namespace: user().Append(nil)},
	} {
		if err := o.record(ctx, c, &ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.last().Wait(ctx); err != nil {
		t.Fatal(err)
	}
	crash(t, img)

	next := openImage(t, pool, "i")
	if _, err := next.WriteAt(ctx, []byte("next"), 8192); err != nil {
		t.Fatal(err)
	}
	got := content(t, next, NoSnap)
	if string(got[:6]) != "before" || string(got[4096:4101]) != "after" || string(got[8192:8196]) != "next" {
		t.Errorf("%q %q %q", got[:6], got[4096:4101], got[8192:8196])
	}
	s, ok := next.UserSnapshot("s")
	if !ok {
		t.Fatal("the snapshot was not made")
	}
	if got := content(t, next, s.ID); string(got[4096:4101]) != "after" || got[8192] != 0 {
		t.Errorf("snapshot: %q %q", got[4096:4101], got[8192:8196])
	}
	if err := next.Close(ctx); err != nil {
		t.Fatal(err)
	}
	events, tags := journalEvents(t, pool, img.ID())
	if len(events) != 4 || tags[3] != 2 {
		t.Errorf("%v of tags %v", kinds(events), tags)
	}
}

func TestWhatFailedIsReplayedBeforeAnythingElse(t *testing.T) {
	ctx := t.Context()
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	pool := fakePool(t, c)
	img := journaledImage(t, pool, "i", 1<<20)
	if _, err := img.WriteAt(ctx, []byte("first"), 0); err != nil {
		t.Fatal(err)
	}
	remove := c.Inject(fakecluster.Fault{Object: img.ObjectName(1), Errno: 5})
	if _, err := img.WriteAt(ctx, []byte("fails"), 1<<16); !errors.Is(err, rados.ErrIO) {
		t.Fatalf("got %v", err)
	}
	if _, err := img.WriteAt(ctx, []byte("other"), 1<<17); !errors.Is(err, rados.ErrIO) {
		t.Fatalf("a write passed one that failed: %v", err)
	}
	remove()
	if _, err := img.WriteAt(ctx, []byte("other"), 1<<17); err != nil {
		t.Fatal(err)
	}
	got := content(t, img, NoSnap)
	if string(got[1<<16:1<<16+5]) != "fails" || string(got[1<<17:1<<17+5]) != "other" {
		t.Errorf("%q %q", got[1<<16:1<<16+5], got[1<<17:1<<17+5])
	}
	if err := img.Close(ctx); err != nil {
		t.Fatal(err)
	}
	events, _ := journalEvents(t, pool, img.ID())
	sameImages(t, openImage(t, pool, "i"), replayed(t, pool, "copy", 1<<20, events))
}

func TestJournalOfAnotherSiteLetsNobodyWrite(t *testing.T) {
	ctx := t.Context()
	pool := anycluster.Pool(t)
	_, err := Create(ctx, pool, "i", 1<<20, CreateOptions{Features: journaledFeatures, HasFeatures: true, JournalOwner: "5a7e"})
	if err != nil {
		t.Fatal(err)
	}
	img := openImage(t, pool, "i")
	if _, err := img.WriteAt(ctx, []byte("x"), 0); !errors.Is(err, rados.ErrReadOnly) {
		t.Errorf("write: %v", err)
	}
	if err := img.Resize(ctx, 2<<20, false, nil); !errors.Is(err, rados.ErrReadOnly) {
		t.Errorf("resize: %v", err)
	}
	if owner, err := img.LockOwner(ctx); err != nil || owner != nil {
		t.Errorf("the lock is kept: %+v, %v", owner, err)
	}
}

func TestOverlappingWritersLeaveTheSameInImageAndJournal(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx := t.Context()
	pool := anycluster.Pool(t)
	const size = 1 << 18
	img := journaledImage(t, pool, "i", size)
	var wg sync.WaitGroup
	for w := range 12 {
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		wg.Go(func() {
			for range 60 {
				n := 1 + rng.Uint64N(20000)
				off := rng.Uint64N(size - n)
				var err error
				switch rng.IntN(12) {
				case 0:
					err = img.WriteZeroes(ctx, off, n)
				case 1:
					_, err = img.CreateSnapshot(ctx, fmt.Sprintf("s%x", rng.Uint64()), user(), SnapshotOptions{SkipQuiesce: true})
				case 2:
					// Given up somewhere in between.
					short, cancel := context.WithTimeout(ctx, time.Duration(rng.Uint64N(2000))*time.Microsecond)
					_, err = img.WriteAt(short, bytes.Repeat([]byte{byte(rng.Uint64())}, int(n)), off)
					cancel()
					if errors.Is(err, context.DeadlineExceeded) {
						err = nil
					}
				default:
					_, err = img.WriteAt(ctx, bytes.Repeat([]byte{byte(rng.Uint64())}, int(n)), off)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := img.Close(ctx); err != nil {
		t.Fatal(err)
	}
	// Who opens it next applies what is missing.
	next := openImage(t, pool, "i")
	if err := next.AcquireLock(ctx); err != nil {
		t.Fatal(err)
	}
	events, _ := journalEvents(t, pool, img.ID())
	sameImages(t, next, replayed(t, pool, "copy", size, events))
}

func TestJournalingSwitchedOnAndOff(t *testing.T) {
	ctx := t.Context()
	pool := anycluster.Pool(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mode := func(m uint32) {
		t.Helper()
		op := rados.NewOp()
		op.CallWrite(rbdClass, "mirror_uuid_set", denc.AppendString(nil, "uuid"))
		_ = pool.Operate(ctx, mirroringName, op)
		must(pool.ExecWrite(ctx, mirroringName, rbdClass, "mirror_mode_set", denc.AppendU32(nil, m)))
	}
	_, err := Create(ctx, pool, "i", 1<<20, CreateOptions{Order: 16, Features: journaledFeatures &^ FeatureJournaling, HasFeatures: true})
	must(err)
	img := openImage(t, pool, "i")
	_, err = img.WriteAt(ctx, []byte("before"), 0)
	must(err)
	must(img.EnableFeatures(ctx, FeatureJournaling))
	_, err = img.WriteAt(ctx, []byte("while"), 0)
	must(err)
	must(img.DisableFeatures(ctx, FeatureJournaling))
	_, err = img.WriteAt(ctx, []byte("after"), 0)
	must(err)
	if _, err := journal.ReadState(ctx, pool, img.ID()); !errors.Is(err, rados.ErrNotFound) {
		t.Errorf("the journal is still there: %v", err)
	}
	// In pool mode the mirroring follows.
	mode(wire.MirrorModePool)
	must(img.EnableFeatures(ctx, FeatureJournaling))
	m, err := mirrorEntry(ctx, pool, img.ID())
	if err != nil || m.State != wire.MirrorImageEnabled || m.Mode != wire.MirrorImageJournal || len(m.GlobalID) != 36 {
		t.Errorf("%+v, %v", m, err)
	}
	must(img.DisableFeatures(ctx, FeatureJournaling))
	if _, err := mirrorEntry(ctx, pool, img.ID()); !errors.Is(err, rados.ErrNotFound) {
		t.Errorf("it is still mirrored: %v", err)
	}
	// In image mode the mirroring has to end first.
	must(img.EnableFeatures(ctx, FeatureJournaling))
	mode(wire.MirrorModeImage)
	if err := img.DisableFeatures(ctx, FeatureJournaling); !errors.Is(err, rados.ErrInvalid) {
		t.Errorf("switched off below a mirrored image: %v", err)
	}
	_, err = img.WriteAt(ctx, []byte("still"), 0)
	must(err)
	// New images of the pool are mirrored, too.
	mode(wire.MirrorModePool)
	id, err := Create(ctx, pool, "j", 1<<20, CreateOptions{Order: 16, Features: journaledFeatures, HasFeatures: true})
	must(err)
	_, err = mirrorEntry(ctx, pool, id)
	must(err)
}

func TestCompareAndWriteOfAClone(t *testing.T) {
	ctx := t.Context()
	pool := anycluster.Pool(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	parent := journaledImage(t, pool, "parent", 1<<20)
	_, err := parent.WriteAt(ctx, []byte("parent"), 10)
	must(err)
	id, err := parent.CreateSnapshot(ctx, "s", user(), SnapshotOptions{SkipQuiesce: true})
	must(err)
	_, err = Clone(ctx, pool, parent.ID(), id, pool, "child", CreateOptions{CloneFormat: 2})
	must(err)
	img := openImage(t, pool, "child")
	must(img.CompareAndWrite(ctx, 10, []byte("parent"), []byte("child!")))
	must(img.CompareAndWrite(ctx, 1<<17, make([]byte, 3), []byte("new")))
	got := content(t, img, NoSnap)
	if string(got[10:16]) != "child!" || string(got[1<<17:1<<17+3]) != "new" {
		t.Errorf("%q %q", got[10:16], got[1<<17:1<<17+3])
	}
}
