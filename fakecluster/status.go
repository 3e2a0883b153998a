package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// quorum returns the ranks of the running monitors.
func (c *Cluster) quorum() []int {
	out := []int{}
	if !c.election.quorate.Load() {
		return out
	}
	for _, m := range c.mons {
		if m.running() {
			out = append(out, m.rank)
		}
	}
	return out
}

func (c *Cluster) quorumNames() []string {
	out := []string{}
	for _, r := range c.quorum() {
		out = append(out, c.mons[r].id)
	}
	return out
}

// osdCounts returns how many OSDs there are, are up and are in.
func (c *Cluster) osdCounts() (n, up, in int) {
	for i, s := range c.osdmap.State {
		if s&osdmap.StateExists == 0 {
			continue
		}
		n++
		if s&osdmap.StateUp != 0 {
			up++
		}
		if c.osdmap.Weight[i] > 0 {
			in++
		}
	}
	return n, up, in
}

// pgStates counts placement groups by state.
func (c *Cluster) numPGs() int {
	n := 0
	for _, g := range c.groups {
		n += len(g)
	}
	return n
}

func (k *call) clusterStatus() errno.Errno {
	c := k.c
	c.services.expire(c.clock.Now())
	n, up, in := c.osdCounts()
	s, raw := c.total()
	size := uint64(n) * osdBytes
	short := c.shortage()
	if k.plain() {
		k.statusText()
		return 0
	}
	fsmap := object{{"epoch", 1}}
	if c.opt.release >= 20 {
		fsmap = append(fsmap, field{"btime", cephTime(c.started)})
	}
	fsmap = append(fsmap, field{"by_rank", []string{}}, field{"up:standby", 0})
	byState := []object{}
	for _, name := range short.byCount() {
		byState = append(byState, object{{"state_name", name}, {"count", short.states[name]}})
	}
	return k.json(object{
		{"fsid", c.fsid.String()}, {"health", healthObject(c.checks(), false)},
		{"election_epoch", c.electionEpoch()}, {"quorum", c.quorum()}, {"quorum_names", c.quorumNames()},
		{"quorum_age", int(c.clock.Now().Sub(c.election.since).Seconds())},
		{"monmap", object{{"epoch", c.monmap.Epoch}, {"min_mon_release_name", c.release().name}, {"num_mons", len(c.mons)}}},
		{"osdmap", object{
			{"epoch", c.osdmap.Epoch}, {"num_osds", n}, {"num_up_osds", up}, {"osd_up_since", c.osdmap.LastUpChange.Sec},
			{"num_in_osds", in}, {"osd_in_since", c.osdmap.LastInChange.Sec}, {"num_remapped_pgs", 0},
		}},
		{"pgmap", append(object{
			{"pgs_by_state", byState}, {"num_pgs", c.numPGs()}, {"num_pools", len(c.osdmap.Pools)}, {"num_objects", s.Objects},
			{"data_bytes", s.Bytes}, {"bytes_used", raw}, {"bytes_avail", size - min(size, raw)}, {"bytes_total", size},
		}, short.ratios()...)},
		{"fsmap", fsmap},
		{"mgrmap", object{
			{"available", c.mgrmap.Available}, {"num_standbys", 0}, {"modules", c.mgrmap.Modules}, {"services", stringObject(c.mgrmap.Services)},
		}},
		{"servicemap", c.services.dump()}, {"progress_events", object{}},
	})
}

func (k *call) statusText() {
	c := k.c
	n, up, in := c.osdCounts()
	s, raw := c.total()
	size := uint64(n) * osdBytes
	leader := ""
	if c.opt.release >= 20 {
		leader = " [leader: " + c.leaderName() + "]"
	}
	checks := c.checks()
	k.print("  cluster:\n    id:     %s\n    health: %s\n", c.fsid, overall(checks))
	for _, x := range checks {
		k.print("            %s\n", x.summary)
	}
	k.print(" \n  services:\n    mon: %d daemons, quorum %s (age %s)%s\n    mgr: %s\n    osd: %d osds: %d up (since %s), %d in (since %s)\n",
		len(c.mons), strings.Join(c.quorumNames(), ","), c.age(c.election.since), leader, c.mgrLine(), n, up,
		c.age(c.osdmap.LastUpChange.Std()), in, c.age(c.osdmap.LastInChange.Std()))
	for _, name := range slices.Sorted(maps.Keys(c.services.daemons)) {
		k.print("    %s: %s\n", name, serviceSummary(c.services.daemons[name]))
	}
	k.print(" \n  data:\n    pools:   %d pools, %d pgs\n    objects: %s objects, %s\n    usage:   %s used, %s / %s avail\n",
		len(c.osdmap.Pools), c.numPGs(), countText(s.Objects), bytesText(s.Bytes), bytesText(raw), bytesText(size-min(size, raw)), bytesText(size))
	for i, line := range c.shortage().lines() {
		label := "             "
		if i == 0 {
			label = "    pgs:     "
		}
		k.print("%s%s\n", label, line)
	}
	k.print(" \n")
}

func percent(r float64) string {
	if r == 0 {
		return "0"
	}
	return fmt.Sprintf("%.2f", r*100)
}

func (k *call) versions() errno.Errno {
	c := k.c
	v := c.release().version
	_, up, _ := c.osdCounts()
	mons := len(c.quorum())
	o := object{{"mon", object{{v, mons}}}, {"mgr", object{{v, 1}}}, {"osd", object{{v, up}}}}
	if c.opt.release < 18 {
		o = append(o, field{"mds", object{}})
	}
	return k.json(append(o, field{"overall", object{{v, mons + 1 + up}}}))
}

func (k *call) featureList() errno.Errno { return k.json(k.c.featureMap()) }

func (c *Cluster) featureMap() object {
	group := func(counts map[uint64]int) []object {
		list := []object{}
		for _, mask := range slices.Sorted(maps.Keys(counts)) {
			release := "luminous"
			if mask&osdmap.FeatureTentacle != 0 {
				release = "squid"
			}
			list = append(list, object{{"features", fmt.Sprintf("%#x", mask)}, {"release", release}, {"num", counts[mask]}})
		}
		return list
	}
	own := func(n int) []object { return group(map[uint64]int{c.features(): n}) }
	clients := map[uint64]int{}
	for s := range c.sessions {
		clients[s.conn.Features()]++
	}
	_, up, _ := c.osdCounts()
	o := object{{"mon", own(len(c.quorum()))}, {"osd", own(up)}, {"client", group(clients)}}
	if c.mgrmap.ActiveGID != 0 {
		o = append(o, field{"mgr", own(1)})
	}
	return o
}

func addrVecObject(v entity.AddrVec) object {
	list := []object{}
	for _, a := range v {
		list = append(list, object{{"type", a.Type.String()}, {"addr", a.IP.String()}, {"nonce", a.Nonce}})
	}
	return object{{"addrvec", list}}
}

func (c *Cluster) monmapObject() object {
	mons := []object{}
	for i, name := range c.monmap.Ranks {
		info := c.monmap.Mons[name]
		plain := ""
		if len(info.Addrs) > 0 {
			plain = info.Addrs[0].IP.String() + "/0"
		}
		o := object{
			{"rank", i}, {"name", name}, {"public_addrs", addrVecObject(info.Addrs)}, {"addr", plain}, {"public_addr", plain},
			{"priority", info.Priority}, {"weight", info.Weight},
		}
		if c.opt.release >= 20 {
			o = append(o, field{"time_added", cephTime(c.monmap.Created.Std())}, field{"crush_location", []string{}})
		} else {
			o = append(o, field{"crush_location", "{}"})
		}
		mons = append(mons, o)
	}
	t := c.monmap.Created.Std().Format("2006-01-02T15:04:05.000000Z")
	colon := "" // 16.2 and 18.2 have two names so
	if c.opt.release < 20 {
		colon = ": "
	}
	o := object{{"epoch", c.monmap.Epoch}}
	if c.opt.release >= 20 {
		cipher := object{{"name", c.opt.keyType.String()}, {"value", int(c.opt.keyType)}}
		o = append(o, field{"auth_epoch", 0}, field{"auth_service_cipher", cipher}, field{"auth_allowed_ciphers", []object{cipher}}, field{"auth_preferred_cipher", cipher})
	}
	return append(o, object{
		{"fsid", c.fsid.String()}, {"modified", t}, {"created", t},
		{"min_mon_release", c.release().number}, {"min_mon_release_name", c.release().name}, {"election_strategy", 1},
		{"disallowed_leaders" + colon, ""}, {"stretch_mode", false}, {"tiebreaker_mon", ""}, {"removed_ranks" + colon, ""},
		{"features", object{{"persistent", c.monFeatureNames()}, {"optional", []string{}}}}, {"mons", mons},
	}...)
}

func (k *call) monDump() errno.Errno {
	c := k.c
	if n := uint32(k.args.number("epoch", 0)); n > c.monmap.Epoch {
		return k.say(errno.ErrNotFound, "there is no map for epoch %d", n)
	}
	k.status = fmt.Sprintf("dumped monmap epoch %d", c.monmap.Epoch)
	if !k.plain() {
		return k.json(append(c.monmapObject(), field{"quorum", c.quorum()}))
	}
	t := cephTime(c.started)
	k.print("epoch %d\nfsid %s\nlast_changed %s\ncreated %s\nmin_mon_release %d (%s)\nelection_strategy: 1\n",
		c.monmap.Epoch, c.fsid, t, t, c.release().number, c.release().name)
	for i, name := range c.monmap.Ranks {
		k.print("%d: %s mon.%s\n", i, c.monmap.Mons[name].Addrs, name)
	}
	if c.opt.release >= 20 {
		t := c.opt.keyType.String()
		k.print("auth_epoch 0\nauth_service_cipher %s\nauth_allowed_ciphers %s\nauth_preferred_cipher %s\n", t, t, t)
	}
	return 0
}

func (k *call) monStat() errno.Errno {
	c := k.c
	quorum := []object{}
	for _, r := range c.quorum() {
		quorum = append(quorum, object{{"rank", r}, {"name", c.mons[r].id}})
	}
	if !k.plain() {
		return k.json(object{{"epoch", c.monmap.Epoch}, {"min_mon_release_name", c.release().name}, {"num_mons", len(c.mons)}, {"leader", c.leaderName()}, {"quorum", quorum}})
	}
	var mons []string
	for _, name := range c.monmap.Ranks {
		mons = append(mons, name+"="+c.monmap.Mons[name].Addrs.String())
	}
	names := c.quorumNames()
	removed := " removed_ranks: {} disallowed_leaders: {}"
	if c.opt.release < 18 {
		removed = " removed_ranks: {}"
	}
	return k.print("e%d: %d mons at {%s}%s, election epoch %d, leader %d %s, quorum %s %s\n",
		c.monmap.Epoch, len(c.mons), strings.Join(mons, ","), removed, c.electionEpoch(), c.quorum()[0], names[0],
		strings.Trim(strings.ReplaceAll(fmt.Sprint(c.quorum()), " ", ","), "[]"), strings.Join(names, ","))
}

func (k *call) quorumStatus() errno.Errno {
	c := k.c
	if k.plain() {
		k.format = "json"
	}
	return k.json(object{
		{"election_epoch", c.electionEpoch()}, {"quorum", c.quorum()}, {"quorum_names", c.quorumNames()}, {"quorum_leader_name", c.leaderName()},
		{"quorum_age", int(c.clock.Now().Sub(c.election.since).Seconds())},
		{"features", object{{"quorum_con", fmt.Sprint(c.features())}, {"quorum_mon", c.monFeatureNames()}}},
		{"monmap", c.monmapObject()},
	})
}

func (k *call) mgrDump() errno.Errno {
	m := &k.c.mgrmap
	o := object{{"epoch", m.Epoch}}
	if k.c.opt.release >= 18 {
		o = append(o, field{"flags", 0})
	}
	modules, on := []object{}, object{}
	for _, i := range k.c.modules() {
		modules = append(modules, i.describe())
	}
	for _, number := range slices.Sorted(maps.Keys(m.AlwaysOn)) {
		on = append(on, field{releaseNames[uint8(number)], m.AlwaysOn[number]})
	}
	active := ":/0"
	if len(m.ActiveAddrs) > 0 {
		active = m.ActiveAddrs[0].IP.String() + "/" + fmt.Sprint(m.ActiveAddrs[0].Nonce)
	}
	o = append(o, object{
		{"active_gid", m.ActiveGID}, {"active_name", m.ActiveName},
		{"active_addrs", addrVecObject(m.ActiveAddrs)}, {"active_addr", active},
		{"active_change", cephTime(m.ActiveChange.Std())}, {"active_mgr_features", m.ActiveFeatures}, {"available", m.Available},
		{"standbys", []string{}}, {"modules", m.Modules}, {"available_modules", modules}, {"services", stringObject(m.Services)},
		{"always_on_modules", on},
	}...)
	if k.c.opt.release >= 20 {
		o = append(o, field{"force_disabled_modules", object{}})
	}
	clients := []object{}
	for _, name := range []string{"devicehealth", "rbd_support", "volumes"} {
		clients = append(clients, object{{"name", name}, {"addrvec", addrVecObject(m.ActiveAddrs)[0].Value}})
	}
	return k.json(append(o, field{"last_failure_osd_epoch", 0}, field{"active_clients", clients}))
}

// serviceSummary counts a service's daemons, by the name and the groups that
// their metadata gives them.
func serviceSummary(ds map[string]*serviceDaemon) string {
	kind, hosts, zones := "daemon", map[string]bool{}, map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(ds)) {
		m := ds[id].metadata
		if t, ok := m["daemon_type"]; ok {
			kind = t
		}
		if h, ok := m["hostname"]; ok {
			hosts[h] = true
		}
		if z, ok := m["zone_id"]; ok {
			zones[z] = true
		}
	}
	if len(ds) > 1 {
		kind += "s"
	}
	var groups []string
	if len(hosts) > 0 {
		groups = append(groups, fmt.Sprintf("%d hosts", len(hosts)))
	}
	if len(zones) > 0 {
		groups = append(groups, fmt.Sprintf("%d zones", len(zones)))
	}
	out := fmt.Sprintf("%d %s active", len(ds), kind)
	if len(groups) > 0 {
		out += " (" + strings.Join(groups, ", ") + ")"
	}
	return out
}

// mgrLine is what ceph -s says of the manager.
func (c *Cluster) mgrLine() string {
	since := c.age(c.mgrmap.ActiveChange.Std())
	if c.mgrmap.ActiveGID == 0 {
		return "no daemons active (since " + since + ")"
	}
	return c.mgrmap.ActiveName + "(active, since " + since + ")"
}
