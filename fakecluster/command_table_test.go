package fakecluster

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// TestHandlersAreDescribed: what executes a command is reached only by words that a
// release's daemons describe.
func TestHandlersAreDescribed(t *testing.T) {
	described := func(taker, words string) bool {
		for _, sets := range setsOf {
			if _, ok := sets()[taker].first[words]; ok {
				return true
			}
		}
		return false
	}
	for words := range handlers() {
		require.True(t, described(takesMon, words), words)
	}
	for words := range toldHandlers {
		require.True(t, described(takesOSD, words) || described(takesToldMon, words) || described(takesToldMgr, words) || words == "query", words)
	}
	for release, sets := range setsOf {
		for taker, set := range sets() {
			for _, text := range [][]byte{set.described(), set.describedOld()} {
				var table map[string]struct{ Sig []any }
				require.NoError(t, json.Unmarshal(text, &table))
				require.Len(t, table, len(set.list), "%d %s", release, taker)
			}
		}
	}
}

// TestDescriptionsByFeatures: clients before 18.2 are told in words what is required, by
// daemons of 16.2 all are, and what daemons are told does not depend on the client.
func TestDescriptionsByFeatures(t *testing.T) {
	for _, x := range []struct {
		release      int
		taker, words string
		features     uint64
		want         string
	}{
		{20, takesMon, "osd pool application get", osdmap.FeaturesPacific, `["osd","pool","application","get",{"name":"pool","req":"fasle","type":"CephPoolname"},{"name":"app","req":"false","type":"CephString"},{"name":"key","req":"false","type":"CephString"}]`},
		{16, takesMon, "config get", osdmap.FeaturesPacific, `["config","get",{"name":"who","type":"CephString"},{"name":"key","req":"False","type":"CephString"}]`},
		{18, takesMon, "config get", osdmap.FeaturesPacific, `["config","get",{"name":"who","type":"CephString"},{"name":"key","req":"false","type":"CephString"}]`},
		{18, takesMon, "config get", osdmap.FeaturesReef, `["config","get",{"name":"who","type":"CephString"},{"name":"key","req":false,"type":"CephString"}]`},
		{18, takesMgr, "iostat", osdmap.FeaturesReef, `["iostat",{"name":"width","req":false,"type":"CephInt"},{"name":"print_header","positional":false,"req":false,"type":"CephBool"}]`},
		{18, takesMgr, "iostat", osdmap.FeaturesPacific, `["iostat",{"name":"width","req":"false","type":"CephInt"},{"name":"print_header","req":"false","type":"CephBool"}]`},
		{20, takesMon, "osd new", osdmap.FeaturesReef, `["osd","new",{"name":"uuid","req":true,"type":"CephUUID"},{"name":"id","req":false,"type":"CephOsdName"}]`},
		{20, takesMon, "osd new", osdmap.FeaturesPacific, `["osd","new",{"name":"uuid","req":"true","type":"CephUUID"},{"name":"id","req":"false","type":"CephOsdName"}]`},
		{20, takesMgr, "telemetry on", osdmap.FeaturesTentacle, `["telemetry","on",{"name":"license","req":false,"type":"CephString"}]`},
		{20, takesMgr, "telemetry on", osdmap.FeaturesPacific, `["telemetry","on",{"name":"license","req":"false","type":"CephString"}]`},
	} {
		set := setsOf[x.release]()[x.taker]
		require.Contains(t, string(set.describedTo(x.features)), `{"sig":`+x.want+`,"help":`, "%d %s", x.release, x.words)
	}
	for _, sets := range setsOf {
		require.Contains(t, string(sets()[takesMgr].described()), `{"cmd000":{"sig":["alerts","send"],`)
	}
	for release, want := range map[int]bool{16: false, 18: true, 20: true} {
		c := New(t, InProcess(), OSDs(1), Release(release))
		for _, daemon := range []string{"osd.0", "mon.a", "mgr.x"} {
			_, _, out := c.execTold(daemon, []string{`{"prefix":"get_command_descriptions"}`}, true)
			require.Equal(t, want, bytes.Contains(out, []byte(`"req":false`)), "%d %s", release, daemon)
			require.Equal(t, !want, bytes.Contains(out, []byte(`"req":"false"`)), "%d %s", release, daemon)
		}
	}
}

// TestTold: what daemons are told, with Ceph's own errors.
func TestTold(t *testing.T) {
	c := New(t, InProcess(), OSDs(1), Pools("rbd"), Release(16))
	for _, x := range []struct {
		daemon, cmd string
		want        errno.Errno
		status, out string
	}{
		{"osd.0", `{"prefix":"config get","var":"debug_osd"}`, 0, "", `"debug_osd": "1/5"`},
		{"osd.0", `{"prefix":"config set","var":"debug_osd","val":["20"]}`, 0, "", `"success": ""`},
		{"osd.0", `{"prefix":"config get","var":"debug_osd"}`, 0, "", `"debug_osd": "20/20"`},
		{"osd.0", `{"prefix":"config unset","var":"debug_osd"}`, 0, "", "{}"},
		{"osd.0", `{"prefix":"config set","var":"osd_max_backfills","val":["x"]}`, errno.ErrInvalid, "error setting 'osd_max_backfills' to 'x': (22) Invalid argument", ""},
		{"osd.0", `{"prefix":"config get","var":"nosuch"}`, errno.ErrNotFound, "error getting 'nosuch': (2) No such file or directory", ""},
		{"osd.0", `{"prefix":"injectargs","injected_args":["--osd_max_backfills=3"]}`, 0, "osd_max_backfills = '3' ", "{}"},
		{"osd.0", `{"prefix":"nosuch"}`, errno.ErrInvalid, "unknown command prefix nosuch", ""},
		{"osd.0", `{"prefix":"leak_some_memory"}`, errno.ErrNotSupported, "this fake cluster cannot do 'leak_some_memory'", ""},
		{"osd.0", `{"prefix":"get_mapped_pools"}`, 0, "", "1"},
		{"osd.0", `{"prefix":"pg","pgid":"9.0","cmd":"query"}`, errno.ErrNotFound, "i don't have pgid 9.0", ""},
		{"mon.a", `{"prefix":"mon_status"}`, 0, "", `"state": "leader"`},
		{"mgr.x", `{"prefix":"mgr_status"}`, 0, "", "mgrmap_epoch"},
	} {
		e, status, out := c.execTold(x.daemon, []string{x.cmd}, true)
		require.Equal(t, x.want, e, x.cmd)
		require.Equal(t, x.status, status, x.cmd)
		require.Contains(t, string(out), x.out, x.cmd)
	}
	e, status, _ := c.execTold("osd.0", []string{`{"prefix":"version"}`}, false)
	require.Equal(t, errno.ErrAccess, e)
	require.Equal(t, "access denied", status)
}

// TestPoolVariables: limits, options and units of what osd pool set takes.
func TestPoolVariables(t *testing.T) {
	c := New(t, InProcess(), OSDs(1), Pools("rbd"))
	for _, x := range []struct {
		name, value string
		want        errno.Errno
		status      string
	}{
		{"size", "99", errno.ErrInvalid, "pool size must be between 1 and 10"},
		{"min_size", "5", errno.ErrInvalid, "pool min_size must be between 1 and size, which is set to 1"},
		{"pg_num", "0", errno.ErrRange, "'pg_num' must be greater than 0 and less than or equal to 65536 (you may adjust 'mon max pool pg num' for higher values)"},
		{"pgp_num", "99", errno.ErrInvalid, "specified pgp_num 99 > pg_num 8"},
		{"nodelete", "perhaps", errno.ErrInvalid, "expecting value 'true', 'false', '0', or '1'"},
		{"nodelete", "true", 0, "set pool 1 nodelete to true"},
		{"compression_mode", "nosuch", errno.ErrInvalid, "unrecognized compression mode 'nosuch'"},
		{"compression_mode", "aggressive", 0, "set pool 1 compression_mode to aggressive"},
		{"target_size_bytes", "1G", 0, "set pool 1 target_size_bytes to 1G"},
		{"fast_read", "1", errno.ErrInvalid, "fast read is not supported in replication pool"},
	} {
		k := &call{c: c, args: cmdArgs{"pool": "rbd", "var": x.name, "val": x.value}}
		c.mu.Lock()
		e := k.poolSet()
		c.mu.Unlock()
		require.Equal(t, x.want, e, x.name)
		require.Equal(t, x.status, k.status, x.name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Equal(t, object{{"compression_mode", "aggressive"}, {"target_size_bytes", int64(1 << 30)}}, poolOptionList(c.osdmap.Pools[1]))
	k := &call{c: c, args: cmdArgs{"pool": "rbd", "pool2": "rbd", "yes_i_really_really_mean_it": true}}
	require.Equal(t, errno.ErrPermission, k.poolRemove())
}

// TestConfigSections: who has options is listed in Ceph's order, and who can have some.
func TestConfigSections(t *testing.T) {
	d := newConfigDB()
	for _, who := range []string{"mgr", "client.a", "osd.0", "global", "client", "mon"} {
		d.set(who, "log_file", "x")
	}
	require.Equal(t, []string{"global", "mon", "mgr", "osd.0", "client", "client.a"}, d.sections())
	require.Equal(t, "client.a", d.source(entity.AuthName{Type: entity.TypeClient, ID: "a"}, "log_file"))
	for who, want := range map[string]bool{"global": true, "osd": true, "client.a.b": true, "nobody.a": false, "global.a": false, "": false, "osd.": false} {
		require.Equal(t, want, configTarget(who), who)
	}
}

func TestParseIEC(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "10": 10, "1K": 1 << 10, "10M": 10 << 20, "2Gi": 2 << 30, "1TB": 1 << 40} {
		n, problem := parseIEC(s)
		require.Empty(t, problem, s)
		require.Equal(t, want, n, s)
	}
	for _, s := range []string{"", "x", "K", "1X", "--1"} {
		_, problem := parseIEC(s)
		require.NotEmpty(t, problem, s)
	}
}
