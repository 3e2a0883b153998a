package fakecluster

import (
	"fmt"
	"time"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// scrubbed tells when a group was last compared. Each object has one copy, with its
// checksums: there is nothing that could differ, and nothing to repair.
type scrubbed struct {
	last, deep time.Time
}

// scrubsOf returns when a group was last scrubbed: when the cluster began, if never.
func (c *Cluster) scrubsOf(id osdmap.PG) (last, deep string) {
	s, ok := c.scrubs[id]
	if !ok {
		s = scrubbed{c.started, c.started}
	}
	return cephTime(s.last), cephTime(s.deep)
}

// scrub notes that a group was scrubbed. The mutex is held.
func (c *Cluster) scrub(id osdmap.PG, what string) {
	if c.scrubs == nil {
		c.scrubs = map[osdmap.PG]scrubbed{}
	}
	s, ok := c.scrubs[id]
	if !ok {
		s.deep = c.started
	}
	s.last = c.clock.Now()
	if what != "scrub" {
		s.deep = s.last
	}
	c.scrubs[id] = s
}

// pgInstruct lets a group's primary scrub it.
func (k *call) pgInstruct(what string) errno.Errno {
	s := k.args.str("pgid")
	pgid, parsed, ok := k.c.findPG(s)
	switch {
	case !parsed:
		return k.say(errno.ErrInvalid, "invalid pgid '%s'", s)
	case !ok:
		return k.say(errno.ErrNotFound, "pg %s does not exist", s)
	}
	primary := k.c.view.Load().pools[pgid.Pool].primary[pgid.Seed]
	if primary < 0 {
		return k.say(errno.ErrAgain, "pg %s primary osd.%d is not currently up", s, primary)
	}
	k.c.scrub(pgid, what)
	return k.say(0, "instructing pg %s on osd.%d to %s", s, primary, what)
}

// scrubOSD lets an OSD scrub the groups whose primary it is.
func (c *Cluster) scrubOSD(id int32, what string) {
	for pool, p := range c.view.Load().pools {
		for seed, primary := range p.primary {
			if primary == id {
				c.scrub(osdmap.PG{Pool: pool, Seed: uint32(seed)}, what)
			}
		}
	}
}

// poolInstruct is osd pool scrub, deep-scrub and repair.
func (k *call) poolInstruct(what string) errno.Errno {
	_, e := k.eachPool(func(id string) {
		if pgid, _, ok := k.c.findPG(id); ok && k.c.view.Load().pools[pgid.Pool].primary[pgid.Seed] >= 0 {
			k.c.scrub(pgid, what)
		}
	})
	return e
}

// stuckAfter is mon_pg_stuck_threshold: how long a group is in a state until it is
// called stuck.
const stuckAfter = time.Minute

// pgStuck lists the groups that have not been what they should be for long.
func (k *call) pgStuck() errno.Errno {
	c := k.c
	kinds := k.args.list("stuckops")
	if len(kinds) == 0 {
		kinds = []string{"unclean"}
	}
	after := time.Duration(k.args.number("threshold", stuckAfter.Seconds()) * float64(time.Second))
	v := c.view.Load()
	list, brief := []object{}, []object{}
	// States change with the map's OSDs only.
	if c.clock.Now().Sub(c.osdmap.LastUpChange.Std()) >= after {
		for _, id := range poolsByID(c.osdmap) {
			p := v.pools[id]
			for seed := range p.groups {
				if state := p.state(seed); stuckAs(state, kinds) {
					s := c.pgStat(v, id, seed)
					list, brief = append(list, s), append(brief, briefly(s))
				}
			}
		}
	}
	k.status = "ok"
	if !k.plain() {
		return k.json(object{{"pg_ready", true}, {"stuck_pg_stats", list}})
	}
	if len(brief) > 0 {
		k.out = pgTable(brief).text(2)
	}
	return 0
}

// stuckAs reports whether a state is one of the kinds of pg dump_stuck.
func stuckAs(state string, kinds []string) bool {
	for _, kind := range kinds {
		has := func(word string) bool { return hasState(state, word) }
		switch {
		case kind == "inactive" && !has("active"), kind == "unclean" && !has("clean"),
			kind != "inactive" && kind != "unclean" && has(kind):
			return true
		}
	}
	return false
}

// pgDebug answers whether there is a group with unfound or degraded objects.
func (k *call) pgDebug() errno.Errno {
	word := map[string]string{"degraded_pgs_exist": "degraded"}[k.args.str("debugop")]
	for state := range k.c.shortage().states {
		if word != "" && hasState(state, word) {
			return k.print("TRUE\n")
		}
	}
	return k.print("FALSE\n")
}

// repeer lets a group go through peering again: for an epoch it is on other OSDs.
func (k *call) repeer() errno.Errno {
	s := k.args.str("pgid")
	pgid, _, ok := k.c.findPG(s)
	if !ok {
		word := "pg"
		if k.c.opt.release >= 18 {
			word = "pgid"
		}
		return k.say(errno.ErrNotFound, "%s '%s' does not exist", word, s)
	}
	m := k.c.osdmap
	_, _, acting, primary := m.PGToUpActing(pgid)
	if primary < 0 {
		return k.say(errno.ErrAgain, "pg currently has no primary")
	}
	temp := []int32{primary}
	if len(acting) == 1 {
		other := int32(-1)
		for id := range m.State {
			if m.IsUp(int32(id)) && int32(id) != primary {
				other = int32(id)
				break
			}
		}
		if other < 0 {
			return k.say(errno.ErrAgain, "not enough up OSDs in the cluster to force repeer")
		}
		temp = []int32{primary, other}
	}
	k.c.change(func(inc *osdmap.Incremental) { inc.NewPGTemp = map[osdmap.PG][]int32{pgid: temp} })
	k.c.change(func(inc *osdmap.Incremental) { inc.NewPGTemp = map[osdmap.PG][]int32{pgid: {}} })
	return 0
}

// forceAll says of groups why they are not recovered before others, and which there
// are not.
func (k *call) forceAll(what string) errno.Errno {
	var said, missing string
	for _, s := range k.args.list("pgid") {
		if _, _, ok := k.c.findPG(s); ok {
			said += unforced(what, s)
		} else {
			missing += fmt.Sprintf("pg %s does not exist; ", s)
		}
	}
	e := errno.Errno(0)
	if missing != "" {
		e = errno.ErrNotFound
	}
	return k.say(e, "%s%s\n", said, missing)
}
