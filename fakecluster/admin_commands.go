package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// adminCommands are what operators ask before and during maintenance.
func adminCommands() []command {
	t := []command{
		{words: "osd info", run: (*call).osdInfo},
		{words: "osd ok-to-stop", run: (*call).okToStop},
		{words: "osd safe-to-destroy", run: (*call).safeToDestroy},
		{words: "osd numa-status", run: (*call).numaStatus},
		{words: "osd pause", run: func(k *call) errno.Errno { return k.setFlag("pause", true) }},
		{words: "osd unpause", run: func(k *call) errno.Errno { return k.setFlag("pause", false) }},
		{words: "osd set-group", run: (*call).daemonFlag},
		{words: "osd unset-group", run: (*call).daemonFlag},
		{words: "osd set-full-ratio", run: func(k *call) errno.Errno {
			return k.ratio("full", func(inc *osdmap.Incremental, r float32) { inc.OSDOnly.Full = r })
		}},
		{words: "osd set-nearfull-ratio", run: func(k *call) errno.Errno {
			return k.ratio("nearfull", func(inc *osdmap.Incremental, r float32) { inc.OSDOnly.NearFull = r })
		}},
		{words: "osd set-backfillfull-ratio", run: func(k *call) errno.Errno {
			return k.ratio("backfillfull", func(inc *osdmap.Incremental, r float32) { inc.OSDOnly.BackfillFull = r })
		}},
		{words: "mon ok-to-stop", run: (*call).monOKToStop},
		{words: "mgr module enable", run: (*call).moduleEnable},
		{words: "mgr module disable", run: (*call).moduleDisable},
		{words: "fs volume ls", module: "volumes", run: func(k *call) errno.Errno { return k.print("[]") }},
		{words: "mds versions", run: func(k *call) errno.Errno { return k.json(object{}) }},
		{words: "mds count-metadata", run: func(k *call) errno.Errno { return k.json(object{}) }},
	}
	for _, word := range []string{"noup", "nodown", "noin", "noout"} {
		t = append(t, command{words: "osd add-" + word, run: (*call).daemonFlag}, command{words: "osd rm-" + word, run: (*call).daemonFlag})
	}
	for kind, count := range map[string]func(c *Cluster) []object{"mon": (*Cluster).monMetadataList, "mgr": (*Cluster).mgrMetadataList, "osd": (*Cluster).osdMetadataList} {
		t = append(t,
			command{words: kind + " versions", run: func(k *call) errno.Errno { return k.countMetadata(count(k.c), "ceph_version") }},
			command{words: kind + " count-metadata", run: func(k *call) errno.Errno { return k.countMetadata(count(k.c), k.args.str("property")) }})
	}
	return t
}

// countMetadata counts daemons by what a member of their metadata is.
func (k *call) countMetadata(daemons []object, name string) errno.Errno {
	counts := map[string]int{}
	for _, d := range daemons {
		value := "unknown"
		for _, f := range d {
			if f.Key == name {
				value = fmt.Sprint(f.Value)
			}
		}
		counts[value]++
	}
	o := object{}
	for _, v := range slices.Sorted(maps.Keys(counts)) {
		o = append(o, field{v, counts[v]})
	}
	return k.json(o)
}

func (k *call) osdInfo() errno.Errno {
	m := k.c.osdmap
	if s := k.args.str("id"); s != "" {
		id, ok := k.osdID(s)
		if !ok {
			return k.say(errno.ErrInvalid, "osd.%s does not exist", strings.TrimPrefix(s, "osd."))
		}
		if !k.plain() {
			return k.json(osdObject(m, int(id)))
		}
		return k.print("%s\n", osdLine(m, id))
	}
	list := []object{}
	for i := range m.State {
		if !m.Exists(int32(i)) {
			continue
		}
		if k.plain() {
			k.print("%s\n", osdLine(m, int32(i)))
		}
		list = append(list, osdObject(m, i))
	}
	if k.plain() {
		return 0
	}
	return k.json(list)
}

// okToStop tells whether the placement groups of OSDs would go on without them.
func (k *call) okToStop() errno.Errno {
	stop := []int32{}
	for _, s := range k.args.list("ids") {
		id, e := k.osdNumber(s)
		if e != 0 {
			return e
		}
		stop = append(stop, id)
	}
	good, bad := 0, []string{}
	v := k.c.view.Load()
	for _, id := range poolsByID(k.c.osdmap) {
		p := v.pools[id]
		for seed, acting := range p.acting {
			left := 0
			touched := false
			for _, o := range acting {
				if slices.Contains(stop, o) {
					touched = true
				} else if o != osdmap.NoOSD {
					left++
				}
			}
			switch {
			case !touched:
			case left < int(p.pool.MinSize):
				bad = append(bad, fmt.Sprintf("%d.%x", id, seed))
			default:
				good++
			}
		}
	}
	o := object{{"ok_to_stop", len(bad) == 0}, {"osds", stop}, {"num_ok_pgs", good}, {"num_not_ok_pgs", len(bad)}}
	if len(bad) > 0 {
		o = append(o, field{"bad_become_inactive", bad})
	}
	k.out = append(encodeJSON("json", o), '\n')
	if len(bad) > 0 {
		return k.say(errno.ErrBusy, "unsafe to stop osd(s) at this time (%d PGs are or would become offline)", len(bad))
	}
	return 0
}

func (k *call) safeToDestroy() errno.Errno {
	groups := k.c.groupsByOSD()
	for _, s := range k.args.list("ids") {
		id, e := k.osdNumber(s)
		if e != 0 {
			return e
		}
		if k.c.osdmap.Exists(id) && groups[id] > 0 {
			return k.say(errno.ErrBusy, "OSD(s) %d have %d pgs currently mapped to them. ", id, groups[id])
		}
	}
	return k.say(0, "OSD(s) %s are safe to destroy without reducing data durability.", strings.Join(k.args.list("ids"), ","))
}

func (k *call) numaStatus() errno.Errno {
	t := table{head: []string{"OSD", "HOST", "NETWORK", "STORAGE", "AFFINITY", "CPUS"}, right: []bool{true, false, true, true, true, false}}
	list := []object{}
	for i := range k.c.osds {
		t.rows = append(t.rows, []string{fmt.Sprint(i), fmt.Sprintf("host%d", i), "-", "-", "-", "-"})
		list = append(list, object{{"osd", i}, {"host", fmt.Sprintf("host%d", i)}})
	}
	if !k.plain() {
		return k.json(list)
	}
	k.out = t.text(2)
	return 0
}

// osdNumber reads an OSD's name, whether there is such an OSD or not.
func (k *call) osdNumber(s string) (int32, errno.Errno) {
	bare := strings.TrimPrefix(s, "osd.")
	n, err := strconv.ParseInt(bare, 10, 32)
	if err != nil {
		return 0, k.say(errno.ErrInvalid, "Expected option value to be integer, got '%s'invalid osd id '%s'", bare, s)
	}
	return int32(n), 0
}

func (k *call) ratio(name string, set func(*osdmap.Incremental, float32)) errno.Errno {
	r, err := strconv.ParseFloat(k.args.str("ratio"), 32)
	if err != nil || r < 0 || r > 1 {
		return k.say(errno.ErrInvalid, "full ratio must be between 0 and 1")
	}
	k.c.change(func(inc *osdmap.Incremental) {
		inc.OSDOnly.Full, inc.OSDOnly.NearFull, inc.OSDOnly.BackfillFull = k.c.osdmap.OSDOnly.Full, k.c.osdmap.OSDOnly.NearFull, k.c.osdmap.OSDOnly.BackfillFull
		set(inc, float32(r))
	})
	return k.say(0, "osd set-%s-ratio %s", name, k.args.str("ratio"))
}

// monOKToStop tells whether the other monitors would be enough.
func (k *call) monOKToStop() errno.Errno {
	ids := k.args.list("ids")
	if unknown := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { _, ok := k.c.monmap.Mons[id]; return ok }); len(unknown) > 0 && k.c.opt.release >= 18 {
		return k.say(0, "invalid mon(s) specified: [%s]", strings.Join(unknown, ","))
	}
	left := []string{}
	for _, name := range k.c.quorumNames() {
		if !slices.Contains(ids, name) {
			left = append(left, name)
		}
	}
	what := fmt.Sprintf("monitors would be available (%s) after stopping mons [%s]", strings.Join(left, ","), strings.Join(ids, ","))
	if 2*len(left) > len(k.c.mons) {
		return k.say(0, "quorum should be preserved (%s) after stopping [%s]", strings.Join(left, ","), strings.Join(ids, ","))
	}
	return k.say(errno.ErrBusy, "not enough %s", what)
}

// monFeatureNames are the features of monitors by the release that brought them, in order.
func (c *Cluster) monFeatureNames() []string {
	names := []string{"kraken", "luminous", "mimic", "osdmap-prune", "nautilus", "octopus", "pacific", "elector-pinging"}
	if c.opt.release >= 18 {
		names = append(names, "quincy", "reef")
	}
	if c.opt.release >= 20 {
		names = append(names, "squid", "tentacle", "cephx_auth_aes256k", "nvmeof_beacon_diff")
	}
	return names
}
