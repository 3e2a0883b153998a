package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

func (k *call) osdStat() errno.Errno {
	n, up, in := k.c.osdCounts()
	m := k.c.osdmap
	if !k.plain() {
		return k.json(object{
			{"epoch", m.Epoch}, {"num_osds", n}, {"num_up_osds", up}, {"osd_up_since", m.LastUpChange.Sec},
			{"num_in_osds", in}, {"osd_in_since", m.LastInChange.Sec}, {"num_remapped_pgs", 0},
		})
	}
	return k.print("%d osds: %d up (since %s), %d in (since %s); epoch: e%d\n", n, up, k.c.age(m.LastUpChange.Std()), in, k.c.age(m.LastInChange.Std()), m.Epoch)
}

func (k *call) mapOf() *osdmap.Map {
	if !k.args.has("epoch") {
		return k.c.osdmap
	}
	return k.c.history.epoch(uint32(k.args.number("epoch", 0)))
}

func (k *call) osdDump() errno.Errno {
	m := k.mapOf()
	if m == nil {
		return k.say(errno.ErrNotFound, "there is no map for epoch %s", k.args.str("epoch"))
	}
	if !k.plain() {
		return k.json(k.c.osdDumpObject(m))
	}
	k.print("epoch %d\nfsid %s\ncreated %s\nmodified %s\nflags %s\ncrush_version %d\nfull_ratio %g\nbackfillfull_ratio %g\nnearfull_ratio %g\nrequire_min_compat_client %s\nmin_compat_client jewel\nrequire_osd_release %s\nstretch_mode_enabled false\n",
		m.Epoch, m.FSID, cephTime(m.Created.Std()), cephTime(m.Modified.Std()), strings.Join(flagNames(m.Flags), ","), m.CrushVersion,
		m.OSDOnly.Full, m.OSDOnly.BackfillFull, m.OSDOnly.NearFull, releaseNames[m.OSDOnly.MinCompatClient], k.c.release().name)
	for _, id := range poolsByID(m) {
		k.print("%s\n", poolLine(m, id))
	}
	k.print("max_osd %d\n", m.MaxOSD())
	for i := range m.State {
		k.print("%s\n", osdLine(m, int32(i)))
	}
	for _, a := range sortedAddrs(m.OSDOnly.Blocklist) {
		k.print("blocklist %s expires %s\n", a, cephTime(m.OSDOnly.Blocklist[a].Std()))
	}
	for _, a := range sortedAddrs(m.OSDOnly.RangeBlocklist) {
		k.print("range blocklist cidr:%s expires %s\n", a, cephTime(m.OSDOnly.RangeBlocklist[a].Std()))
	}
	return 0
}

func osdLine(m *osdmap.Map, id int32) string {
	up, in := "down", "out"
	if m.IsUp(id) {
		up = "up  "
	}
	if m.Weight[id] > 0 {
		in = "in "
	}
	d := m.OSDOnly.OSDs[id]
	lost := ""
	if d.Info.LostAt > 0 {
		lost = fmt.Sprintf("lost_at %d ", d.Info.LostAt)
	}
	return fmt.Sprintf("osd.%d %s %s weight %g up_from %d up_thru %d down_at %d last_clean_interval [%d,%d) %s%s %s %s %s",
		id, up, in, float64(m.Weight[id])/float64(osdmap.InWeight), d.Info.UpFrom, d.Info.UpThru, d.Info.DownAt,
		d.Info.LastCleanBegin, d.Info.LastCleanEnd, lost, m.Addrs[id], d.Cluster, strings.Join(osdStates(m, id), ","), d.UUID)
}

// osdStates returns the words for an OSD's state, sorted as Ceph has them.
func osdStates(m *osdmap.Map, id int32) []string {
	words := []string{"exists"}
	for name, f := range fullNames {
		if m.State[id]&uint32(f) != 0 {
			words = append(words, name)
		}
	}
	words = append(words, daemonFlagNames(m.State[id])...)
	if m.IsUp(id) {
		words = append(words, "up")
	}
	slices.Sort(words)
	return words
}

func sortedAddrs(m map[entity.Addr]denc.Time) []entity.Addr {
	return slices.SortedFunc(maps.Keys(m), func(a, b entity.Addr) int { return strings.Compare(a.String(), b.String()) })
}

// affinityOf returns how much of its share an OSD is the primary for.
func affinityOf(m *osdmap.Map, id int32) float64 {
	if int(id) < len(m.Affinity) {
		return float64(m.Affinity[id]) / float64(osdmap.DefaultAffinity)
	}
	return 1
}

// osdObject is an OSD's entry in osd dump.
func osdObject(m *osdmap.Map, i int) object {
	d := m.OSDOnly.OSDs[i]
	affinity := affinityOf(m, int32(i))
	state := osdStates(m, int32(i))
	plain := func(v entity.AddrVec) string {
		if len(v) == 0 {
			return ":/0"
		}
		return v[0].IP.String() + "/" + fmt.Sprint(v[0].Nonce)
	}
	return object{
		{"osd", i}, {"uuid", d.UUID.String()}, {"up", b2i(m.IsUp(int32(i)))}, {"in", b2i(m.Weight[i] > 0)},
		{"weight", float64(m.Weight[i]) / float64(osdmap.InWeight)}, {"primary_affinity", affinity},
		{"last_clean_begin", d.Info.LastCleanBegin}, {"last_clean_end", d.Info.LastCleanEnd}, {"up_from", d.Info.UpFrom},
		{"up_thru", d.Info.UpThru}, {"down_at", d.Info.DownAt}, {"lost_at", d.Info.LostAt},
		{"public_addrs", addrVecObject(m.Addrs[i])}, {"cluster_addrs", addrVecObject(d.Cluster)},
		{"heartbeat_back_addrs", addrVecObject(d.HBBack)}, {"heartbeat_front_addrs", addrVecObject(d.HBFront)},
		{"public_addr", plain(m.Addrs[i])}, {"cluster_addr", plain(d.Cluster)}, {"heartbeat_back_addr", plain(d.HBBack)},
		{"heartbeat_front_addr", plain(d.HBFront)}, {"state", state},
	}
}

func (c *Cluster) osdDumpObject(m *osdmap.Map) object {
	pools, osds, xinfo := []object{}, []object{}, []object{}
	for _, id := range poolsByID(m) {
		pools = append(pools, poolObject(m, id, "pool"))
	}
	for i, s := range m.State {
		if s&osdmap.StateExists == 0 {
			continue
		}
		osds = append(osds, osdObject(m, i))
		d := m.OSDOnly.OSDs[i]
		xinfo = append(xinfo, object{
			{"osd", i}, {"down_stamp", "0.000000"}, {"laggy_probability", 0}, {"laggy_interval", 0}, {"features", d.XInfo.Features},
			{"old_weight", d.XInfo.OldWeight}, {"last_purged_snaps_scrub", "0.000000"}, {"dead_epoch", 0},
		})
	}
	block := object{}
	for _, a := range sortedAddrs(m.OSDOnly.Blocklist) {
		block = append(block, field{a.String(), cephTime(m.OSDOnly.Blocklist[a].Std())})
	}
	ranges := object{}
	for _, a := range sortedAddrs(m.OSDOnly.RangeBlocklist) {
		ranges = append(ranges, field{"cidr:" + a.String(), cephTime(m.OSDOnly.RangeBlocklist[a].Std())})
	}
	removed := []object{}
	for _, id := range slices.Sorted(maps.Keys(m.OSDOnly.RemovedSnapsQueue)) {
		list := []object{}
		for _, v := range m.OSDOnly.RemovedSnapsQueue[id] {
			list = append(list, object{{"begin", v.Start}, {"length", v.Len}})
		}
		removed = append(removed, object{{"pool", id}, {"snaps", list}})
	}
	profiles := object{}
	for _, n := range slices.Sorted(maps.Keys(m.ErasureCodes)) {
		profiles = append(profiles, field{n, stringObject(m.ErasureCodes[n])})
	}
	flags := flagNames(m.Flags)
	set := slices.Sorted(slices.Values(flags))
	o := object{
		{"epoch", m.Epoch}, {"fsid", m.FSID.String()}, {"created", cephTime(m.Created.Std())}, {"modified", cephTime(m.Modified.Std())},
		{"last_up_change", cephTime(m.LastUpChange.Std())}, {"last_in_change", cephTime(m.LastInChange.Std())},
		{"flags", strings.Join(flags, ",")}, {"flags_num", m.Flags}, {"flags_set", set}, {"crush_version", m.CrushVersion},
		{"full_ratio", float64(m.OSDOnly.Full)}, {"backfillfull_ratio", float64(m.OSDOnly.BackfillFull)}, {"nearfull_ratio", float64(m.OSDOnly.NearFull)},
		{"cluster_snapshot", ""}, {"pool_max", m.PoolMax}, {"max_osd", m.MaxOSD()}, {"require_min_compat_client", releaseNames[m.OSDOnly.MinCompatClient]},
		{"min_compat_client", "jewel"}, {"require_osd_release", c.release().name},
	}
	if c.opt.release >= 18 {
		o = append(o, field{"allow_crimson", false})
	}
	o = append(o, object{{"pools", pools}, {"osds", osds}, {"osd_xinfo", xinfo}, {"pg_upmap", []string{}}, {"pg_upmap_items", []string{}}}...)
	if c.opt.release >= 18 {
		o = append(o, field{"pg_upmap_primaries", []string{}})
	}
	return append(o, object{
		{"pg_temp", tempObjects(m)}, {"primary_temp", []string{}}, {"blocklist", block},
		{"range_blocklist", ranges}, {"erasure_code_profiles", profiles}, {"removed_snaps_queue", removed},
		{"new_removed_snaps", []string{}}, {"new_purged_snaps", []string{}}, {"crush_node_flags", flagObject(m.OSDOnly.NodeFlags, m.Crush.ItemNames)},
		{"device_class_flags", object{}},
		{"stretch_mode", object{
			{"stretch_mode_enabled", false}, {"stretch_bucket_count", 0}, {"degraded_stretch_mode", 0}, {"recovering_stretch_mode", 0}, {"stretch_mode_bucket", 0},
		}},
	}...)
}

// tempObjects tells which groups are for a time on other OSDs than they should be.
func tempObjects(m *osdmap.Map) []object {
	list := []object{}
	for _, id := range slices.SortedFunc(maps.Keys(m.PGTemp), osdmap.PG.Compare) {
		list = append(list, object{{"pgid", id.String()}, {"osds", m.PGTemp[id]}})
	}
	return list
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (k *call) osdTree() errno.Errno {
	m := k.c.osdmap
	nodes := []object{}
	t := table{head: []string{"ID", "CLASS", "WEIGHT", "TYPE NAME", "STATUS", "REWEIGHT", "PRI-AFF"}, right: []bool{true, true, true, false, true, true, true}}
	total := 0.0
	hosts := []int32{}
	for _, b := range m.Crush.Buckets {
		if b != nil && b.ID != -1 {
			hosts = append(hosts, b.ID)
		}
		if b != nil && b.ID == -1 {
			total = float64(b.Weight) / 65536
		}
	}
	nodes = append(nodes, object{{"id", -1}, {"name", "default"}, {"type", "root"}, {"type_id", 11}, {"children", hosts}})
	t.rows = append(t.rows, []string{"-1", "", fmt.Sprintf("%.5f", total), "root default", "", "", ""})
	for _, h := range hosts {
		b := m.Crush.Bucket(h)
		nodes = append(nodes, object{{"id", h}, {"name", m.Crush.ItemNames[h]}, {"type", "host"}, {"type_id", 1}, {"pool_weights", object{}}, {"children", b.Items}})
		t.rows = append(t.rows, []string{fmt.Sprint(h), "", fmt.Sprintf("%.5f", float64(b.Weight)/65536), "    host " + m.Crush.ItemNames[h], "", "", ""})
		for _, id := range b.Items {
			status := "down"
			if m.IsUp(id) {
				status = "up"
			}
			w := float64(m.Weight[id]) / float64(osdmap.InWeight)
			nodes = append(nodes, object{
				{"id", id}, {"device_class", deviceClass}, {"name", fmt.Sprintf("osd.%d", id)}, {"type", "osd"}, {"type_id", 0}, {"crush_weight", 1.0},
				{"depth", 2}, {"pool_weights", object{}}, {"exists", 1}, {"status", status}, {"reweight", w}, {"primary_affinity", affinityOf(m, id)},
			})
			t.rows = append(t.rows, []string{fmt.Sprint(id), deviceClass, "1.00000", fmt.Sprintf("        osd.%d", id), status, fmt.Sprintf("%.5f", w), fmt.Sprintf("%.5f", affinityOf(m, id))})
		}
	}
	if states := k.args.list("states"); len(states) > 0 {
		nodes, t.rows = k.treeOf(states, nodes, t.rows)
	}
	if !k.plain() {
		return k.json(object{{"nodes", nodes}, {"stray", []string{}}})
	}
	k.out = t.text(2)
	return 0
}

// treeOf leaves of a tree's nodes and rows the OSDs that are in one of the states,
// and what is above these.
func (k *call) treeOf(states []string, nodes []object, rows [][]string) (left []object, kept [][]string) {
	m := k.c.osdmap
	is := func(id int32) bool {
		for _, s := range states {
			switch s {
			case "up", "down":
				if m.IsUp(id) == (s == "up") {
					return true
				}
			case "in", "out":
				if (m.Weight[id] > 0) == (s == "in") {
					return true
				}
			}
		}
		return false
	}
	keep := make([]bool, len(nodes))
	for i, n := range nodes {
		id, isOSD := n[0].Value.(int32)
		if !isOSD || id < 0 || !is(id) {
			continue
		}
		keep[0], keep[i] = true, true
		for h := i - 1; h > 0; h-- { // the host is the last bucket before it
			if above, ok := nodes[h][0].Value.(int32); ok && above < 0 {
				keep[h] = true
				break
			}
		}
	}
	left = []object{}
	for i := range nodes {
		if keep[i] {
			left, kept = append(left, nodes[i]), append(kept, rows[i])
		}
	}
	return left, kept
}

func (k *call) osdList() errno.Errno {
	m := k.mapOf()
	if m == nil {
		return k.say(errno.ErrNotFound, "there is no map for epoch %s", k.args.str("epoch"))
	}
	ids := []int{}
	for i, s := range m.State {
		if s&osdmap.StateExists != 0 {
			ids = append(ids, i)
		}
	}
	if !k.plain() {
		return k.json(ids)
	}
	for _, id := range ids {
		k.print("%d\n", id)
	}
	return 0
}

func (k *call) osdGetMap() errno.Errno {
	m := k.mapOf()
	if m == nil {
		return k.say(errno.ErrNotFound, "there is no map for epoch %s", k.args.str("epoch"))
	}
	k.out = m.Append(nil, k.c.features())
	return k.say(0, "got osdmap epoch %d", m.Epoch)
}

func (k *call) osdFind() errno.Errno {
	id, ok := k.osdID(k.args.str("id"))
	if !ok {
		return k.say(errno.ErrNotFound, "osd.%s does not exist", k.args.str("id"))
	}
	m := k.c.osdmap
	return k.json(object{
		{"osd", id}, {"addrs", addrVecObject(m.Addrs[id])}, {"osd_fsid", m.OSDOnly.OSDs[id].UUID.String()},
		{"host", fmt.Sprintf("host%d", id)}, {"crush_location", object{{"host", fmt.Sprintf("host%d", id)}, {"root", "default"}}},
	})
}

// osdMetadataOf is what an OSD says of itself when it starts.
func (c *Cluster) osdMetadataOf(id int32) object {
	o := object{{"id", id}}
	at := c.osdmap.Addrs[id].String()
	host := fmt.Sprintf("host%d", id)
	for _, f := range c.daemonMetadata("", &c.osds[id].daemon)[2:] {
		switch f.Key {
		case "compression_algorithms":
		case "ceph_release":
			o = append(o, field{"back_addr", at}, field{"back_iface", ""}, f)
		case "created_at":
			o = append(o, f, field{"default_device_class", deviceClass})
		case "hostname":
			o = append(o, field{"front_addr", at}, field{"front_iface", ""}, field{"hb_back_addr", at}, field{"hb_front_addr", at},
				field{"hostname", host}, field{"journal_rotational", "0"})
		case "os":
			o = append(o, field{"network_numa_unknown_ifaces", "back_iface,front_iface"}, f, field{"osd_data", ""},
				field{"osd_objectstore", "memstore"}, field{"osdspec_affinity", ""}, field{"rotational", "0"})
		default:
			o = append(o, f)
		}
	}
	return o
}

func (c *Cluster) osdMetadataList() []object {
	all := []object{}
	for i := range c.osdmap.State {
		all = append(all, c.osdMetadataOf(int32(i)))
	}
	return all
}

func (k *call) osdMetadata() errno.Errno {
	if k.args.has("id") {
		id, ok := k.osdID(k.args.str("id"))
		if !ok {
			return k.say(errno.ErrNotFound, "osd.%s does not exist", k.args.str("id"))
		}
		return k.json(k.c.osdMetadataOf(id))
	}
	return k.json(k.c.osdMetadataList())
}
