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
	{"pg_num_max", 23, osdmap.OptionInt},
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
	return k.say(0, "set pool %d %s to %s", id, name, val)
}

// poolChange reads what a variable of a pool is to become.
func (k *call) poolChange(p *osdmap.Pool, name, val string) poolChange {
	n, err := strconv.ParseInt(val, 10, 64)
	number := refuse(errno.ErrInvalid, "error parsing integer value '%s': Expected option value to be integer, got '%s'", val, val)
	switch name {
	case "size":
		if err != nil {
			return number
		}
		return k.poolSize(p, n)
	case "min_size":
		switch {
		case err != nil:
			return number
		case n < 1 || n > int64(p.Size):
			return refuse(errno.ErrInvalid, "pool min_size must be between 1 and size, which is set to %d", p.Size)
		}
		return poolChange{edit: func(p *osdmap.Pool) { p.MinSize = uint8(n) }}
	case "pg_num":
		switch {
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
	if c, ok := k.poolOption(name, val); ok {
		return c
	}
	return k.poolSwitch(p, name, val)
}

func (k *call) poolSize(p *osdmap.Pool, n int64) poolChange {
	switch {
	case p.IsErasure():
		return refuse(errno.ErrNotSupported, "can not change the size of an erasure-coded pool")
	case n < 1 || n > 10:
		return refuse(errno.ErrInvalid, "pool size must be between 1 and 10")
	case n == 1 && !k.args.flag("yes_i_really_mean_it"):
		return refuse(errno.ErrPermission, "WARNING: setting pool size 1 could lead to data loss without recovery. If you are *ABSOLUTELY CERTAIN* that is what you want, pass the flag --yes-i-really-mean-it.")
	}
	return poolChange{edit: func(p *osdmap.Pool) { p.Size, p.MinSize = uint8(n), uint8(n-n/2) }}
}

// poolOption reads a variable that is kept as an option.
func (k *call) poolOption(name, val string) (poolChange, bool) {
	for _, d := range poolOptions {
		if d.name != name {
			continue
		}
		x := osdmap.PoolOption{Key: d.key, Kind: d.kind, Str: val}
		switch d.kind {
		case osdmap.OptionInt:
			v, problem := parseIEC(val)
			if problem != "" {
				return refuse(errno.ErrInvalid, "error parsing int value '%s': %s", val, k.c.parseProblem(problem, val)), true
			}
			x.Int = v
		case osdmap.OptionDouble:
			v, err := strconv.ParseFloat(val, 64)
			if err != nil {
				return refuse(errno.ErrInvalid, "error parsing float value '%s': strict_strtod: expected double, got: '%s'", val, val), true
			}
			x.Double = v
		}
		if name == "compression_mode" && !slices.Contains([]string{"none", "passive", "aggressive", "force", "unset"}, val) {
			return refuse(errno.ErrInvalid, "unrecognized compression mode '%s'", val), true
		}
		if name == "compression_algorithm" && !slices.Contains([]string{"none", "snappy", "zlib", "zstd", "lz4", "unset"}, val) {
			return refuse(errno.ErrInvalid, "unrecognized compression_algorithm '%s'", val), true
		}
		return poolChange{edit: func(p *osdmap.Pool) { p.Options = setOption(p.Options, x) }}, true
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
		return poolChange{edit: func(p *osdmap.Pool) {
			p.Flags &^= f.bit
			if on {
				p.Flags |= f.bit
			}
		}}
	}
	return poolChange{}
}

// noUnit is what is wrong with a number that does not end in a unit.
const noUnit = "strict_iecstrtoll: unit prefix not recognized"

// parseProblem is a problem of parseIEC as the release tells it.
func (c *Cluster) parseProblem(problem, value string) string {
	if problem == noUnit && c.opt.release >= 18 {
		return problem + " '" + value + "' "
	}
	return problem
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
