package fakecluster

import (
	"fmt"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// poolUse is how much of the cluster a pool takes.
func (c *Cluster) poolUse(id int64, avail uint64, detail bool) (object, []string) {
	s, p := c.poolStat(id), c.osdmap.Pools[id]
	used := rawBytes(c.osdmap, id, s.Stored)
	room := avail / max(1, rawBytes(c.osdmap, id, 1))
	share := float64(used) / float64(max(1, used+avail))
	row := []string{c.osdmap.PoolNames[id], fmt.Sprint(id), fmt.Sprint(len(c.groups[id])), bytesText(s.Stored)}
	stats := object{{"stored", s.Stored}}
	if detail {
		row = append(row, bytesText(s.Stored), "0 B")
		stats = append(stats, field{"stored_data", s.Stored}, field{"stored_omap", 0})
	}
	row = append(row, countText(s.Objects), bytesText(used))
	stats = append(stats, field{"objects", s.Objects}, field{"kb_used", (used + 1023) / 1024}, field{"bytes_used", used})
	if detail {
		row = append(row, bytesText(used), "0 B")
		stats = append(stats, field{"data_bytes_used", used}, field{"omap_bytes_used", 0})
	}
	row = append(row, percent(share), bytesText(room))
	stats = append(stats, field{"percent_used", share}, field{"max_avail", room})
	if detail {
		quota := func(n uint64, text func(uint64) string) string {
			if n == 0 {
				return "N/A"
			}
			return text(n)
		}
		row = append(row, quota(p.QuotaObjects, countText), quota(p.QuotaBytes, bytesText), "N/A", "0 B", "0 B")
		for _, f := range []field{
			{"quota_objects", p.QuotaObjects}, {"quota_bytes", p.QuotaBytes}, {"dirty", 0}, {"rd", 0}, {"rd_bytes", 0}, {"wr", 0}, {"wr_bytes", 0},
			{"compress_bytes_used", 0}, {"compress_under_bytes", 0}, {"stored_raw", used}, {"avail_raw", avail},
		} {
			stats = append(stats, f)
		}
	}
	return object{{"name", c.osdmap.PoolNames[id]}, {"id", id}, {"stats", stats}}, row
}

func (k *call) df() errno.Errno {
	c := k.c
	n, _, _ := c.osdCounts()
	_, raw := c.total()
	size := uint64(n) * osdBytes
	avail := size - min(size, raw)
	ratio := float64(raw) / float64(max(size, 1))
	detail := k.args.str("detail") == "detail"
	t := table{head: []string{"POOL", "ID", "PGS", "STORED", "OBJECTS", "USED", "%USED", "MAX AVAIL"}}
	if detail {
		t.head = []string{
			"POOL", "ID", "PGS", "STORED", "(DATA)", "(OMAP)", "OBJECTS", "USED", "(DATA)", "(OMAP)", "%USED", "MAX AVAIL",
			"QUOTA OBJECTS", "QUOTA BYTES", "DIRTY", "USED COMPR", "UNDER COMPR",
		}
	}
	for i := range t.head {
		t.right = append(t.right, i > 0)
	}
	pools := []object{}
	for _, id := range poolsByID(c.osdmap) {
		o, row := c.poolUse(id, avail, detail)
		pools, t.rows = append(pools, o), append(t.rows, row)
	}
	totals := object{
		{"total_bytes", size}, {"total_avail_bytes", avail}, {"total_used_bytes", raw}, {"total_used_raw_bytes", raw},
		{"total_used_raw_ratio", ratio}, {"num_osds", n}, {"num_per_pool_osds", n}, {"num_per_pool_omap_osds", n},
	}
	if !k.plain() {
		return k.json(object{{"stats", totals}, {"stats_by_class", object{{deviceClass, totals[:5]}}}, {"pools", pools}})
	}
	h := table{head: []string{"CLASS", "SIZE", "AVAIL", "USED", "RAW USED", "%RAW USED"}, right: []bool{false, true, true, true, true, true}}
	for _, name := range []string{deviceClass, "TOTAL"} {
		h.rows = append(h.rows, []string{name, bytesText(size), bytesText(avail), bytesText(raw), bytesText(raw), percent(ratio)})
	}
	k.print("--- RAW STORAGE ---\n%s \n--- POOLS ---\n%s", h.text(2), t.text(2))
	return 0
}

// autoscaleStatus is what the manager's pg_autoscaler thinks of the pools.
func (k *call) autoscaleStatus() errno.Errno {
	c := k.c
	n, _, _ := c.osdCounts()
	size := uint64(n) * osdBytes
	t := table{
		head:  []string{"POOL", "SIZE", "TARGET SIZE", "RATE", "RAW CAPACITY", "RATIO", "TARGET RATIO", "EFFECTIVE RATIO", "BIAS", "PG_NUM", "NEW PG_NUM", "AUTOSCALE", "BULK"},
		right: []bool{false, true, true, true, true, true, true, true, true, true, true, false, false},
	}
	list := []object{}
	for _, id := range poolsByID(c.osdmap) {
		p, s := c.osdmap.Pools[id], c.poolStat(id)
		rate := float64(rawBytes(c.osdmap, id, 1))
		ratio := float64(s.Stored) * rate / float64(max(1, size))
		bulk := map[bool]string{true: "True", false: "False"}[p.HasFlag(osdmap.PoolBulk)]
		t.rows = append(t.rows, []string{
			c.osdmap.PoolNames[id], fmt.Sprint(s.Stored), "", fmt.Sprintf("%.1f", rate), fmt.Sprintf("%dM", size>>20), fmt.Sprintf("%.4f", ratio), "", "",
			"1.0", fmt.Sprint(p.PGNum), "", autoscale(p), bulk,
		})
		list = append(list, object{
			{"actual_capacity_ratio", ratio}, {"actual_raw_used", float64(s.Stored) * rate}, {"bias", 1.0}, {"bulk", bulk == "True"},
			{"capacity_ratio", ratio}, {"crush_root_id", -1}, {"effective_target_ratio", 0.0}, {"logical_used", s.Stored},
			{"pg_autoscale_mode", autoscale(p)}, {"pg_num_final", p.PGNum}, {"pg_num_ideal", 0}, {"pg_num_target", p.PGNum}, {"pool_id", id},
			{"pool_name", c.osdmap.PoolNames[id]}, {"raw_used", float64(s.Stored) * rate}, {"raw_used_rate", rate},
			{"subtree_capacity", size}, {"target_bytes", 0}, {"target_ratio", 0.0}, {"would_adjust", false},
		})
	}
	if !k.plain() {
		return k.pyJSON(list)
	}
	k.out = t.text(2)
	return 0
}
