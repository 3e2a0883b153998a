package fakecluster_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/rados"
)

type quorum struct {
	Epoch int      `json:"election_epoch"`
	Names []string `json:"quorum_names"`
	Lead  string   `json:"quorum_leader_name"`
}

func quorumOf(t *testing.T, cl *rados.Client) (q quorum) {
	t.Helper()
	out, _, err := cl.MonCommand(t.Context(), map[string]string{"prefix": "quorum_status", "format": "json"}, nil)
	must(t, err)
	must(t, json.Unmarshal(out, &q))
	return q
}

func TestMonitorsElect(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.Mons(3))
	cl := connect(t, c, "client.admin")
	before := quorumOf(t, cl)
	if strings.Join(before.Names, "") != "abc" || before.Lead != "a" {
		t.Fatalf("%+v", before)
	}
	c.StopMon(0)
	after := quorumOf(t, cl)
	if strings.Join(after.Names, "") != "bc" || after.Lead != "b" || after.Epoch != before.Epoch+2 {
		t.Fatalf("%+v, before %+v", after, before)
	}
	hosts := c.MonHost()
	must(t, c.StartMon(0))
	if back := quorumOf(t, cl); strings.Join(back.Names, "") != "abc" || back.Lead != "a" || back.Epoch != after.Epoch+2 {
		t.Fatalf("%+v", back)
	}
	if now := c.MonHost(); now != hosts {
		t.Fatalf("a monitor that came back is elsewhere: %s, was %s", now, hosts)
	}
}

func TestClientsWaitForAQuorum(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.Mons(3))
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	c.StopMon(0)
	c.StopMon(2)
	must(t, io.WriteFull(t.Context(), "o", []byte("data need no monitors")))
	epoch := c.Epoch()
	c.StopOSD(0)
	done := make(chan error, 1)
	go func() {
		_, _, err := cl.MonCommand(t.Context(), map[string]string{"prefix": "osd pool create", "pool": "late"}, nil)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a command was answered without a quorum: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if e := c.Epoch(); e != epoch {
		t.Fatalf("the map went on from epoch %d to %d without a quorum", epoch, e)
	}
	must(t, c.StartMon(2))
	must(t, <-done)
	if c.OSDMap().IsUp(0) {
		t.Fatal("nobody noticed the OSD that was stopped meanwhile")
	}
	if q := quorumOf(t, cl); strings.Join(q.Names, "") != "bc" {
		t.Fatalf("%+v", q)
	}
}

func TestElectionsTakeTime(t *testing.T) {
	clock := fakecluster.NewManualClock(time.Unix(1e9, 0))
	c := fakecluster.New(t, fakecluster.Mons(3), fakecluster.WithClock(clock), fakecluster.ElectionTime(3*time.Second))
	cl := connect(t, c, "client.admin")
	quorumOf(t, cl)
	c.StopMon(2)
	done := make(chan error, 1)
	go func() {
		_, _, err := cl.MonCommand(t.Context(), map[string]string{"prefix": "status"}, nil)
		done <- err
	}()
	clock.Advance(2 * time.Second)
	select {
	case err := <-done:
		t.Fatalf("a command was answered during the election: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	clock.Advance(time.Second)
	must(t, <-done)
}

func TestAFailedManagerComesBack(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	cl := connect(t, c, "client.admin")
	_, _, err := cl.MonCommand(t.Context(), map[string]string{"prefix": "mgr fail"}, nil)
	must(t, err)
	_, err = mgr(t, cl, "pg stat")
	must(t, err)
}
