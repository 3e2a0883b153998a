package fakecluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// queryPG answers what a client asks about a placement group.
func (k *told) queryPG() errno.Errno {
	id := k.args.str("pgid")
	if id == "" {
		return k.say(errno.ErrInvalid, "no pgid specified")
	}
	pgid, ok := parsePG(id)
	if !ok {
		return k.say(errno.ErrInvalid, "couldn't parse pgid '%s'", id)
	}
	v := k.c.view.Load()
	p := v.pools[pgid.Pool]
	if p == nil || int(pgid.Seed) >= len(p.groups) {
		return k.say(errno.ErrNotFound, "i don't have pgid %s", id)
	}
	switch k.args.str("cmd") {
	case "", "query":
	case "list_unfound", "list_missing":
		return k.json(object{
			{"num_missing", 0}, {"num_unfound", 0}, {"objects", []string{}}, {"state", "Active"}, {"available_might_have_unfound", true},
			{"might_have_unfound", []string{}}, {"more", false},
		})
	case "mark_unfound_lost":
		return k.say(0, "pg has no unfound objects")
	default:
		return errno.ErrInvalid
	}
	acting, primary := p.acting[pgid.Seed], p.primary[pgid.Seed]
	stats := k.c.pgStat(v, pgid.Pool, int(pgid.Seed))[1:]
	o := object{
		{"snap_trimq", "[]"}, {"snap_trimq_len", 0}, {"state", p.state(int(pgid.Seed))}, {"epoch", v.epoch},
		{"up", acting}, {"acting", acting}, {"acting_recovery_backfill", []string{fmt.Sprint(primary)}}, {"info", k.c.pgInfo(v, pgid, stats)},
		{"peer_info", []string{}}, {"recovery_state", []object{k.c.pgRecovery(), {{"name", "Started"}, {"enter_time", cephTime(k.c.started)}}}},
	}
	return k.json(append(o, field{"scrubber", k.c.pgScrubber()}, field{"agent_state", object{}}))
}

// pgInfo is a group's pg_info_t. There is no history of OSDs that had it before.
func (c *Cluster) pgInfo(v *view, id osdmap.PG, stats object) object {
	g := v.pools[id.Pool].groups[id.Seed]
	last, deep := c.scrubsOf(id)
	version := groupVersion(v.epoch, g.Version())
	o := object{{"pgid", id.String()}}
	if c.opt.release >= 20 {
		o = append(o, field{"shard", "255"})
	}
	o = append(o, object{
		{"last_update", version}, {"last_complete", version}, {"log_tail", "0'0"}, {"last_user_version", g.Version()}, {"last_backfill", "MAX"},
	}...)
	if c.opt.release >= 20 {
		o = append(o, field{"partial_writes_last_complete", []string{}}, field{"partial_writes_last_complete_epoch", fmt.Sprint(v.epoch)})
	}
	history := zeros("epoch_created epoch_pool_created last_epoch_started last_interval_started last_epoch_clean last_interval_clean last_epoch_split "+
		"last_epoch_marked_full same_up_since same_interval_since same_primary_since", nil)
	history = append(history, object{
		{"last_scrub", "0'0"}, {"last_scrub_stamp", last}, {"last_deep_scrub", "0'0"}, {"last_deep_scrub_stamp", deep},
		{"last_clean_scrub_stamp", last}, {"prior_readable_until_ub", 0},
	}...)
	return append(o, object{
		{"purged_snaps", []string{}}, {"history", history}, {"stats", stats}, {"empty", b2i(g.Stats().Objects == 0)}, {"dne", 0}, {"incomplete", 0},
		{"last_epoch_started", v.epoch}, {"hit_set_history", object{{"current_last_update", "0'0"}, {"history", []string{}}}},
	}...)
}

// groupVersion prints a group's version: nothing was written before the first.
func groupVersion(epoch uint32, version uint64) string {
	if version == 0 {
		epoch = 0
	}
	return fmt.Sprintf("%d'%d", epoch, version)
}

// pgRecovery is the state of a group of which nothing is to be recovered.
func (c *Cluster) pgRecovery() object {
	return object{
		{"name", "Started/Primary/Active"}, {"enter_time", cephTime(c.started)}, {"might_have_unfound", []string{}},
		{"recovery_progress", object{
			{"backfill_targets", []string{}}, {"waiting_on_backfill", []string{}}, {"last_backfill_started", "MIN"},
			{"backfill_info", object{{"begin", "MIN"}, {"end", "MIN"}, {"objects", []string{}}}}, {"peer_backfill_info", []string{}},
			{"backfills_in_flight", []string{}}, {"recovering", []string{}},
			{"pg_backend", object{{"pull_from_peer", []string{}}, {"pushing", []string{}}}},
		}},
	}
}

func (c *Cluster) pgScrubber() object {
	if c.opt.release < 18 {
		return object{{"epoch_start", "0"}, {"active", false}}
	}
	o := object{{"active", false}, {"must_scrub", false}, {"must_deep_scrub", false}, {"must_repair", false}}
	if c.opt.release < 20 {
		o = append(o, field{"need_auto", false})
	}
	at := cephTime(c.started)
	return append(o, field{"scrub_reg_stamp", at}, field{"schedule", "scrub scheduled @ " + at})
}

// parsePG reads a placement group's name: "1.2f".
func parsePG(s string) (osdmap.PG, bool) {
	pool, seed, ok := strings.Cut(s, ".")
	id, err := strconv.ParseInt(pool, 10, 64)
	n, nerr := strconv.ParseUint(seed, 16, 32)
	return osdmap.PG{Pool: id, Seed: uint32(n)}, ok && err == nil && nerr == nil
}

// mempools are what a C++ daemon keeps account of its memory by. Nothing of it is here.
func (k *told) mempools() errno.Errno {
	names := strings.Fields("bloom_filter bluestore_alloc bluestore_cache_data bluestore_cache_onode bluestore_cache_meta bluestore_cache_other " +
		"bluestore_Buffer bluestore_Extent bluestore_Blob bluestore_SharedBlob bluestore_inline_bl bluestore_fsck bluestore_txc " +
		"bluestore_writing_deferred bluestore_writing bluefs bluefs_file_reader bluefs_file_writer buffer_anon buffer_meta osd osd_mapbl osd_pglog " +
		"osdmap osdmap_mapping pgmap mds_co unittest_1 unittest_2")
	if k.c.opt.release >= 18 {
		for i, later := range map[string]string{
			"bluestore_Buffer": "bluestore_cache_buffer", "bluestore_Extent": "bluestore_extent", "bluestore_Blob": "bluestore_blob",
			"bluestore_SharedBlob": "bluestore_shared_blob",
		} {
			names[slices.Index(names, i)] = later
		}
	}
	if k.c.opt.release >= 20 {
		names = slices.Insert(names, slices.Index(names, "unittest_1"), "ec_extent_cache")
	}
	none := object{{"items", 0}, {"bytes", 0}}
	pools := object{}
	for _, n := range names {
		pools = append(pools, field{n, none})
	}
	return k.json(object{{"mempool", object{{"by_pool", pools}, {"total", none}}}})
}
