package fakecluster

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// asked is a command to the monitors and what is to come of it; out, if not empty,
// must be in the answer.
type asked struct {
	cmd         string
	want        errno.Errno
	status, out string
}

// operator is who may do everything.
func operator(t *testing.T, c *Cluster) *monSession {
	t.Helper()
	caps := &monCaps{}
	require.Empty(t, caps.parse("allow *", netip.IPv4Unspecified()))
	return &monSession{mon: c.mons[0], caps: caps}
}

func ask(t *testing.T, c *Cluster, list ...asked) {
	t.Helper()
	for _, x := range list {
		e, status, out := c.runMon(operator(t, c), []string{x.cmd}, nil)
		require.Equal(t, x.want, e, "%s: %s", x.cmd, status)
		require.Equal(t, x.status, status, x.cmd)
		require.Contains(t, string(out), x.out, x.cmd)
	}
}

// TestReweightMany: what 16.2 answers to each of these.
func TestReweightMany(t *testing.T) {
	c := New(t, InProcess(), OSDs(2), Pools("rbd"))
	refused := func(weights string, e errno.Errno) asked {
		return asked{fmt.Sprintf(`{"prefix":"osd reweightn","weights":%q}`, weights), e, "unable to parse 'weights' value '" + weights + "'", ""}
	}
	before := c.Epoch()
	ask(t, c, refused(`{"0": 65536}`, errno.ErrInvalid), refused(`{"7":"32768"}`, errno.ErrNotFound), refused(`{"0":"x"}`, errno.ErrInvalid),
		refused(`[]`, errno.ErrInvalid), refused("rubbish", errno.ErrInvalid), asked{`{"prefix":"osd reweightn","weights":"{}"}`, 0, "", ""})
	require.Equal(t, before, c.Epoch())
	ask(t, c, asked{`{"prefix":"osd reweightn","weights":"{'0':'32768','1':'0.5'}"}`, 0, "", ""})
	require.Equal(t, []uint32{0x8000, 0}, c.OSDMap().Weight)
}

// TestOSDLost: only an OSD that is down is lost, since it went down.
func TestOSDLost(t *testing.T) {
	c := New(t, InProcess(), OSDs(2), Pools("rbd"))
	ask(t, c, asked{`{"prefix":"osd lost","id":"1","yes_i_really_mean_it":true}`, errno.ErrBusy, "osd.1 is not down", ""})
	c.StopOSD(1)
	at := c.OSDMap().OSDOnly.OSDs[1].Info.DownAt
	require.NotZero(t, at)
	ask(t, c, asked{`{"prefix":"osd lost","id":"1","yes_i_really_mean_it":true}`, 0, fmt.Sprintf("marked osd lost in epoch %d", at), ""},
		asked{`{"prefix":"osd dump"}`, 0, "", fmt.Sprintf("lost_at %d ", at)})
	require.Equal(t, at, c.OSDMap().OSDOnly.OSDs[1].Info.LostAt)
}

// TestRepeer: a group is somewhere else for an epoch, if there is somewhere.
func TestRepeer(t *testing.T) {
	alone := New(t, InProcess(), OSDs(1), Pools("rbd"))
	ask(t, alone, asked{`{"prefix":"pg repeer","pgid":"1.0"}`, errno.ErrAgain, "not enough up OSDs in the cluster to force repeer", ""},
		asked{`{"prefix":"pg repeer","pgid":"9.0"}`, errno.ErrNotFound, "pgid '9.0' does not exist", ""})
	c := New(t, InProcess(), OSDs(3), Pools("rbd"))
	m := c.OSDMap()
	id := osdmap.PG{Pool: 1}
	_, _, acting, primary := m.PGToUpActing(id)
	ask(t, c, asked{`{"prefix":"pg repeer","pgid":"1.0"}`, 0, "", ""})
	require.Equal(t, m.Epoch+2, c.Epoch())
	require.Equal(t, map[osdmap.PG][]int32{id: {primary}}, c.history.epoch(m.Epoch+1).PGTemp)
	_, _, again, _ := c.OSDMap().PGToUpActing(id)
	require.Equal(t, acting, again)
}

// TestDaemonFlags: flags of OSDs and of what they stand on are told, and those that may
// not come up do not.
func TestDaemonFlags(t *testing.T) {
	clock := NewManualClock(time.Unix(1e9, 0))
	c := New(t, InProcess(), OSDs(2), Pools("rbd"), WithClock(clock))
	ask(t, c,
		asked{`{"prefix":"osd set-group","flags":"bogus","who":["osd.0"]}`, errno.ErrInvalid, "unrecognized flag 'bogus', must be one of {noup,nodown,noin,noout}", ""},
		asked{`{"prefix":"osd set-group","flags":"noin","who":["x"]}`, errno.ErrInvalid, `unable to parse osd id or crush node or device class: "x". `, ""},
		asked{`{"prefix":"osd add-noout","ids":["7","osd.0"]}`, 0, "osd.7 does not exist. ", ""},
		asked{`{"prefix":"osd set-group","flags":"noin,noout","who":["1"]}`, 0, "", ""},
		asked{`{"prefix":"osd set-group","flags":"noout","who":["default"]}`, 0, "", ""},
		asked{`{"prefix":"health","detail":"detail"}`, 0, "", "[WRN] OSD_FLAGS: 3 OSDs or CRUSH {nodes, device-classes} have {NOUP,NODOWN,NOIN,NOOUT} flags set\n" +
			"    osd.0 has flags noout\n    osd.1 has flags noin,noout\n    root default has flags noout\n"},
		asked{`{"prefix":"osd dump"}`, 0, "", " exists,noin,noout,up "},
		asked{`{"prefix":"osd dump","format":"json"}`, 0, "", `"crush_node_flags":{"default":["noout"]}`},
		asked{`{"prefix":"osd unset-group","flags":"noin,noout","who":["all","default"]}`, 0, "", ""},
		asked{`{"prefix":"health"}`, 0, "", "HEALTH_OK"},
		asked{`{"prefix":"osd add-noup","ids":["0"]}`, 0, "", ""},
		asked{`{"prefix":"osd down","ids":["0","1"]}`, 0, "marked down osd.0. marked down osd.1. ", ""},
	)
	clock.Advance(2 * time.Second)
	require.Eventually(t, func() bool { return c.OSDMap().IsUp(1) }, time.Minute, time.Millisecond)
	require.False(t, c.OSDMap().IsUp(0))
	ask(t, c, asked{`{"prefix":"osd rm-noup","ids":["0"]}`, 0, "", ""})
	require.True(t, c.OSDMap().IsUp(0))
}

// TestScrubsAndStuckGroups: groups tell when they were scrubbed, and what is wrong with
// them for how long.
func TestScrubsAndStuckGroups(t *testing.T) {
	clock := NewManualClock(time.Unix(1e9, 0))
	c := New(t, InProcess(), OSDs(2), Pools("rbd"), WithClock(clock))
	clock.Advance(time.Hour)
	ask(t, c, asked{`{"prefix":"pg deep-scrub","pgid":"1.3"}`, 0, fmt.Sprintf("instructing pg 1.3 on osd.%d to deep-scrub", c.view.Load().pools[1].primary[3]), ""})
	last, deep := c.scrubsOf(osdmap.PG{Pool: 1, Seed: 3})
	require.Equal(t, cephTime(clock.Now()), last)
	require.Equal(t, last, deep)
	born, _ := c.scrubsOf(osdmap.PG{Pool: 1, Seed: 4})
	require.Equal(t, cephTime(c.started), born)
	ask(t, c, asked{`{"prefix":"osd pool scrub","who":["rbd"]}`, 0, "", ""})
	again, _ := c.scrubsOf(osdmap.PG{Pool: 1, Seed: 4})
	require.Equal(t, last, again)
	c.StopOSD(0)
	c.StopOSD(1)
	ask(t, c, asked{`{"prefix":"pg dump_stuck","stuckops":["inactive"],"format":"json"}`, 0, "ok", `{"pg_ready":true,"stuck_pg_stats":[]}`})
	clock.Advance(2 * time.Minute)
	ask(t, c, asked{`{"prefix":"pg dump_stuck","stuckops":["inactive"]}`, 0, "ok", "1.0      "},
		asked{`{"prefix":"pg debug","debugop":"unfound_objects_exist"}`, 0, "", "FALSE\n"},
		asked{`{"prefix":"pg ls-by-osd","osd":"7"}`, errno.ErrAgain, "osd 7 is not up", ""},
		asked{`{"prefix":"pg ls","pool":99}`, errno.ErrNotFound, "pool 99 does not exist", ""},
		asked{`{"prefix":"pg force-backfill","pgid":["99.0","1.0"]}`, errno.ErrNotFound, "pg 1.0 doesn't require backfilling; pg 99.0 does not exist; \n", ""},
		asked{`{"prefix":"pg getmap"}`, errno.ErrNotSupported, "this fake cluster cannot do 'pg getmap'", ""})
}
