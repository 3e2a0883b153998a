package fakecluster

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// tierChange reads a variable of cache tiers. The kinds of hit sets, of which nothing is
// kept here, are refused.
func (k *call) tierChange(p *osdmap.Pool, name, val string) poolChange {
	if p.TierOf < 0 {
		return refuse(errno.ErrAccess, "(13) Permission denied")
	}
	if strings.HasSuffix(name, "_ratio") {
		f, err := strconv.ParseFloat(val, 64)
		switch {
		case err != nil:
			return refuse(errno.ErrInvalid, "error parsing float value '%s': strict_strtod: expected double, got: '%s'", val, val)
		case f < 0 || f > 1:
			return refuse(errno.ErrRange, "value must be in the range 0..1")
		}
		return poolChange{edit: func(p *osdmap.Pool) { *ratioOf(p, name) = uint32(f * 1e6) }}
	}
	n, err := strconv.ParseInt(val, 10, 64)
	set := tierNumber(name, n)
	switch {
	case set == nil:
		return refuse(errno.ErrNotSupported, "this fake cluster cannot do 'osd pool set' of %s", name)
	case err != nil:
		return refuse(errno.ErrInvalid, "error parsing integer value '%s': Expected option value to be integer, got '%s'", val, val)
	case name == "hit_set_grade_decay_rate" && (n < 0 || n > 100):
		return refuse(errno.ErrInvalid, "value out of range,valid range is 0 - 100")
	}
	return poolChange{edit: set}
}

// ratioOf returns where a pool has one of a tier's ratios, in millionths.
func ratioOf(p *osdmap.Pool, name string) *uint32 {
	switch name {
	case "cache_target_dirty_ratio":
		return &p.CacheDirtyRatio
	case "cache_target_dirty_high_ratio":
		return &p.CacheDirtyHighRatio
	}
	return &p.CacheFullRatio
}

// tierNumber returns what sets a variable of tiers to a number, if it is one.
func tierNumber(name string, n int64) func(*osdmap.Pool) {
	switch name {
	case "hit_set_period":
		return func(p *osdmap.Pool) { p.HitSet.Period = uint32(n) }
	case "hit_set_count":
		return func(p *osdmap.Pool) { p.HitSet.Count = uint32(n) }
	case "hit_set_grade_decay_rate":
		return func(p *osdmap.Pool) { p.HitSet.GradeDecayRate = int32(n) }
	case "hit_set_search_last_n":
		return func(p *osdmap.Pool) { p.HitSet.SearchLastCount = int32(n) }
	case "target_max_objects":
		return func(p *osdmap.Pool) { p.TargetMaxObjects = uint64(n) }
	case "target_max_bytes":
		return func(p *osdmap.Pool) { p.TargetMaxBytes = uint64(n) }
	case "cache_min_flush_age":
		return func(p *osdmap.Pool) { p.CacheMinFlushAge = uint32(n) }
	case "cache_min_evict_age":
		return func(p *osdmap.Pool) { p.CacheMinEvictAge = uint32(n) }
	case "min_read_recency_for_promote":
		return func(p *osdmap.Pool) { p.MinReadRecency = int32(n) }
	case "min_write_recency_for_promote":
		return func(p *osdmap.Pool) { p.MinWriteRecency = int32(n) }
	}
	return nil
}

// tierBefore and tierAfter are a tier's variables as osd pool get has them, before and
// after whether its hit sets' times are Greenwich's.
func tierBefore(p *osdmap.Pool) object {
	return object{{"hit_set_type", "none"}, {"hit_set_period", p.HitSet.Period}, {"hit_set_count", p.HitSet.Count}}
}

func tierAfter(p *osdmap.Pool) object {
	return object{
		{"target_max_objects", p.TargetMaxObjects}, {"target_max_bytes", p.TargetMaxBytes},
		{"cache_target_dirty_ratio", float64(p.CacheDirtyRatio) / 1e6}, {"cache_target_dirty_high_ratio", float64(p.CacheDirtyHighRatio) / 1e6},
		{"cache_target_full_ratio", float64(p.CacheFullRatio) / 1e6}, {"cache_min_flush_age", p.CacheMinFlushAge},
		{"cache_min_evict_age", p.CacheMinEvictAge}, {"min_read_recency_for_promote", p.MinReadRecency},
		{"min_write_recency_for_promote", p.MinWriteRecency},
	}
}

// tierText is what a pool's line tells of tiers.
func tierText(p *osdmap.Pool) string {
	var s strings.Builder
	if len(p.Tiers) > 0 {
		s.WriteString(" tiers " + strings.Trim(strings.ReplaceAll(fmt.Sprint(p.Tiers), " ", ","), "[]"))
	}
	if p.TierOf >= 0 {
		fmt.Fprintf(&s, " tier_of %d", p.TierOf)
	}
	if p.ReadTier >= 0 {
		fmt.Fprintf(&s, " read_tier %d", p.ReadTier)
	}
	if p.WriteTier >= 0 {
		fmt.Fprintf(&s, " write_tier %d", p.WriteTier)
	}
	if p.CacheMode > 0 && int(p.CacheMode) < len(cacheModes) {
		s.WriteString(" cache_mode " + cacheModes[p.CacheMode])
	}
	if p.TargetMaxBytes > 0 {
		fmt.Fprintf(&s, " target_bytes %d", p.TargetMaxBytes)
	}
	if p.TargetMaxObjects > 0 {
		fmt.Fprintf(&s, " target_objects %d", p.TargetMaxObjects)
	}
	if p.MinReadRecency > 0 {
		fmt.Fprintf(&s, " min_read_recency_for_promote %d", p.MinReadRecency)
	}
	if p.MinWriteRecency > 0 {
		fmt.Fprintf(&s, " min_write_recency_for_promote %d", p.MinWriteRecency)
	}
	return s.String()
}
