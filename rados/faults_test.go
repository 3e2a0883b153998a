//go:build !interop

package rados_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
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
