package fakecluster

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/rados/errno"
)

// TestMaintenance: what operators do to a cluster is answered as real clusters do.
func TestMaintenance(t *testing.T) {
	c := New(t, InProcess(), OSDs(1), Pools("rbd"), Release(20))
	caps := &monCaps{}
	require.Empty(t, caps.parse("allow *", netip.IPv4Unspecified()))
	for _, x := range []struct {
		cmd         string
		want        errno.Errno
		status, out string
	}{
		{`{"prefix":"health mute","code":"POOL_NO_REDUNDANCY","ttl":"rubbish"}`, errno.ErrInvalid, "invalid duration: rubbish (expected digit)", ""},
		{`{"prefix":"health mute","code":"POOL_NO_REDUNDANCY","ttl":"1h"}`, 0, "", ""},
		{`{"prefix":"health"}`, 0, "", "HEALTH_OK (muted: POOL_NO_REDUNDANCY)\n"},
		{`{"prefix":"health unmute","code":"POOL_NO_REDUNDANCY"}`, 0, "", ""},
		{`{"prefix":"health"}`, 0, "", "HEALTH_WARN 1 pool(s) have no replicas configured\n"},
		{`{"prefix":"health mute","code":"NOSUCH"}`, errno.ErrNotFound, "health alert NOSUCH is not currently raised", ""},
		{`{"prefix":"osd setmaxosd","newmax":0}`, errno.ErrBusy, "cannot shrink max_osd to 0 because osd.0 (and possibly others) still in use", ""},
		{`{"prefix":"osd rm","ids":["7","0"]}`, errno.ErrBusy, "osd.7 does not exist. osd.0 is still up; must be down before removal. ", ""},
		{`{"prefix":"osd purge","id":"0","yes_i_really_mean_it":true}`, errno.ErrBusy, "osd.0 is not `down`.", ""},
		{`{"prefix":"pg force-recovery","pgid":["1.0"]}`, 0, "pg 1.0 doesn't require recovery; \n", ""},
		{`{"prefix":"config set","who":"osd/class:ssd","name":"osd_max_pgls","value":"5"}`, 0, "", ""},
		{`{"prefix":"config get","who":"osd.0","key":"osd_max_pgls"}`, 0, "", "5\n"},
		{`{"prefix":"config set","who":"client","name":"rbd_read_from_replica_policy","value":"x"}`, errno.ErrInvalid,
			"error parsing value: 'x' is not one of the permitted values: default, balance, localize", ""},
		{`{"prefix":"mgr module enable","module":"alerts"}`, 0, "", ""},
		{`{"prefix":"mgr module enable","module":"alerts"}`, 0, "module 'alerts' is already enabled", ""},
		{`{"prefix":"mgr module enable","module":"influx"}`, errno.ErrNotFound,
			"module 'influx' reports that it cannot run on the active manager daemon: influxdb python module not found (pass --force to force enablement)", ""},
		{`{"prefix":"orch ls"}`, errno.ErrNotFound, "No orchestrator configured (try `ceph orch set backend`)", ""},
		{`{"prefix":"osd pool create","pool":"e","pool_type":"erasure"}`, 0, "pool 'e' created", ""},
		{`{"prefix":"osd crush rule ls"}`, 0, "", "replicated_rule\nerasure-code\n"},
	} {
		e, status, out := c.runMon(&monSession{mon: c.mons[0], caps: caps}, []string{x.cmd}, nil)
		require.Equal(t, x.want, e, x.cmd)
		require.Equal(t, x.status, status, x.cmd)
		require.Equal(t, x.out, string(out), x.cmd)
	}
}
