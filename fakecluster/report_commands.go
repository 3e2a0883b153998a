package fakecluster

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
)

// reportCommands are those that only tell how the cluster is.
func reportCommands() []command {
	return []command{
		{words: "fs dump", run: (*call).fsDump},
		{words: "mds stat", run: (*call).mdsStat},
		{words: "node ls", run: (*call).nodeList},
		{words: "mon metadata", run: (*call).monMetadata},
		{words: "mgr metadata", run: (*call).mgrMetadata},
		{words: "time-sync-status", run: func(k *call) errno.Errno {
			return k.json(object{{"timechecks", object{{"epoch", k.c.electionEpoch()}, {"round", 0}, {"round_status", "finished"}}}})
		}},
		{words: "log last", run: (*call).logLast},
		{words: "report", run: (*call).clusterReport},
		{words: "osd utilization", run: (*call).osdUtilization},
	}
}

// mgrReportCommands are those of them that the manager answers.
func mgrReportCommands() []command {
	return []command{
		{words: "osd df", run: (*call).osdDF},
		{words: "osd perf", run: (*call).osdPerf},
		{words: "osd blocked-by", run: func(k *call) errno.Errno {
			if k.plain() {
				return k.print("osd  num_blocked\n")
			}
			return k.json(object{{"pg_ready", true}, {"osd_blocked_by", object{{"osd_blocked_by_infos", []string{}}}}})
		}},
		{words: "pg dump", run: (*call).pgDump},
	}
}

// fsFeatures are what the map of file systems of a new cluster demands, by number.
func (c *Cluster) fsFeatures() []field {
	f := []field{
		{"1", "base v0.20"}, {"2", "client writeable ranges"}, {"3", "default file layouts on dirs"}, {"4", "dir inode in separate object"},
		{"5", "mds uses versioned encoding"}, {"6", "dirfrag is stored in omap"}, {"8", "no anchor table"}, {"9", "file layout v2"}, {"10", "snaprealm v2"},
	}
	if c.opt.release >= 20 {
		f = append(f, field{"11", "minor log segments"}, field{"12", "quiesce subvolumes"})
	}
	return f
}

// fsMap is the map of file systems, of which there are none.
func (c *Cluster) fsMap() object {
	incompat := object{}
	for _, f := range c.fsFeatures() {
		incompat = append(incompat, field{"feature_" + f.Key, f.Value})
	}
	o := object{{"epoch", 1}}
	if c.opt.release >= 20 {
		o = append(o, field{"btime", cephTime(c.started)})
	}
	return append(o, field{"default_fscid", -1}, field{"compat", object{{"compat", object{}}, {"ro_compat", object{}}, {"incompat", incompat}}},
		field{"feature_flags", object{{"enable_multiple", true}, {"ever_enabled_multiple", true}}},
		field{"standbys", []string{}}, field{"filesystems", []string{}})
}

func (k *call) fsDump() errno.Errno {
	k.status = "dumped fsmap epoch 1"
	if k.plain() {
		k.print("e1\n")
		if k.c.opt.release >= 20 {
			k.print("btime %s\n", k.c.started.UTC().Format("2006-01-02T15:04:05:000000+0000"))
		}
		var features []string
		for _, f := range k.c.fsFeatures() {
			features = append(features, fmt.Sprintf("%s=%s", f.Key, f.Value))
		}
		return k.print("enable_multiple, ever_enabled_multiple: 1,1\ndefault compat: compat={},rocompat={},incompat={%s}\nlegacy client fscid: -1\n \nNo filesystems configured\n",
			strings.Join(features, ","))
	}
	return k.json(k.c.fsMap())
}

func (k *call) mdsStat() errno.Errno {
	if k.plain() {
		return 0
	}
	return k.json(object{{"fsmap", k.c.fsMap()}, {"mdsmap_first_committed", 1}, {"mdsmap_last_committed", 1}})
}

// nodeList tells which daemons are on which host: every OSD has its own, and the
// first is also that of the others.
func (k *call) nodeList() errno.Errno {
	mons, osds := object{}, object{}
	ids := []string{}
	for _, m := range k.c.mons {
		ids = append(ids, m.id)
	}
	mons = append(mons, field{"host0", ids})
	for _, o := range k.c.osds {
		osds = append(osds, field{fmt.Sprintf("host%d", o.id), []int32{o.id}})
	}
	mgrs := object{}
	if k.c.mgrmap.ActiveGID != 0 {
		mgrs = object{{"host0", []string{"x"}}}
	}
	all := object{{"mon", mons}, {"osd", osds}, {"mgr", mgrs}}
	if t := k.args.str("type"); t != "" && t != "all" {
		for _, f := range all {
			if f.Key == t {
				return k.json(f.Value)
			}
		}
		return 0
	}
	return k.json(all)
}

func (c *Cluster) daemonMetadata(name string, d *daemon) object {
	r := c.release()
	return object{
		{"name", name}, {"addrs", d.addrs().String()}, {"arch", "x86_64"}, {"ceph_release", r.name}, {"ceph_version", r.version},
		{"ceph_version_short", r.short}, {"ceph_version_when_created", r.version}, {"compression_algorithms", "none, snappy, zlib, zstd, lz4"},
		{"cpu", "virtual"}, {"created_at", c.started.UTC().Format("2006-01-02T15:04:05.000000Z")}, {"device_ids", ""}, {"device_paths", ""},
		{"devices", ""}, {"distro", "debian"}, {"distro_description", "Debian GNU/Linux"}, {"hostname", "host0"}, {"kernel_description", "#1 SMP"},
		{"kernel_version", "6.1.0"}, {"mem_swap_kb", "0"}, {"mem_total_kb", "8388608"}, {"os", "Linux"},
	}
}

func (c *Cluster) monMetadataList() []object {
	list := []object{}
	for _, m := range c.mons {
		o := c.daemonMetadata(m.id, &m.daemon)
		if c.opt.release < 18 {
			o = slices.DeleteFunc(o, func(f field) bool { return f.Key == "ceph_version_when_created" || f.Key == "created_at" })
		}
		list = append(list, o)
	}
	return list
}

func (c *Cluster) mgrMetadataList() []object {
	if c.mgrmap.ActiveGID == 0 {
		return []object{}
	}
	return []object{c.daemonMetadata("x", &c.mgr.daemon)}
}

func (k *call) monMetadata() errno.Errno {
	list := k.c.monMetadataList()
	for i, m := range k.c.mons {
		if id := k.args.str("id"); id == m.id || id == fmt.Sprint(m.rank) {
			return k.json(list[i][1:])
		}
	}
	if k.args.has("id") {
		return k.say(errno.ErrNotFound, "requested mon not found")
	}
	return k.json(list)
}

func (k *call) mgrMetadata() errno.Errno {
	list := k.c.mgrMetadataList()
	switch who := k.args.str("who"); {
	case who == "":
		return k.json(list)
	case who == "x" && len(list) == 1:
		return k.json(list[0])
	default:
		return k.say(errno.ErrNotFound, "mgr.%s does not exist", who)
	}
}

func (k *call) logLast() errno.Errno {
	if s, ok := k.args["num"].(string); ok && s == strings.Trim(s, "0123456789") {
		return k.say(errno.ErrInvalid, "bad or missing field 'num'")
	}
	least, ok := logLevels["log-"+k.args.str("level")]
	if !ok {
		least = logLevels["log-info"]
	}
	channel := k.args.str("channel")
	if channel == "" {
		channel = "cluster"
	}
	list := []object{}
	for _, e := range k.c.clusterLog {
		if e.Prio < least || channel != "*" && e.Channel != channel {
			continue
		}
		name, stamp := e.Name.String(), cephTime(e.Stamp.Std())
		list = append(list, object{
			{"name", name}, {"rank", rankText(e.Rank)}, {"addrs", addrVecObject(e.Addrs)}, {"stamp", stamp}, {"seq", e.Seq},
			{"channel", e.Channel}, {"priority", logPriority(e.Prio)}, {"message", e.Message},
		})
	}
	if n := int(k.args.number("num", 20)); len(list) > n {
		list = list[len(list)-n:]
	}
	if !k.plain() {
		return k.json(list)
	}
	for _, o := range list {
		k.print("%v %v (%v) %v : %v %v %v\n", o[3].Value, o[0].Value, o[1].Value, o[4].Value, o[5].Value, o[6].Value, o[7].Value)
	}
	return 0
}

// rankText prints who wrote a line of the log: "?" stands for a client's number
// that the monitor did not know yet.
func rankText(n entity.Name) string {
	if n.Num < 0 {
		return n.Type.String() + ".?"
	}
	return n.String()
}

func logPriority(p uint16) string {
	for name, level := range logLevels {
		if level == p {
			return "[" + map[string]string{"debug": "DBG", "info": "INF", "sec": "SEC", "warn": "WRN", "error": "ERR"}[strings.TrimPrefix(name, "log-")] + "]"
		}
	}
	return "[INF]"
}

// crushTree is osd tree without what only OSDs that run have.
func (k *call) crushTree() errno.Errno {
	if !k.plain() {
		return k.osdTree()
	}
	m := k.c.osdmap
	t := table{head: []string{"ID", "CLASS", "WEIGHT", "TYPE NAME"}, right: []bool{true, true, true, false}}
	weight := func(w uint32) string { return fmt.Sprintf("%.5f", float64(w)/65536) }
	for _, b := range m.Crush.Buckets {
		if b == nil {
			continue
		}
		name := m.Crush.ItemNames[b.ID]
		if b.ID == -1 {
			t.rows = append(t.rows, []string{"-1", "", weight(b.Weight), "root " + name})
			continue
		}
		t.rows = append(t.rows, []string{fmt.Sprint(b.ID), "", weight(b.Weight), "    host " + name})
		for _, id := range b.Items {
			t.rows = append(t.rows, []string{fmt.Sprint(id), "ssd", weight(0x10000), fmt.Sprintf("        osd.%d", id)})
		}
	}
	k.out = t.text(2)
	return 0
}

// primariesByOSD counts the placement groups of which every OSD is the primary.
func (c *Cluster) primariesByOSD() []int {
	n := make([]int, len(c.osds))
	for _, p := range c.view.Load().pools {
		for _, id := range p.primary {
			if id >= 0 && int(id) < len(n) {
				n[id]++
			}
		}
	}
	return n
}

// groupsByOSD counts the placement groups of every OSD.
func (c *Cluster) groupsByOSD() []int {
	n := make([]int, len(c.osds))
	for _, p := range c.view.Load().pools {
		for _, acting := range p.acting {
			for _, id := range acting {
				if id >= 0 && int(id) < len(n) {
					n[id]++
				}
			}
		}
	}
	return n
}

func (k *call) osdDF() errno.Errno {
	c := k.c
	groups := c.groupsByOSD()
	_, raw := c.total()
	used := raw / uint64(max(1, len(c.osds)))
	nodes := []object{}
	t := table{head: []string{"ID", "CLASS", "WEIGHT", "REWEIGHT", "SIZE", "RAW USE", "DATA", "OMAP", "META", "AVAIL", "%USE", "VAR", "PGS", "STATUS"}}
	tree := k.args.str("output_method") == "tree"
	if tree {
		t.head = append(t.head, "TYPE NAME")
	}
	for i := range t.head {
		t.right = append(t.right, i < 14)
	}
	group := func(id, name string, n int) {
		if tree {
			size, used := uint64(n)*osdBytes, used*uint64(n)
			t.rows = append(t.rows, []string{
				id, "", fmt.Sprintf("%d.00000", n), "-", bytesText(size), bytesText(used), bytesText(used), "0 B", "0 B", bytesText(size - min(size, used)),
				fmt.Sprintf("%.2f", float64(used)/float64(max(1, size))*100), "1.00", "-", "", name,
			})
		}
	}
	group("-1", "root default", len(c.osds))
	for i := range c.osds {
		status := "down"
		if c.osdmap.IsUp(int32(i)) {
			status = "up"
		}
		share := float64(used) / float64(osdBytes) * 100
		weight := float64(c.osdmap.Weight[i]) / 65536
		nodes = append(nodes, object{
			{"id", i}, {"device_class", deviceClass}, {"name", fmt.Sprintf("osd.%d", i)}, {"type", "osd"}, {"type_id", 0}, {"crush_weight", 1}, {"depth", 2},
			{"pool_weights", object{}}, {"reweight", weight}, {"kb", osdBytes / 1024}, {"kb_used", used / 1024}, {"kb_used_data", used / 1024},
			{"kb_used_omap", 0}, {"kb_used_meta", 0}, {"kb_avail", (osdBytes - min(osdBytes, used)) / 1024}, {"utilization", share}, {"var", 1},
			{"pgs", groups[i]}, {"status", status},
		})
		group(fmt.Sprint(-2-i), fmt.Sprintf("    host host%d", i), 1)
		row := []string{
			fmt.Sprint(i), deviceClass, "1.00000", fmt.Sprintf("%.5f", weight), bytesText(osdBytes), bytesText(used), bytesText(used), "0 B", "0 B",
			bytesText(osdBytes - min(osdBytes, used)), fmt.Sprintf("%.2f", share), "1.00", fmt.Sprint(groups[i]), status,
		}
		if tree {
			row = append(row, fmt.Sprintf("        osd.%d", i))
		}
		t.rows = append(t.rows, row)
	}
	total := uint64(len(c.osds)) * osdBytes
	if tree {
		nodes = append(c.bucketUse(used), nodes...)
	}
	if k.plain() {
		row := []string{"", "", "", "TOTAL", bytesText(total), bytesText(raw), bytesText(raw), "0 B", "0 B", bytesText(total - min(total, raw)),
			fmt.Sprintf("%.2f", float64(raw)/float64(max(1, total))*100), "", "", ""}
		if tree {
			row = append(row, "")
		}
		t.rows = append(t.rows, row)
		k.out = append(t.text(2), "MIN/MAX VAR: 1.00/1.00  STDDEV: 0\n"...)
		return 0
	}
	return k.json(object{{"nodes", nodes}, {"stray", []string{}}, {"summary", object{
		{"total_kb", total / 1024}, {"total_kb_used", raw / 1024}, {"total_kb_used_data", raw / 1024}, {"total_kb_used_omap", 0}, {"total_kb_used_meta", 0},
		{"total_kb_avail", (total - min(total, raw)) / 1024}, {"average_utilization", float64(raw) / float64(max(1, total)) * 100},
		{"min_var", 1}, {"max_var", 1}, {"dev", 0},
	}}})
}

// bucketUse are the nodes of osd df tree that are not OSDs, each of which has used bytes.
func (c *Cluster) bucketUse(used uint64) []object {
	nodes := []object{}
	for _, b := range c.osdmap.Crush.Buckets {
		if b == nil {
			continue
		}
		_, osds, _ := c.below(c.osdmap.Crush.ItemNames[b.ID])
		n := uint64(len(osds))
		o := object{
			{"id", b.ID}, {"name", c.osdmap.Crush.ItemNames[b.ID]}, {"type", c.osdmap.Crush.TypeNames[int32(b.Type)]}, {"type_id", b.Type},
		}
		if b.ID != -1 {
			o = append(o, field{"pool_weights", object{}})
		}
		nodes = append(nodes, append(o, object{
			{"reweight", -1}, {"kb", n * osdBytes / 1024}, {"kb_used", n * used / 1024}, {"kb_used_data", n * used / 1024}, {"kb_used_omap", 0}, {"kb_used_meta", 0},
			{"kb_avail", n * (osdBytes - min(osdBytes, used)) / 1024}, {"utilization", float64(used) / float64(osdBytes) * 100}, {"var", 1}, {"pgs", 0},
			{"children", b.Items},
		}...))
	}
	return nodes
}

func (k *call) osdPerf() errno.Errno {
	list := []object{}
	t := table{head: []string{"osd", "commit_latency(ms)", "apply_latency(ms)"}, right: []bool{true, true, true}}
	for i := range k.c.osds {
		list = append(list, object{{"id", i}, {"perf_stats", object{
			{"commit_latency_ms", 0}, {"apply_latency_ms", 0}, {"commit_latency_ns", 0}, {"apply_latency_ns", 0},
		}}})
		t.rows = append(t.rows, []string{fmt.Sprint(i), "0", "0"})
	}
	if k.plain() {
		k.out = t.text(2)
		return 0
	}
	return k.json(object{{"pg_ready", true}, {"osdstats", object{{"osd_perf_infos", list}}}})
}

func (k *call) osdUtilization() errno.Errno {
	groups := k.c.groupsByOSD()
	low, high, sum := 0, 0, 0
	for i, n := range groups {
		sum += n
		if n < groups[low] {
			low = i
		}
		if n > groups[high] {
			high = i
		}
	}
	avg := float64(sum) / float64(max(1, len(groups)))
	var dev float64
	for _, n := range groups {
		dev += (float64(n) - avg) * (float64(n) - avg)
	}
	dev = math.Sqrt(dev / float64(max(1, len(groups))))
	expected := math.Sqrt(avg * (1 - 1/float64(max(1, len(groups)))))
	if k.plain() {
		return k.print("avg %g\nstddev %g (expected baseline %g)\nmin osd.%d with %d pgs (%g * mean)\nmax osd.%d with %d pgs (%g * mean)\n",
			avg, dev, expected, low, groups[low], float64(groups[low])/max(avg, 1), high, groups[high], float64(groups[high])/max(avg, 1))
	}
	return k.json(object{
		{"avg_pgs", avg}, {"std_dev", dev}, {"expected_baseline_std_dev", expected},
		{"min_osd", low}, {"min_osd_pgs", groups[low]}, {"max_osd", high}, {"max_osd_pgs", groups[high]},
	})
}
