package fakecluster

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/rados/errno"
)

// TestPoolVariableRanges: what 16.2 and 20.2 refuse, and what they say of what they set.
func TestPoolVariableRanges(t *testing.T) {
	c := New(t, InProcess(), OSDs(3), Pools("rbd", "tier"))
	set := func(name, value string, e errno.Errno, status string) asked {
		return asked{`{"prefix":"osd pool set","pool":"rbd","var":"` + name + `","val":"` + value + `"}`, e, status, ""}
	}
	ask(t, c,
		set("recovery_priority", "99", errno.ErrInvalid, "pool recovery_priority must be between -10 and 10"),
		set("csum_type", "1", errno.ErrInvalid, "unrecognized csum_type '1'"),
		set("csum_type", "crc32c", 0, "set pool 1 csum_type to crc32c"),
		asked{`{"prefix":"osd pool get","pool":"rbd","var":"csum_type"}`, 0, "", "csum_type: crc32c\n"},
		set("csum_type", "unset", 0, "unset pool 1 csum_type"),
		asked{`{"prefix":"osd pool get","pool":"rbd","var":"csum_type"}`, errno.ErrNotFound, "option 'csum_type' is not set on pool 'rbd'", ""},
		set("csum_max_block", "1k", errno.ErrInvalid, "error parsing int value '1k': strict_iecstrtoll: unit prefix not recognized 'k' "),
		set("pg_autoscale_bias", "-1", errno.ErrInvalid, "pg_autoscale_bias must be between 0 and 1000"),
		set("target_size_ratio", "-1", errno.ErrInvalid, "target_size_ratio cannot be negative"),
		set("deep_scrub_interval", "x", errno.ErrInvalid, "error parsing floating point value 'x': strict_strtod: expected double, got: 'x'"),
		set("compression_required_ratio", "2", errno.ErrInvalid, "compression_required_ratio is out of range (0-1): '2'"),
		set("read_ratio", "101", errno.ErrRange, "read_ratio must be between 0 and 100"),
		set("dedup_tier", "1", errno.ErrInvalid, "expecting value 'pool name'"),
		set("dedup_tier", "nosuch", errno.ErrNotFound, "unrecognized pool 'nosuch'"),
		set("dedup_tier", "tier", 0, "set pool 1 dedup_tier to tier"),
		asked{`{"prefix":"osd pool get","pool":"rbd","var":"dedup_tier"}`, 0, "", "dedup_tier: 2\n"},
		set("dedup_cdc_chunk_size", "1k", errno.ErrInvalid, "error parsing int value '1k': Expected option value to be integer, got '1k'"),
		set("pg_num_min", "400", errno.ErrInvalid, "specified pg_num_min 400 > pg_num 8"),
		set("pg_num_max", "2", errno.ErrInvalid, "specified pg_num_max 2 < pg_num 8"),
		set("nopgchange", "1", 0, "set pool 1 nopgchange to 1"),
		set("pg_num", "32", errno.ErrPermission, "pool pg_num change is disabled; you must unset nopgchange flag for the pool first"),
		set("pgp_num", "4", errno.ErrPermission, "pool pgp_num change is disabled; you must unset nopgchange flag for the pool first"),
		set("nosizechange", "1", 0, "set pool 1 nosizechange to 1"),
		set("size", "2", errno.ErrPermission, "pool size change is disabled; you must unset nosizechange flag for the pool first"),
		set("min_size", "1", errno.ErrPermission, "pool min size change is disabled; you must unset nosizechange flag for the pool first"),
		set("nosizechange", "0", 0, "set pool 1 nosizechange to 0"),
		set("size", "2", 0, "set pool 1 size to 2"),
		set("hashpspool", "0", errno.ErrPermission, "are you SURE?  this will remap all placement groups in this pool, this triggers large data movement, pass --yes-i-really-mean-it if you really do."),
		set("target_max_bytes", "10", errno.ErrAccess, "(13) Permission denied"),
		set("nosuch", "1", errno.ErrNotSupported, "this fake cluster cannot do 'osd pool set' of nosuch"),
	)
	require.Equal(t, uint8(2), c.OSDMap().Pools[1].MinSize)
	ask(t, c,
		asked{`{"prefix":"osd pool set-quota","pool":"rbd","field":"max_objects","val":"10k"}`, errno.ErrInvalid, "error parsing value '10k': strict_si_cast: unit prefix not recognized", ""},
		asked{`{"prefix":"osd pool set-quota","pool":"rbd","field":"max_objects","val":"10M"}`, 0, "set-quota max_objects = 10000000 for pool rbd", ""},
		asked{`{"prefix":"osd pool set-quota","pool":"rbd","field":"max_bytes","val":"-1"}`, errno.ErrInvalid, "error parsing value '-1': strict_iecstrtoll: value should not be negative", ""},
		asked{`{"prefix":"osd pool set-quota","pool":"rbd","field":"max_bytes","val":"10K"}`, 0, "set-quota max_bytes = 10240 for pool rbd", ""},
		asked{`{"prefix":"osd pool create","pool":"rbd","pool_type":"erasure"}`, errno.ErrInvalid, "pool 'rbd' cannot change to type erasure", ""},
		asked{`{"prefix":"osd pool create","pool":"o2","pg_num":8,"pgp_num":16}`, errno.ErrRange, "'pgp_num' must be greater than 0 and lower or equal than 'pg_num', which in this case is 8", ""},
		asked{`{"prefix":"osd pool rename","srcpool":"rbd","destpool":".rbd"}`, 0, "pool names beginning with . are not allowed", ""},
		asked{`{"prefix":"osd pool rename","srcpool":"nosuch","destpool":"rbd"}`, 0, "pool 'nosuch' does not exist; pool 'rbd' does -- assuming successful rename", ""},
		asked{`{"prefix":"osd tier add","pool":"rbd","tierpool":"tier"}`, 0, "pool 'tier' is now (or already was) a tier of 'rbd'", ""},
		asked{`{"prefix":"osd pool set","pool":"tier","var":"target_max_bytes","val":"1000"}`, 0, "set pool 2 target_max_bytes to 1000", ""},
		asked{`{"prefix":"osd pool set","pool":"tier","var":"cache_target_full_ratio","val":"2"}`, errno.ErrRange, "value must be in the range 0..1", ""},
		asked{`{"prefix":"osd pool set","pool":"tier","var":"cache_target_dirty_ratio","val":"0.25"}`, 0, "set pool 2 cache_target_dirty_ratio to 0.25", ""},
		asked{`{"prefix":"osd pool set","pool":"tier","var":"hit_set_type","val":"bloom"}`, errno.ErrNotSupported, "this fake cluster cannot do 'osd pool set' of hit_set_type", ""},
		asked{`{"prefix":"osd pool get","pool":"tier","var":"all"}`, 0, "", "target_max_bytes: 1000\ncache_target_dirty_ratio: 0.25\n"},
		asked{`{"prefix":"osd pool ls","detail":"detail"}`, 0, "", " tier_of 1 target_bytes 1000 "},
	)
}

// TestErasureProfiles: what plugins refuse.
func TestErasureProfiles(t *testing.T) {
	c := New(t, InProcess(), OSDs(3))
	set := func(profile, more string, e errno.Errno, status string) asked {
		return asked{`{"prefix":"osd erasure-code-profile set","name":"p","profile":["` + strings.ReplaceAll(profile, " ", `","`) + `"]` + more + `}`, e, status, ""}
	}
	ask(t, c,
		set("k=x m=1", "", errno.ErrInvalid, "could not convert k=x to int because Expected option value to be integer, got 'x', set to default 7"),
		set("k=1 m=1", "", errno.ErrInvalid, "k=1 must be >= 2"),
		set("plugin=clay", "", errno.ErrNotSupported, "this fake cluster cannot do the plugin 'clay'"),
		set("k=2 technique=nosuch", "", errno.ErrNotFound, "technique=nosuch is not a valid coding technique.  Choose one of the following: reed_sol_van,cauchy"),
		set("k=2 m=1 crush-failure-domain=nosuch", "", errno.ErrInvalid,
			`erasure-code-profile {crush-failure-domain=nosuch,k=2,m=1,plugin=isa,technique=reed_sol_van} contains an invalid failure-domain "nosuch"`),
		set("k=2 m=1 crush-root=nosuch", "", 0, ""),
		set("k=3 m=1", `,"force":true`, errno.ErrPermission, "overriding erasure code profile can be DANGEROUS; add --yes-i-really-mean-it to do it anyway"),
		set("k=3 m=1", `,"force":true,"yes_i_really_mean_it":true`, 0, ""),
	)
	require.Equal(t, "3", c.OSDMap().ErasureCodes["p"]["k"])
}

// TestMonitorsAsTheyAre: what operators ask of the set of monitors.
func TestMonitorsAsTheyAre(t *testing.T) {
	c := New(t, InProcess(), OSDs(1), Release(16))
	ask(t, c,
		asked{`{"prefix":"mon ok-to-rm","id":"a"}`, errno.ErrBusy, "removing mon.a would break quorum", ""},
		asked{`{"prefix":"mon ok-to-add-offline"}`, errno.ErrBusy, "adding a monitor may break quorum (until that monitor starts)", ""},
		asked{`{"prefix":"mon rm","name":"a"}`, errno.ErrInvalid, "error: refusing removal of last monitor a", ""},
		asked{`{"prefix":"mon rm","name":"x"}`, 0, "mon.x does not exist or has already been removed", ""},
		asked{`{"prefix":"mon getmap","epoch":99}`, errno.ErrNotFound, "there is no map for epoch 99", ""},
		asked{`{"prefix":"mon feature ls","with_value":"--with-value"}`, 0, "", "required: [kraken(1),luminous(2),mimic(4),osdmap-prune(8),nautilus(16),octopus(32),pacific(64),elector-pinging(128)]\n"},
		asked{`{"prefix":"mon feature set","feature_name":"nosuch"}`, errno.ErrNotFound, "unknown feature 'nosuch'", ""},
		asked{`{"prefix":"mon set-weight","name":"a","weight":5}`, 0, "", ""},
		asked{`{"prefix":"mon set-rank","name":"x","rank":1}`, errno.ErrNotFound, "mon.x does not exist in monmap", ""},
		asked{`{"prefix":"mon set-rank","name":"a","rank":1}`, errno.ErrNotSupported, "this fake cluster cannot do 'mon set-rank'", ""},
	)
	require.Equal(t, uint16(5), c.monmap.Mons["a"].Weight)
	three := New(t, InProcess(), OSDs(1), Mons(3))
	ask(t, three, asked{`{"prefix":"mon ok-to-rm","id":"b"}`, 0, "safe to remove mon.b", ""}, asked{`{"prefix":"mon rm","name":"b"}`, errno.ErrNotSupported, "this fake cluster cannot do 'mon rm'", ""},
		asked{`{"prefix":"mon ok-to-stop","ids":["nosuch"]}`, 0, "invalid mon(s) specified: [nosuch]", ""})
}

// TestConfigReset: the configuration goes back to what it was, which is a change, too.
func TestConfigReset(t *testing.T) {
	c := New(t, InProcess(), OSDs(1))
	change := func(prefix, name, value string) asked {
		return asked{`{"prefix":"` + prefix + `","who":"client.x","name":"` + name + `","value":"` + value + `"}`, 0, "", ""}
	}
	ask(t, c, change("config set", "debug_rbd", "5"), change("config set", "debug_rbd", "6"), change("config set", "rbd_cache", "false"),
		change("config rm", "debug_rbd", ""),
		asked{`{"prefix":"config reset","num":999}`, errno.ErrInvalid,
			"must specify a valid historical version to revert to; see 'ceph config log' for a list of avialable configuration historical versions", ""},
		asked{`{"prefix":"config reset","num":2}`, 0, "", ""},
		asked{`{"prefix":"config get","who":"client.x","key":"debug_rbd"}`, 0, "", "5/5\n"},
		asked{`{"prefix":"config log","num":1}`, 0, "", " --- reset to 2 ---\n- client.x/rbd_cache = false\n+ client.x/debug_rbd = 5/5\n"},
		asked{`{"prefix":"config reset","num":0}`, 0, "", ""})
	require.Empty(t, c.config.options["client.x"])
	e, _, out := c.runMon(operator(t, c), []string{`{"prefix":"config assimilate-conf"}`}, []byte("[client]\nrbd_cache = false\nnosuch = 1\n[global]\nfsid = x\nbad = 2\n"))
	require.Zero(t, e)
	require.Equal(t, "\n[client]\n\tnosuch = 1\n\n[global]\n\tbad = 2\n\tfsid = x\n", string(out))
	e, status, _ := c.runMon(operator(t, c), []string{`{"prefix":"config-key set","key":"k"}`}, make([]byte, 70000))
	require.Equal(t, errno.ErrFileTooBig, e)
	require.Equal(t, "error: entry size limited to 65536 bytes. Use 'mon config key max entry size' to manually adjust", status)
}

// TestNoAutoscale: 20.2 keeps the modes of pools, and a flag.
func TestNoAutoscale(t *testing.T) {
	c := New(t, InProcess(), OSDs(1), Pools("rbd"))
	mode := c.OSDMap().Pools[1].AutoscaleMode
	ask(t, c, asked{`{"prefix":"osd pool set noautoscale"}`, 0, "noautoscale is set, all pools now have autoscale off", ""},
		asked{`{"prefix":"osd pool get noautoscale"}`, 0, "noautoscale is on", ""},
		asked{`{"prefix":"osd dump"}`, 0, "", ",noautoscale\n"},
		asked{`{"prefix":"osd pool unset noautoscale"}`, 0, "noautoscale is unset, all pools now back to its previous mode", ""},
		asked{`{"prefix":"osd pool get noautoscale"}`, 0, "noautoscale is off", ""})
	require.Equal(t, mode, c.OSDMap().Pools[1].AutoscaleMode)
}

// TestToldOfWhatIs: what is told of OSDs, clients and the manager is how they are.
func TestToldOfWhatIs(t *testing.T) {
	c := New(t, InProcess(), OSDs(1))
	ask(t, c, asked{`{"prefix":"osd primary-affinity","id":"0","weight":0.5}`, 0, "set osd.0 primary-affinity to 0.5 (8327682)", ""},
		asked{`{"prefix":"osd tree"}`, 0, "", "  0.50000\n"},
		asked{`{"prefix":"node ls","type":"mgr"}`, 0, "", `"host0"`})
	e, status, _ := c.execTold("osd.0", []string{`{"prefix":"dump_historic_ops"}`}, true)
	require.Equal(t, errno.ErrNotSupported, e)
	require.Equal(t, "this fake cluster cannot do 'dump_historic_ops'", status)
	before := c.election.epoch
	e, _, _ = c.execTold("mon.a", []string{`{"prefix":"quorum enter"}`}, true)
	require.Zero(t, e)
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.election.epoch > before && c.election.quorate.Load()
	}, time.Minute, time.Millisecond)
	c.StopMgr()
	ask(t, c, asked{`{"prefix":"mgr metadata","who":"x"}`, errno.ErrNotFound, "mgr.x does not exist", ""}, asked{`{"prefix":"features"}`, 0, "", `"client": []`})
}
