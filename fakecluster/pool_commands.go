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

// tierVars are the variables of cache tiers.
var tierVars = []string{
	"hit_set_type", "hit_set_period", "hit_set_count", "hit_set_fpp", "target_max_objects", "target_max_bytes", "cache_target_full_ratio",
	"cache_target_dirty_ratio", "cache_target_dirty_high_ratio", "cache_min_flush_age", "cache_min_evict_age", "min_read_recency_for_promote",
	"min_write_recency_for_promote", "hit_set_grade_decay_rate", "hit_set_search_last_n",
}

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
		{words: "osd pool force-remove-snap", run: (*call).poolForceRemoveSnap},
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
	hidden := strings.HasPrefix(name, ".") && name != ".mgr" && k.c.opt.release >= 18
	if name == "" || hidden && !k.args.flag("yes_i_really_mean_it") {
		return k.say(0, "pool names beginning with . are not allowed")
	}
	if id, ok := k.c.osdmap.PoolByName(name); ok {
		kind := k.args.str("pool_type")
		if kind != "" && (kind == "erasure") != k.c.osdmap.Pools[id].IsErasure() {
			return k.say(errno.ErrInvalid, "pool '%s' cannot change to type %s", name, kind)
		}
		return k.say(0, "pool '%s' already exists", name)
	}
	n := newPool{name: name, pgs: uint32(k.args.number("pg_num", 0)), erasure: k.args.str("pool_type") == "erasure", size: uint8(k.args.number("size", 0))}
	if n.pgs > 65536 {
		return k.say(errno.ErrRange, "'pg_num' must be greater than 0 and less than or equal to 65536 (you may adjust 'mon max pool pg num' for higher values)")
	}
	if pgp := k.args.number("pgp_num", 0); pgp < 0 || n.pgs > 0 && pgp > float64(n.pgs) {
		return k.say(errno.ErrRange, "'pgp_num' must be greater than 0 and lower or equal than 'pg_num', which in this case is %d", n.pgs)
	}
	rule := k.args.str("rule")
	if n.erasure {
		n.profile = k.args.str("erasure_code_profile")
		if n.profile == "" {
			n.profile = "default"
		}
		if _, ok := k.c.osdmap.ErasureCodes[n.profile]; !ok {
			return k.say(errno.ErrInvalid, "cannot determine the erasure code plugin because there is no 'plugin' entry in the erasure_code_profile {}")
		}
	} else if p := k.args.str("erasure_code_profile"); p != "" && rule == "" {
		rule = p
	} else if p != "" {
		// Clients give the rule where the profile would be, and the objects to expect
		// where the rule would.
		expected, err := strconv.ParseUint(rule, 10, 63)
		if err != nil {
			return k.say(errno.ErrInvalid, "error parsing integer value '%s': Expected option value to be integer, got '%s'", rule, rule)
		}
		rule = p
		n.edits = append(n.edits, func(p *osdmap.Pool) { p.ExpectedObjects = expected })
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
	for _, name := range []string{"pg_num_min", "pg_num_max", "target_size_bytes", "target_size_ratio"} {
		if !k.args.has(name) {
			continue
		}
		c, _ := k.poolOption(nil, name, k.args.str(name))
		if c.result != 0 {
			return k.say(c.result, "%s", c.status)
		}
		n.edits = append(n.edits, c.edit)
	}
	if k.args.flag("bulk") {
		n.edits = append(n.edits, func(p *osdmap.Pool) { p.Flags |= osdmap.PoolBulk })
	}
	if m, ok := map[string]uint8{"off": 0, "warn": 1, "on": 2}[k.args.str("autoscale_mode")]; ok {
		n.edits = append(n.edits, func(p *osdmap.Pool) { p.AutoscaleMode = m })
	}
	k.c.createPool(n)
	return k.say(0, "pool '%s' created", name)
}

// Flags of a pool of which something is not to be done.
const (
	poolNoDelete     = 1 << 4
	poolNoPGChange   = 1 << 5
	poolNoSizeChange = 1 << 6
	poolNoScrub      = 1 << 8
	poolNoDeepScrub  = 1 << 9
)

// poolFlags are the flags of pools by name. read-only.
var poolFlags = []struct {
	name string
	bit  uint64
}{
	{"hashpspool", osdmap.PoolHashPSPool}, {"full", osdmap.PoolFull}, {"ec_overwrites", osdmap.PoolECOverwrites},
	{"nodelete", poolNoDelete}, {"nopgchange", poolNoPGChange}, {"nosizechange", poolNoSizeChange}, {"write_fadvise_dontneed", 1 << 7}, {"noscrub", poolNoScrub},
	{"nodeep-scrub", poolNoDeepScrub}, {"full_quota", osdmap.PoolFullQuota}, {"nearfull", osdmap.PoolNearFull}, {"backfillfull", osdmap.PoolBackfillFull},
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
	if p.LastForceResend+p.LastForceResendPreNautilus+p.LastForceResendPreLuminous > 0 {
		s += fmt.Sprintf(" lfor %d/%d/%d", p.LastForceResend, p.LastForceResendPreNautilus, p.LastForceResendPreLuminous)
	}
	s += " flags " + poolFlagNames(p.Flags)
	if p.QuotaBytes > 0 {
		s += fmt.Sprintf(" max_bytes %d", p.QuotaBytes)
	}
	if p.QuotaObjects > 0 {
		s += fmt.Sprintf(" max_objects %d", p.QuotaObjects)
	}
	s += tierText(p) + fmt.Sprintf(" stripe_width %d", p.StripeWidth)
	for _, o := range poolOptionList(p) {
		s += fmt.Sprintf(" %s %v", o.Key, o.Value)
	}
	if len(p.Applications) > 0 {
		s += " application " + strings.Join(slices.Sorted(maps.Keys(p.Applications)), ",")
	}
	if m.OSDOnly.RequireRelease >= 18 && !p.IsErasure() {
		s += fmt.Sprintf(" read_balance_score %.2f", readBalance(m, id))
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
	o := object{
		{idKey, id}, {"pool_name", m.PoolNames[id]}, {"create_time", cephTime(p.Created.Std())}, {"flags", p.Flags}, {"flags_names", poolFlagNames(p.Flags)},
		{"type", p.Type}, {"size", p.Size}, {"min_size", p.MinSize}, {"crush_rule", p.CrushRule},
		{"peering_crush_bucket_count", 0}, {"peering_crush_bucket_target", 0}, {"peering_crush_bucket_barrier", 0},
		{"peering_crush_bucket_mandatory_member", 2147483647},
	}
	if m.OSDOnly.RequireRelease >= 20 {
		o = append(o, field{"is_stretch_pool", false})
	}
	o = append(o, object{
		{"object_hash", p.ObjectHash}, {"pg_autoscale_mode", autoscale(p)},
		{"pg_num", p.PGNum}, {"pg_placement_num", p.PGPNum}, {"pg_placement_num_target", p.PGPNumTarget}, {"pg_num_target", p.PGNumTarget},
		{"pg_num_pending", p.PGNumPending}, {"last_pg_merge_meta", object{
			{"source_pgid", "0.0"}, {"ready_epoch", 0}, {"last_epoch_started", 0}, {"last_epoch_clean", 0}, {"source_version", "0'0"}, {"target_version", "0'0"},
		}},
		{"last_change", fmt.Sprint(p.LastChange)}, {"last_force_op_resend", fmt.Sprint(p.LastForceResend)},
		{"last_force_op_resend_prenautilus", fmt.Sprint(p.LastForceResendPreNautilus)}, {"last_force_op_resend_preluminous", fmt.Sprint(p.LastForceResendPreLuminous)},
		{"auid", 0}, {"snap_mode", mode}, {"snap_seq", p.SnapSeq}, {"snap_epoch", p.SnapEpoch}, {"pool_snaps", snaps}, {"removed_snaps", "[]"},
		{"quota_max_bytes", p.QuotaBytes}, {"quota_max_objects", p.QuotaObjects}, {"tiers", append([]uint64{}, p.Tiers...)}, {"tier_of", p.TierOf},
		{"read_tier", p.ReadTier}, {"write_tier", p.WriteTier}, {"cache_mode", cacheModes[min(int(p.CacheMode), len(cacheModes)-1)]},
		{"target_max_bytes", p.TargetMaxBytes}, {"target_max_objects", p.TargetMaxObjects},
		{"cache_target_dirty_ratio_micro", p.CacheDirtyRatio}, {"cache_target_dirty_high_ratio_micro", p.CacheDirtyHighRatio},
		{"cache_target_full_ratio_micro", p.CacheFullRatio}, {"cache_min_flush_age", p.CacheMinFlushAge}, {"cache_min_evict_age", p.CacheMinEvictAge},
		{"erasure_code_profile", p.ErasureProfile}, {"hit_set_params", object{{"type", "none"}}},
		{"hit_set_period", p.HitSet.Period}, {"hit_set_count", p.HitSet.Count},
		{"use_gmt_hitset", true}, {"min_read_recency_for_promote", p.MinReadRecency}, {"min_write_recency_for_promote", p.MinWriteRecency},
		{"hit_set_grade_decay_rate", p.HitSet.GradeDecayRate}, {"hit_set_search_last_n", p.HitSet.SearchLastCount}, {"grade_table", []int{}}, {"stripe_width", p.StripeWidth}, {"expected_num_objects", p.ExpectedObjects},
		{"fast_read", p.FastRead},
	}...)
	if m.OSDOnly.RequireRelease >= 20 {
		o = append(o, field{"nonprimary_shards", "{}"})
	}
	o = append(o, field{"options", poolOptionList(p)}, field{"application_metadata", appsObject(p)})
	if m.OSDOnly.RequireRelease < 18 || p.IsErasure() {
		return o
	}
	return append(o, field{"read_balance", balanceObject(m, id)})
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
	if p := k.c.osdmap.Pools[id]; p.HasFlag(poolNoDelete) {
		return k.say(errno.ErrPermission, "pool deletion is disabled; you must unset nodelete flag for the pool first")
	}
	k.c.removePool(id)
	if k.c.opt.release >= 18 && k.args.flag("yes_i_really_really_mean_it_not_faking") {
		return k.say(0, "pool '%s' removedpool '%s' removed", name, name)
	}
	return k.say(0, "pool '%s' removed", name)
}

func (k *call) poolRename() errno.Errno {
	src, dst := k.args.str("srcpool"), k.args.str("destpool")
	id, ok := k.c.osdmap.PoolByName(src)
	_, taken := k.c.osdmap.PoolByName(dst)
	switch {
	case strings.HasPrefix(dst, ".") && k.c.opt.release >= 18 && !k.args.flag("yes_i_really_mean_it"):
		return k.say(0, "pool names beginning with . are not allowed")
	case !ok && taken:
		return k.say(0, "pool '%s' does not exist; pool '%s' does -- assuming successful rename", src, dst)
	case !ok:
		return k.say(errno.ErrNotFound, "unrecognized pool '%s'", src)
	case taken:
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
	var gmt any = 1
	if !k.plain() {
		gmt = true
	}
	for _, n := range []string{"hashpspool", "nodelete", "nopgchange", "nosizechange", "write_fadvise_dontneed", "noscrub", "nodeep-scrub"} {
		o = append(o, field{n, flag(n)})
	}
	if p.TierOf >= 0 {
		o = append(o, tierBefore(p)...)
	}
	o = append(o, field{"use_gmt_hitset", gmt})
	if p.TierOf >= 0 {
		o = append(o, tierAfter(p)...)
	}
	if p.IsErasure() {
		o = append(o, field{"erasure_code_profile", p.ErasureProfile}, field{"allow_ec_overwrites", p.HasFlag(osdmap.PoolECOverwrites)})
	}
	o = append(o, field{"fast_read", b2i(p.FastRead)})
	if p.TierOf >= 0 {
		o = append(o, field{"hit_set_grade_decay_rate", p.HitSet.GradeDecayRate}, field{"hit_set_search_last_n", p.HitSet.SearchLastCount})
	}
	late := object{} // what 18.2 and 20.2 put behind the flags
	for _, d := range poolOptions {
		if d.name == "pg_num_min" {
			o = append(o, field{"pg_autoscale_mode", autoscale(p)})
		}
		for _, x := range p.Options {
			if x.Key != d.key {
				continue
			}
			f := field{d.name, optionValue(x)}
			if d.name == "csum_type" && k.plain() && x.Int > 0 && int(x.Int) <= len(csumTypes) {
				f.Value = csumTypes[x.Int-1]
			}
			if k.c.opt.release >= 18 && (d.name == "pg_num_max" || d.name == "read_ratio") {
				late = append(late, f)
			} else {
				o = append(o, f)
			}
		}
	}
	if k.c.opt.release >= 18 {
		o = append(o, field{"eio", flag("eio")})
	}
	return append(append(o, field{"bulk", flag("bulk")}), late...)
}

func (k *call) poolGet() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	name := k.args.str("var")
	switch {
	case slices.Contains(tierVars, name) && p.TierOf < 0:
		return k.say(errno.ErrAccess, "pool '%s' is not a tier pool: variable not applicable", k.args.str("pool"))
	case (name == "erasure_code_profile" || name == "allow_ec_overwrites") && !p.IsErasure():
		return k.say(errno.ErrAccess, "pool '%s' is not a erasure pool: variable not applicable", k.args.str("pool"))
	}
	known := slices.ContainsFunc(poolOptions, func(o poolVariable) bool { return o.name == name })
	known = known || slices.Contains(tierVars, name)
	if !known && !slices.Contains(strings.Split(poolVarNames, "|"), name) && name != "all" {
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

func (k *call) poolSetQuota() errno.Errno {
	id, _, e := k.pool()
	if e != 0 {
		return e
	}
	field, val := k.args.str("field"), k.args.str("val")
	n, problem := k.c.quotaNumber(field, val)
	if problem != "" {
		return k.say(errno.ErrInvalid, "error parsing value '%s': %s", val, problem)
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
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	s := k.c.poolStat(id)
	if !k.plain() {
		return k.json(object{
			{"pool_name", k.args.str("pool")}, {"pool_id", id}, {"quota_max_objects", p.QuotaObjects}, {"current_num_objects", s.Objects},
			{"quota_max_bytes", p.QuotaBytes}, {"current_num_bytes", s.Bytes},
		})
	}
	text := func(limit, now uint64, what, unit string, f func(uint64) string) string {
		if limit == 0 {
			return "N/A"
		}
		return fmt.Sprintf("%s%s  (current num %s: %d %s)", f(limit), unit, what, now, what)
	}
	return k.print("quotas for pool '%s':\n  max objects: %s\n  max bytes  : %s\n", k.args.str("pool"),
		text(p.QuotaObjects, s.Objects, "objects", " objects", countText), text(p.QuotaBytes, s.Bytes, "bytes", "", bytesText))
}

func (k *call) poolForceRemoveSnap() errno.Errno {
	_, p, e := k.pool()
	switch {
	case e != 0:
		return e
	case !p.HasFlag(osdmap.PoolPoolSnaps):
		return k.say(errno.ErrInvalid, "pool %s invalid snaps mode", k.args.str("pool"))
	}
	return k.cannot()
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
	// 16.2's monitors forget to tell the OSDs of what this command removes: clones stay.
	switch e := k.c.removePoolSnap(id, name, k.c.opt.release > 16); e {
	case 0:
		return k.say(0, "removed pool %s snap %s", k.args.str("pool"), name)
	case errno.ErrNotFound:
		return k.say(0, "pool %s snap %s does not exist", k.args.str("pool"), name)
	default:
		return k.say(e, "pool %s is in unmanaged snaps mode", k.args.str("pool"))
	}
}
