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

// poolVarNames are the variables of pools that osd pool get and set know.
const poolVarNames = "size|min_size|pg_num|pgp_num|crush_rule|hashpspool|nodelete|nopgchange|nosizechange|write_fadvise_dontneed|noscrub|nodeep-scrub|use_gmt_hitset|erasure_code_profile|all|fast_read|compression_mode|compression_algorithm|allow_ec_overwrites|pg_autoscale_mode|pg_num_min|pg_num_max|target_size_bytes|target_size_ratio|eio|bulk"

func poolCommands() []command {
	return []command{
		{words: "osd pool create", run: (*call).poolCreate},
		{words: "osd pool ls", run: (*call).poolList},
		{words: "osd pool rm", run: (*call).poolRemove},
		{words: "osd pool delete", run: (*call).poolRemove},
		{words: "osd pool rename", run: (*call).poolRename},
		{words: "osd pool get", run: (*call).poolGet},
		{words: "osd pool set", run: (*call).poolSet},
		{words: "osd pool set-quota", run: (*call).poolSetQuota},
		{words: "osd pool get-quota", run: (*call).poolGetQuota},
		{words: "osd pool mksnap", run: func(k *call) errno.Errno { return k.poolSnap(true) }},
		{words: "osd pool rmsnap", run: func(k *call) errno.Errno { return k.poolSnap(false) }},
		{words: "osd pool application enable", run: (*call).appEnable},
		{words: "osd pool application disable", run: (*call).appDisable},
		{words: "osd pool application set", run: (*call).appSet},
		{words: "osd pool application rm", run: (*call).appRemove},
		{words: "osd pool application get", run: (*call).appGet},
	}
}

// pool returns the pool that a command is about.
func (k *call) pool() (int64, *osdmap.Pool, errno.Errno) {
	name := k.args.str("pool")
	id, ok := k.c.osdmap.PoolByName(name)
	if !ok {
		return 0, nil, k.say(errno.ErrNotFound, "unrecognized pool '%s'", name)
	}
	return id, k.c.osdmap.Pools[id], 0
}

func (k *call) poolCreate() errno.Errno {
	name := k.args.str("pool")
	if name == "" || strings.HasPrefix(name, ".") && name != ".mgr" && !k.args.flag("yes_i_really_mean_it") {
		return k.say(errno.ErrPermission, "pool names beginning with . are not allowed")
	}
	if _, ok := k.c.osdmap.PoolByName(name); ok {
		return k.say(0, "pool '%s' already exists", name)
	}
	n := newPool{name: name, pgs: uint32(k.args.number("pg_num", 0)), erasure: k.args.str("pool_type") == "erasure", size: uint8(k.args.number("size", 0))}
	if n.pgs > 65536 {
		return k.say(errno.ErrRange, "'pg_num' must be greater than 0 and less than or equal to 65536 (you may adjust 'mon max pool pg num' for higher values)")
	}
	rule := k.args.str("rule")
	if n.erasure {
		n.profile = k.args.str("erasure_code_profile")
		if n.profile == "" {
			n.profile = "default"
		}
		if _, ok := k.c.osdmap.ErasureCodes[n.profile]; !ok {
			return k.say(errno.ErrNotFound, "specified erasure code profile '%s' does not exist", n.profile)
		}
	} else if p := k.args.str("erasure_code_profile"); p != "" && rule == "" {
		rule = p
	}
	for r, name := range k.c.osdmap.Crush.RuleNames {
		if name == rule && rule != "" {
			id := uint8(r)
			n.rule = &id
		}
	}
	if rule != "" && n.rule == nil {
		return k.say(errno.ErrNotFound, "specified rule %s doesn't exist", rule)
	}
	k.c.createPool(n)
	return k.say(0, "pool '%s' created", name)
}

// poolFlags are the flags of pools by name. read-only.
var poolFlags = []struct {
	name string
	bit  uint64
}{
	{"hashpspool", osdmap.PoolHashPSPool}, {"full", osdmap.PoolFull}, {"ec_overwrites", osdmap.PoolECOverwrites},
	{"nodelete", 1 << 4}, {"nopgchange", 1 << 5}, {"nosizechange", 1 << 6}, {"write_fadvise_dontneed", 1 << 7}, {"noscrub", 1 << 8},
	{"nodeep-scrub", 1 << 9}, {"full_quota", osdmap.PoolFullQuota}, {"nearfull", osdmap.PoolNearFull}, {"backfillfull", osdmap.PoolBackfillFull},
	{"selfmanaged_snaps", osdmap.PoolSelfManagedSnaps}, {"pool_snaps", osdmap.PoolPoolSnaps}, {"creating", osdmap.PoolCreating},
	{"eio", osdmap.PoolEIO}, {"bulk", osdmap.PoolBulk},
}

func poolFlagNames(flags uint64) string {
	var out []string
	for _, f := range poolFlags {
		if flags&f.bit != 0 {
			out = append(out, f.name)
		}
	}
	return strings.Join(out, ",")
}

// poolLine is a pool's line in osd dump and osd pool ls detail.
func poolLine(m *osdmap.Map, id int64) string {
	p := m.Pools[id]
	kind := "replicated"
	if p.IsErasure() {
		kind = "erasure profile " + p.ErasureProfile
	}
	s := fmt.Sprintf("pool %d '%s' %s size %d min_size %d crush_rule %d object_hash rjenkins pg_num %d pgp_num %d autoscale_mode %s last_change %d",
		id, m.PoolNames[id], kind, p.Size, p.MinSize, p.CrushRule, p.PGNum, p.PGPNum, autoscale(p), p.LastChange)
	s += " flags " + poolFlagNames(p.Flags)
	if p.QuotaBytes > 0 {
		s += fmt.Sprintf(" max_bytes %d", p.QuotaBytes)
	}
	if p.QuotaObjects > 0 {
		s += fmt.Sprintf(" max_objects %d", p.QuotaObjects)
	}
	s += fmt.Sprintf(" stripe_width %d", p.StripeWidth)
	if len(p.Applications) > 0 {
		s += " application " + strings.Join(slices.Sorted(maps.Keys(p.Applications)), ",")
	}
	for _, snap := range slices.Sorted(maps.Keys(p.Snaps)) {
		s += fmt.Sprintf("\n\tsnap %d '%s' %s", snap, p.Snaps[snap].Name, cephTime(p.Snaps[snap].Stamp.Std()))
	}
	return s
}

func autoscale(p *osdmap.Pool) string {
	switch p.AutoscaleMode {
	case 1:
		return "warn"
	case 2:
		return "on"
	}
	return "off"
}

func appsObject(p *osdmap.Pool) object {
	o := object{}
	for _, app := range slices.Sorted(maps.Keys(p.Applications)) {
		o = append(o, field{app, stringObject(p.Applications[app])})
	}
	return o
}

func poolObject(m *osdmap.Map, id int64, idKey string) object {
	p := m.Pools[id]
	mode := "selfmanaged"
	if p.HasFlag(osdmap.PoolPoolSnaps) {
		mode = "pool"
	}
	snaps := []object{}
	for _, s := range slices.Sorted(maps.Keys(p.Snaps)) {
		snaps = append(snaps, object{{"snapid", s}, {"stamp", cephTime(p.Snaps[s].Stamp.Std())}, {"name", p.Snaps[s].Name}})
	}
	return object{
		{idKey, id}, {"pool_name", m.PoolNames[id]}, {"create_time", cephTime(p.Created.Std())}, {"flags", p.Flags}, {"flags_names", poolFlagNames(p.Flags)},
		{"type", p.Type}, {"size", p.Size}, {"min_size", p.MinSize}, {"crush_rule", p.CrushRule},
		{"peering_crush_bucket_count", 0}, {"peering_crush_bucket_target", 0}, {"peering_crush_bucket_barrier", 0},
		{"peering_crush_bucket_mandatory_member", 2147483647}, {"is_stretch_pool", false},
		{"object_hash", p.ObjectHash}, {"pg_autoscale_mode", autoscale(p)},
		{"pg_num", p.PGNum}, {"pg_placement_num", p.PGPNum}, {"pg_placement_num_target", p.PGPNumTarget}, {"pg_num_target", p.PGNumTarget},
		{"pg_num_pending", p.PGNumPending}, {"last_pg_merge_meta", object{
			{"source_pgid", "0.0"}, {"ready_epoch", 0}, {"last_epoch_started", 0}, {"last_epoch_clean", 0}, {"source_version", "0'0"}, {"target_version", "0'0"},
		}},
		{"last_change", fmt.Sprint(p.LastChange)}, {"last_force_op_resend", fmt.Sprint(p.LastForceResend)},
		{"last_force_op_resend_prenautilus", fmt.Sprint(p.LastForceResendPreNautilus)}, {"last_force_op_resend_preluminous", fmt.Sprint(p.LastForceResendPreLuminous)},
		{"auid", 0}, {"snap_mode", mode}, {"snap_seq", p.SnapSeq}, {"snap_epoch", p.SnapEpoch}, {"pool_snaps", snaps}, {"removed_snaps", "[]"},
		{"quota_max_bytes", p.QuotaBytes}, {"quota_max_objects", p.QuotaObjects}, {"tiers", []int{}}, {"tier_of", -1}, {"read_tier", -1},
		{"write_tier", -1}, {"cache_mode", "none"}, {"target_max_bytes", 0}, {"target_max_objects", 0},
		{"cache_target_dirty_ratio_micro", p.CacheDirtyRatio}, {"cache_target_dirty_high_ratio_micro", p.CacheDirtyHighRatio},
		{"cache_target_full_ratio_micro", p.CacheFullRatio}, {"cache_min_flush_age", 0}, {"cache_min_evict_age", 0},
		{"erasure_code_profile", p.ErasureProfile}, {"hit_set_params", object{{"type", "none"}}}, {"hit_set_period", 0}, {"hit_set_count", 0},
		{"use_gmt_hitset", true}, {"min_read_recency_for_promote", 0}, {"min_write_recency_for_promote", 0}, {"hit_set_grade_decay_rate", 0},
		{"hit_set_search_last_n", 0}, {"grade_table", []int{}}, {"stripe_width", p.StripeWidth}, {"expected_num_objects", p.ExpectedObjects},
		{"fast_read", p.FastRead}, {"options", object{}}, {"application_metadata", appsObject(p)},
	}
}

func (k *call) poolList() errno.Errno {
	m := k.c.osdmap
	detail := k.args.str("detail") == "detail"
	names, list := []string{}, []object{}
	for _, id := range poolsByID(m) {
		names = append(names, m.PoolNames[id])
		list = append(list, poolObject(m, id, "pool_id"))
		if k.plain() && detail {
			k.print("%s\n", poolLine(m, id))
		} else if k.plain() {
			k.print("%s\n", m.PoolNames[id])
		}
	}
	switch {
	case k.plain() && detail:
		return k.print("\n")
	case k.plain():
		return 0
	case detail:
		return k.json(list)
	}
	return k.json(names)
}

func (k *call) poolRemove() errno.Errno {
	name := k.args.str("pool")
	id, ok := k.c.osdmap.PoolByName(name)
	if !ok {
		return k.say(0, "pool '%s' does not exist", name)
	}
	if !k.args.flag("yes_i_really_really_mean_it_not_faking") && (k.args.str("pool2") != name || !k.args.flag("yes_i_really_really_mean_it")) {
		return k.say(errno.ErrPermission, "WARNING: this will *PERMANENTLY DESTROY* all data stored in pool %s.  If you are *ABSOLUTELY CERTAIN* that is what you want, pass the pool name *twice*, followed by --yes-i-really-really-mean-it.", name)
	}
	k.c.removePool(id)
	return k.say(0, "pool '%s' removed", name)
}

func (k *call) poolRename() errno.Errno {
	src, dst := k.args.str("srcpool"), k.args.str("destpool")
	id, ok := k.c.osdmap.PoolByName(src)
	if !ok {
		return k.say(errno.ErrNotFound, "unrecognized pool '%s'", src)
	}
	if _, taken := k.c.osdmap.PoolByName(dst); taken {
		return k.say(errno.ErrExists, "pool '%s' already exists", dst)
	}
	k.c.change(func(inc *osdmap.Incremental) { inc.NewPoolNames = map[int64]string{id: dst} })
	return k.say(0, "pool '%s' renamed to '%s'", src, dst)
}

// poolVars returns what osd pool get can tell of a pool, in Ceph's order.
func (k *call) poolVars(p *osdmap.Pool) object {
	flag := func(name string) bool { return slices.Contains(strings.Split(poolFlagNames(p.Flags), ","), name) }
	o := object{
		{"size", p.Size}, {"min_size", p.MinSize}, {"pg_num", p.PGNum}, {"pgp_num", p.PGPNum},
		{"crush_rule", k.c.osdmap.Crush.RuleNames[int32(p.CrushRule)]},
	}
	for _, n := range []string{"hashpspool", "nodelete", "nopgchange", "nosizechange", "write_fadvise_dontneed", "noscrub", "nodeep-scrub"} {
		o = append(o, field{n, flag(n)})
	}
	o = append(o, field{"use_gmt_hitset", 1})
	if p.IsErasure() {
		o = append(o, field{"erasure_code_profile", p.ErasureProfile}, field{"allow_ec_overwrites", p.HasFlag(osdmap.PoolECOverwrites)})
	}
	o = append(o, field{"fast_read", b2i(p.FastRead)}, field{"pg_autoscale_mode", autoscale(p)})
	if k.c.opt.release >= 18 {
		o = append(o, field{"eio", flag("eio")})
	}
	return append(o, field{"bulk", flag("bulk")})
}

func (k *call) poolGet() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	name := k.args.str("var")
	if !slices.Contains(strings.Split(poolVarNames, "|"), name) && name != "all" {
		return k.say(errno.ErrInvalid, "pool '%s': invalid variable: '%s'", k.args.str("pool"), name)
	}
	found := object{{"pool", k.args.str("pool")}, {"pool_id", id}}
	for _, f := range k.poolVars(p) {
		if name != "all" && name != f.Key {
			continue
		}
		if k.plain() {
			k.print("%s: %v\n", f.Key, f.Value)
		}
		found = append(found, f)
	}
	if !k.plain() && len(found) > 2 {
		return k.json(found)
	}
	if len(k.out) == 0 {
		return k.say(errno.ErrNotFound, "option '%s' is not set on pool '%s'", name, k.args.str("pool"))
	}
	return 0
}

func (k *call) poolSet() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	name, val := k.args.str("var"), k.args.str("val")
	n, err := strconv.ParseUint(val, 10, 32)
	edit, bad := func(*osdmap.Pool) {}, false
	switch name {
	case "size":
		if n == 1 && !k.args.flag("yes_i_really_mean_it") {
			return k.say(errno.ErrPermission, "WARNING: setting pool size 1 could lead to data loss without recovery. If you are *ABSOLUTELY CERTAIN* that is what you want, pass the flag --yes-i-really-mean-it.")
		}
		bad = err != nil || n < 1 || n > 10
		if p.IsErasure() {
			return k.say(errno.ErrNotSupported, "can not change the size of an erasure-coded pool")
		}
		edit = func(p *osdmap.Pool) { p.Size, p.MinSize = uint8(n), uint8(n-n/2) }
	case "min_size":
		bad = err != nil || n < 1 || n > uint64(p.Size)
		edit = func(p *osdmap.Pool) { p.MinSize = uint8(n) }
	case "pg_num":
		bad = err != nil || n < 1 || n > 65536
		if !bad && uint32(n) < p.PGNum {
			return k.say(errno.ErrNotSupported, "this cluster does not merge placement groups")
		}
		edit = func(p *osdmap.Pool) { p.PGNum, p.PGNumTarget, p.PGNumPending = uint32(n), uint32(n), uint32(n) }
	case "pgp_num":
		bad = err != nil || n < 1 || n > uint64(p.PGNum)
		edit = func(p *osdmap.Pool) { p.PGPNum, p.PGPNumTarget = uint32(n), uint32(n) }
	case "allow_ec_overwrites":
		if !p.IsErasure() {
			return k.say(errno.ErrInvalid, "ec overwrites can only be enabled for an erasure coded pool")
		}
		edit = func(p *osdmap.Pool) { p.Flags |= osdmap.PoolECOverwrites }
	case "pg_autoscale_mode":
		m, ok := map[string]uint8{"off": 0, "warn": 1, "on": 2}[val]
		bad = !ok
		edit = func(p *osdmap.Pool) { p.AutoscaleMode = m }
	case "crush_rule":
		bad = true
		for r, rn := range k.c.osdmap.Crush.RuleNames {
			if rn == val {
				bad = false
				edit = func(p *osdmap.Pool) { p.CrushRule = uint8(r) }
			}
		}
	default:
		for _, f := range poolFlags {
			if f.name != name {
				continue
			}
			on := val == "true" || val == "1" || val == "yes"
			edit = func(p *osdmap.Pool) {
				p.Flags &^= f.bit
				if on {
					p.Flags |= f.bit
				}
			}
		}
	}
	if bad {
		return k.say(errno.ErrInvalid, "error parsing value '%s' for '%s'", val, name)
	}
	k.c.updatePool(id, edit)
	return k.say(0, "set pool %d %s to %s", id, name, val)
}

func (k *call) poolSetQuota() errno.Errno {
	id, _, e := k.pool()
	if e != 0 {
		return e
	}
	field, val := k.args.str("field"), k.args.str("val")
	n, err := strconv.ParseUint(val, 10, 64)
	if err != nil {
		return k.say(errno.ErrInvalid, "error parsing value '%s'", val)
	}
	k.c.updatePool(id, func(p *osdmap.Pool) {
		if field == "max_bytes" {
			p.QuotaBytes = n
		} else {
			p.QuotaObjects = n
		}
		p.Flags = k.c.fullFlags(id, p)
	})
	return k.say(0, "set-quota %s = %d for pool %s", field, n, k.args.str("pool"))
}

func (k *call) poolGetQuota() errno.Errno {
	_, p, e := k.pool()
	if e != 0 {
		return e
	}
	if !k.plain() {
		return k.json(object{{"pool_name", k.args.str("pool")}, {"pool_id", p}, {"quota_max_objects", p.QuotaObjects}, {"quota_max_bytes", p.QuotaBytes}})
	}
	text := func(n uint64, f func(uint64) string) string {
		if n == 0 {
			return "N/A"
		}
		return f(n)
	}
	return k.print("quotas for pool '%s':\n  max objects: %s\n  max bytes  : %s", k.args.str("pool"), text(p.QuotaObjects, countText), text(p.QuotaBytes, bytesText))
}

func (k *call) poolSnap(add bool) errno.Errno {
	id, _, e := k.pool()
	if e != 0 {
		return e
	}
	name := k.args.str("snap")
	if add {
		switch e := k.c.makePoolSnap(id, name); e {
		case 0:
			return k.say(0, "created pool %s snap %s", k.args.str("pool"), name)
		case errno.ErrExists:
			return k.say(0, "pool %s snap %s already exists", k.args.str("pool"), name)
		default:
			return k.say(e, "pool %s is in unmanaged snaps mode", k.args.str("pool"))
		}
	}
	switch e := k.c.removePoolSnap(id, name); e {
	case 0:
		return k.say(0, "removed pool %s snap %s", k.args.str("pool"), name)
	case errno.ErrNotFound:
		return k.say(0, "pool %s snap %s does not exist", k.args.str("pool"), name)
	default:
		return k.say(e, "pool %s is in unmanaged snaps mode", k.args.str("pool"))
	}
}

func (k *call) appEnable() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	app := k.args.str("app")
	if _, ok := p.Applications[app]; !ok {
		if len(p.Applications) > 0 && !k.args.flag("yes_i_really_mean_it") {
			return k.say(errno.ErrPermission, "Are you SURE? Pool '%s' already has an enabled application; pass --yes-i-really-mean-it to proceed anyway", k.args.str("pool"))
		}
		k.c.updatePool(id, func(p *osdmap.Pool) { p.Applications[app] = map[string]string{} })
	}
	return k.say(0, "enabled application '%s' on pool '%s'", app, k.args.str("pool"))
}

func (k *call) appDisable() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	app := k.args.str("app")
	if _, ok := p.Applications[app]; !ok {
		return k.say(0, "application '%s' is not enabled on pool '%s'", app, k.args.str("pool"))
	}
	if !k.args.flag("yes_i_really_mean_it") {
		return k.say(errno.ErrPermission, "Are you SURE? Disabling an application within a pool might result in loss of application functionality; pass --yes-i-really-mean-it to proceed anyway")
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { delete(p.Applications, app) })
	return k.say(0, "disable application '%s' on pool '%s'", app, k.args.str("pool"))
}

func (k *call) appSet() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	app, key, v := k.args.str("app"), k.args.str("key"), k.args.str("value")
	if _, ok := p.Applications[app]; !ok {
		return k.say(errno.ErrNotFound, "application '%s' is not enabled on pool '%s'", app, k.args.str("pool"))
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { p.Applications[app][key] = v })
	return k.say(0, "set application '%s' key '%s' to '%s' on pool '%s'", app, key, v, k.args.str("pool"))
}

func (k *call) appRemove() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	app, key := k.args.str("app"), k.args.str("key")
	if _, ok := p.Applications[app]; !ok {
		return k.say(errno.ErrNotFound, "application '%s' is not enabled on pool '%s'", app, k.args.str("pool"))
	}
	if _, ok := p.Applications[app][key]; !ok {
		return k.say(0, "application '%s' on pool '%s' does not have key '%s'", app, k.args.str("pool"), key)
	}
	k.c.updatePool(id, func(p *osdmap.Pool) { delete(p.Applications[app], key) })
	return k.say(0, "removed application '%s' key '%s' on pool '%s'", app, key, k.args.str("pool"))
}

func (k *call) appGet() errno.Errno {
	if !k.args.has("pool") {
		all := object{}
		for _, id := range poolsByID(k.c.osdmap) {
			all = append(all, field{k.c.osdmap.PoolNames[id], appsObject(k.c.osdmap.Pools[id])})
		}
		return k.json(all)
	}
	_, p, e := k.pool()
	if e != 0 {
		return e
	}
	app, key := k.args.str("app"), k.args.str("key")
	if app == "" {
		return k.json(appsObject(p))
	}
	meta, ok := p.Applications[app]
	if !ok {
		return k.say(errno.ErrNotFound, "pool '%s' has no application '%s'", k.args.str("pool"), app)
	}
	if key == "" {
		return k.json(stringObject(meta))
	}
	v, ok := meta[key]
	if !ok {
		return k.say(errno.ErrNotFound, "application '%s' on pool '%s' does not have key '%s'", app, k.args.str("pool"), key)
	}
	return k.print("%s\n", v)
}
