package fakecluster_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// TestALongWayIsNotANarrowOne has many requests under way at once on a link that only
// takes its time: all of them together wait about as long as one.
func TestALongWayIsNotANarrowOne(t *testing.T) {
	const latency, requests = 40 * time.Millisecond, 100
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.WriteFull(t.Context(), "o", nil))
	remove := c.SetLink("osd.0", fakecluster.Link{Latency: latency})
	began := time.Now()
	must(t, io.WriteFull(t.Context(), "o", make([]byte, 1<<20)))
	if d := time.Since(began); d < 2*latency {
		t.Errorf("there and back in %s", d)
	}
	began = time.Now()
	done := make(chan error)
	for i := range requests {
		go func() {
			p := make([]byte, 32<<10)
			err := io.WriteFull(t.Context(), fmt.Sprint(i), p)
			if err == nil {
				_, err = io.Read(t.Context(), fmt.Sprint(i), 0, 32<<10)
			}
			done <- err
		}()
	}
	for range requests {
		must(t, <-done)
	}
	// One after the other they would take 16 s.
	if d := time.Since(began); d < 4*latency || d > 4*time.Second {
		t.Errorf("%d writes and reads took %s", requests, d)
	}
	// What is in front goes on when the way is short again.
	go func() { done <- io.WriteFull(t.Context(), "o", make([]byte, 1<<20)) }()
	remove()
	must(t, <-done)
	must(t, io.WriteFull(t.Context(), "o", []byte("x")))
}

// TestANarrowWayLetsNoMoreThrough sends more than a link takes in a moment.
func TestANarrowWayLetsNoMoreThrough(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.WriteFull(t.Context(), "o", make([]byte, 1<<20)))
	c.SetLink("osd.0", fakecluster.Link{Bandwidth: 4 << 20})
	for name, f := range map[string]func() error{
		"in":  func() error { return io.WriteFull(t.Context(), "o", make([]byte, 1<<20)) },
		"out": func() error { _, err := io.Read(t.Context(), "o", 0, 1<<20); return err },
	} {
		began := time.Now()
		must(t, f())
		if d := time.Since(began); d < 250*time.Millisecond {
			t.Errorf("%s: 1 MiB at 4 MiB/s in %s", name, d)
		}
	}
}

// TestTheLastWordArrives refuses a client over a link that takes its time: it is told
// why, although the connection ends with that.
func TestTheLastWordArrives(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	c.SetLink("", fakecluster.Link{Latency: 20 * time.Millisecond})
	name, err := entity.ParseAuthName("client.admin")
	must(t, err)
	cfg := conf.New("ceph", name)
	for k, v := range map[string]string{"mon_host": c.MonHost(), "key": "AQAjSqtjEWklERAAWcEfDLKpZsPK0DUcfHLVkw=="} {
		must(t, cfg.Set(conf.LevelOverride, k, v))
	}
	if _, err := rados.Connect(t.Context(), cfg, rados.WithDialer(c.Dialer())); !errors.Is(err, rados.ErrAccess) && !errors.Is(err, rados.ErrPermission) {
		t.Error(err)
	}
}
