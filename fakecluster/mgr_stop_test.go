package fakecluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

func TestCommandsWaitForAStoppedManager(t *testing.T) {
	for name, stop := range map[string]func(*fakecluster.Cluster){"stopped": (*fakecluster.Cluster).StopMgr, "killed": (*fakecluster.Cluster).KillMgr} {
		t.Run(name, func(t *testing.T) {
			c := fakecluster.New(t, fakecluster.Pools("rbd"))
			cl := connect(t, c, "client.admin")
			_, err := mgr(t, cl, "pg stat")
			must(t, err)
			stop(c)
			stop(c)
			io := open(t, cl, "rbd")
			must(t, io.WriteFull(t.Context(), "o", []byte("data need no manager")))
			done := make(chan error, 1)
			go func() {
				_, _, err := cl.MgrCommand(t.Context(), map[string]string{"prefix": "pg stat"}, nil)
				done <- err
			}()
			select {
			case err := <-done:
				t.Fatalf("a command was answered without a manager: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			must(t, c.StartMgr())
			must(t, c.StartMgr())
			must(t, <-done)
		})
	}
}

// TestFaultsStrikeTheManager also lets a schedule and a task wait for a manager
// that is stopped.
func TestFaultsStrikeTheManager(t *testing.T) {
	clock := &askedClock{ManualClock: fakecluster.NewManualClock(time.Now().Truncate(time.Minute).Add(30 * time.Second))}
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.WithClock(clock))
	cl := connect(t, c, "client.admin")
	c.Inject(fakecluster.Fault{Daemon: "mgr.x", Command: "pg stat", Errno: rados.ErrBusy, Times: 1})
	if _, err := mgr(t, cl, "pg stat"); !errors.Is(err, rados.ErrBusy) {
		t.Fatal(err)
	}
	c.Inject(fakecluster.Fault{Daemon: "mgr.x", Command: "pg stat", Delay: 777 * time.Millisecond, Times: 1})
	done := make(chan error, 1)
	go func() {
		_, _, err := cl.MgrCommand(t.Context(), map[string]string{"prefix": "pg stat"}, nil)
		done <- err
	}()
	eventually(t, "the command waits", func() bool { return clock.asked(777 * time.Millisecond) })
	select {
	case err := <-done:
		t.Fatal("not delayed", err)
	case <-time.After(30 * time.Millisecond):
	}
	clock.Advance(time.Second)
	must(t, <-done)

	io := open(t, cl, "rbd")
	_, err := rbd.Create(t.Context(), io, "image", 8<<20, rbd.CreateOptions{})
	must(t, err)
	_, err = rbd.TrashMove(t.Context(), io, "image", rbd.MoveOptions{})
	must(t, err)
	_, err = mgr(t, cl, "rbd trash purge schedule add", "level_spec", "rbd/", "interval", "1m")
	must(t, err)
	c.StopMgr()
	clock.Advance(2 * time.Minute)
	must(t, c.WaitForSchedules(t.Context()))
	if l, err := rbd.TrashList(t.Context(), io); err != nil || len(l) != 1 {
		t.Fatal("a stopped manager worked", l, err)
	}
	must(t, c.StartMgr())
	clock.Advance(time.Minute)
	must(t, c.WaitForSchedules(t.Context()))
	if l, err := rbd.TrashList(t.Context(), io); err != nil || len(l) != 0 {
		t.Fatal("the trash is not empty", l, err)
	}
}

func TestAFrozenLinkIsAPartition(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(1))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	must(t, io.WriteFull(t.Context(), "o", []byte("x")))
	remove := c.SetLink("osd.0", fakecluster.Link{Freeze: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := io.Read(ctx, "o", 0, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	remove()
	p, err := io.Read(t.Context(), "o", 0, 1)
	if err != nil || string(p) != "x" {
		t.Fatalf("%q, %v", p, err)
	}
}
