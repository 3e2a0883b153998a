package fakecluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// pgCommands are those about placement groups that the manager answers.
func pgCommands() []command {
	t := []command{
		{words: "pg ls", run: (*call).pgList},
		{words: "pg ls-by-pool", run: (*call).pgList},
		{words: "pg ls-by-osd", run: (*call).pgList},
		{words: "pg ls-by-primary", run: (*call).pgList},
		{words: "pg map", run: (*call).pgMap},
		{words: "pg dump_stuck", run: (*call).pgStuck},
		{words: "pg dump_pools_json", run: func(k *call) errno.Errno {
			k.status, k.format = "dumped pools", "json"
			return k.json(object{{"pg_ready", true}, {"pool_stats", k.c.poolStatObjects()}})
		}},
		{words: "pg debug", run: (*call).pgDebug},
	}
	for _, what := range []string{"scrub", "deep-scrub", "repair"} {
		t = append(t, command{words: "pg " + what, run: func(k *call) errno.Errno { return k.pgInstruct(what) }})
	}
	return t
}

// findPG returns a placement group that there is.
func (c *Cluster) findPG(s string) (pgid osdmap.PG, parsed, exists bool) {
	pgid, ok := parsePG(s)
	if !ok {
		return pgid, false, false
	}
	p := c.view.Load().pools[pgid.Pool]
	return pgid, true, p != nil && int(pgid.Seed) < len(p.groups)
}

func (k *call) pgMap() errno.Errno {
	s := k.args.str("pgid")
	pgid, parsed, ok := k.c.findPG(s)
	switch {
	case !parsed:
		return k.say(errno.ErrInvalid, "invalid pgid '%s'", s)
	case !ok:
		if k.c.opt.release < 18 {
			return k.say(errno.ErrNotFound, "pg '%s' does not exist", s)
		}
		return k.say(errno.ErrNotFound, "pgid '%s' does not exist", s)
	}
	up, _, acting, _ := k.c.osdmap.PGToUpActing(pgid)
	if !k.plain() {
		return k.json(object{{"epoch", k.c.osdmap.Epoch}, {"raw_pgid", s}, {"pgid", s}, {"up", up}, {"acting", acting}})
	}
	return k.print("osdmap e%d pg %s (%s) -> up %s acting %s\n", k.c.osdmap.Epoch, s, s, setText(up), setText(acting))
}

// pgFilter reads which groups a listing is about.
func (k *call) pgFilter() (keep func(pool int64, acting []int32, primary int32, state string) bool, e errno.Errno) {
	pool, osd, primary := int64(-1), int32(-1), int32(-1)
	prefix := k.args.str("prefix")
	if s := k.args.str("pool"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, k.say(errno.ErrInvalid, "pool '%s' is not a number", s)
		}
		if k.c.osdmap.Pools[n] == nil {
			return nil, k.say(errno.ErrNotFound, "pool %d does not exist", n)
		}
		pool = n
	}
	if s := k.args.str("poolstr"); s != "" {
		id, ok := k.c.osdmap.PoolByName(s)
		if !ok {
			return nil, k.say(errno.ErrNotFound, "pool %s does not exist", s)
		}
		pool = id
	}
	if prefix == "pg ls-by-osd" || prefix == "pg ls-by-primary" {
		id, e := k.osdNumber(k.args.str("osd") + k.args.str("id"))
		if e != 0 {
			return nil, e
		}
		if !k.c.osdmap.IsUp(id) {
			return nil, k.say(errno.ErrAgain, "osd %d is not up", id)
		}
		if osd = id; prefix == "pg ls-by-primary" {
			osd, primary = -1, id
		}
	}
	states := k.args.list("states")
	for _, s := range states {
		if s != "all" && !slices.Contains(pgStateNames, s) {
			return nil, k.say(errno.ErrInvalid, "'%s' is not a valid pg state, available choices: %s", s, strings.Join(pgStateNames, "+"))
		}
	}
	return func(p int64, acting []int32, first int32, state string) bool {
		is := strings.Split(state, "+")
		return (pool < 0 || p == pool) && (osd < 0 || slices.Contains(acting, osd)) && (primary < 0 || first == primary) &&
			(len(states) == 0 || slices.ContainsFunc(states, func(s string) bool { return s == "all" || slices.Contains(is, s) }))
	}, 0
}

// pgStateNames are the states of groups that there are. read-only.
var pgStateNames = []string{
	"stale", "creating", "active", "activating", "clean", "recovery_wait", "recovery_toofull", "recovering", "forced_recovery", "down",
	"recovery_unfound", "backfill_unfound", "undersized", "degraded", "remapped", "premerge", "scrubbing", "deep", "inconsistent", "peering", "repair",
	"backfill_wait", "backfilling", "forced_backfill", "backfill_toofull", "incomplete", "peered", "snaptrim", "snaptrim_wait", "snaptrim_error",
}

// omapNote stands below Ceph's tables of placement groups.
const omapNote = "\n* NOTE: Omap statistics are gathered during deep scrub and may be inaccurate soon afterwards depending on utilization. See http://docs.ceph.com/en/latest/dev/placement-group/#omap-statistics for further details.\n"

func (k *call) pgList() errno.Errno {
	keep, e := k.pgFilter()
	if e != 0 {
		return e
	}
	c := k.c
	head := []string{"PG", "OBJECTS", "DEGRADED", "MISPLACED", "UNFOUND", "BYTES", "OMAP_BYTES*", "OMAP_KEYS*", "LOG"}
	if c.opt.release >= 18 {
		head = append(head, "LOG_DUPS")
	}
	head = append(head, "STATE", "SINCE", "VERSION", "REPORTED", "UP", "ACTING", "SCRUB_STAMP", "DEEP_SCRUB_STAMP")
	if c.opt.release >= 18 {
		head = append(head, "LAST_SCRUB_DURATION", "SCRUB_SCHEDULING")
	}
	t := table{head: head, right: slices.Repeat([]bool{true}, len(head)), left: true}
	t.right[0] = false
	list := []object{}
	v := c.view.Load()
	for _, id := range poolsByID(c.osdmap) {
		p := v.pools[id]
		for seed, g := range p.groups {
			state := p.state(seed)
			if !keep(id, p.acting[seed], p.first(seed), state) {
				continue
			}
			pgid, s := fmt.Sprintf("%d.%x", id, seed), g.Stats()
			set := setText(p.acting[seed]) + "p" + fmt.Sprint(p.first(seed))
			version := groupVersion(v.epoch, g.Version())
			row := []string{pgid, fmt.Sprint(s.Objects), fmt.Sprint(s.Objects * p.missing(seed)), "0", "0", fmt.Sprint(s.Bytes), "0", "0", "0"}
			if c.opt.release >= 18 {
				row = append(row, "0")
			}
			last, deep := c.scrubsOf(osdmap.PG{Pool: id, Seed: uint32(seed)})
			row = append(row, state, c.age(c.started), version, fmt.Sprintf("%d:%d", v.epoch, g.Version()), set, set, last, deep)
			if c.opt.release >= 18 {
				row = append(row, "0", "periodic scrub scheduled @ "+last)
			}
			t.rows = append(t.rows, row)
			list = append(list, c.pgStat(v, id, seed))
		}
	}
	if !k.plain() {
		return k.json(object{{"pg_ready", true}, {"pg_stats", list}})
	}
	k.out = append(t.text(2), omapNote...)
	return 0
}
