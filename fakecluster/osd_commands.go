package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// mapFlags are the flags of the OSD map by name. read-only.
var mapFlags = []struct {
	name string
	bit  uint32
	warn bool
}{
	{"nearfull", osdmap.FlagNearFull, false}, {"full", osdmap.FlagFull, true}, {"pauserd", osdmap.FlagPauseRead, true},
	{"pausewr", osdmap.FlagPauseWrite, true}, {"noup", osdmap.FlagNoUp, true}, {"nodown", osdmap.FlagNoDown, true},
	{"noout", osdmap.FlagNoOut, true}, {"noin", osdmap.FlagNoIn, true}, {"nobackfill", osdmap.FlagNoBackfill, true},
	{"norebalance", osdmap.FlagNoRebalance, true}, {"norecover", osdmap.FlagNoRecover, true}, {"noscrub", osdmap.FlagNoScrub, true}, {"nodeep-scrub", osdmap.FlagNoDeepScrub, true},
	{"notieragent", osdmap.FlagNoTierAgent, true}, {"nosnaptrim", osdmap.FlagNoSnapTrim, true},
	{"sortbitwise", osdmap.FlagSortBitwise, false}, {"recovery_deletes", osdmap.FlagRecoveryDeletes, false},
	{"purged_snapdirs", osdmap.FlagPurgedSnapdirs, false}, {"pglog_hardlimit", osdmap.FlagPGLogHardLimit, false},
	{"noautoscale", osdmap.FlagNoAutoscale, false},
}

func flagNames(flags uint32) []string {
	out := []string{}
	for _, f := range mapFlags {
		if flags&f.bit != 0 {
			out = append(out, f.name)
		}
	}
	return out
}

func osdCommands() []command {
	t := []command{
		{words: "osd stat", run: (*call).osdStat},
		{words: "osd dump", run: (*call).osdDump},
		{words: "osd tree", run: (*call).osdTree},
		{words: "osd ls", run: (*call).osdList},
		{words: "osd getmap", run: (*call).osdGetMap},
		{words: "osd getcrushmap", run: func(k *call) errno.Errno {
			k.out = k.c.osdmap.Crush.Append(nil)
			return k.say(0, "%d", k.c.osdmap.CrushVersion)
		}},
		{words: "osd getmaxosd", run: func(k *call) errno.Errno {
			if !k.plain() {
				return k.json(object{{"epoch", k.c.osdmap.Epoch}, {"max_osd", k.c.osdmap.MaxOSD()}})
			}
			return k.print("max_osd = %d in epoch %d\n", k.c.osdmap.MaxOSD(), k.c.osdmap.Epoch)
		}},
		{words: "osd find", run: (*call).osdFind},
		{words: "osd metadata", run: (*call).osdMetadata},
		{words: "osd map", run: (*call).osdMap},
		{words: "osd lspools", run: (*call).lspools},
		{words: "osd blocklist", run: (*call).osdBlocklist},
		{words: "osd blocklist ls", run: (*call).blocklistList},
		{words: "osd blocklist clear", run: (*call).blocklistClear},
		{words: "osd blacklist", run: (*call).osdBlocklist},
		{words: "osd blacklist ls", run: (*call).blocklistList},
		{words: "osd set", run: func(k *call) errno.Errno { return k.osdFlag(true) }},
		{words: "osd unset", run: func(k *call) errno.Errno { return k.osdFlag(false) }},
		{words: "osd out", run: func(k *call) errno.Errno { return k.osdWeight(0, "out") }},
		{words: "osd in", run: func(k *call) errno.Errno { return k.osdWeight(osdmap.InWeight, "in") }},
		{words: "osd down", run: (*call).osdDown},
		{words: "osd reweight", run: (*call).osdReweight},
		{words: "osd primary-affinity", run: (*call).osdAffinity},
		{words: "osd get-require-min-compat-client", run: func(k *call) errno.Errno {
			return k.print("%s\n", releaseNames[k.c.osdmap.OSDOnly.MinCompatClient])
		}},
		{words: "osd set-require-min-compat-client", run: (*call).minCompatClient},
		{words: "osd erasure-code-profile ls", run: func(k *call) errno.Errno {
			names := slices.Sorted(maps.Keys(k.c.osdmap.ErasureCodes))
			if !k.plain() {
				return k.json(names)
			}
			return k.print("%s\n", strings.Join(names, "\n"))
		}},
		{words: "osd erasure-code-profile get", run: (*call).profileGet},
		{words: "osd erasure-code-profile set", run: (*call).profileSet},
		{words: "osd erasure-code-profile rm", run: (*call).profileRemove},
		{words: "pg stat", run: (*call).pgStat},
		{words: "osd pool stats", run: (*call).osdPoolStats},
	}
	return t
}

// osdID reads an OSD's name: "3" or "osd.3".
func (k *call) osdID(s string) (int32, bool) {
	n, err := strconv.ParseInt(strings.TrimPrefix(s, "osd."), 10, 32)
	if err != nil || !k.c.osdmap.Exists(int32(n)) {
		return 0, false
	}
	return int32(n), true
}

// mapOf returns the map of the epoch that a command asks for.
func (k *call) osdMap() errno.Errno {
	m := k.c.osdmap
	pool, object_, ns := k.args.str("pool"), k.args.str("object"), k.args.str("nspace")
	id, ok := m.PoolByName(pool)
	if !ok {
		return k.say(errno.ErrNotFound, "pool %s does not exist", pool)
	}
	pgid, hash, err := m.ObjectToPG(id, ns, "", object_)
	if err != nil {
		return k.say(errno.ErrInvalid, "%v", err)
	}
	up, upPrimary, acting, actingPrimary := m.PGToUpActing(pgid)
	raw := osdmap.PG{Pool: id, Seed: hash}
	full := object_
	if ns != "" {
		full = ns + "/" + object_
	}
	if !k.plain() {
		return k.json(object{
			{"epoch", m.Epoch}, {"pool", pool}, {"pool_id", id}, {"objname", full}, {"raw_pgid", raw.String()}, {"pgid", pgid.String()},
			{"up", up}, {"up_primary", upPrimary}, {"acting", acting}, {"acting_primary", actingPrimary},
		})
	}
	set := func(v []int32, p int32) string {
		return setText(v) + ", p" + fmt.Sprint(p)
	}
	return k.print("osdmap e%d pool '%s' (%d) object '%s' -> pg %s (%s) -> up (%s) acting (%s)\n",
		m.Epoch, pool, id, full, raw, pgid, set(up, upPrimary), set(acting, actingPrimary))
}

func (k *call) lspools() errno.Errno {
	list := []object{}
	for _, id := range poolsByID(k.c.osdmap) {
		if k.plain() {
			k.print("%d %s\n", id, k.c.osdmap.PoolNames[id])
		}
		list = append(list, object{{"poolnum", id}, {"poolname", k.c.osdmap.PoolNames[id]}})
	}
	if k.plain() {
		return 0
	}
	return k.json(list)
}

func (k *call) osdBlocklist() errno.Errno {
	a, err := entity.ParseAddr(k.args.str("addr"))
	if err != nil {
		return k.say(errno.ErrInvalid, "unable to parse address %s", k.args.str("addr"))
	}
	a = a.WithType(entity.AddrAny)
	op := k.args.str("blocklistop") + k.args.str("blacklistop")
	if k.args.has("range") {
		return k.rangeBlocklist(op, a)
	}
	if op == "rm" {
		if !k.c.osdmap.OSDOnly.OnBlocklist(a) {
			return k.say(0, "%s isn't blocklisted", a)
		}
		k.c.unblocklist(a)
		return k.say(0, "un-blocklisting %s", a)
	}
	d := time.Duration(k.args.number("expire", defaultBlocklist.Seconds()) * float64(time.Second))
	until := k.c.blocklist(a, d)
	return k.say(0, "blocklisting %s until %s (%.6g sec)", a, cephTime(until), d.Seconds())
}

func (k *call) blocklistList() errno.Errno {
	m := k.c.osdmap
	list := []object{}
	for _, a := range sortedAddrs(m.OSDOnly.Blocklist) {
		until := cephTime(m.OSDOnly.Blocklist[a].Std())
		if k.plain() {
			k.print("%s %s\n", a, until)
		}
		list = append(list, object{{"addr", a.String()}, {"until", until}})
	}
	ranges := []object{}
	for _, a := range sortedAddrs(m.OSDOnly.RangeBlocklist) {
		until := cephTime(m.OSDOnly.RangeBlocklist[a].Std())
		if k.plain() {
			k.print("cidr:%s %s\n", a, until)
		}
		ranges = append(ranges, object{{"range", a.String()}, {"until", until}})
	}
	k.status = fmt.Sprintf("listed %d entries", len(list)+len(ranges))
	if k.plain() {
		return 0
	}
	k.json(list)
	// The second list is that of blocked ranges, which real monitors put behind
	// the first just like this.
	k.out = append(k.out, encodeJSON(k.format, ranges)...)
	return 0
}

// rangeBlocklist blocks a network: its prefix length is the address's nonce.
func (k *call) rangeBlocklist(op string, a entity.Addr) errno.Errno {
	switch bits := a.IP.Addr().BitLen(); {
	case !strings.Contains(k.args.str("addr"), "/"):
		return k.say(errno.ErrInvalid, "You specified a range command, but %s does not parse as a CIDR range", a.WithType(entity.AddrMsgr2))
	case int(a.Nonce) > bits:
		return k.say(errno.ErrInvalid, "Too many bits in range for that protocol!")
	}
	if op == "rm" {
		if _, ok := k.c.osdmap.OSDOnly.RangeBlocklist[a]; !ok {
			return k.say(0, "cidr:%s isn't blocklisted", a)
		}
		k.c.change(func(inc *osdmap.Incremental) { inc.OSDOnly.OldRangeBlocklist = []entity.Addr{a} })
		return k.say(0, "un-blocklisting cidr:%s", a)
	}
	d := time.Duration(k.args.number("expire", defaultBlocklist.Seconds()) * float64(time.Second))
	until := k.c.clock.Now().Add(d)
	k.c.change(func(inc *osdmap.Incremental) {
		inc.OSDOnly.NewRangeBlocklist = map[entity.Addr]denc.Time{a: denc.TimeOf(until)}
	})
	return k.say(0, "blocklisting cidr:%s until %s (%.6g sec)", a, cephTime(until), d.Seconds())
}

func (k *call) blocklistClear() errno.Errno {
	all, ranges := sortedAddrs(k.c.osdmap.OSDOnly.Blocklist), sortedAddrs(k.c.osdmap.OSDOnly.RangeBlocklist)
	if len(all)+len(ranges) > 0 {
		k.c.change(func(inc *osdmap.Incremental) { inc.OSDOnly.OldBlocklist, inc.OSDOnly.OldRangeBlocklist = all, ranges })
	}
	return k.say(0, " removed all blocklist entries")
}

func (k *call) osdFlag(on bool) errno.Errno {
	if key := k.args.str("key"); key == "full" {
		return k.say(errno.ErrInvalid, "unrecognized flag '%s'", key)
	}
	return k.setFlag(k.args.str("key"), on)
}

func (k *call) setFlag(key string, on bool) errno.Errno {
	var bits uint32
	if key == "pause" {
		bits = osdmap.FlagPauseRead | osdmap.FlagPauseWrite
		key = "pauserd,pausewr"
	}
	for _, f := range mapFlags {
		if f.name == key {
			bits |= f.bit
		}
	}
	if bits != 0 {
		flags := k.c.osdmap.Flags | bits
		if !on {
			flags = k.c.osdmap.Flags &^ bits
		}
		k.c.change(func(inc *osdmap.Incremental) { inc.NewFlags = int32(flags) })
		k.c.bootWaiting()
	}
	if on {
		return k.say(0, "%s is set", key)
	}
	return k.say(0, "%s is unset", key)
}

// eachOSD says of every OSD in the argument ids what do says, or that there is none,
// until do fails.
func (k *call) eachOSD(do func(id int32) (string, errno.Errno)) errno.Errno {
	var said strings.Builder
	for _, s := range k.args.list("ids") {
		if id, ok := k.osdID(s); ok {
			text, e := do(id)
			if said.WriteString(text); e != 0 {
				return k.say(e, "%s", said.String())
			}
			continue
		}
		bare := strings.TrimPrefix(s, "osd.")
		n, err := strconv.Atoi(bare)
		if err != nil {
			return k.say(errno.ErrInvalid, "Expected option value to be integer, got '%s'invalid osd id-1", bare)
		}
		fmt.Fprintf(&said, "osd.%d does not exist. ", n)
	}
	return k.say(0, "%s", said.String())
}

func (k *call) osdWeight(w uint32, word string) errno.Errno {
	weights := map[int32]uint32{}
	e := k.eachOSD(func(id int32) (string, errno.Errno) {
		if k.c.osdmap.Weight[id] == w {
			return fmt.Sprintf("osd.%d is already %s. ", id, word), 0
		}
		weights[id] = w
		return fmt.Sprintf("marked %s osd.%d. ", word, id), 0
	})
	if e == 0 && len(weights) > 0 {
		k.c.change(func(inc *osdmap.Incremental) { inc.NewWeight = weights })
	}
	return e
}

func (k *call) osdDown() errno.Errno {
	flip := map[int32]uint32{}
	back := false
	e := k.eachOSD(func(id int32) (string, errno.Errno) {
		if !k.c.osdmap.IsUp(id) {
			return "", 0
		}
		flip[id] = osdmap.StateUp
		back = back || k.c.osds[id].running()
		return fmt.Sprintf("marked down osd.%d. ", id), 0
	})
	if e != 0 {
		return e
	}
	if len(flip) > 0 {
		k.c.change(func(inc *osdmap.Incremental) { inc.NewState = flip })
	}
	if back {
		// An OSD that runs notices, and comes back as soon as it may.
		c := k.c
		c.after(time.Second, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.bootWaiting()
		})
	}
	return 0
}

func (k *call) osdReweight() errno.Errno {
	id, ok := k.osdID(k.args.str("id"))
	if !ok {
		return k.say(errno.ErrNotFound, "osd.%s does not exist", k.args.str("id"))
	}
	w := uint32(k.args.number("weight", 1) * float64(osdmap.InWeight))
	k.c.change(func(inc *osdmap.Incremental) { inc.NewWeight = map[int32]uint32{id: w} })
	return k.say(0, "reweighted osd.%d to %s (%x)", id, k.args.str("weight"), w)
}

func (k *call) osdAffinity() errno.Errno {
	id, ok := k.osdID(k.args.str("id"))
	if !ok {
		return k.say(errno.ErrNotFound, "osd.%s does not exist", k.args.str("id"))
	}
	w := uint32(k.args.number("weight", 1) * float64(osdmap.DefaultAffinity))
	k.c.change(func(inc *osdmap.Incremental) { inc.NewAffinity = map[int32]uint32{id: w} })
	return k.say(0, "set osd.%d primary-affinity to %s (8%d2)", id, k.args.str("weight"), w)
}

func (k *call) minCompatClient() errno.Errno {
	v := releaseNumber(k.args.str("version"))
	if v == 0 || v > k.c.release().number {
		return k.say(errno.ErrInvalid, "version %s is not recognized", k.args.str("version"))
	}
	k.c.change(func(inc *osdmap.Incremental) { inc.OSDOnly.MinCompatClient = v })
	return k.say(0, "set require_min_compat_client to %s", k.args.str("version"))
}

func (k *call) pgStat() errno.Errno {
	s, raw := k.c.total()
	n, _, _ := k.c.osdCounts()
	size := uint64(n) * osdBytes
	short := k.c.shortage()
	states := short.states
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%d %s", states[name], name))
	}
	if !k.plain() {
		by := pgStateObjects(states)
		return k.json(object{{"pg_ready", true}, {"pg_summary", append(object{
			{"num_pg_by_state", by}, {"num_pgs", k.c.numPGs()}, {"num_bytes", s.Bytes}, {"total_bytes", size},
			{"total_avail_bytes", size - min(size, raw)}, {"total_used_bytes", raw}, {"total_used_raw_bytes", raw},
		}, short.ratios()...)}})
	}
	degraded := ""
	if t := short.degradedText(); t != "" {
		degraded = "; " + t
	}
	return k.print("%d pgs: %s; %s data, %s used, %s / %s avail%s\n", k.c.numPGs(), strings.Join(parts, ", "), bytesText(s.Bytes), bytesText(raw), bytesText(size-min(size, raw)), bytesText(size), degraded)
}

func (k *call) osdPoolStats() errno.Errno {
	list := []object{}
	for _, id := range poolsByID(k.c.osdmap) {
		name := k.c.osdmap.PoolNames[id]
		if want := k.args.str("pool_name"); want != "" && want != name {
			continue
		}
		if k.plain() {
			k.print("pool %s id %d\n  nothing is going on\n\n", name, id)
		}
		list = append(list, object{{"pool_name", name}, {"pool_id", id}, {"recovery", object{}}, {"recovery_rate", object{}}, {"client_io_rate", object{}}})
	}
	if len(list) == 0 && k.args.has("pool_name") {
		return k.say(errno.ErrNotFound, "unrecognized pool '%s'", k.args.str("pool_name"))
	}
	if k.plain() {
		return 0
	}
	return k.json(list)
}
