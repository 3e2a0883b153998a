package pg

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/wire"
)

// testClock only moves by advance.
type testClock struct {
	mu    sync.Mutex
	now   time.Time
	waits []func(time.Time) bool
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, dead := c.now.Add(d), false
	c.waits = append(c.waits, func(now time.Time) bool {
		if dead || now.Before(at) {
			return dead
		}
		f()
		return true
	})
	return func() bool { dead = true; return true }
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	waits, now := c.waits, c.now
	c.waits = nil
	c.mu.Unlock()
	waits = slices.DeleteFunc(waits, func(w func(time.Time) bool) bool { return w(now) })
	c.mu.Lock()
	c.waits = append(c.waits, waits...)
	c.mu.Unlock()
}

// client sends requests to one group.
type client struct {
	t    *testing.T
	g    *Group
	gid  int64
	tid  uint64
	seen []wire.WatchNotify
	data [][]byte
}

func (c *client) Send(m *wire.WatchNotify, data msgr2.Data) {
	c.seen = append(c.seen, *m)
	c.data = append(c.data, data.Bytes())
}

func newGroup(t *testing.T) (*Group, *testClock) {
	clock := &testClock{now: time.Unix(1000, 0)}
	g := New(wire.PG{Pool: 1}, clock, &NotifyIDs{})
	t.Cleanup(g.Close)
	return g, clock
}

func op(code wire.OpCode, edit ...func(*wire.Op)) wire.Op {
	o := wire.Op{Code: code}
	for _, e := range edit {
		e(&o)
	}
	return o
}

func write(off uint64, s string) wire.Op {
	return op(wire.OpWrite, func(o *wire.Op) {
		o.SetExtent(wire.Extent{Off: off, Len: uint64(len(s))})
		o.Data = msgr2.NewData([]byte(s))
	})
}

func read(off, n uint64) wire.Op {
	return op(wire.OpRead, func(o *wire.Op) { o.SetExtent(wire.Extent{Off: off, Len: n}) })
}

func (c *client) request(snap uint64, sc wire.SnapContext, ops ...wire.Op) *Request {
	c.tid++
	return &Request{
		Op: &wire.OSDOp{
			Object: "o", Ops: ops, Snap: snap, SnapC: sc, Locator: wire.ObjectLocator{Pool: 1, Hash: -1},
			ReqID: wire.ReqID{Name: entity.Name{Type: entity.TypeClient, Num: c.gid}, TID: c.tid},
		},
		Peer: c, Pool: Pool{ID: 1, PGNum: 1}, Epoch: 5,
	}
}

func (c *client) do(want int32, snap uint64, sc wire.SnapContext, ops ...wire.Op) *wire.OSDOpReply {
	c.t.Helper()
	rep := c.g.Do(c.request(snap, sc, ops...)).Reply
	if rep == nil || rep.Result != want {
		c.t.Fatalf("reply %+v, want result %d", rep, want)
	}
	return rep
}

func snapc(ids ...uint64) wire.SnapContext {
	if len(ids) == 0 {
		return wire.SnapContext{}
	}
	return wire.SnapContext{Seq: ids[0], Snaps: ids}
}

func (c *client) content(snap uint64) string {
	c.t.Helper()
	return string(c.do(0, snap, snapc(), read(0, 0)).Ops[0].Data.Bytes())
}

func TestAFailedVectorChangesNothing(t *testing.T) {
	g, _ := newGroup(t)
	c := &client{t: t, g: g, gid: 1}
	c.do(0, wire.SnapHead, snapc(), write(0, "before"))
	excl := op(wire.OpCreate, func(o *wire.Op) { o.Flags = wire.OpFlagExcl })
	omap := op(wire.OpOmapSetVals, func(o *wire.Op) {
		o.Data = msgr2.NewData(wire.AppendOmap(nil, map[string][]byte{"k": []byte("v")}))
	})
	c.do(errno.ErrExists.Result(), wire.SnapHead, snapc(4), write(0, "AFTER!!"), omap, excl)
	if s := c.content(wire.SnapHead); s != "before" {
		t.Fatalf("%q", s)
	}
	rep := c.do(0, wire.SnapDir, snapc(), op(wire.OpListSnaps))
	var l wire.SnapList
	l.Decode(denc.NewReader(rep.Ops[0].Data.Bytes()))
	if len(l.Clones) != 1 || l.Seq != 0 {
		t.Fatalf("%+v", l)
	}
}

func TestARepeatedRequestIsExecutedOnce(t *testing.T) {
	g, _ := newGroup(t)
	c := &client{t: t, g: g, gid: 1}
	add := func() wire.Op {
		return op(wire.OpAppend, func(o *wire.Op) { o.SetExtent(wire.Extent{Len: 1}); o.Data = msgr2.NewData([]byte("x")) })
	}
	first := c.do(0, wire.SnapHead, snapc(), add())
	c.tid--
	again := c.do(0, wire.SnapHead, snapc(), add())
	if s := c.content(wire.SnapHead); s != "x" || first.UserVersion != again.UserVersion {
		t.Fatalf("%q, versions %d and %d", s, first.UserVersion, again.UserVersion)
	}
}

// TestSnapshotsAgainstPlainCopies writes at random under growing snap contexts
// and compares every snapshot with the copy that was taken of the object then.
func TestSnapshotsAgainstPlainCopies(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	g, _ := newGroup(t)
	c := &client{t: t, g: g, gid: 1}
	var ids []uint64
	copies := map[uint64]*string{}
	var now *string
	next := uint64(0)
	for range 2000 {
		switch rng.IntN(12) {
		case 0:
			next++
			ids = append([]uint64{next}, ids...)
			copies[next] = now
		case 1:
			if len(ids) > 0 {
				i := rng.IntN(len(ids))
				g.Trim(ids[i])
				delete(copies, ids[i])
				ids = slices.Delete(slices.Clone(ids), i, i+1)
			}
		case 2:
			if now != nil {
				c.do(0, wire.SnapHead, wire.SnapContext{Seq: next, Snaps: ids}, op(wire.OpDelete))
				now = nil
			}
		case 3:
			if len(ids) > 0 {
				id := ids[rng.IntN(len(ids))]
				c.do(0, wire.SnapHead, wire.SnapContext{Seq: next, Snaps: ids}, op(wire.OpRollback, func(o *wire.Op) { o.SetRollbackSnap(id) }))
				now = copies[id]
			}
		default:
			off := rng.IntN(40)
			p := make([]byte, 1+rng.IntN(20))
			for i := range p {
				p[i] = 'a' + byte(rng.IntN(26))
			}
			c.do(0, wire.SnapHead, wire.SnapContext{Seq: next, Snaps: ids}, write(uint64(off), string(p)))
			var b []byte
			if now != nil {
				b = []byte(*now)
			}
			for len(b) < off+len(p) {
				b = append(b, 0)
			}
			copy(b[off:], p)
			s := string(b)
			now = &s
		}
		check := func(snap uint64, want *string) {
			t.Helper()
			if want == nil {
				c.do(errno.ErrNotFound.Result(), snap, snapc(), read(0, 0))
			} else if got := c.content(snap); got != *want {
				t.Fatalf("snapshot %d: %q, want %q", snap, got, *want)
			}
		}
		check(wire.SnapHead, now)
		for _, id := range ids {
			check(id, copies[id])
		}
		overlapsHold(t, g)
	}
}

// overlapsHold checks that what clones claim to have in common with the next
// newer state they do have in common.
func overlapsHold(t *testing.T, g *Group) {
	t.Helper()
	for _, o := range g.objects {
		for i, k := range o.clones {
			newer := &o.head
			if i+1 < len(o.clones) {
				newer = &o.clones[i+1].content
			} else if !o.exists {
				if len(k.overlap) > 0 {
					t.Fatalf("clone %d overlaps a head that is not there", k.id)
				}
				continue
			}
			for _, r := range k.overlap {
				if string(k.content.data.Read(r.Off, r.Len).Bytes()) != string(newer.data.Read(r.Off, r.Len).Bytes()) {
					t.Fatalf("clone %d differs in %v", k.id, r)
				}
			}
		}
	}
}

func TestNotifyWaitsForTheDeadUntilItsTimeout(t *testing.T) {
	g, clock := newGroup(t)
	a, b, n := &client{t: t, g: g, gid: 1}, &client{t: t, g: g, gid: 2}, &client{t: t, g: g, gid: 3}
	a.do(0, wire.SnapHead, snapc(), op(wire.OpCreate))
	for _, c := range []*client{a, b} {
		c.do(0, wire.SnapHead, snapc(), op(wire.OpWatch, func(o *wire.Op) { o.SetWatch(wire.WatchArg{Cookie: 7, Op: wire.WatchOpWatch}) }))
	}
	g.Disconnect(b)
	n.do(0, wire.SnapHead, snapc(), op(wire.OpNotify, func(o *wire.Op) {
		o.SetNotifyCookie(9)
		in := wire.NotifyInput{Timeout: 5, Payload: []byte("hi")}
		o.Data = msgr2.NewData(in.Append(nil))
	}))
	if len(a.seen) != 1 || len(b.seen) != 0 || len(n.seen) != 0 {
		t.Fatal(a.seen, b.seen, n.seen)
	}
	a.do(0, wire.SnapHead, snapc(), op(wire.OpNotifyAck, func(o *wire.Op) {
		in := wire.NotifyAckInput{NotifyID: a.seen[0].NotifyID, Cookie: 7, Reply: []byte("yes")}
		o.Data = msgr2.NewData(in.Append(nil))
	}))
	if len(n.seen) != 0 {
		t.Fatal("complete without the dead watcher")
	}
	clock.advance(5 * time.Second)
	if len(n.seen) != 1 || n.seen[0].ReturnCode != errno.ErrTimedOut.Result() || n.seen[0].Cookie != 9 {
		t.Fatal(n.seen)
	}
	var r wire.NotifyReply
	r.Decode(denc.NewReader(n.data[0]))
	if len(r.Acks) != 1 || string(r.Acks[0].Payload) != "yes" || len(r.Timeouts) != 1 || r.Timeouts[0].GID != 2 {
		t.Fatalf("%+v", r)
	}
	clock.advance(time.Minute)
	rep := a.do(0, wire.SnapHead, snapc(), op(wire.OpListWatchers))
	var l wire.WatcherList
	l.Decode(denc.NewReader(rep.Ops[0].Data.Bytes()))
	if len(l.Watchers) != 0 {
		t.Fatalf("watches outlived their timeouts: %+v", l)
	}
}

// TestAWatchThatTimesOutTakesAVersion compares with an OSD of 16.2, where the end of
// a watch is an entry of the log.
func TestAWatchThatTimesOutTakesAVersion(t *testing.T) {
	g, clock := newGroup(t)
	c := &client{t: t, g: g, gid: 1}
	c.do(0, wire.SnapHead, snapc(), op(wire.OpCreate))
	watching := c.do(0, wire.SnapHead, snapc(), op(wire.OpWatch, func(o *wire.Op) {
		o.SetWatch(wire.WatchArg{Cookie: 7, Op: wire.WatchOpWatch, Timeout: 2})
	}))
	clock.advance(2 * time.Second)
	stat := c.do(0, wire.SnapHead, snapc(), op(wire.OpStat))
	if stat.UserVersion != watching.UserVersion {
		t.Errorf("the object is of version %d, not %d", stat.UserVersion, watching.UserVersion)
	}
	rep := c.do(0, wire.SnapHead, snapc(), write(0, "x"))
	if want := watching.ReplayVersion.Version + 2; rep.ReplayVersion.Version != want || rep.UserVersion != want {
		t.Errorf("the next write is of version %d (to users %d), not %d", rep.ReplayVersion.Version, rep.UserVersion, want)
	}
}

// TestReadsOfWhatTheirVectorMakes compares with OSDs of 16.2 and 20.2: what a vector
// creates is not there to be read before the vector is done.
func TestReadsOfWhatTheirVectorMakes(t *testing.T) {
	extent := func(code wire.OpCode, off, n uint64) wire.Op {
		return op(code, func(o *wire.Op) { o.SetExtent(wire.Extent{Off: off, Len: n}) })
	}
	for name, x := range map[string]struct {
		op   wire.Op
		want int32
	}{
		"read": {read(1, 2), noent}, "read all": {read(0, 0), noent}, "read behind": {read(100, 2), 0},
		"sparse": {extent(wire.OpSparseRead, 1, 2), noent}, "sparse behind": {extent(wire.OpSparseRead, 100, 2), noent},
		"stat": {op(wire.OpStat), 0},
	} {
		g, _ := newGroup(t)
		c := &client{t: t, g: g, gid: 1}
		rep := c.g.Do(c.request(wire.SnapHead, snapc(), write(0, "some"), x.op)).Reply
		if rep.Result != x.want {
			t.Errorf("%s: %d, not %d", name, rep.Result, x.want)
		}
	}
}
