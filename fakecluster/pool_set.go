package fakecluster

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// poolVariable is a variable of pools that is kept as an option.
type poolVariable struct {
	name      string
	key, kind int32
}

// poolOptions are the variables of pools that are kept as options (pool_opts_t),
// with their keys and kinds there. read-only.
var poolOptions = []poolVariable{
	{"scrub_min_interval", 0, osdmap.OptionDouble}, {"scrub_max_interval", 1, osdmap.OptionDouble}, {"deep_scrub_interval", 2, osdmap.OptionDouble},
	{"recovery_priority", 3, osdmap.OptionInt}, {"recovery_op_priority", 4, osdmap.OptionInt}, {"scrub_priority", 5, osdmap.OptionInt},
	{"compression_mode", 6, osdmap.OptionString}, {"compression_algorithm", 7, osdmap.OptionString}, {"compression_required_ratio", 8, osdmap.OptionDouble},
	{"compression_max_blob_size", 9, osdmap.OptionInt}, {"compression_min_blob_size", 10, osdmap.OptionInt},
	{"csum_type", 11, osdmap.OptionInt}, {"csum_max_block", 12, osdmap.OptionInt}, {"csum_min_block", 13, osdmap.OptionInt},
	{"fingerprint_algorithm", 14, osdmap.OptionString}, {"pg_num_min", 15, osdmap.OptionInt}, {"target_size_bytes", 16, osdmap.OptionInt},
	{"target_size_ratio", 17, osdmap.OptionDouble}, {"pg_autoscale_bias", 18, osdmap.OptionDouble}, {"read_lease_interval", 19, osdmap.OptionDouble},
	{"dedup_tier", 20, osdmap.OptionInt}, {"dedup_chunk_algorithm", 21, osdmap.OptionString}, {"dedup_cdc_chunk_size", 22, osdmap.OptionInt},
	{"pg_num_max", 23, osdmap.OptionInt}, {"read_ratio", 24, osdmap.OptionInt},
}

// optionValue returns an option of a pool as Ceph prints it.
func optionValue(o osdmap.PoolOption) any {
	switch o.Kind {
	case osdmap.OptionString:
		return o.Str
	case osdmap.OptionDouble:
		return o.Double
	}
	return o.Int
}

// poolOptionList returns a pool's options by name, in the order of the names.
func poolOptionList(p *osdmap.Pool) object {
	o := object{}
	for _, x := range p.Options {
		for _, d := range poolOptions {
			if d.key == x.Key {
				o = append(o, field{d.name, optionValue(x)})
			}
		}
	}
	slices.SortFunc(o, func(a, b field) int { return cmp.Compare(a.Key, b.Key) })
	return o
}

// readBalance tells how evenly the primaries of a pool are spread over its OSDs:
// the most that one of them has, in proportion to what each should have.
func readBalance(m *osdmap.Map, id int64) float64 {
	p := m.Pools[id]
	primaries := map[int32]int{}
	for seed := range p.PGNum {
		_, _, acting, primary := m.PGToUpActing(osdmap.PG{Pool: id, Seed: seed})
		for _, o := range acting {
			primaries[o] += 0
		}
		primaries[primary]++
	}
	most := 0
	for _, n := range primaries {
		most = max(most, n)
	}
	if p.PGNum == 0 {
		return 0
	}
	return float64(most) * float64(len(primaries)) / float64(p.PGNum)
}

// balanceObject is what osd pool ls tells of that.
func balanceObject(m *osdmap.Map, id int64) object {
	p := m.Pools[id]
	legs, expected := 0, int(p.PGNum)*int(p.Size)
	for seed := range p.PGNum {
		_, _, acting, _ := m.PGToUpActing(osdmap.PG{Pool: id, Seed: seed})
		legs += len(acting)
	}
	if legs != expected && m.OSDOnly.RequireRelease >= 20 {
		return object{
			{"error_message", fmt.Sprintf("ERROR: pool %d has %d PG OSD legs, expected %d - Can't calculate size-optimal read balancer score", id, legs, expected)},
			{"score_acting", 0}, {"score_stable", 0},
		}
	}
	o, score := object{}, readBalance(m, id)
	if m.OSDOnly.RequireRelease >= 20 {
		o = append(o, field{"score_type", "Fair distribution"})
	}
	return append(o, object{
		{"score_acting", score}, {"score_stable", score}, {"optimal_score", 1}, {"raw_score_acting", score}, {"raw_score_stable", score},
		{"primary_affinity_weighted", 1}, {"average_primary_affinity", 1}, {"average_primary_affinity_weighted", 1},
	}...)
}

// setOption returns options with one changed, ascending by key.
func setOption(opts []osdmap.PoolOption, x osdmap.PoolOption) []osdmap.PoolOption {
	out := slices.DeleteFunc(slices.Clone(opts), func(o osdmap.PoolOption) bool { return o.Key == x.Key })
	if x.Kind == osdmap.OptionString && x.Str == "unset" || x.Kind != osdmap.OptionString && x.Int == 0 && x.Double == 0 {
		return out
	}
	out = append(out, x)
	slices.SortFunc(out, func(a, b osdmap.PoolOption) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// poolChange is what osd pool set does to a pool; or why it does not.
type poolChange struct {
	edit   func(*osdmap.Pool)
	unset  bool // val was the word for that
	result errno.Errno
	status string
}

func refuse(e errno.Errno, format string, args ...any) poolChange {
	return poolChange{result: e, status: fmt.Sprintf(format, args...)}
}

func (k *call) poolSet() errno.Errno {
	id, p, e := k.pool()
	if e != 0 {
		return e
	}
	name, val := k.args.str("var"), k.args.str("val")
	c := k.poolChange(p, name, val)
	if c.result != 0 {
		return k.say(c.result, "%s", c.status)
	}
	if c.edit != nil {
		k.c.updatePool(id, c.edit)
	}
	if c.unset {
		return k.say(0, "unset pool %d %s", id, name)
	}
	return k.say(0, "set pool %d %s to %s", id, name, val)
}

// poolChange reads what a variable of a pool is to become.
func (k *call) poolChange(p *osdmap.Pool, name, val string) poolChange {
	n, err := strconv.ParseInt(val, 10, 64)
	number := refuse(errno.ErrInvalid, "error parsing integer value '%s': Expected option value to be integer, got '%s'", val, val)
	if name == "use_gmt_hitset" || slices.Contains(tierVars, name) {
		return k.tierChange(p, name, val)
	}
	switch name {
	case "size":
		if err != nil {
			return number
		}
		return k.poolSize(p, n)
	case "min_size":
		switch {
		case p.HasFlag(poolNoSizeChange):
			return refuse(errno.ErrPermission, "pool min size change is disabled; you must unset nosizechange flag for the pool first")
		case err != nil:
			return number
		case n < 1 || n > int64(p.Size):
			return refuse(errno.ErrInvalid, "pool min_size must be between 1 and size, which is set to %d", p.Size)
		}
		return poolChange{edit: func(p *osdmap.Pool) { p.MinSize = uint8(n) }}
	case "pg_num":
		switch {
		case p.HasFlag(poolNoPGChange):
			return refuse(errno.ErrPermission, "pool pg_num change is disabled; you must unset nopgchange flag for the pool first")
		case err != nil:
			return number
		case n < 1 || n > 65536:
			return refuse(errno.ErrRange, "'pg_num' must be greater than 0 and less than or equal to 65536 (you may adjust 'mon max pool pg num' for higher values)")
		case uint32(n) < p.PGNum:
			return refuse(errno.ErrNotSupported, "this cluster does not merge placement groups")
		}
		if uint32(n) == p.PGNum {
			return poolChange{}
		}
		return poolChange{edit: func(p *osdmap.Pool) {
			p.LastForceResendPreLuminous = k.c.osdmap.Epoch + 1
			p.PGNum, p.PGNumTarget, p.PGNumPending = uint32(n), uint32(n), uint32(n)
			p.PGPNum, p.PGPNumTarget = uint32(n), uint32(n)
		}}
	case "pgp_num":
		switch {
		case p.HasFlag(poolNoPGChange):
			return refuse(errno.ErrPermission, "pool pgp_num change is disabled; you must unset nopgchange flag for the pool first")
		case err != nil:
			return number
		case n < 1:
			return refuse(errno.ErrInvalid, "specified pgp_num must > 0, but you set to %d", n)
		case n > int64(p.PGNum):
			return refuse(errno.ErrInvalid, "specified pgp_num %d > pg_num %d", n, p.PGNum)
		}
		return poolChange{edit: func(p *osdmap.Pool) { p.PGPNum, p.PGPNumTarget = uint32(n), uint32(n) }}
	case "pg_autoscale_mode":
		m, ok := map[string]uint8{"off": 0, "warn": 1, "on": 2}[val]
		if !ok {
			return refuse(errno.ErrInvalid, "specified invalid mode %s", val)
		}
		return poolChange{edit: func(p *osdmap.Pool) { p.AutoscaleMode = m }}
	case "crush_rule":
		for r, rn := range k.c.osdmap.Crush.RuleNames {
			if rn == val {
				return poolChange{edit: func(p *osdmap.Pool) { p.CrushRule = uint8(r) }}
			}
		}
		return refuse(errno.ErrNotFound, "crush rule %s does not exist", val)
	}
	if c, ok := k.poolOption(p, name, val); ok {
		return c
	}
	return k.poolSwitch(p, name, val)
}

func (k *call) poolSize(p *osdmap.Pool, n int64) poolChange {
	switch {
	case p.HasFlag(poolNoSizeChange):
		return refuse(errno.ErrPermission, "pool size change is disabled; you must unset nosizechange flag for the pool first")
	case p.IsErasure():
		return refuse(errno.ErrNotSupported, "can not change the size of an erasure-coded pool")
	case n < 1 || n > 10:
		return refuse(errno.ErrInvalid, "pool size must be between 1 and 10")
	case n == 1 && !k.args.flag("yes_i_really_mean_it"):
		return refuse(errno.ErrPermission, "WARNING: setting pool size 1 could lead to data loss without recovery. If you are *ABSOLUTELY CERTAIN* that is what you want, pass the flag --yes-i-really-mean-it.")
	}
	return poolChange{edit: func(p *osdmap.Pool) { p.Size, p.MinSize = uint8(n), min(p.MinSize, uint8(n)) }}
}

// csumTypes are the kinds of checksums by their names, from 1 on. read-only.
var csumTypes = []string{"none", "xxhash32", "xxhash64", "crc32c", "crc32c_16", "crc32c_8"}

// optionNumber reads an option of pools that is a number: some are checksums' names or
// those of pools, some may have a unit.
func (k *call) optionNumber(name, val string) (n int64, c poolChange) {
	n, err := strconv.ParseInt(val, 10, 64)
	unit, problem := parseIEC(val)
	switch name {
	case "csum_type":
		if n = int64(slices.Index(csumTypes, val)) + 1; n == 0 && val != "unset" {
			return 0, refuse(errno.ErrInvalid, "unrecognized csum_type '%s'", val)
		}
	case "dedup_tier":
		id, ok := k.c.osdmap.PoolByName(val)
		switch {
		case err == nil:
			return 0, refuse(errno.ErrInvalid, "expecting value 'pool name'")
		case !ok:
			return 0, refuse(errno.ErrNotFound, "unrecognized pool '%s'", val)
		}
		n = id
	case "target_size_bytes":
		if n = unit; problem != "" {
			return 0, refuse(errno.ErrInvalid, "error parsing unit value '%s': %s", val, k.c.parseProblem(problem, val))
		}
	case "compression_max_blob_size", "compression_min_blob_size", "csum_max_block", "csum_min_block":
		if n = unit; problem != "" {
			return 0, refuse(errno.ErrInvalid, "error parsing int value '%s': %s", val, k.c.parseProblem(problem, val))
		}
	default:
		if err != nil {
			return 0, refuse(errno.ErrInvalid, "error parsing int value '%s': Expected option value to be integer, got '%s'", val, val)
		}
	}
	return n, poolChange{}
}

// optionRange tells what is wrong with a number. p is nil while the pool is made.
func optionRange(p *osdmap.Pool, name, val string, x osdmap.PoolOption) poolChange {
	switch {
	case name == "recovery_priority" && (x.Int < -10 || x.Int > 10):
		return refuse(errno.ErrInvalid, "pool recovery_priority must be between -10 and 10")
	case name == "pg_autoscale_bias" && (x.Double < 0 || x.Double > 1000):
		return refuse(errno.ErrInvalid, "pg_autoscale_bias must be between 0 and 1000")
	case name == "target_size_ratio" && x.Double < 0:
		return refuse(errno.ErrInvalid, "target_size_ratio cannot be negative")
	case name == "compression_required_ratio" && (x.Double < 0 || x.Double > 1):
		return refuse(errno.ErrInvalid, "compression_required_ratio is out of range (0-1): '%s'", val)
	case name == "read_ratio" && (x.Int < 0 || x.Int > 100):
		return refuse(errno.ErrRange, "read_ratio must be between 0 and 100")
	case p != nil && name == "pg_num_min" && x.Int > int64(p.PGNumTarget):
		return refuse(errno.ErrInvalid, "specified pg_num_min %d > pg_num %d", x.Int, p.PGNumTarget)
	case p != nil && name == "pg_num_max" && x.Int != 0 && x.Int < int64(p.PGNumTarget):
		return refuse(errno.ErrInvalid, "specified pg_num_max %d < pg_num %d", x.Int, p.PGNumTarget)
	}
	return poolChange{}
}

// poolOption reads a variable that is kept as an option, of a pool or, if p is nil, of
// one that is being made.
func (k *call) poolOption(p *osdmap.Pool, name, val string) (poolChange, bool) {
	for _, d := range poolOptions {
		if d.name != name {
			continue
		}
		x := osdmap.PoolOption{Key: d.key, Kind: d.kind, Str: val}
		switch d.kind {
		case osdmap.OptionInt:
			n, c := k.optionNumber(name, val)
			if c.result != 0 {
				return c, true
			}
			x.Int = n
		case osdmap.OptionDouble:
			v, err := strconv.ParseFloat(val, 64)
			if err != nil {
				word := "floating point"
				if name == "compression_required_ratio" {
					word = "float"
				}
				return refuse(errno.ErrInvalid, "error parsing %s value '%s': strict_strtod: expected double, got: '%s'", word, val, val), true
			}
			if x.Double = v; p == nil {
				x.Double = float64(float32(v)) // which is how the command has it
			}
		}
		if c := optionRange(p, name, val, x); c.result != 0 {
			return c, true
		}
		if name == "compression_mode" && !slices.Contains([]string{"none", "passive", "aggressive", "force", "unset"}, val) {
			return refuse(errno.ErrInvalid, "unrecognized compression mode '%s'", val), true
		}
		if name == "compression_algorithm" && !slices.Contains([]string{"none", "snappy", "zlib", "zstd", "lz4", "unset"}, val) {
			return refuse(errno.ErrInvalid, "unrecognized compression_algorithm '%s'", val), true
		}
		return poolChange{unset: val == "unset", edit: func(p *osdmap.Pool) { p.Options = setOption(p.Options, x) }}, true
	}
	return poolChange{}, false
}

// poolSwitch reads a variable that is on or off.
func (k *call) poolSwitch(p *osdmap.Pool, name, val string) poolChange {
	on := val == "true" || val == "1"
	known := on || val == "false" || val == "0"
	wrong := refuse(errno.ErrInvalid, "expecting value 'true', 'false', '0', or '1'")
	switch name {
	case "allow_ec_overwrites":
		switch {
		case !p.IsErasure():
			return refuse(errno.ErrInvalid, "ec overwrites can only be enabled for an erasure coded pool")
		case !on:
			return refuse(errno.ErrInvalid, "ec overwrites cannot be disabled once enabled")
		}
		return poolChange{edit: func(p *osdmap.Pool) { p.Flags |= osdmap.PoolECOverwrites }}
	case "fast_read":
		switch {
		case !p.IsErasure():
			return refuse(errno.ErrInvalid, "fast read is not supported in replication pool")
		case !known:
			return wrong
		}
		return poolChange{edit: func(p *osdmap.Pool) { p.FastRead = on }}
	}
	for _, f := range poolFlags {
		if f.name != name {
			continue
		}
		if !known {
			return wrong
		}
		if name == "hashpspool" && !k.args.flag("yes_i_really_mean_it") {
			return refuse(errno.ErrPermission, "are you SURE?  this will remap all placement groups in this pool, this triggers large data movement, pass --yes-i-really-mean-it if you really do.")
		}
		return poolChange{edit: func(p *osdmap.Pool) {
			p.Flags &^= f.bit
			if on {
				p.Flags |= f.bit
			}
		}}
	}
	return refuse(errno.ErrNotSupported, "this fake cluster cannot do 'osd pool set' of %s", name)
}

// noUnit is what is wrong with a number that does not end in a unit.
const noUnit = "strict_iecstrtoll: unit prefix not recognized"

// parseProblem is a problem of parseIEC as the release tells it.
func (c *Cluster) parseProblem(problem, value string) string {
	if problem == noUnit && c.opt.release >= 20 {
		return problem + " '" + strings.TrimLeft(value, "-0123456789") + "' "
	}
	return problem
}

// quotaNumber reads a quota: of bytes in binary units, of objects in decimal ones.
func (c *Cluster) quotaNumber(field, val string) (uint64, string) {
	reader, shift := "strict_iecstrtoll", parseIEC
	if field == "max_objects" {
		reader, shift = "strict_sistrtoll", parseSI
	}
	n, problem := shift(val)
	switch {
	case problem == noUnit && field == "max_objects":
		return 0, "strict_si_cast: unit prefix not recognized"
	case problem != "":
		return 0, c.parseProblem(problem, val)
	case n < 0:
		return 0, reader + ": value should not be negative"
	}
	return uint64(n), ""
}

// parseSI reads a number that may end in a decimal prefix: "10M".
func parseSI(s string) (int64, string) {
	digits := strings.TrimRight(s, "KMGTPE")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(s)-len(digits) > 1 {
		return 0, noUnit
	}
	if len(digits) < len(s) {
		for range 1 + strings.Index("KMGTPE", s[len(digits):]) {
			n *= 1000
		}
	}
	return n, ""
}

// parseIEC reads a number that may end in a binary prefix: "10M".
func parseIEC(s string) (int64, string) {
	digits := strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i"), "KMGTPE")
	n, err := strconv.ParseInt(digits, 10, 64)
	if digits == "" || strings.Trim(digits[len(digits)-1:], "0123456789") != "" {
		return 0, noUnit
	}
	if err != nil {
		return 0, "strict_strtoll: expected integer, got: '" + s + "'"
	}
	if unit := strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(s, "B"), "i"), digits); unit != "" {
		n <<= 10 * (1 + strings.Index("KMGTPE", unit))
	}
	return n, ""
}
