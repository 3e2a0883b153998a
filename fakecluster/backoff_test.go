package fakecluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados/wire"
)

// backoffsIn counts the messages about backoffs of a record, to and from clients.
func backoffsIn(events []fakecluster.Event) (out, in int) {
	for _, e := range events {
		switch {
		case e.Type != wire.TypeOSDBackoff:
		case e.Out:
			out++
		default:
			in++
		}
	}
	return out, in
}

func TestABackoffHoldsRequestsBack(t *testing.T) {
	for name, b := range map[string]fakecluster.Backoff{
		"object": {Pool: "rbd", Object: "held"}, "pool": {Pool: "rbd"},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Pools("rbd", "other"))
			cl := connect(t, c, "client.admin")
			io := open(t, cl, "rbd")
			must(t, io.Append(t.Context(), "held", []byte("a")))
			c.Record()
			release, err := c.Backoff(b)
			must(t, err)
			done := make(chan error, 3)
			for i := range 3 {
				go func() { done <- io.Append(t.Context(), "held", fmt.Append(nil, i)) }()
			}
			eventually(t, "the client has understood", func() bool {
				_, in := backoffsIn(c.Events())
				return in == 1
			})
			must(t, open(t, cl, "other").Append(t.Context(), "held", []byte("not this one")))
			if b.Object != "" {
				must(t, io.Append(t.Context(), "free", []byte("nor this")))
			}
			select {
			case err := <-done:
				t.Fatal("an append was answered", err)
			case <-time.After(30 * time.Millisecond):
			}
			release()
			release()
			for range 3 {
				must(t, <-done)
			}
			p, err := io.Read(t.Context(), "held", 0, 100)
			if err != nil || len(p) != 4 {
				t.Fatalf("%q, %v", p, err)
			}
			if out, in := backoffsIn(c.Events()); out != 2 || in != 1 {
				t.Errorf("%d sent and %d answered", out, in)
			}
		})
	}
}

// TestABackoffOutlivesAConnection lets the connection break, and the OSD be
// another one, while a client waits.
func TestABackoffOutlivesAConnection(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	c.Record()
	release, err := c.Backoff(fakecluster.Backoff{Pool: "rbd", Object: "held"})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- io.Append(t.Context(), "held", []byte("x")) }()
	answered := func(n int) func() bool {
		return func() bool { _, in := backoffsIn(c.Events()); return in >= n }
	}
	eventually(t, "it waits", answered(1))
	c.DropConnections("")
	eventually(t, "it waits on a new connection", answered(2))
	for i := range 3 {
		c.StopOSD(i)
		must(t, c.StartOSD(i))
	}
	eventually(t, "it waits for another OSD", answered(3))
	release()
	must(t, <-done)
	if p, err := io.Read(t.Context(), "held", 0, 100); err != nil || string(p) != "x" {
		t.Fatalf("%q, %v", p, err)
	}
	if _, err := c.Backoff(fakecluster.Backoff{Pool: "none"}); err == nil {
		t.Error("a pool that is not there")
	}
}

// TestAGroupWithTooFewOSDsLetsItsClientsWait stops OSDs until a pool has fewer than
// it demands.
func TestAGroupWithTooFewOSDsLetsItsClientsWait(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(3))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.Append(t.Context(), "o", []byte("a")))
	c.StopOSD(0)
	must(t, io.Append(t.Context(), "o", []byte("b"))) // two are enough
	c.StopOSD(1)
	c.Record()
	done := make(chan error, 1)
	go func() { done <- io.Append(t.Context(), "o", []byte("c")) }()
	eventually(t, "the client waits", func() bool {
		out, in := backoffsIn(c.Events())
		return out == 1 && in == 1
	})
	must(t, c.StartOSD(0))
	must(t, <-done)
	if p, err := io.Read(t.Context(), "o", 0, 10); err != nil || string(p) != "abc" {
		t.Fatalf("%q, %v", p, err)
	}
	// The same when the pool demands more, as an operator may have it.
	cl := connect(t, c, "client.admin")
	admin2(t, cl, map[string]any{"prefix": "osd pool set", "pool": "rbd", "var": "min_size", "val": "3"})
	c.Record()
	go func() { done <- io.Append(t.Context(), "o", []byte("d")) }()
	eventually(t, "the client waits again", func() bool { _, in := backoffsIn(c.Events()); return in == 1 })
	admin2(t, cl, map[string]any{"prefix": "osd pool set", "pool": "rbd", "var": "min_size", "val": "2"})
	must(t, <-done)
	if out, _ := backoffsIn(c.Events()); out != 2 {
		t.Errorf("%d messages about backoffs", out)
	}
}
