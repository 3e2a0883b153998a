package fakecluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// maintenanceCommands are those by which operators check, repair and take out what
// a cluster consists of. Its OSDs are there for good.
func maintenanceCommands() []command {
	t := []command{
		{words: "health mute", run: (*call).healthMute},
		{words: "health unmute", run: (*call).healthUnmute},
		{words: "osd setmaxosd", run: (*call).setMaxOSD},
		{words: "osd rm", run: func(k *call) errno.Errno { return k.eachOSD(k.removeOSD) }},
		{words: "osd stop", run: func(k *call) errno.Errno { return k.eachOSD(k.stopOSD) }},
		{words: "osd destroy", run: (*call).destroyOSD},
		{words: "osd purge", run: (*call).destroyOSD},
		{words: "osd lost", run: (*call).lostOSD},
		{words: "osd reweightn", run: (*call).reweightMany},
		{words: "osd require-osd-release", run: (*call).requireRelease},
		{words: "osd tree-from", run: (*call).treeFrom},
		{words: "osd status", run: (*call).osdStatus},
		{words: "pg dump_json", run: func(k *call) errno.Errno {
			k.format = "json"
			return k.pgDump()
		}},
		{words: "pg repeer", run: (*call).repeer},
		{words: "osd pool set noautoscale", run: func(k *call) errno.Errno { return k.noAutoscale("off") }},
		{words: "osd pool unset noautoscale", run: func(k *call) errno.Errno { return k.noAutoscale("on") }},
		{words: "osd pool get noautoscale", run: (*call).getNoAutoscale},
		{words: "osd pool set threshold", run: func(k *call) errno.Errno {
			k.moduleOption("mgr/pg_autoscaler/threshold", fmt.Sprintf("%f", k.args.number("num", 0)))
			return k.print("threshold updated\n")
		}},
	}
	for _, what := range []string{"scrub", "deep-scrub", "repair"} {
		t = append(t, command{words: "osd " + what, run: func(k *call) errno.Errno { return k.osdInstruct(what) }},
			command{words: "osd pool " + what, run: func(k *call) errno.Errno { return k.poolInstruct(what) }})
	}
	for _, what := range []string{"force-recovery", "force-backfill", "cancel-force-recovery", "cancel-force-backfill"} {
		t = append(t, command{words: "pg " + what, run: func(k *call) errno.Errno { return k.forceAll(what) }},
			command{words: "osd pool " + what, run: func(k *call) errno.Errno { return k.forcePools(what) }})
	}
	return t
}

func (k *call) setMaxOSD() errno.Errno {
	n := int32(k.args.number("newmax", 0))
	for id := int32(len(k.c.osdmap.State)) - 1; id >= n; id-- {
		if k.c.osdmap.Exists(id) {
			return k.say(errno.ErrBusy, "cannot shrink max_osd to %d because osd.%d (and possibly others) still in use", n, id)
		}
	}
	k.c.change(func(inc *osdmap.Incremental) { inc.NewMaxOSD = n })
	return k.say(0, "set new max_osd = %d", n)
}

func (k *call) removeOSD(id int32) (string, errno.Errno) {
	if k.c.osdmap.IsUp(id) {
		return fmt.Sprintf("osd.%d is still up; must be down before removal. ", id), errno.ErrBusy
	}
	return "this fake cluster cannot do 'osd rm'", errno.ErrNotSupported
}

func (k *call) stopOSD(id int32) (string, errno.Errno) {
	if !k.c.osdmap.IsUp(id) {
		return fmt.Sprintf("osd.%d is already down. ", id), 0
	}
	c := k.c
	c.wg.Go(func() { c.StopOSD(int(id)) })
	return fmt.Sprintf("stop down osd.%d. ", id), 0
}

// destroyOSD is osd destroy and osd purge, which both refuse what is still of use.
func (k *call) destroyOSD() errno.Errno {
	id, ok := k.osdID(k.args.str("id"))
	if !ok {
		return k.say(0, "osd.%s does not exist", k.args.str("id"))
	}
	if n := k.c.groupsByOSD()[id]; n > 0 && !k.args.flag("force") && !k.args.flag("yes_i_really_mean_it") {
		return k.say(errno.ErrBusy, "OSD(s) %d have %d pgs currently mapped to them. \nYou can proceed by passing --force, but be warned that this will likely mean real, permanent data loss.", id, n)
	}
	if k.c.osdmap.IsUp(id) {
		return k.say(errno.ErrBusy, "osd.%d is not `down`.", id)
	}
	return k.say(errno.ErrNotSupported, "this fake cluster cannot do '%s'", k.args.str("prefix"))
}

func (k *call) lostOSD() errno.Errno {
	if !k.args.flag("yes_i_really_mean_it") {
		return k.say(errno.ErrPermission, "are you SURE?  this might mean real, permanent data loss.  pass --yes-i-really-mean-it if you really do.")
	}
	id, ok := k.osdID(k.args.str("id"))
	switch {
	case !ok:
		return k.say(errno.ErrNotFound, "osd.%s does not exist", k.args.str("id"))
	case k.c.osdmap.IsUp(id):
		return k.say(errno.ErrBusy, "osd.%d is not down", id)
	}
	at := k.c.osdmap.OSDOnly.OSDs[id].Info.DownAt
	k.c.change(func(inc *osdmap.Incremental) { inc.OSDOnly.Lost = map[int32]uint32{id: at} })
	return k.say(0, "marked osd lost in epoch %d", at)
}

// reweightMany takes weights as the map has them, in 65536ths, by OSD: {"0": "32768"}.
func (k *call) reweightMany() errno.Errno {
	text := k.args.str("weights")
	weights, e := k.readWeights(text)
	if e != 0 {
		return k.say(e, "unable to parse 'weights' value '%s'", text)
	}
	if len(weights) > 0 {
		k.c.change(func(inc *osdmap.Incremental) { inc.NewWeight = weights })
	}
	return 0
}

func (k *call) readWeights(text string) (map[int32]uint32, errno.Errno) {
	var given map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "'", "\"")), &given); err != nil || given == nil {
		return nil, errno.ErrInvalid
	}
	weights := map[int32]uint32{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		id, ok := leadingNumber(name)
		if !ok {
			return nil, errno.ErrInvalid
		}
		if !k.c.osdmap.Exists(int32(id)) {
			return nil, errno.ErrNotFound
		}
		s, isText := given[name].(string)
		w, ok := leadingNumber(s)
		if !isText || !ok {
			return nil, errno.ErrInvalid
		}
		weights[int32(id)] = uint32(w)
	}
	return weights, 0
}

// leadingNumber reads the number that a text begins with, as C++ does, whatever follows.
func leadingNumber(s string) (int64, bool) {
	s = strings.TrimLeft(s, " ")
	end := len(s) - len(strings.TrimLeft(strings.TrimLeft(s, "-+"), "0123456789"))
	n, err := strconv.ParseInt(s[:end], 10, 64)
	return n, err == nil
}

func (k *call) requireRelease() errno.Errno {
	name := k.args.str("release")
	switch want, own := releaseNumber(name), k.c.release().number; {
	case want == own:
		return 0
	case want == 0:
		return k.say(errno.ErrInvalid, "unrecognized release '%s'", name)
	}
	switch k.c.opt.release {
	case 18:
		return k.say(errno.ErrPermission, "require_osd_release cannot be lowered once it has been set")
	case 20:
		return k.say(errno.ErrPermission, "not supported for this release")
	}
	return k.say(errno.ErrPermission, "not supported for this release yet")
}

// releaseNumber returns the number of a release, or 0.
func releaseNumber(name string) uint8 {
	for number, n := range releaseNames {
		if n == name {
			return number
		}
	}
	return 0
}

func (k *call) treeFrom() errno.Errno {
	if name := k.args.str("bucket"); name != "default" {
		if _, _, ok := k.c.below(name); !ok {
			return k.say(errno.ErrNotFound, "bucket '%s' does not exist", name)
		}
		return k.say(errno.ErrNotSupported, "this fake cluster cannot do 'osd tree-from' of a part")
	}
	return k.osdTree()
}

// osdStatus is the manager's table of OSDs.
func (k *call) osdStatus() errno.Errno {
	if bucket := k.args.str("bucket"); bucket != "" {
		if _, _, ok := k.c.below(bucket); !ok {
			return k.print("Bucket '%s' not found\n", bucket)
		}
	}
	c := k.c
	_, raw := c.total()
	used := raw / uint64(max(1, len(c.osds)))
	t := table{
		head:  []string{"ID", "HOST", "USED", "AVAIL", "WR OPS", "WR DATA", "RD OPS", "RD DATA", "STATE"},
		right: []bool{true, false, true, true, true, true, true, true, false},
	}
	list := []object{}
	for i := range c.osds {
		host, states := fmt.Sprintf("host%d", i), osdStates(c.osdmap, int32(i))
		t.rows = append(t.rows, []string{
			fmt.Sprint(i), host, fmt.Sprintf("%dk", used>>10), fmt.Sprintf("%dM", (osdBytes-min(osdBytes, used))>>20), "0", "0", "0", "0",
			strings.Join(states, ","),
		})
		list = append(list, object{
			{"host name", host}, {"id", i}, {"kb available", osdBytes - min(osdBytes, used)}, {"kb used", used}, {"read byte rate", 0}, {"read ops rate", 0},
			{"state", states}, {"write byte rate", 0}, {"write ops rate", 0},
		})
	}
	if k.args.str("format") == "json" && c.opt.release >= 18 {
		k.out = python(object{{"OSDs", list}})
		return 0
	}
	k.out = t.text(2)
	return 0
}

func (k *call) osdInstruct(what string) errno.Errno {
	who := k.args.str("who")
	var ids []string
	for i := range k.c.osds {
		if who == "all" || who == "any" || who == "*" {
			ids = append(ids, fmt.Sprint(i))
		}
	}
	if len(ids) == 0 {
		id, err := strconv.ParseInt(strings.TrimPrefix(who, "osd."), 10, 32)
		if err != nil {
			return k.say(errno.ErrInvalid, "Expected option value to be integer, got '%s'invalid osd '%s'", who, who)
		}
		if !k.c.osdmap.IsUp(int32(id)) {
			return k.say(errno.ErrAgain, "osd.%d is not up", id)
		}
		ids = []string{fmt.Sprint(id)}
	}
	for _, id := range ids {
		n, _ := strconv.ParseInt(id, 10, 32)
		k.c.scrubOSD(int32(n), what)
	}
	return k.say(0, "instructed osd(s) %s to %s", strings.Join(ids, ","), what)
}

// eachPool does something with the groups of the pools that a command names.
func (k *call) eachPool(do func(pgid string)) (int, errno.Errno) {
	n := 0
	for _, name := range k.args.list("who") {
		id, ok := k.c.osdmap.PoolByName(name)
		if !ok {
			return n, k.say(errno.ErrNotFound, "unrecognized pool '%s'", name)
		}
		for seed := range k.c.groups[id] {
			if n++; do != nil {
				do(fmt.Sprintf("%d.%x", id, seed))
			}
		}
	}
	return n, 0
}

// unforced is why a group is not recovered before others: it does not have to be.
func unforced(what, pgid string) string {
	job := what[strings.LastIndexByte(what, '-')+1:]
	if strings.HasPrefix(what, "cancel") {
		return fmt.Sprintf("pg %s %s not forced; ", pgid, job)
	}
	if job == "backfill" {
		job = "backfilling"
	}
	return fmt.Sprintf("pg %s doesn't require %s; ", pgid, job)
}

func (k *call) forcePools(what string) errno.Errno {
	var said strings.Builder
	if _, e := k.eachPool(func(pgid string) { said.WriteString(unforced(what, pgid)) }); e != 0 {
		return e
	}
	return k.say(0, "%s\n", said.String())
}

// autoscaleDefault is the option by which noautoscale switches new pools.
const autoscaleDefault = "osd_pool_default_pg_autoscale_mode"

func (k *call) noAutoscale(mode string) errno.Errno {
	if k.c.opt.release >= 18 {
		k.c.changeConfig("global", autoscaleDefault, &mode)
		k.setFlag("noautoscale", mode == "off")
		if mode == "off" {
			return k.say(0, "noautoscale is set, all pools now have autoscale off")
		}
		return k.say(0, "noautoscale is unset, all pools now back to its previous mode")
	}
	m := map[string]uint8{"off": 0, "on": 2}[mode]
	for _, id := range poolsByID(k.c.osdmap) {
		if k.c.osdmap.Pools[id].AutoscaleMode != m {
			k.c.updatePool(id, func(p *osdmap.Pool) { p.AutoscaleMode = m })
		}
	}
	k.c.changeConfig("global", autoscaleDefault, &mode)
	k.moduleOption("mgr/pg_autoscaler/noautoscale", strconv.FormatBool(mode == "off"))
	if mode == "off" {
		return k.say(0, "noautoscale is set, all pools now have autoscale off")
	}
	return k.say(0, "noautoscale is unset, all pools now have autoscale on")
}

func (k *call) getNoAutoscale() errno.Errno {
	if k.c.opt.release >= 18 {
		if k.c.osdmap.HasFlag(osdmap.FlagNoAutoscale) {
			return k.say(0, "noautoscale is on")
		}
		return k.say(0, "noautoscale is off")
	}
	for _, p := range k.c.osdmap.Pools {
		if p.AutoscaleMode != 0 {
			return k.say(0, "noautoscale is off")
		}
	}
	return k.say(0, "noautoscale is on")
}
