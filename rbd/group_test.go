package rbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/fakecluster"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	rwire "github.com/rbdm/rbdm/rados/wire"
	"github.com/rbdm/rbdm/rbd/wire"
)

// groupTest is a group of a cluster.
type groupTest struct {
	t       *testing.T
	ctx     context.Context
	release int
	connect func() *rados.IoCtx // through a client of its own
	io      *rados.IoCtx
	g       *Group
	names   []string
}

func newGroupTest(t *testing.T, c *anycluster.Cluster) *groupTest {
	t.Helper()
	return groupTestOn(t, c.Release(), func() *rados.IoCtx { return c.Pool(t) })
}

// groupTestOn makes a group with three images, the last one with a journal.
func groupTestOn(t *testing.T, release int, connect func() *rados.IoCtx) *groupTest {
	t.Helper()
	x := &groupTest{t: t, ctx: t.Context(), release: release, connect: connect, io: connect(), names: []string{"a", "b", "c"}}
	_, err := CreateGroup(x.ctx, x.io, "g")
	x.check(err)
	x.g, err = OpenGroup(x.ctx, x.io, "g")
	x.check(err)
	for i, n := range x.names {
		o := CreateOptions{Order: 16, Features: journaledFeatures, HasFeatures: true}
		if i < 2 {
			o.FeaturesClear = FeatureJournaling
		}
		_, err := Create(x.ctx, x.io, n, 1<<20, o)
		x.check(err)
		x.check(x.g.AddImage(x.ctx, x.io, n))
	}
	return x
}

func (x *groupTest) check(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// fails makes sure that an error is of a kind.
func (x *groupTest) fails(err, want error) {
	x.t.Helper()
	if !errors.Is(err, want) {
		x.t.Fatalf("%v, want %v", err, want)
	}
}

// images opens all images through a client of its own.
func (x *groupTest) images() []*Image {
	x.t.Helper()
	io := x.connect()
	var all []*Image
	for _, n := range x.names {
		img, err := Open(x.ctx, io, n, OpenOptions{})
		x.check(err)
		x.t.Cleanup(func() { _ = img.Close(context.Background()) }) // once more if the test did
		all = append(all, img)
	}
	return all
}

// clean makes sure that nothing is left of a snapshot.
func (x *groupTest) clean() {
	x.t.Helper()
	snaps, err := x.g.Snapshots(x.ctx)
	x.check(err)
	if len(snaps) > 0 {
		x.t.Fatalf("left: %+v", snaps)
	}
	for _, n := range x.names {
		img, err := Open(x.ctx, x.io, n, OpenOptions{ReadOnly: true})
		x.check(err)
		if s := img.Snapshots(); len(s) > 0 {
			x.t.Fatalf("left in %s: %+v", n, s)
		}
		x.check(img.Close(x.ctx))
	}
}

func both(t *testing.T, f func(t *testing.T, x *groupTest)) {
	anycluster.Each(t, []int{16, 20}, func(t *testing.T, c *anycluster.Cluster) { f(t, newGroupTest(t, c)) })
}

// writer writes a counter to one image after the other until it is stopped.
type writer struct {
	images groupImages
	n      atomic.Uint64
	stop   func() error
}

func (w *writer) close() error { return w.images.close(context.Background()) }

func (x *groupTest) writer() *writer {
	images := x.images()
	w := &writer{images: images}
	ctx, cancel := context.WithCancel(x.ctx)
	done := make(chan error, 1)
	go func() {
		for n := uint64(1); ctx.Err() == nil; n++ {
			for _, img := range images {
				if _, err := img.WriteAt(x.ctx, binary.LittleEndian.AppendUint64(nil, n), 4096); err != nil {
					done <- err
					return
				}
			}
			w.n.Store(n)
		}
		done <- nil
	}()
	w.stop = func() error { cancel(); return <-done }
	return w
}

// shows returns the counters in the images of a snapshot.
func (x *groupTest) shows(name string) []uint64 {
	x.t.Helper()
	snap, err := x.g.Snapshot(x.ctx, name)
	x.check(err)
	counts := make([]uint64, len(x.names))
	for _, m := range snap.Images {
		img, err := OpenByID(x.ctx, x.io, m.ImageID, OpenOptions{SnapshotID: m.SnapID})
		x.check(err)
		p := make([]byte, 8)
		_, err = img.ReadAt(x.ctx, p, 4096)
		x.check(err)
		counts[slices.Index(x.names, img.Name())] = binary.LittleEndian.Uint64(p)
		x.check(img.Close(x.ctx))
	}
	return counts
}

// TestGroupSnapshotsShowOneInstant: whoever writes on, what a snapshot shows was
// there at one and the same time.
func TestGroupSnapshotsShowOneInstant(t *testing.T) {
	both(t, func(t *testing.T, x *groupTest) {
		w := x.writer()
		const rounds = 8
		for i := range rounds {
			for was := w.n.Load(); w.n.Load() < was+2; {
				time.Sleep(time.Millisecond)
			}
			_, err := x.g.CreateSnapshot(x.ctx, fmt.Sprint(i), SnapshotOptions{SkipQuiesce: i%2 == 0})
			x.check(err)
		}
		x.check(w.stop())
		last := uint64(0)
		for i := range rounds {
			c := x.shows(fmt.Sprint(i))
			if c[0] < c[1] || c[1] < c[2] || c[0] > c[2]+1 || c[2] < last {
				t.Errorf("snapshot %d shows %d after %d", i, c, last)
			}
			last = c[2]
		}
		if last == 0 {
			t.Fatal("the snapshots show nothing")
		}
		// Back to an earlier one, while the writer has the images open.
		x.check(x.g.RollbackSnapshot(x.ctx, "2", RollbackOptions{}))
		want := x.shows("2")
		_, err := x.g.CreateSnapshot(x.ctx, "back", SnapshotOptions{})
		x.check(err)
		if got := x.shows("back"); !slices.Equal(got, want) {
			t.Fatalf("%d after going back to %d", got, want)
		}
		snaps, err := x.g.Snapshots(x.ctx)
		x.check(err)
		if len(snaps) != rounds+1 || x.release >= 20 && snaps[rounds].Name != "back" {
			t.Fatalf("%+v", snaps)
		}
		x.check(RemoveGroup(x.ctx, x.io, "g"))
		x.check(w.close())
		for _, n := range x.names {
			x.check(Remove(x.ctx, x.io, n, nil))
		}
	})
}

// TestGroupSnapshotFailsWhole: whatever fails, nothing is left.
func TestGroupSnapshotFailsWhole(t *testing.T) {
	for _, release := range []int{16, 20} {
		t.Run(fmt.Sprint(release), func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.Release(release))
			snapshotFailsWhole(t, c, groupTestOn(t, release, func() *rados.IoCtx { return fakePool(t, c) }))
		})
	}
}

func snapshotFailsWhole(t *testing.T, cluster *fakecluster.Cluster, x *groupTest) {
	images := x.images()
	_, err := images[1].CreateSnapshot(x.ctx, "own", SnapshotNamespace{}, SnapshotOptions{})
	x.check(err)
	x.check(images[1].SetSnapshotLimit(x.ctx, 1))
	_, err = x.g.CreateSnapshot(x.ctx, "s", SnapshotOptions{})
	x.fails(err, rados.ErrQuota)
	x.check(images[1].SetSnapshotLimit(x.ctx, NoSnap+1))
	s, _ := images[1].UserSnapshot("own")
	x.check(images[1].RemoveSnapshot(x.ctx, s.ID))
	x.clean()
	// The record cannot be stored, or not be completed.
	for skip := range 2 {
		remove := cluster.Inject(fakecluster.Fault{Object: x.g.oid, Skip: skip, Times: 1, Errno: rados.ErrNoSpace, Match: func(e *fakecluster.Event) bool {
			return calls(e, wire.MethodGroupSnapSet)
		}})
		_, err = x.g.CreateSnapshot(x.ctx, "s", SnapshotOptions{})
		remove()
		x.fails(err, rados.ErrNoSpace)
		x.clean()
	}
	// An image's snapshots cannot be made, nor be taken back: the record tells of it.
	id := images[0].HeaderOID()
	remove := cluster.Inject(fakecluster.Fault{Object: x.g.oid, Skip: 1, Times: 1, Errno: rados.ErrNoSpace, Match: func(e *fakecluster.Event) bool {
		return calls(e, wire.MethodGroupSnapSet)
	}})
	defer cluster.Inject(fakecluster.Fault{Object: id, Times: 1, Errno: rados.ErrIO, Match: func(e *fakecluster.Event) bool {
		return calls(e, wire.MethodSnapshotRemove)
	}})()
	_, err = x.g.CreateSnapshot(x.ctx, "s", SnapshotOptions{})
	remove()
	x.fails(err, rados.ErrNoSpace)
	x.fails(err, rados.ErrIO)
	snap, err := x.g.Snapshot(x.ctx, "s")
	x.check(err)
	if snap.Complete {
		t.Fatalf("%+v", snap)
	}
	x.fails(x.g.RollbackSnapshot(x.ctx, "s", RollbackOptions{}), rados.ErrInvalid)
	x.check(x.g.RemoveSnapshot(x.ctx, "s"))
	x.clean()
}

// TestGroupChangedSinceItsSnapshot: a group that has other images than its snapshot
// is only taken back when that is wanted, and then in the images of the snapshot,
// of which one is in the trash.
func TestGroupChangedSinceItsSnapshot(t *testing.T) {
	both(t, func(t *testing.T, x *groupTest) {
		all := func(do func(img *Image) error) {
			t.Helper()
			for _, img := range x.images() {
				x.check(do(img))
				x.check(img.Close(x.ctx))
			}
		}
		write := func(n byte) {
			all(func(img *Image) error { _, err := img.WriteAt(x.ctx, []byte{n}, 4096); return err })
		}
		write(1)
		_, err := x.g.CreateSnapshot(x.ctx, "s", SnapshotOptions{})
		x.check(err)
		write(2)
		_, err = TrashMove(x.ctx, x.io, "b", MoveOptions{})
		x.fails(err, errTooManyLinks)
		id, err := TrashMove(x.ctx, x.io, "b", MoveOptions{InGroup: true})
		x.check(err)
		_, err = Create(x.ctx, x.io, "later", 1<<20, CreateOptions{})
		x.check(err)
		x.check(x.g.AddImage(x.ctx, x.io, "later"))
		if images, err := x.g.Images(x.ctx); err != nil || len(images) != 4 || images[0].Name != "" || images[0].ID != id {
			t.Fatalf("%+v, %v", images, err)
		}
		x.fails(x.g.RollbackSnapshot(x.ctx, "s", RollbackOptions{}), rados.ErrInvalid)
		x.check(x.g.RollbackSnapshot(x.ctx, "s", RollbackOptions{OtherMembers: true}))
		x.check(TrashRestore(x.ctx, x.io, id, ""))
		all(func(img *Image) error {
			p := make([]byte, 1)
			_, err := img.ReadAt(x.ctx, p, 4096)
			if p[0] != 1 {
				err = errors.Join(err, fmt.Errorf("image %s was not taken back", img.Name()))
			}
			return err
		})
		x.check(x.g.RemoveSnapshot(x.ctx, "s"))
		x.clean()
	})
}

// calls reports whether a request calls a method of RBD's class.
func calls(e *fakecluster.Event, method string) bool {
	if e.Op == nil || e.Out {
		return false
	}
	for i := range e.Op.Ops {
		if e.Op.Ops[i].Code != rwire.OpCall {
			continue
		}
		if class, m, _, ok := e.Op.Ops[i].CallParts(); ok && class == rbdClass && m == method {
			return true
		}
	}
	return false
}

// TestGroupSnapshotGivenUp: a caller that gives up at any moment leaves a snapshot
// or none, nothing between.
func TestGroupSnapshotGivenUp(t *testing.T) {
	both(t, func(t *testing.T, x *groupTest) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		made := 0
		for range 25 {
			ctx, cancel := context.WithTimeout(x.ctx, time.Duration(rng.Int64N(int64(15*time.Millisecond))))
			_, err := x.g.CreateSnapshot(ctx, "s", SnapshotOptions{})
			cancel()
			if err == nil {
				made++
				x.check(x.g.RemoveSnapshot(x.ctx, "s"))
			}
			x.clean()
		}
		t.Logf("%d of 25 were made", made)
	})
}

// TestGroupQuiesce: an opener that cannot hold its writes back keeps the snapshot
// from being made unless that is to be ignored, and is always told to go on.
func TestGroupQuiesce(t *testing.T) {
	x := newGroupTest(t, anycluster.New(t))
	id, err := LookupID(x.ctx, x.io, "b")
	x.check(err)
	other := x.connect()
	var mu sync.Mutex
	refuse := true
	heard := map[wire.NotifyOp]int{}
	w, err := other.Watch(x.ctx, headerPrefix+id, func(n *rados.Notification) {
		m, err := decodeMessage(n.Payload)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			heard[m.Op]++
		}
		if m.Op == wire.NotifyQuiesce && refuse {
			n.Ack(responseMessage(rados.ErrInvalid))
			return
		}
		n.Ack(responseMessage(nil))
	})
	x.check(err)
	defer w.Close(x.ctx)
	_, err = x.g.CreateSnapshot(x.ctx, "s", SnapshotOptions{})
	x.fails(err, rados.ErrInvalid)
	x.clean()
	_, err = x.g.CreateSnapshot(x.ctx, "ignored", SnapshotOptions{IgnoreQuiesceError: true})
	x.check(err)
	_, err = x.g.CreateSnapshot(x.ctx, "skipped", SnapshotOptions{SkipQuiesce: true})
	x.check(err)
	mu.Lock()
	refuse = false
	mu.Unlock()
	_, err = x.g.CreateSnapshot(x.ctx, "s", SnapshotOptions{})
	x.check(err)
	mu.Lock()
	defer mu.Unlock()
	if heard[wire.NotifyQuiesce] != 3 || heard[wire.NotifyUnquiesce] != 3 {
		t.Fatalf("%v", heard)
	}
}

// TestGroupsAtOnce: two that make snapshots of one group wait for each other.
func TestGroupsAtOnce(t *testing.T) {
	x := newGroupTest(t, anycluster.New(t))
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() {
			g, err := OpenGroup(x.ctx, x.connect(), "g")
			if err == nil {
				_, err = g.CreateSnapshot(x.ctx, fmt.Sprint(i), SnapshotOptions{})
			}
			errs[i] = err
		})
	}
	wg.Wait()
	x.check(errors.Join(errs...))
	snaps, err := x.g.Snapshots(x.ctx)
	x.check(err)
	if len(snaps) != len(errs) {
		t.Fatalf("%+v", snaps)
	}
}

// TestGroupLists: lists go on beyond what one request returns.
func TestGroupLists(t *testing.T) {
	both(t, func(t *testing.T, x *groupTest) {
		const many = pageSize + 70
		dir, header := map[string][]byte{}, map[string][]byte{}
		for i := range many {
			name, id := fmt.Sprintf("g%04d", i), fmt.Sprintf("id%04d", i)
			dir[wire.PrefixName+name], dir[wire.PrefixID+id] = denc.AppendString(nil, id), denc.AppendString(nil, name)
			s := wire.GroupSnapshot{ID: fmt.Sprintf("%04x", many-i), Name: fmt.Sprintf("s%04d", i)}
			header[wire.PrefixGroupSnap+s.ID] = s.Append(nil)
			header[wire.PrefixGroupSnapOrder+s.ID] = denc.AppendU64(nil, uint64(i))
			header[wire.GroupImageSpec{ImageID: id, Pool: x.io.Pool()}.Key()] = []byte{wire.GroupImageAttached}
		}
		x.check(x.io.OmapSet(x.ctx, groupDirectoryName, dir))
		x.check(x.io.OmapSet(x.ctx, x.g.oid, header))
		groups, err := Groups(x.ctx, x.io)
		x.check(err)
		images, err := x.g.members(x.ctx)
		x.check(err)
		snaps, err := x.g.Snapshots(x.ctx)
		x.check(err)
		if len(groups) != many+1 || len(images) != many+3 || len(snaps) != many {
			t.Fatalf("%d groups, %d images, %d snapshots", len(groups), len(images), len(snaps))
		}
		first := "s0000"
		if x.release < 20 {
			first = fmt.Sprintf("s%04d", many-1)
		}
		if snaps[0].Name != first || !slices.IsSortedFunc(groups, func(a, b ImageRef) int { return strings.Compare(a.Name, b.Name) }) {
			t.Fatalf("the first is %s", snaps[0].Name)
		}
	})
}

// TestGroupMembers: an image is in one group at most, and what an interruption
// left half done can be taken back.
func TestGroupMembers(t *testing.T) {
	x := newGroupTest(t, anycluster.New(t))
	_, err := CreateGroup(x.ctx, x.io, "g")
	x.fails(err, rados.ErrExists)
	_, err = CreateGroup(x.ctx, x.io, "h")
	x.check(err)
	h, err := OpenGroup(x.ctx, x.io, "h")
	x.check(err)
	x.fails(h.AddImage(x.ctx, x.io, "a"), rados.ErrExists)
	id, err := LookupID(x.ctx, x.io, "a")
	x.check(err)
	x.fails(h.RemoveImage(x.ctx, x.io, id), errOtherGroup)
	x.fails(h.AddImage(x.ctx, x.io, "none"), rados.ErrNotFound)
	x.fails(h.AddImage(x.ctx, x.io.WithNamespace("n"), "a"), rados.ErrInvalid)
	if m, err := h.members(x.ctx); err != nil || len(m) > 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	// The image's half is missing, as is that of one which no longer exists.
	for _, id := range []string{id, "gone"} {
		half := wire.GroupImageStatus{Spec: wire.GroupImageSpec{ImageID: id, Pool: x.io.Pool()}, State: wire.GroupImageIncomplete}
		x.check(h.call(x.ctx, wire.MethodGroupImageSet, half.Append(nil)))
	}
	images, err := h.Images(x.ctx)
	x.check(err)
	if len(images) != 2 || images[0].Attached || images[0].Name != "" || images[1].Name != "a" {
		t.Fatalf("%+v", images)
	}
	x.check(h.RemoveImage(x.ctx, x.io, "gone"))
	x.fails(RenameGroup(x.ctx, x.io, "h", "g"), rados.ErrExists)
	x.fails(RenameGroup(x.ctx, x.io, "none", "x"), rados.ErrNotFound)
	x.check(RenameGroup(x.ctx, x.io, "h", "i"))
	x.check(RemoveGroup(x.ctx, x.io, "i"))
	x.check(RemoveGroup(x.ctx, x.io, "i"))
	x.fails(Remove(x.ctx, x.io, "a", nil), errTooManyLinks)
	x.check(RemoveGroup(x.ctx, x.io, "g"))
	x.check(Remove(x.ctx, x.io, "a", nil))
}

// TestGroupSnapshotInJournal: what a journal tells of a group's snapshot is only
// done while there is that snapshot.
func TestGroupSnapshotInJournal(t *testing.T) {
	both(t, func(t *testing.T, x *groupTest) {
		img := x.images()[2]
		x.check(img.AcquireLock(x.ctx))
		for _, id := range []string{"gone", "there"} {
			if id == "there" {
				x.check(x.g.setRecord(x.ctx, wire.GroupSnapshot{ID: id, Name: id, Snaps: []wire.ImageSnapshotSpec{{Pool: x.io.Pool(), ImageID: img.ID()}}}))
			}
			o := img.journal.Load()
			ev := jwire.Event{Type: jwire.EventSnapCreate, OpTID: o.lastOp.Add(1), Name: x.g.imageSnapName(id), Namespace: x.g.namespace(id).Append(nil)}
			c := o.newRecording()
			x.check(o.record(x.ctx, c, &ev))
			c.last().Flush()
			x.check(c.last().Wait(x.ctx))
			c.lost = true
			c.release(o)
			o.spoil("its owner died", nil)
			x.check(img.maintain(x.ctx, maintenance{local: func(context.Context) error { return nil }}))
			if made := img.memberSnap(x.g.namespace(id)) != nil; made != (id == "there") {
				t.Fatalf("%s: made %v", id, made)
			}
		}
		x.check(x.g.RemoveSnapshot(x.ctx, "there"))
		x.clean()
	})
}

// TestGroupOfReplica: neither a replica nor an image that is locked by hand is
// changed by what is done to its group.
func TestGroupOfReplica(t *testing.T) {
	x := newGroupTest(t, anycluster.New(t))
	_, err := x.g.CreateSnapshot(x.ctx, "before", SnapshotOptions{})
	x.check(err)
	x.check(x.g.RemoveSnapshot(x.ctx, "before"))
	_, err = Create(x.ctx, x.io, "replica", 1<<20, CreateOptions{NonPrimary: true})
	x.check(err)
	x.check(x.g.AddImage(x.ctx, x.io, "replica"))
	_, err = x.g.CreateSnapshot(x.ctx, "s", SnapshotOptions{})
	x.fails(err, rados.ErrReadOnly)
	x.clean()
	id, err := LookupID(x.ctx, x.io, "replica")
	x.check(err)
	x.check(x.g.RemoveImage(x.ctx, x.io, id))
	a, err := LookupID(x.ctx, x.io, "a")
	x.check(err)
	op := rados.NewOp()
	callLock(op, "by hand", "")
	x.check(x.io.Operate(x.ctx, headerPrefix+a, op))
	_, err = x.g.CreateSnapshot(x.ctx, "s", SnapshotOptions{})
	x.fails(err, rados.ErrReadOnly)
	x.clean()
}
