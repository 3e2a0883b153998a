package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
)

func TestFakeCephControl(t *testing.T) {
	clock := fakecluster.NewRunningClock()
	c := fakecluster.New(t, fakecluster.OSDs(2), fakecluster.Pools("rbd"), fakecluster.WithClock(clock))
	path := filepath.Join(t.TempDir(), "control")
	l, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); clusters{{c: c, clock: clock}}.serve(ctx, l) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(conn)
	for _, x := range []struct{ say, want string }{
		{"stop osd.1", "ok"},
		{"start osd.1", "ok"},
		{"stop osd.2", "error: there is no daemon osd.2"},
		{"disconnect osd.0", "ok"},
		{"fault op=write prefix=rbd_data. delay=10ms times=3", "ok 1"},
		{"fault op=nonsense", "error: op=nonsense: there is no operation"},
		{"fault object=x errno=5 after", "ok 2"},
		{"unfault 1", "ok"},
		{"unfault 1", "error: there is no fault 1"},
		{"unfault all", "ok"},
		{"link daemon=osd.0 latency=5ms bandwidth=1000000 cut=9000 corrupt-in=700", "ok 3"},
		{"link freeze", "ok 4"},
		{"link cut=0", "error: cut=0: must be more than 0"},
		{"link speed=3", "error: unknown key \"speed\" of a link"},
		{"unlink 3", "ok"},
		{"unlink 3", "error: there is no link 3"},
		{"unlink all", "ok"},
		{"stop mgr", "ok"},
		{"start mgr", "ok"},
		{"kill mgr.x", "ok"},
		{"start mgr", "ok"},
		{"crash osd.1 seed=7", "ok kept=0 lost=0 seed=7"},
		{"recover", "ok"},
		{"crash", "ok kept=0 lost=0 seed="},
		{"recover", "ok"},
		{"crash osd.9", "error: there is no daemon osd.9"},
		{"crash hard", "error: hard: want:"},
		{"backoff pool=rbd group=a group=1", "ok 5"},
		{"backoff pool=rbd object=o namespace=n", "ok 6"},
		{"backoff pool=none", "error: fakecluster: backoff: pool \"none\""},
		{"backoff pool=rbd group=x", "error: group=x: "},
		{"backoff pool=rbd color=x", "error: unknown key \"color\" of a backoff"},
		{"unbackoff 5", "ok"},
		{"unbackoff 5", "error: there is no backoff 5"},
		{"unbackoff all", "ok"},
		{"full osd.1 nearfull", "ok"},
		{"full osd.1 rather", "error: rather is no kind of fullness"},
		{"full osd.7 full", "error: there is no daemon osd.7"},
		{"fault chance=0.5 jitter=1s reorder=2 truncate=7 op-errno=5 op=write", "ok 7"},
		{"fault chance=often", "error: chance=often: "},
		{"link user=client.x latency=1ms", "ok 8"},
		{"partition user=client.x user=client.y daemon=osd.0", "ok 9"},
		{"partition all", "error: unknown key \"all\" of a partition"},
		{"heal 9", "ok"},
		{"heal 9", "error: there is no partition 9"},
		{"disk osd.0 latency=2ms bandwidth=1000000", "ok"},
		{"disk osd.0", "ok"},
		{"disk osd.0 latency=-2ms", "error: latency=-2ms: must not be"},
		{"disk osd.0 color=red", "error: color=red: unknown key"},
		{"disk mon.0", "error: there is no daemon mon.0"},
		{"advance 1h", "ok " + time.Now().Add(time.Hour).UTC().Format("2006-01-02T")},
		{"advance far", "error: time: invalid duration"},
		{"record", "ok"},
		{"events " + filepath.Join(t.TempDir(), "events"), "ok"},
		{"unfault all", "ok"},
		{"fault message=osd_op_reply client=client.4123 out corrupt cut=9", "ok 10"},
		{"fault message=nonsense", "error: message=nonsense: there is no message"},
		{"fault client=me", "error: client=me: want client.NUMBER"},
		{"unfault all", "ok"},
		{"blocklist addr=127.0.0.1:0/77 for=1h", "ok 127.0.0.1:0/77"},
		{"blocklist user=client.admin", "error: user=client.admin: is not connected"},
		{"blocklist color=red", "error: color=red: unknown key"},
		{"blocklist for=1h", "error: want:"},
		{"unblocklist 127.0.0.1:0/77", "ok"},
		{"unblocklist 127.0.0.1:0/77", "error: 127.0.0.1:0/77 is not blocklisted"},
		{"unblocklist all", "ok"},
		{"trim hold", "ok"},
		{"trim go", "ok"},
		{"trim", "error: want:"},
		{"cluster ceph", "ok"},
		{"cluster other", "error: there is no cluster other"},
		{"stored", "ok 0"},
		{"", "error: want:"},
	} {
		if _, err := fmt.Fprintln(conn, x.say); err != nil || !answers.Scan() || !strings.HasPrefix(answers.Text(), x.want) {
			t.Fatalf("%q: %q, %v; want %q", x.say, answers.Text(), err, x.want)
		}
	}
	cancel()
	<-done
}
