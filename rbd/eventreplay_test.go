package rbd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/anycluster"
	"github.com/rbdm/rbdm/fakecluster"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"

	"github.com/stretchr/testify/require"
)

// replayTarget is an image that events are applied to, by one client after the other.
type replayTarget struct {
	t       testing.TB
	ctx     context.Context
	cluster *fakecluster.Cluster // nil if it may be a real one
	config  func() *conf.Config
	options []rados.Option
	pool    string
	id      string
	client  *rados.Client
	img     *rbd.Image
	events  *rbd.EventReplay
	stop    context.CancelFunc
	running context.Context
	// mostHeld, if it is not 0, is how many bytes the replay may hold back. expected
	// are the ends of operations that are known.
	mostHeld int
	expected map[uint64]int32
}

// newReplayTarget is a target of either kind of cluster.
func newReplayTarget(t testing.TB, create func(ctx context.Context, io *rados.IoCtx) (id string)) *replayTarget {
	c := anycluster.New(t)
	x := &replayTarget{t: t, ctx: t.Context(), pool: c.PoolName(), config: c.Config, options: c.Options()}
	x.create(create)
	return x
}

// newFakeReplayTarget is a target of a cluster in memory.
func newFakeReplayTarget(t testing.TB, create func(ctx context.Context, io *rados.IoCtx) (id string)) *replayTarget {
	x := &replayTarget{t: t, ctx: t.Context(), pool: "rbd", cluster: fakecluster.New(t, fakecluster.Pools("rbd"))}
	x.config = func() *conf.Config {
		key, err := x.cluster.Key("client.admin")
		require.NoError(t, err)
		cfg := conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
		for option, v := range map[string]string{"mon_host": x.cluster.MonHost(), "key": key} {
			require.NoError(t, cfg.Set(conf.LevelOverride, option, v))
		}
		return cfg
	}
	x.create(create)
	return x
}

func (x *replayTarget) create(f func(ctx context.Context, io *rados.IoCtx) (id string)) {
	client, io := x.connect()
	defer client.Close()
	x.id = f(x.ctx, io)
}

func (x *replayTarget) connect() (*rados.Client, *rados.IoCtx) {
	x.t.Helper()
	client, err := rados.Connect(x.ctx, x.config(), x.options...)
	require.NoError(x.t, err)
	io, err := client.OpenPool(x.ctx, x.pool)
	require.NoError(x.t, err)
	return client, io
}

// start opens the image as a daemon that was just started does.
func (x *replayTarget) start(commit func(context.Context) error) {
	x.t.Helper()
	client, io := x.connect()
	img, err := rbd.OpenByID(x.ctx, io, x.id, rbd.OpenOptions{ExternalReplay: true})
	require.NoError(x.t, err)
	require.NoError(x.t, img.AcquireLock(x.ctx))
	x.client, x.img, x.events = client, img, rbd.NewEventReplay(img, 16)
	x.events.CommitWith(commit)
	x.events.Expect(x.expected)
	if x.mostHeld != 0 {
		x.events.SetMostHeld(x.mostHeld)
	}
	x.running, x.stop = context.WithCancel(x.ctx)
}

// crash ends the client at once: nothing of what it sent arrives any more.
func (x *replayTarget) crash() {
	if x.cluster != nil {
		x.cluster.Blocklist(x.client.Addr(), time.Hour)
	} else {
		other, _ := x.connect()
		require.NoError(x.t, other.Blocklist(x.ctx, x.client.Addr(), time.Hour))
		other.Close()
	}
	x.stop()
	x.events.Close()
	bye, cancel := context.WithTimeout(x.ctx, time.Millisecond)
	defer cancel()
	_ = x.img.Close(bye)
	x.client.Close()
}

func (x *replayTarget) close() {
	x.t.Helper()
	x.stop()
	x.events.Close()
	require.NoError(x.t, x.img.Close(x.ctx))
	x.client.Close()
}

// apply applies an event of a stream that is not begun again.
func (x *replayTarget) apply(ev jwire.Event) {
	x.t.Helper()
	require.NoError(x.t, x.events.Apply(x.running, ev, func(err error) {
		if err != nil {
			x.t.Errorf("event %d: %v", ev.Type, err)
		}
	}))
}

// lookAhead finds, for a replay that could not keep all that it had to hold back, how
// the operations end that it waits for.
func (x *replayTarget) lookAhead(stream []jwire.Event) {
	x.t.Helper()
	awaited := x.events.Awaited()
	require.NotEmpty(x.t, awaited)
	if x.expected == nil {
		x.expected = map[uint64]int32{}
	}
	for _, tid := range awaited {
		require.NotContains(x.t, x.expected, tid, "looked for once more")
		x.expected[tid] = 0 // its owner died, if there is no end
		for _, ev := range stream {
			if ev.Type == jwire.EventOpFinish && ev.OpTID == tid {
				x.expected[tid] = ev.Result
			}
		}
	}
}

func (x *replayTarget) read(snap uint64) []byte {
	x.t.Helper()
	size, err := x.img.SizeAt(snap)
	require.NoError(x.t, err)
	d, err := x.img.ReadSnap(x.ctx, snap, 0, size)
	require.NoError(x.t, err)
	return append([]byte{}, d.Bytes()...)
}

// osdOpReply is the type of the messages by which OSDs answer.
const osdOpReply = 43

var userSnap = wire.SnapshotNamespace{}.Append(nil)

func plainImage(t testing.TB, size uint64) func(context.Context, *rados.IoCtx) string {
	return func(ctx context.Context, io *rados.IoCtx) string {
		id, err := rbd.Create(ctx, io, "i", size, rbd.CreateOptions{Order: 16})
		require.NoError(t, err)
		return id
	}
}

// TestReplayOfANameThatIsUsedAgain: a snapshot is made, removed and made again, and
// the replay dies when more was written. What it left must not get into the snapshot.
func TestReplayOfANameThatIsUsedAgain(t *testing.T) {
	const size = 1 << 20
	x := newReplayTarget(t, plainImage(t, size))
	write := func(c byte) jwire.Event {
		return jwire.Event{Type: jwire.EventWrite, Offset: 4096, Length: 512, Data: bytes.Repeat([]byte{c}, 512)}
	}
	op := func(tid uint64, kind jwire.EventType, name string) []jwire.Event {
		return []jwire.Event{{Type: kind, OpTID: tid, Name: name, Namespace: userSnap}, {Type: jwire.EventOpFinish, OpTID: tid}}
	}
	stream := []jwire.Event{write('a')}
	stream = append(stream, op(1, jwire.EventSnapCreate, "s")...)
	stream = append(stream, write('b'))
	stream = append(stream, op(2, jwire.EventSnapRollback, "s")...)
	stream = append(stream, op(3, jwire.EventSnapRemove, "s")...)
	stream = append(stream, op(4, jwire.EventSnapCreate, "s")...)
	stream = append(stream, jwire.Event{Type: jwire.EventWrite, Offset: 8192, Length: 512, Data: bytes.Repeat([]byte{'c'}, 512)})

	j := newReplayed(len(stream))
	x.start(j.commit)
	for i, ev := range stream {
		require.NoError(t, x.events.Apply(x.running, ev, j.doneWith(i)))
	}
	require.NoError(t, x.events.Wait(x.ctx))
	x.crash() // before the commit position was written at its age
	x.start(j.commit)
	for i := j.durable; i < len(stream); i++ {
		require.NoError(t, x.events.Apply(x.running, stream[i], j.doneWith(i)))
	}
	require.NoError(t, x.events.Finish(x.ctx))
	s, ok := x.img.UserSnapshot("s")
	require.True(t, ok)
	require.Equal(t, byte('a'), x.read(s.ID)[4096])
	require.Equal(t, byte(0), x.read(s.ID)[8192], "what was written after the snapshot is in it")
	require.Equal(t, byte('c'), x.read(rbd.NoSnap)[8192])
	x.close()
}

// TestReplayComparesBeforeARollbackEnds: another operation is open, for which a
// comparison waits that came between the two events of a rollback. It comes before
// the rollback all the same, or before nothing if the rollback failed.
func TestReplayComparesBeforeARollbackEnds(t *testing.T) {
	write := func(kind jwire.EventType, c byte) jwire.Event {
		return jwire.Event{Type: kind, Offset: 4096, Length: 512, Data: bytes.Repeat([]byte{c}, 512), Compare: make([]byte, 512)}
	}
	op := func(tid uint64, kind jwire.EventType, name string) jwire.Event {
		return jwire.Event{Type: kind, OpTID: tid, Name: name, Namespace: userSnap}
	}
	end := func(tid uint64, result int32) jwire.Event {
		return jwire.Event{Type: jwire.EventOpFinish, OpTID: tid, Result: result}
	}
	for _, c := range []struct {
		result int32
		ends   []uint64 // in which order, all others by Finish
		want   byte
	}{
		{0, []uint64{4, 3}, 0}, {0, []uint64{3, 4}, 0}, {0, []uint64{4}, 0}, {0, []uint64{3}, 0}, {0, nil, 0},
		{-5, []uint64{4, 3}, 'x'}, {-5, []uint64{3, 4}, 'x'}, {-5, []uint64{4}, 'x'},
	} {
		t.Run(fmt.Sprint(c.result, c.ends), func(t *testing.T) {
			t.Parallel()
			x := newReplayTarget(t, plainImage(t, 1<<20))
			x.start(func(context.Context) error { return nil })
			for _, ev := range []jwire.Event{
				op(1, jwire.EventSnapCreate, "s"), end(1, 0), op(2, jwire.EventSnapCreate, "t"), end(2, 0),
				op(3, jwire.EventSnapRemove, "t"), op(4, jwire.EventSnapRollback, "s"), write(jwire.EventCompareAndWrite, 'x'),
			} {
				x.apply(ev)
			}
			for _, tid := range c.ends {
				ev := end(tid, 0)
				if tid == 4 {
					ev.Result = c.result
				}
				x.apply(ev)
			}
			require.NoError(t, x.events.Finish(x.running))
			require.Equal(t, c.want, x.read(rbd.NoSnap)[4096])
			require.Len(t, x.img.Snapshots(), 1)
			x.close()
		})
	}
}

// TestReplayLooksAhead: an event that waits for its object keeps nothing else
// waiting, done has returned before Wait does, and what gathers meanwhile is one
// write.
func TestReplayLooksAhead(t *testing.T) {
	x := newFakeReplayTarget(t, plainImage(t, 1<<20))
	x.start(nil)
	first := jwire.Event{Type: jwire.EventWrite, Offset: 5 << 16, Length: 1, Data: []byte{1}}
	x.apply(first) // the lock and the map of objects are there
	require.NoError(t, x.events.Wait(x.ctx))
	var slow atomic.Uint64 // the request whose answer comes late
	defer x.cluster.Inject(fakecluster.Fault{Object: x.img.ObjectName(0), Times: 1, Do: func(e *fakecluster.Event) { slow.Store(e.TID) }})()
	defer x.cluster.Inject(fakecluster.Fault{Out: true, Type: osdOpReply, Delay: 300 * time.Millisecond, Match: func(e *fakecluster.Event) bool {
		return e.TID == slow.Load()
	}})()
	var mu sync.Mutex
	var order []int
	write := func(i int, off uint64, c byte) {
		require.NoError(t, x.events.Apply(x.running, jwire.Event{Type: jwire.EventWrite, Offset: off, Length: 1024, Data: bytes.Repeat([]byte{c}, 1024)}, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
			if err != nil {
				t.Error(err)
			}
		}))
	}
	write(0, 0, 'a')
	write(1, 512, 'b') // waits for 0
	write(2, 1024, 'c')
	write(3, 1<<16, 'd') // does not
	require.NoError(t, x.events.Wait(x.ctx))
	require.Len(t, order, 4)
	require.Equal(t, 3, order[0])
	got := x.read(rbd.NoSnap)
	require.Equal(t, "abc", string([]byte{got[511], got[1023], got[1024]}))
	require.Equal(t, byte('d'), got[1<<16])
	x.close()
}

// TestReplayOfMoreThanCanBeHeldBack: what lies between the two events of a snapshot, and
// behind a shrinking that has to be committed before, does not fit into memory. Nothing
// of it gets into the snapshot, nothing is left out, and it comes to an end.
func TestReplayOfMoreThanCanBeHeldBack(t *testing.T) {
	const size = 1 << 20
	for name, c := range map[string]struct {
		op     jwire.Event
		result int32
		ended  bool
	}{
		"a snapshot":                        {jwire.Event{Type: jwire.EventSnapCreate, Name: "s"}, 0, true},
		"a snapshot that failed":            {jwire.Event{Type: jwire.EventSnapCreate, Name: "s"}, -28, true},
		"a snapshot whose owner died":       {jwire.Event{Type: jwire.EventSnapCreate, Name: "s"}, 0, false},
		"growing":                           {jwire.Event{Type: jwire.EventResize, Size: 2 * size}, 0, true},
		"shrinking, and a comparison in it": {jwire.Event{Type: jwire.EventResize, Size: size / 2}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newReplayTarget(t, plainImage(t, size))
			x.mostHeld = 64 << 10
			write := func(c byte) jwire.Event {
				return jwire.Event{Type: jwire.EventWrite, Offset: uint64(c-'a') << 12, Length: 4096, Data: bytes.Repeat([]byte{c}, 4096)}
			}
			c.op.OpTID, c.op.Namespace = 7, userSnap
			stream := []jwire.Event{write('a'), write('b'), c.op}
			compare := jwire.Event{Type: jwire.EventCompareAndWrite, Offset: 0, Length: 512, Compare: bytes.Repeat([]byte{'a'}, 512), Data: bytes.Repeat([]byte{'z'}, 512)}
			stream = append(stream, compare)
			for i := range byte(20) {
				stream = append(stream, write('b'+i))
			}
			if c.ended {
				stream = append(stream, jwire.Event{Type: jwire.EventOpFinish, OpTID: 7, Result: c.result}, write('y'))
			}
			j := newReplayed(len(stream))
			rounds := 0
			for ; ; rounds++ {
				x.start(j.commit)
				if applyHeldBack(t, x, j, stream) {
					break
				}
				x.lookAhead(stream)
				x.crash()
				j.restart()
			}
			require.Equal(t, 1, rounds, "rounds")
			require.NoError(t, j.commit(x.ctx))
			require.Equal(t, len(stream), j.durable, "not all was committed")
			s, there := x.img.UserSnapshot("s")
			require.Equal(t, c.op.Type == jwire.EventSnapCreate && c.result == 0, there)
			if there {
				got := x.read(s.ID)
				require.Equal(t, "ab\x00", string([]byte{got[0], got[4096], got[8192]}))
			}
			if c.op.Size > 0 {
				require.Equal(t, c.op.Size, x.img.Size())
			}
			got := x.read(rbd.NoSnap)
			require.Equal(t, byte('z'), got[0])
			for i := range 20 {
				require.Equal(t, byte('b'+i), got[(i+1)<<12])
			}
			x.close()
		})
	}
}

// applyHeldBack applies the rest of a stream; all is false when too much was held back.
func applyHeldBack(t *testing.T, x *replayTarget, j *replayed, stream []jwire.Event) (all bool) {
	for i := j.durable; i < len(stream); i++ {
		err := x.events.Apply(x.running, stream[i], j.doneWith(i))
		if errors.Is(err, rbd.ErrHeldBack) {
			return false
		}
		require.NoError(t, err)
	}
	require.NoError(t, x.events.Finish(x.ctx))
	return true
}
