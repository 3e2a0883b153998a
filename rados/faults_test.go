//go:build !interop

package rados_test

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/wire"
)

// TestAppendsSurviveFaults appends numbers to objects while connections are
// cut, OSDs and monitors die and come back and maps change: each number must be
// there once and in its place.
func TestAppendsSurviveFaults(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	cluster := fakecluster.New(t, fakecluster.OSDs(3), fakecluster.Mons(3))
	fakes.Store(t.Name(), cluster)
	defer fakes.Delete(t.Name())
	c := connect(t, t.Name())
	ctx, io := testContext(t), newPool(t, c)
	check(t, "create", io.WriteFull(ctx, "watched", nil))
	w, err := io.Watch(ctx, "watched", func(n *rados.Notification) { n.Ack(n.Payload) }, rados.OnError(func(err error) { t.Error("lost:", err) }))
	check(t, "watch", err)
	// Now and then an OSD executes a request and dies before it answers, or
	// answers twice.
	var n atomic.Uint64
	every := func(k uint64) func(*fakecluster.Event) bool {
		return func(*fakecluster.Event) bool { return n.Add(1)%k == 0 }
	}
	defer cluster.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Op: wire.OpAppend, Match: every(331), Disconnect: true, After: true})()
	defer cluster.Inject(fakecluster.Fault{Type: wire.TypeOSDOp, Op: wire.OpAppend, Match: every(97), Duplicate: true})()
	dead := -1
	appendAndVerify(ctx, t, io, 6, 3000, func(i int) {
		if i%40 != 0 {
			return
		}
		time.Sleep(time.Millisecond)
		switch daemon := rng.IntN(3); rng.IntN(6) {
		case 0:
			cluster.DropConnections([]string{"osd.0", "osd.1", "osd.2"}[daemon])
		case 1:
			cluster.AdvanceMap(1 + rng.IntN(3))
		case 2, 3:
			if dead >= 0 {
				check(t, "start", cluster.StartOSD(dead))
				dead = -1
			} else {
				dead = daemon
				cluster.StopOSD(daemon)
			}
		case 4:
			cluster.DropConnections([]string{"mon.a", "mon.b", "mon.c"}[daemon])
		case 5:
			cluster.StopMon(daemon)
			check(t, "start", cluster.StartMon(daemon))
		}
	})
	res, err := io.Notify(ctx, "watched", []byte("still there"), 10*time.Second)
	if err != nil || len(res.Acks) != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	check(t, "close", w.Close(ctx))
}

// TestAppendsSurviveTruncatedMessages is the same with answers, maps and events that
// lack their end: each costs its connection, and nothing is applied twice.
func TestAppendsSurviveTruncatedMessages(t *testing.T) {
	cluster := fakecluster.New(t, fakecluster.OSDs(3), fakecluster.Mons(3))
	fakes.Store(t.Name(), cluster)
	defer fakes.Delete(t.Name())
	c := connect(t, t.Name())
	ctx, io := testContext(t), newPool(t, c)
	check(t, "create", io.WriteFull(ctx, "watched", nil))
	w, err := io.Watch(ctx, "watched", func(n *rados.Notification) { n.Ack(n.Payload) }, rados.OnError(func(err error) { t.Error("lost:", err) }))
	check(t, "watch", err)
	var n atomic.Uint64
	every := func(k uint64) func(*fakecluster.Event) bool {
		return func(*fakecluster.Event) bool { return n.Add(1)%k == 0 }
	}
	defer cluster.Inject(fakecluster.Fault{Type: wire.TypeOSDOpReply, Op: wire.OpAppend, Out: true, Match: every(97), Truncate: 3})()
	defer cluster.Inject(fakecluster.Fault{Type: wire.TypeOSDOpReply, Op: wire.OpRead, Out: true, Times: 2, Truncate: 1})()
	defer cluster.Inject(fakecluster.Fault{Type: wire.TypeOSDMap, Out: true, Match: every(3), Times: 4, Truncate: 5})()
	defer cluster.Inject(fakecluster.Fault{Type: wire.TypeWatchNotify, Out: true, Skip: 1, Times: 2, Truncate: 1})()
	appendAndVerify(ctx, t, io, 4, 1000, func(i int) {
		if i%200 == 100 {
			cluster.AdvanceMap(2)
		}
	})
	for range 3 {
		res, err := io.Notify(ctx, "watched", []byte("still there"), 10*time.Second)
		if err != nil || len(res.Acks) != 1 {
			t.Errorf("%+v, %v", res, err)
		}
	}
	check(t, "close", w.Close(ctx))
}

// TestTruncatedAnswers has daemons whose answers lack their end, now and then or
// always: the one is not noticed, the other is a clear error before long.
func TestTruncatedAnswers(t *testing.T) {
	cluster := fakecluster.New(t)
	fakes.Store(t.Name(), cluster)
	defer fakes.Delete(t.Name())
	c := connect(t, t.Name())
	ctx, io := testContext(t), newPool(t, c)
	check(t, "create", io.WriteFull(ctx, "o", []byte("data")))
	watcher := connect(t, t.Name()) // whose acknowledgements are no matter here
	_, err := watcher.IoCtx(io.Pool()).Watch(ctx, "o", func(n *rados.Notification) { n.Ack(nil) })
	check(t, "watch", err)
	for _, test := range []struct {
		name  string
		typ   uint16
		op    wire.OpCode
		write bool
		cut   int // bytes
		f     func() error
	}{
		{"read", wire.TypeOSDOpReply, wire.OpRead, false, 1, func() error { _, err := io.Read(ctx, "o", 0, 10); return err }},
		{"write", wire.TypeOSDOpReply, wire.OpWriteFull, true, 1, func() error { return io.WriteFull(ctx, "o", []byte("data")) }},
		{"notify", wire.TypeOSDOpReply, wire.OpNotify, false, 1, func() error { _, err := io.Notify(ctx, "o", nil, 0); return err }},
		{"version", wire.TypeMonGetVersionReply, 0, false, 1, func() error { return c.LatestOSDMap(ctx) }},
		{"monitor", wire.TypeMonCommandAck, 0, false, 1 << 20, func() error {
			_, _, err := c.MonCommand(ctx, map[string]string{"prefix": "mon dump"}, nil)
			return err
		}},
	} {
		for _, times := range []int{2, 0} {
			remove := cluster.Inject(fakecluster.Fault{Type: test.typ, Op: test.op, Client: entity.Name{Type: entity.TypeClient, Num: int64(c.GlobalID())}, Out: true, Times: times, Truncate: test.cut})
			err := test.f()
			remove()
			if times > 0 && err != nil || times == 0 && !errors.Is(err, rados.ErrGarbage) || rados.MaybeApplied(err) != (test.write && times == 0) {
				t.Errorf("%s %d: %v", test.name, times, err)
			}
		}
		check(t, test.name, test.f())
	}
}
