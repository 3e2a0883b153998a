package fakecluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/rados/osdmap"
)

// hasState reports whether a word is one of those of a state.
func hasState(state, word string) bool { return slices.Contains(strings.Split(state, "+"), word) }

// live counts the OSDs of an acting set.
func live(acting []int32) int {
	n := 0
	for _, o := range acting {
		if o != osdmap.NoOSD {
			n++
		}
	}
	return n
}

// state is what a group is in. Of one that has no OSD left is told what its last one
// has told: that it was alone, unless it always was.
func (p *poolView) state(seed int) string {
	n, size := live(p.acting[seed]), int(p.pool.Size)
	if n >= size && p.primary[seed] >= 0 {
		return "active+clean"
	}
	if n == 0 && size == 1 {
		return "stale+active+clean"
	}
	state := "undersized"
	if p.groups[seed].Stats().Objects > 0 {
		state += "+degraded"
	}
	switch {
	case n == 0:
		return "stale+" + state + "+peered"
	case p.primary[seed] < 0:
		return state + "+peered"
	}
	return "active+" + state
}

// first is a group's primary, also of one that has too few OSDs to serve.
func (p *poolView) first(seed int) int32 { return max(p.primary[seed], p.inactive[seed]) }

// missing is how many copies of each object a group lacks.
func (p *poolView) missing(seed int) uint64 {
	return uint64(int(p.pool.Size) - min(int(p.pool.Size), max(1, live(p.acting[seed]))))
}

// shortage is what the cluster's groups lack.
type shortage struct {
	groups, inactive int
	live             int // members of all acting sets
	// degraded are copies of objects that are missing, of so many as there should be; the
	// latter are counted only if some are.
	degraded, copies uint64
	states           map[string]int
	// lacking are the groups that are not clean, in order.
	lacking []lackingGroup
}

type lackingGroup struct {
	id     osdmap.PG
	state  string
	acting []int32
}

// shortage looks at the groups of some pools, or of all.
func (c *Cluster) shortage(pools ...int64) shortage {
	s := shortage{states: map[string]int{}}
	v := c.view.Load()
	if len(pools) == 0 {
		pools = poolsByID(c.osdmap)
	}
	for _, id := range pools {
		p := v.pools[id]
		for seed := range p.groups {
			state := p.state(seed)
			s.states[state]++
			s.groups++
			s.live += live(p.acting[seed])
			if !hasState(state, "active") {
				s.inactive++
			}
			if state != "active+clean" {
				s.degraded += p.groups[seed].Stats().Objects * p.missing(seed)
				s.lacking = append(s.lacking, lackingGroup{osdmap.PG{Pool: id, Seed: uint32(seed)}, state, p.acting[seed]})
			}
		}
	}
	if s.degraded > 0 { // else no object need be counted
		s.copies = c.copies(pools...)
	}
	return s
}

// copies returns how many copies of objects there should be in pools.
func (c *Cluster) copies(pools ...int64) uint64 {
	var n uint64
	for _, id := range pools {
		n += c.poolStat(id).Objects * uint64(c.osdmap.Pools[id].Size)
	}
	return n
}

// byCount returns the states, those that most groups are in first.
func (s shortage) byCount() []string {
	return slices.SortedFunc(maps.Keys(s.states), func(a, b string) int {
		return cmp.Or(s.states[b]-s.states[a], strings.Compare(a, b))
	})
}

// ratios are what summaries say of it, if anything.
func (s shortage) ratios() object {
	var o object
	if s.inactive > 0 {
		o = append(o, field{"inactive_pgs_ratio", float64(float32(s.inactive) / float32(s.groups))})
	}
	return append(o, s.degradedRatio()...)
}

func (s shortage) degradedRatio() object {
	if s.degraded == 0 {
		return nil
	}
	return object{{"degraded_objects", s.degraded}, {"degraded_total", s.copies}, {"degraded_ratio", float64(s.degraded) / float64(s.copies)}}
}

// degradedText says how many objects lack copies, "" if none does.
func (s shortage) degradedText() string {
	if s.degraded == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d objects degraded (%.3f%%)", s.degraded, s.copies, 100*float64(s.degraded)/float64(s.copies))
}

// lines are how the status tells of groups.
func (s shortage) lines() []string {
	var out []string
	if s.inactive > 0 {
		out = append(out, fmt.Sprintf("%.3f%% pgs not active", 100*float64(s.inactive)/float64(s.groups)))
	}
	if t := s.degradedText(); t != "" {
		out = append(out, t)
	}
	for _, name := range s.byCount() {
		out = append(out, fmt.Sprintf("%d %s", s.states[name], name))
	}
	return out
}
