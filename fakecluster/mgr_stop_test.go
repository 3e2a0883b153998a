package fakecluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
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
