package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// plural is Ceph's way to count things.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// groupChecks are about groups that have too few OSDs: some at once, some when they are
// stuck.
func (c *Cluster) groupChecks() []check {
	short := c.shortage()
	// States change with the map's OSDs only.
	since := c.osdmap.LastUpChange.Std()
	stuck := c.clock.Now().Sub(since) >= stuckAfter
	counts := map[string]int{}
	var unavailable, degraded []string
	for _, g := range short.lacking {
		tell := func(to *[]string, kind string) {
			*to = append(*to, fmt.Sprintf("pg %s is stuck %s for %s, current state %s, last acting %s", g.id, kind, c.age(since), g.state, setText(g.acting)))
		}
		if hasState(g.state, "degraded") {
			counts["degraded"]++
		}
		if !stuck {
			if hasState(g.state, "degraded") {
				degraded = append(degraded, fmt.Sprintf("pg %s is %s, acting %s", g.id, g.state, setText(g.acting)))
			}
			continue
		}
		kind := ""
		for _, k := range []string{"inactive", "stale"} {
			if stuckAs(g.state, []string{k}) {
				counts[k]++
				kind = k
			}
		}
		if kind != "" {
			tell(&unavailable, kind)
		}
		if hasState(g.state, "undersized") {
			counts["undersized"]++
			tell(&degraded, "undersized")
		}
	}
	summary := func(kinds ...string) (s string, n int) {
		var parts []string
		for _, k := range kinds {
			if counts[k] > 0 {
				parts = append(parts, plural(counts[k], "pg")+" "+k)
				n += counts[k]
			}
		}
		return strings.Join(parts, ", "), n
	}
	var out []check
	if s, n := summary("inactive", "stale"); n > 0 {
		out = append(out, check{code: "PG_AVAILABILITY", severity: "HEALTH_WARN", summary: "Reduced data availability: " + s, count: n, detail: unavailable})
	}
	if s, n := summary("degraded", "undersized"); n > 0 {
		if t := short.degradedText(); t != "" {
			s = t + ", " + s
		}
		out = append(out, check{code: "PG_DEGRADED", severity: "HEALTH_WARN", summary: "Degraded data redundancy: " + s, count: n, detail: degraded})
	}
	return out
}

// setText is a set of OSDs as Ceph prints it.
func setText(osds []int32) string { return strings.ReplaceAll(fmt.Sprint(osds), " ", ",") }

// subtreeChecks are about parts of the CRUSH map all of whose OSDs are down.
func (c *Cluster) subtreeChecks() []check {
	m := c.osdmap
	type part struct {
		detail []string
		osds   int
	}
	parts := map[int32]*part{}
	names := slices.SortedFunc(maps.Keys(m.Crush.ItemNames), func(a, b int32) int { return int(b) - int(a) })
	for _, id := range names {
		b := m.Crush.Bucket(id)
		if b == nil || strings.Contains(m.Crush.ItemNames[id], "~") {
			continue
		}
		_, osds, _ := c.below(m.Crush.ItemNames[id])
		if slices.ContainsFunc(osds, func(osd int32) bool { return m.IsUp(osd) }) {
			continue
		}
		down := 0
		for _, osd := range osds {
			if m.Exists(osd) && m.Weight[osd] > 0 {
				down++
			}
		}
		kind := m.Crush.TypeNames[int32(b.Type)]
		where := ""
		if over := c.above(id); len(over) > 0 {
			where = " (" + strings.Join(over, ",") + ")"
		}
		p := parts[int32(b.Type)]
		if p == nil {
			p = &part{}
			parts[int32(b.Type)] = p
		}
		p.osds += down
		p.detail = append(p.detail, fmt.Sprintf("%s %s%s (%d osds) is down", kind, m.Crush.ItemNames[id], where, down))
	}
	var out []check
	for _, typ := range slices.Sorted(maps.Keys(parts)) {
		kind, p := m.Crush.TypeNames[typ], parts[typ]
		if p.osds > 0 {
			out = append(out, check{
				code: "OSD_" + strings.ToUpper(kind) + "_DOWN", severity: "HEALTH_WARN", count: len(p.detail), detail: p.detail,
				summary: fmt.Sprintf("%s (%d osds) down", plural(len(p.detail), kind), p.osds),
			})
		}
	}
	return out
}

// above tells where in the CRUSH map an item is, the root first.
func (c *Cluster) above(id int32) []string {
	m := c.osdmap.Crush
	for _, b := range m.Buckets {
		if b != nil && slices.Contains(b.Items, id) && !strings.Contains(m.ItemNames[b.ID], "~") {
			return append(c.above(b.ID), m.TypeNames[int32(b.Type)]+"="+m.ItemNames[b.ID])
		}
	}
	return nil
}
