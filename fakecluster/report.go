package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
)

// report is everything at once.
func (k *call) clusterReport() errno.Errno {
	c := k.c
	k.status = fmt.Sprintf("report %d", c.osdmap.Epoch)
	o := object{
		{"cluster_fingerprint", c.fsid.String()}, {"version", c.release().short}, {"commit", c.release().commit},
		{"timestamp", cephTime(c.clock.Now())}, {"tag", strings.Join(k.args.list("tags"), " ")}, {"health", healthObject(c.checks(), true)},
		{"monmap_first_committed", 1}, {"monmap_last_committed", c.monmap.Epoch}, {"monmap", c.monmapObject()}, {"quorum", c.quorum()},
		{"osdmap", c.osdDumpObject(c.osdmap)}, {"osd_metadata", c.osdMetadataList()}, {"osdmap_clean_epochs", c.cleanEpochs()},
		{"osdmap_first_committed", 1}, {"osdmap_last_committed", c.osdmap.Epoch}, {"crushmap", c.crushDump()}, {"fsmap", c.fsMap()},
		{"mdsmap_first_committed", 1}, {"mdsmap_last_committed", 1},
		{"auth", object{{"first_committed", 1}, {"last_committed", 1}, {"num_secrets", len(c.keys.Keyring())}}},
	}
	o = append(o, c.groupReport()...)
	purged := []object{}
	for _, id := range poolsByID(c.osdmap) {
		purged = append(purged, object{{"pool", id}, {"purged_snaps", object{}}})
	}
	o = append(o, field{"purged_snaps", purged}, field{"servicemap", c.services.dump()})
	if c.opt.release >= 18 {
		o = append(o, field{"mgrstat_first_committed", 1}, field{"mgrstat_last_committed", c.mgrmap.Epoch}, field{"logm_first_committed", 1},
			field{"logm_last_committed", len(c.clusterLog)})
	}
	return k.json(append(o, field{"paxos", zeros("first_committed last_committed last_pn accepted_pn", nil)}))
}

// cleanEpochs tells since when pools are clean, and which maps the OSDs have.
func (c *Cluster) cleanEpochs() object {
	pools, osds := []object{}, []object{}
	floor := uint32(0)
	if c.opt.release < 18 {
		floor = c.osdmap.Epoch
		for _, id := range poolsByID(c.osdmap) {
			pools = append(pools, object{{"poolid", id}, {"floor", floor}})
		}
	}
	for _, o := range c.osds {
		osds = append(osds, object{{"id", o.id}, {"epoch", c.osdmap.Epoch}})
	}
	return object{{"min_last_epoch_clean", floor}, {"last_epoch_clean", object{{"per_pool", pools}}}, {"osd_epochs", osds}}
}

// groupReport is the part of the report about placement groups.
func (c *Cluster) groupReport() object {
	s, raw := c.total()
	n, _, _ := c.osdCounts()
	short := c.shortage()
	states, groups := short.states, short.groups
	sum := append(c.osdStat(n, groups, raw), field{"network_ping_times", []string{}})
	seqs, byOSD, byState, unavailable := []object{}, []object{}, []object{}, []object{}
	primaries := c.primariesByOSD()
	for i, n := range c.groupsByOSD() {
		seqs = append(seqs, object{{"osd", i}, {"seq", uint64(c.osdmap.Epoch) << 32}})
		byOSD = append(byOSD, object{{"osd", i}, {"num_primary_pg", primaries[i]}, {"num_acting_pg", n}, {"num_up_not_acting_pg", 0}})
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		byState = append(byState, object{{"state", name}, {"num", states[name]}})
	}
	o := object{
		{"num_pg", groups}, {"num_pg_active", groups - short.inactive}, {"num_pg_unknown", states["unknown"]}, {"num_osd", n}, {"pool_sum", statBlock(s, c.copies(poolsByID(c.osdmap)...), short)},
		{"osd_sum", sum}, {"osd_sum_by_class", object{{deviceClass, sum}}}, {"pool_stats", c.poolStatObjects()}, {"osd_stats", seqs},
		{"num_pg_by_state", byState},
	}
	if c.opt.release >= 20 {
		for _, id := range poolsByID(c.osdmap) {
			unavailable = append(unavailable, object{{"poolid", fmt.Sprint(id)}, {"pgs", []string{}}})
		}
		o = append(o, field{"pool_pg_unavailable_map", unavailable})
	}
	return append(o, field{"num_pg_by_osd", byOSD})
}

func pgStateObjects(states map[string]int) []object {
	by := []object{}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		by = append(by, object{{"name", name}, {"num", states[name]}})
	}
	return by
}
