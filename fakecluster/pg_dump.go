package fakecluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/fakecluster/pg"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// Members of Ceph's statistics, in its order. What is not counted here is 0.
const (
	sumMembers = "num_bytes num_objects num_object_clones num_object_copies num_objects_missing_on_primary num_objects_missing num_objects_degraded " +
		"num_objects_misplaced num_objects_unfound num_objects_dirty num_whiteouts num_read num_read_kb num_write num_write_kb num_scrub_errors " +
		"num_shallow_scrub_errors num_deep_scrub_errors num_objects_recovered num_bytes_recovered num_keys_recovered num_objects_omap " +
		"num_objects_hit_set_archive num_bytes_hit_set_archive num_flush num_flush_kb num_evict num_evict_kb num_promote num_flush_mode_high " +
		"num_flush_mode_low num_evict_mode_some num_evict_mode_full num_objects_pinned num_legacy_snapsets num_large_omap_objects " +
		"num_objects_manifest num_omap_bytes num_omap_keys num_objects_repaired"
	storeMembers = "total available internally_reserved allocated data_stored data_compressed data_compressed_allocated data_compressed_original " +
		"omap_allocated internal_metadata"
	osdMembers = "up_from seq num_pgs num_osds num_per_pool_osds num_per_pool_omap_osds kb kb_used kb_used_data kb_used_omap kb_used_meta kb_avail"
)

// zeros returns an object of members that are 0, but for those given.
func zeros(members string, known map[string]any) object {
	o := object{}
	for name := range strings.FieldsSeq(members) {
		v, ok := known[name]
		if !ok {
			v = 0
		}
		o = append(o, field{name, v})
	}
	return o
}

// statSum is what is said of objects, of which there should be so many copies, and
// some are degraded.
func statSum(s pg.Stats, copies, degraded uint64) object {
	return zeros(sumMembers, map[string]any{
		"num_bytes": s.Bytes, "num_objects": s.Objects, "num_object_clones": s.Clones, "num_object_copies": copies,
		"num_objects_degraded": degraded, "num_objects_dirty": s.Objects,
	})
}

// statBlock is what is said of a pool, or of all.
func statBlock(s pg.Stats, copies uint64, short shortage) object {
	return object{
		{"stat_sum", statSum(s, copies, short.degraded)}, {"store_stats", zeros(storeMembers, nil)}, {"log_size", 0}, {"ondisk_log_size", 0},
		{"up", short.live}, {"acting", short.live}, {"num_store_stats", 0},
	}
}

func (c *Cluster) poolStatObjects() []object {
	list := []object{}
	for _, id := range poolsByID(c.osdmap) {
		list = append(list, append(object{{"poolid", id}, {"num_pg", len(c.groups[id])}}, statBlock(c.poolStat(id), c.copies(id), c.shortage(id))...))
	}
	return list
}

// osdStat is what is said of OSDs that have so many groups and bytes together.
func (c *Cluster) osdStat(osds, groups int, raw uint64) object {
	size := uint64(osds) * osdBytes
	free := size - min(size, raw)
	o := zeros(osdMembers, map[string]any{
		"up_from": 1, "num_pgs": groups, "num_osds": osds, "kb": size / 1024, "kb_used": raw / 1024, "kb_used_data": raw / 1024, "kb_avail": free / 1024,
	})
	return append(o, object{
		{"statfs", zeros(storeMembers, map[string]any{"total": size, "available": free, "allocated": raw, "data_stored": raw})},
		{"hb_peers", []int{}}, {"snap_trim_queue_len", 0}, {"num_snap_trimming", 0}, {"num_shards_repaired", 0},
		{"op_queue_age_hist", object{{"histogram", []int{}}, {"upper_bound", 1}}},
		{"perf_stat", zeros("commit_latency_ms apply_latency_ms commit_latency_ns apply_latency_ns", nil)}, {"alerts", []string{}},
	}...)
}

func (c *Cluster) osdStatObjects() []object {
	list := []object{}
	_, raw := c.total()
	for i, groups := range c.groupsByOSD() {
		o := append(object{{"osd", i}}, c.osdStat(1, groups, raw/uint64(max(1, len(c.osds))))...)
		if c.opt.release < 20 {
			o = append(o, field{"network_ping_times", []string{}})
		}
		list = append(list, o)
	}
	return list
}

// pgStat is everything that is said of one group.
func (c *Cluster) pgStat(v *view, id int64, seed int) object {
	p := v.pools[id]
	g, born := p.groups[seed], cephTime(c.started)
	s := g.Stats()
	last, deep := c.scrubsOf(osdmap.PG{Pool: id, Seed: uint32(seed)})
	o := object{
		{"pgid", fmt.Sprintf("%d.%x", id, seed)}, {"version", groupVersion(v.epoch, g.Version())}, {"reported_seq", g.Version()},
		{"reported_epoch", v.epoch}, {"state", p.state(seed)},
	}
	for name := range strings.FieldsSeq("last_fresh last_change last_active last_peered last_clean last_became_active last_became_peered last_unstale " +
		"last_undegraded last_fullsized") {
		o = append(o, field{name, born})
	}
	o = append(o, object{
		{"mapping_epoch", 1}, {"log_start", "0'0"}, {"ondisk_log_start", "0'0"}, {"created", 1}, {"last_epoch_clean", v.epoch}, {"parent", "0.0"},
		{"parent_split_bits", 0}, {"last_scrub", "0'0"}, {"last_scrub_stamp", last}, {"last_deep_scrub", "0'0"}, {"last_deep_scrub_stamp", deep},
		{"last_clean_scrub_stamp", last},
	}...)
	if c.opt.release >= 18 {
		o = append(o, field{"objects_scrubbed", 0})
	}
	o = append(o, field{"log_size", 0})
	if c.opt.release >= 18 {
		o = append(o, field{"log_dups_size", 0})
	}
	o = append(o, field{"ondisk_log_size", 0})
	for name := range strings.FieldsSeq("stats dirty_stats omap_stats hitset_stats hitset_bytes_stats pin_stats manifest_stats") {
		o = append(o, field{name + "_invalid", false})
	}
	o = append(o, field{"snaptrimq_len", 0})
	if c.opt.release >= 18 {
		o = append(o, object{
			{"last_scrub_duration", 0}, {"scrub_schedule", "periodic scrub scheduled @ " + last}, {"scrub_duration", 0}, {"objects_trimmed", 0},
			{"snaptrim_duration", 0},
		}...)
	}
	return append(o, object{
		{"stat_sum", statSum(s, s.Objects*uint64(p.pool.Size), s.Objects*p.missing(seed))}, {"up", p.acting[seed]}, {"acting", p.acting[seed]}, {"avail_no_missing", []string{}},
		{"object_location_counts", []string{}}, {"blocked_by", []string{}}, {"up_primary", p.first(seed)}, {"acting_primary", p.first(seed)},
		{"purged_snaps", []string{}},
	}...)
}

// briefly leaves of what is said of a group where it is, and its state.
func briefly(stat object) object {
	o := object{}
	for _, f := range stat {
		switch f.Key {
		case "pgid", "state", "up", "acting", "up_primary", "acting_primary":
			o = append(o, f)
		}
	}
	return o
}

// pgTable is the table of that.
func pgTable(brief []object) *table {
	t := &table{head: []string{"PG_STAT", "STATE", "UP", "UP_PRIMARY", "ACTING", "ACTING_PRIMARY"}, right: []bool{false, false, false, true, true, true}}
	for _, o := range brief {
		set := strings.ReplaceAll(fmt.Sprint(o[2].Value), " ", ",")
		t.rows = append(t.rows, []string{fmt.Sprint(o[0].Value), fmt.Sprint(o[1].Value), set, fmt.Sprint(o[4].Value), set, fmt.Sprint(o[5].Value)})
	}
	return t
}

// pgDump tells of groups, pools and OSDs what is asked for.
func (k *call) pgDump() errno.Errno {
	c := k.c
	what := k.args.list("dumpcontents")
	if len(what) == 0 {
		what = []string{"all"}
	}
	k.status = "dumped " + strings.Join(what, ",")
	asked := func(names ...string) bool {
		return slices.ContainsFunc(what, func(w string) bool { return w == "all" || slices.Contains(names, w) })
	}
	brief := []object{}
	all := []object{}
	v := c.view.Load()
	for _, id := range poolsByID(c.osdmap) {
		for seed := range v.pools[id].groups {
			s := c.pgStat(v, id, seed)
			all = append(all, s)
			brief = append(brief, briefly(s))
		}
	}
	if k.plain() {
		return k.pgDumpText(asked, brief)
	}
	o := object{{"pg_ready", true}}
	switch {
	case asked("all", "summary", "sum"):
		s, raw := c.total()
		m := object{{"version", v.epoch}, {"stamp", cephTime(c.clock.Now())}, {"last_osdmap_epoch", v.epoch}, {"last_pg_scan", 0}}
		m = append(m, field{"pg_stats_sum", statBlock(s, c.copies(poolsByID(c.osdmap)...), c.shortage())},
			field{"osd_stats_sum", append(c.osdStat(len(c.osds), len(all), raw), field{"network_ping_times", []string{}})},
			field{"pg_stats_delta", append(statBlock(pg.Stats{}, 0, shortage{}), field{"stamp_delta", "5.000000"})})
		if asked() {
			m = append(m, field{"pg_stats", all}, field{"pool_stats", c.poolStatObjects()}, field{"osd_stats", c.osdStatObjects()}, field{"pool_statfs", []string{}})
		}
		return k.json(append(o, field{"pg_map", m}))
	case asked("pgs_brief"):
		return k.json(append(o, field{"pg_stats", brief}))
	case asked("pgs"):
		return k.json(append(o, field{"pg_stats", all}))
	case asked("pools"):
		return k.json(append(o, field{"pool_stats", c.poolStatObjects()}))
	}
	return k.json(append(o, field{"osd_stats", c.osdStatObjects()}, field{"pool_statfs", []string{}}))
}

var sumColumns = []string{"OBJECTS", "MISSING_ON_PRIMARY", "DEGRADED", "MISPLACED", "UNFOUND", "BYTES", "OMAP_BYTES*", "OMAP_KEYS*", "LOG", "DISK_LOG"}

func sumRow(name string, s pg.Stats) []string {
	return []string{name, fmt.Sprint(s.Objects), "0", "0", "0", "0", fmt.Sprint(s.Bytes), "0", "0", "0", "0"}
}

// rightBut returns which of n columns are set to the right: all but the first.
func rightBut(n int) []bool {
	out := make([]bool, n)
	for i := 1; i < n; i++ {
		out[i] = true
	}
	return out
}

func (k *call) pgDumpText(asked func(...string) bool, brief []object) errno.Errno {
	c := k.c
	s, raw := c.total()
	if asked("summary", "sum") {
		k.print("version %d\nstamp %s\nlast_osdmap_epoch 0\nlast_pg_scan 0\n", c.osdmap.Epoch, cephTime(c.clock.Now()))
	}
	note := false
	if asked("pgs", "pgs_brief") {
		k.out = append(k.out, pgTable(brief).text(2)...)
	}
	if asked("pools") {
		note = true
		t := table{head: append([]string{"POOLID"}, sumColumns...), right: rightBut(11)}
		ids := poolsByID(c.osdmap)
		slices.Reverse(ids)
		for _, id := range ids {
			t.rows = append(t.rows, sumRow(fmt.Sprint(id), c.poolStat(id)))
		}
		k.out = append(k.out, t.text(2)...)
	}
	if asked("summary", "sum") {
		note = true
		t := table{head: append([]string{"PG_STAT"}, sumColumns...), right: rightBut(11), rows: [][]string{sumRow("sum", s)}}
		k.out = append(k.out, t.text(2)...)
	}
	size := uint64(len(c.osds)) * osdBytes
	free := size - min(size, raw)
	sum := []string{"sum", bytesText(raw), bytesText(free), bytesText(raw), bytesText(size)}
	switch {
	case asked("osds"):
		t := table{head: []string{"OSD_STAT", "USED", "AVAIL", "USED_RAW", "TOTAL", "HB_PEERS", "PG_SUM", "PRIMARY_PG_SUM"}, right: rightBut(8)}
		primaries := c.primariesByOSD()
		for i, n := range c.groupsByOSD() {
			used := bytesText(raw / uint64(max(1, len(c.osds))))
			t.rows = append(t.rows, []string{fmt.Sprint(i), used, bytesText(free / uint64(len(c.osds))), used, bytesText(osdBytes), "[]", fmt.Sprint(n), fmt.Sprint(primaries[i])})
		}
		t.rows = append(t.rows, append(sum, "", "", ""))
		k.out = append(k.out, t.text(2)...)
	case asked("sum", "summary"):
		t := table{head: []string{"OSD_STAT", "USED", "AVAIL", "USED_RAW", "TOTAL"}, right: rightBut(5), rows: [][]string{sum}}
		k.out = append(k.out, t.text(2)...)
	}
	if note {
		k.out = append(k.out, omapNote...)
	}
	return 0
}
