package fakecluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/fakecluster"
)

// TestHealthOfGroupsWithoutOSDs: what 20.2 says of a pool of three copies while one OSD after
// the other goes away, but for how objects fall into groups.
func TestHealthOfGroupsWithoutOSDs(t *testing.T) {
	ctx := t.Context()
	clock := fakecluster.NewManualClock(time.Now())
	c := fakecluster.New(t, fakecluster.OSDs(3), fakecluster.WithClock(clock))
	cl := connect(t, c, "client.admin")
	ask := func(prefix string, more ...any) string {
		cmd := map[string]any{"prefix": prefix}
		for i := 0; i < len(more); i += 2 {
			cmd[more[i].(string)] = more[i+1]
		}
		out, status, err := cl.MonCommand(ctx, cmd, nil)
		require.NoError(t, err, "%s: %s", prefix, status)
		return string(out)
	}
	ask("osd pool create", "pool", "p", "pg_num", 2, "size", 3)
	ask("osd pool application enable", "pool", "p", "app", "rbd")
	io := open(t, cl, "p")
	for i := range 10 {
		must(t, io.WriteFull(ctx, fmt.Sprint(i), []byte("x")))
	}
	says := func(want ...string) {
		t.Helper()
		out := ask("health", "detail", "detail")
		for _, s := range want {
			require.Contains(t, out, s)
		}
	}
	require.Equal(t, "HEALTH_OK\n", ask("health", "detail", "detail"))
	c.StopOSD(2)
	says("[WRN] OSD_DOWN: 1 osds down\n    osd.2 (root=default,host=host2) is down\n",
		"[WRN] OSD_HOST_DOWN: 1 host (1 osds) down\n    host host2 (root=default) (1 osds) is down\n",
		"[WRN] PG_DEGRADED: Degraded data redundancy: 10/30 objects degraded (33.333%), 2 pgs degraded\n    pg 1.0 is active+undersized+degraded, acting [")
	require.NotContains(t, ask("health"), "availability")
	require.Contains(t, ask("status"), "    pgs:     10/30 objects degraded (33.333%)\n             2 active+undersized+degraded\n")
	require.Contains(t, ask("pg stat"), "; 10/30 objects degraded (33.333%)\n")
	require.Contains(t, ask("status", "format", "json"), `"degraded_objects":10,"degraded_total":30,"degraded_ratio":0.333`)
	clock.Advance(79 * time.Second)
	says("[WRN] PG_DEGRADED: Degraded data redundancy: 10/30 objects degraded (33.333%), 2 pgs degraded, 2 pgs undersized\n    pg 1.0 is stuck undersized for 79s, current state active+undersized+degraded, last acting [")
	c.StopOSD(1)
	clock.Advance(2 * time.Minute)
	says("2 hosts (2 osds) down", "[WRN] PG_AVAILABILITY: Reduced data availability: 2 pgs inactive\n    pg 1.0 is stuck inactive for 2m, current state undersized+degraded+peered, last acting [0]\n",
		"20/30 objects degraded (66.667%), 2 pgs degraded, 2 pgs undersized")
	require.Contains(t, ask("status"), "    pgs:     100.000% pgs not active\n             20/30 objects degraded (66.667%)\n             2 undersized+degraded+peered\n")
	c.StopOSD(0)
	clock.Advance(2 * time.Minute)
	says("[WRN] OSD_ROOT_DOWN: 1 root (3 osds) down\n    root default (3 osds) is down\n", "2 pgs inactive, 2 pgs stale\n    pg 1.0 is stuck stale for 2m, current state stale+undersized+degraded+peered, last acting [")
	for i := range 3 {
		must(t, c.StartOSD(i))
	}
	require.Equal(t, "HEALTH_OK\n", ask("health"))
}
