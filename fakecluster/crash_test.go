package fakecluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/wire"
)

// crashWithAnAppendUnderWay lets a cluster crash (how) between a client's append
// and its answer, and returns whether the append was lost; the client goes on by
// itself, and has to end up with it done once.
func crashWithAnAppendUnderWay(t *testing.T, how func(c *fakecluster.Cluster) []fakecluster.Unanswered) (lost bool) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.Append(t.Context(), "log", []byte("a")))
	for i := range 20 {
		must(t, io.WriteFull(t.Context(), fmt.Sprint(i), []byte("answered")))
	}
	seen := make(chan string, 1)
	w, err := io.Watch(t.Context(), "log", func(n *rados.Notification) {
		seen <- string(n.Payload)
		n.Ack(nil)
	})
	must(t, err)
	hit := make(chan struct{})
	remove := c.Inject(fakecluster.Fault{Out: true, Type: wire.TypeOSDOpReply, Delay: time.Hour, Times: 1, Do: func(*fakecluster.Event) { close(hit) }})
	done := make(chan error, 1)
	go func() { done <- io.Append(t.Context(), "log", []byte("b")) }()
	<-hit
	remove()
	gone := how(c)
	if len(gone) != 1 || gone[0].Name.Object != "log" {
		t.Fatal(gone)
	}
	must(t, <-done)
	if p, err := io.Read(t.Context(), "log", 0, 10); err != nil || string(p) != "ab" {
		t.Fatalf("%q, %v", p, err)
	}
	for i := range 20 {
		if p, err := io.Read(t.Context(), fmt.Sprint(i), 0, 100); err != nil || string(p) != "answered" {
			t.Fatal(i, p, err)
		}
	}
	if res, err := io.Notify(t.Context(), "log", []byte("still there"), 20*time.Second); err != nil || len(res.Acks) != 1 || <-seen != "still there" {
		t.Fatal(res, err)
	}
	must(t, w.Close(t.Context()))
	return !gone[0].Kept
}

func TestACrashLosesOnlyWhatWasNotAnswered(t *testing.T) {
	for name, how := range map[string]func(c *fakecluster.Cluster, seed uint64) []fakecluster.Unanswered{
		"cluster": func(c *fakecluster.Cluster, seed uint64) []fakecluster.Unanswered {
			gone := c.Crash(seed)
			must(t, c.Recover())
			return gone
		},
		"osd": func(c *fakecluster.Cluster, seed uint64) []fakecluster.Unanswered {
			gone := c.CrashOSD(0, seed)
			must(t, c.StartOSD(0))
			return gone
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lost, kept bool
			for seed := uint64(1); !lost || !kept; seed++ {
				was := crashWithAnAppendUnderWay(t, func(c *fakecluster.Cluster) []fakecluster.Unanswered { return how(c, seed) })
				lost, kept = lost || was, kept || !was
				if again := crashWithAnAppendUnderWay(t, func(c *fakecluster.Cluster) []fakecluster.Unanswered { return how(c, seed) }); again != was {
					t.Errorf("seed %d: lost %v, then %v", seed, was, again)
				}
			}
		})
	}
}

func TestRecoverStartsWhatCrashedBySteps(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(3))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	writeAll := func() {
		for i := range 30 { // all groups, and so all OSDs
			must(t, io.WriteFull(t.Context(), fmt.Sprint(i), []byte("x")))
		}
	}
	writeAll()
	c.CrashOSD(1, 1)
	must(t, c.Recover())
	writeAll()
	c.CrashOSD(0, 2)
	must(t, c.StartOSD(0))
	c.CrashOSD(1, 3)
	c.Crash(4)
	c.Crash(5)
	must(t, c.Recover())
	writeAll()
	c.CrashOSD(2, 6)
	must(t, c.StartOSD(2))
	c.StopOSD(2)
	c.Crash(7)
	must(t, c.Recover())
	writeAll()
	if m := c.OSDMap(); m.IsUp(2) || !m.IsUp(1) {
		t.Fatal("an OSD that had been stopped is up, or one that crashed is not")
	}
}

func TestNothingIsExecutedAfterACrash(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1), fakecluster.WithClock(fakecluster.NewManualClock(time.Now())))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	hit := make(chan struct{})
	c.Inject(fakecluster.Fault{Op: wire.OpAppend, Delay: time.Hour, Times: 1, Do: func(*fakecluster.Event) { close(hit) }})
	done := make(chan error, 1)
	go func() { done <- io.Append(t.Context(), "o", []byte("x")) }()
	<-hit
	if gone := c.Crash(1); len(gone) != 0 {
		t.Fatal(gone)
	}
	must(t, c.Recover())
	must(t, <-done)
	if p, err := io.Read(t.Context(), "o", 0, 10); err != nil || string(p) != "x" {
		t.Fatalf("%q, %v", p, err)
	}
}
