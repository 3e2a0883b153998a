package fakecluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/rados/crush"
	"github.com/rbdm/rbdm/rados/errno"
	"github.com/rbdm/rbdm/rados/osdmap"
)

// deviceClass is what disks of the cluster are called.
const deviceClass = "ssd"

func crushCommands() []command {
	return []command{
		{words: "osd crush rule ls", run: (*call).ruleList},
		{words: "osd crush rule list", run: (*call).ruleList},
		{words: "osd crush rule dump", run: (*call).ruleDump},
		{words: "osd crush rule rm", run: (*call).ruleRemove},
		{words: "osd crush rule create-replicated", run: (*call).ruleCreate},
		{words: "osd crush rule create-simple", run: (*call).ruleCreate},
		{words: "osd crush rule create-erasure", run: (*call).ruleCreateErasure},
		{words: "osd crush dump", run: func(k *call) errno.Errno { return k.json(k.c.crushDump()) }},
		{words: "osd crush show-tunables", run: func(k *call) errno.Errno { return k.json(k.c.tunables()) }},
		{words: "osd crush get-tunable", run: func(k *call) errno.Errno {
			v := k.c.osdmap.Crush.Tunables.StrawCalcVersion
			if !k.plain() {
				return k.json(object{{"straw_calc_version", v}})
			}
			return k.print("%d\n", v)
		}},
		{words: "osd crush class ls", run: func(k *call) errno.Errno { return k.json([]string{deviceClass}) }},
		{words: "osd crush class ls-osd", run: (*call).classOSDs},
		{words: "osd crush get-device-class", run: (*call).getClass},
		{words: "osd crush ls", run: (*call).crushList},
		{words: "osd crush tree", run: (*call).crushTree},
		{words: "osd ls-tree", run: (*call).listTree},
	}
}

func (k *call) ruleList() errno.Errno {
	names := []string{}
	for i := range k.c.osdmap.Crush.Rules {
		if k.c.osdmap.Crush.Rules[i] != nil {
			names = append(names, k.c.osdmap.Crush.RuleNames[int32(i)])
		}
	}
	if !k.plain() {
		return k.json(names)
	}
	return k.print("%s\n", strings.Join(names, "\n"))
}

// findRule returns the number of a rule, or -1.
func (c *Cluster) findRule(name string) int {
	for i, r := range c.osdmap.Crush.Rules {
		if r != nil && c.osdmap.Crush.RuleNames[int32(i)] == name {
			return i
		}
	}
	return -1
}

// stepNames are the operations of rules. read-only.
var stepNames = map[uint32]string{
	crush.OpTake: "take", crush.OpEmit: "emit", crush.OpChooseFirstN: "choose_firstn", crush.OpChooseIndep: "choose_indep",
	crush.OpChooseLeafFirstN: "chooseleaf_firstn", crush.OpChooseLeafIndep: "chooseleaf_indep",
	crush.OpSetChooseTries: "set_choose_tries", crush.OpSetChooseLeafTries: "set_chooseleaf_tries",
}

func (c *Cluster) ruleObject(i int) object {
	m := c.osdmap.Crush
	r := m.Rules[i]
	steps := []object{}
	for _, s := range r.Steps {
		o := object{{"op", stepNames[s.Op]}}
		switch s.Op {
		case crush.OpTake:
			o = append(o, field{"item", s.Arg1}, field{"item_name", m.ItemNames[s.Arg1]})
		case crush.OpEmit:
		case crush.OpSetChooseTries, crush.OpSetChooseLeafTries:
			o = append(o, field{"num", s.Arg1})
		default:
			o = append(o, field{"num", s.Arg1}, field{"type", m.TypeNames[s.Arg2]})
		}
		steps = append(steps, o)
	}
	o := object{{"rule_id", i}, {"rule_name", m.RuleNames[int32(i)]}}
	if c.opt.release < 18 {
		return append(o, field{"ruleset", r.Ruleset}, field{"type", r.Type}, field{"min_size", r.MinSize}, field{"max_size", r.MaxSize}, field{"steps", steps})
	}
	return append(o, field{"type", r.Type}, field{"steps", steps})
}

func (c *Cluster) ruleObjects() []object {
	list := []object{}
	for i, r := range c.osdmap.Crush.Rules {
		if r != nil {
			list = append(list, c.ruleObject(i))
		}
	}
	return list
}

func (k *call) ruleDump() errno.Errno {
	name := k.args.str("name")
	if name == "" {
		return k.json(k.c.ruleObjects())
	}
	i := k.c.findRule(name)
	if i < 0 {
		return k.say(errno.ErrNotFound, "unknown crush rule '%s'", name)
	}
	return k.json(k.c.ruleObject(i))
}

// editCrush publishes a changed CRUSH map.
func (c *Cluster) editCrush(edit func(m *crush.Map)) {
	m := *c.osdmap.Crush
	m.Rules = slices.Clone(m.Rules)
	names := make(map[int32]string, len(m.RuleNames)+1)
	for i, n := range m.RuleNames {
		names[i] = n
	}
	m.RuleNames = names
	edit(&m)
	c.change(func(inc *osdmap.Incremental) { inc.Crush = m.Append(nil) })
}

// addRule makes a rule and returns its number.
func (c *Cluster) addRule(name string, make func(number int) *crush.Rule) int {
	at := 0
	c.editCrush(func(m *crush.Map) {
		if at = slices.Index(m.Rules, nil); at < 0 {
			at = len(m.Rules)
			m.Rules = append(m.Rules, nil)
		}
		m.Rules[at] = make(at)
		m.RuleNames[int32(at)] = name
	})
	return at
}

// itemNamed and typeNamed find a bucket or device, and a level of the hierarchy.
func itemNamed(m *crush.Map, name string) (id int32, ok bool) { return keyOf(m.ItemNames, name) }

func typeNamed(m *crush.Map, name string) (level int32, ok bool) { return keyOf(m.TypeNames, name) }

func keyOf(names map[int32]string, name string) (int32, bool) {
	for id, n := range names {
		if n == name {
			return id, true
		}
	}
	return 0, false
}

// erasureRule returns the number of the rule of a new pool of a profile, which it
// makes if need be.
func (c *Cluster) erasureRule(pool, profile string) int {
	name := pool
	if profile == "default" {
		name = "erasure-code"
	}
	if i := c.findRule(name); i >= 0 {
		return i
	}
	root, level, _ := c.profilePlace(c.osdmap.ErasureCodes[profile])
	return c.addRule(name, func(number int) *crush.Rule { return crush.ErasureRule(number, root, level) })
}

// profilePlace returns where the chunks of a profile go, or what is wrong with that.
func (c *Cluster) profilePlace(p map[string]string) (root, level int32, problem string) {
	root, level = -1, crush.TypeHost
	if name := p["crush-root"]; name != "" {
		id, ok := itemNamed(c.osdmap.Crush, name)
		if !ok {
			return 0, 0, fmt.Sprintf("root item %s does not exist", name)
		}
		root = id
	}
	if name := p["crush-failure-domain"]; name != "" {
		id, ok := typeNamed(c.osdmap.Crush, name)
		if !ok {
			return 0, 0, fmt.Sprintf("unknown type %s", name)
		}
		level = id
	}
	return root, level, ""
}

func (k *call) ruleCreate() errno.Errno {
	name, root, kind := k.args.str("name"), k.args.str("root"), k.args.str("type")
	m := k.c.osdmap.Crush
	if k.c.findRule(name) >= 0 {
		return k.say(0, "rule %s already exists", name)
	}
	id, ok := itemNamed(m, root)
	if !ok {
		return k.say(errno.ErrNotFound, "root item %s does not exist", root)
	}
	level, ok := typeNamed(m, kind)
	if !ok {
		return k.say(errno.ErrInvalid, "unknown type %s", kind)
	}
	if class := k.args.str("class"); class != "" && class != deviceClass {
		return k.say(errno.ErrInvalid, "device class %s does not exist", class)
	}
	op := crush.OpChooseLeafFirstN
	if level == 0 {
		op = crush.OpChooseFirstN
	}
	k.c.addRule(name, func(number int) *crush.Rule {
		return &crush.Rule{Ruleset: uint8(number), Type: crush.RuleReplicated, MinSize: 1, MaxSize: 10, Steps: []crush.Step{
			{Op: crush.OpTake, Arg1: id}, {Op: op, Arg2: level}, {Op: crush.OpEmit},
		}}
	})
	return 0
}

// ruleCreateErasure is osd crush rule create-erasure.
func (k *call) ruleCreateErasure() errno.Errno {
	name, profile := k.args.str("name"), k.args.str("profile")
	if profile == "" {
		profile = "default"
	}
	p, ok := k.c.osdmap.ErasureCodes[profile]
	if !ok {
		return k.say(errno.ErrInvalid, "cannot determine the erasure code plugin because there is no 'plugin' entry in the erasure_code_profile {}")
	}
	if k.c.findRule(name) >= 0 {
		return k.say(0, "rule %s already exists", name)
	}
	root, level, problem := k.c.profilePlace(p)
	if problem != "" {
		return k.say(errno.ErrInvalid, "%s", problem)
	}
	n := k.c.addRule(name, func(number int) *crush.Rule {
		r := crush.ErasureRule(number, root, level)
		data, coding := profileSizes(p)
		r.MaxSize = uint8(data + coding)
		return r
	})
	return k.say(0, "created rule %s at %d", name, n)
}

func (k *call) ruleRemove() errno.Errno {
	name := k.args.str("name")
	i := k.c.findRule(name)
	if i < 0 {
		return k.say(0, "rule %s does not exist", name)
	}
	for _, p := range k.c.osdmap.Pools {
		if int(p.CrushRule) == i {
			if k.c.opt.release < 18 {
				return k.say(errno.ErrBusy, "crush ruleset %s %d is in use", name, i)
			}
			return k.say(errno.ErrBusy, "crush rule %s (%d) is in use", name, i)
		}
	}
	k.c.editCrush(func(m *crush.Map) {
		m.Rules[i] = nil
		delete(m.RuleNames, int32(i))
	})
	return 0
}

func (c *Cluster) tunables() object {
	t := c.osdmap.Crush.Tunables
	o := object{
		{"choose_local_tries", t.ChooseLocalTries}, {"choose_local_fallback_tries", t.ChooseLocalFallbackTries}, {"choose_total_tries", t.ChooseTotalTries},
		{"chooseleaf_descend_once", t.ChooseLeafDescendOnce}, {"chooseleaf_vary_r", t.ChooseLeafVaryR}, {"chooseleaf_stable", t.ChooseLeafStable},
	}
	if c.opt.release >= 20 {
		o = append(o, field{"msr_descents", t.MSRDescents}, field{"msr_collision_tries", t.MSRCollisionTries})
	}
	o = append(o, field{"straw_calc_version", t.StrawCalcVersion}, field{"allowed_bucket_algs", t.AllowedBucketAlgs})
	for _, f := range []field{
		{"profile", "jewel"}, {"optimal_tunables", 1}, {"legacy_tunables", 0}, {"minimum_required_version", "jewel"}, {"require_feature_tunables", 1},
		{"require_feature_tunables2", 1}, {"has_v2_rules", 0}, {"require_feature_tunables3", 1}, {"has_v3_rules", 0}, {"has_v4_buckets", 1},
		{"require_feature_tunables5", 1}, {"has_v5_rules", 0},
	} {
		o = append(o, f)
	}
	if c.opt.release >= 20 {
		o = append(o, field{"has_msr_rules", 0})
	}
	return o
}

func (c *Cluster) crushDump() object {
	m := c.osdmap.Crush
	devices, types, buckets := []object{}, []object{}, []object{}
	for i := range c.osds {
		devices = append(devices, object{{"id", i}, {"name", fmt.Sprintf("osd.%d", i)}, {"class", deviceClass}})
	}
	for i := range int32(len(m.TypeNames)) {
		types = append(types, object{{"type_id", i}, {"name", m.TypeNames[i]}})
	}
	for _, b := range m.Buckets {
		if b == nil {
			continue
		}
		items := []object{}
		for i, id := range b.Items {
			items = append(items, object{{"id", id}, {"weight", b.Weights[i]}, {"pos", i}})
		}
		buckets = append(buckets, object{
			{"id", b.ID}, {"name", m.ItemNames[b.ID]}, {"type_id", b.Type}, {"type_name", m.TypeNames[int32(b.Type)]}, {"weight", b.Weight},
			{"alg", "straw2"}, {"hash", "rjenkins1"}, {"items", items},
		})
	}
	return object{
		{"devices", devices}, {"types", types}, {"buckets", buckets}, {"rules", c.ruleObjects()}, {"tunables", c.tunables()}, {"choose_args", object{}},
	}
}

func (k *call) classOSDs() errno.Errno {
	if k.args.str("class") == deviceClass {
		return k.osdList()
	}
	return 0
}

func (k *call) getClass() errno.Errno {
	list := []object{}
	for _, s := range k.args.list("ids") {
		id, ok := k.osdID(s)
		if !ok {
			return k.say(errno.ErrInvalid, "unable to parse osd id or osd does not exist: \"%s\"", s)
		}
		if k.plain() {
			k.print("%s\n", deviceClass)
		}
		list = append(list, object{{"osd", id}, {"device_class", deviceClass}})
	}
	if k.plain() {
		return 0
	}
	return k.json(list)
}

// below returns the names of what is in a bucket, and all OSDs below it.
func (c *Cluster) below(name string) (items []string, osds []int32, ok bool) {
	m := c.osdmap.Crush
	for _, b := range m.Buckets {
		if b == nil || m.ItemNames[b.ID] != name {
			continue
		}
		for _, id := range b.Items {
			items = append(items, m.ItemNames[id])
			if id >= 0 {
				osds = append(osds, id)
			} else if _, more, ok := c.below(m.ItemNames[id]); ok {
				osds = append(osds, more...)
			}
		}
		return items, osds, true
	}
	return nil, nil, false
}

func (k *call) crushList() errno.Errno {
	items, _, ok := k.c.below(k.args.str("node"))
	if !ok {
		return k.say(errno.ErrNotFound, "node '%s' does not exist", k.args.str("node"))
	}
	if !k.plain() {
		return k.json(items)
	}
	return k.print("%s\n", strings.Join(items, "\n"))
}

func (k *call) listTree() errno.Errno {
	_, osds, ok := k.c.below(k.args.str("name"))
	if !ok {
		return k.say(errno.ErrNotFound, "\"%s\" does not exist", k.args.str("name"))
	}
	slices.Sort(osds)
	if !k.plain() {
		return k.json(osds)
	}
	for _, id := range osds {
		k.print("%s\n", strconv.Itoa(int(id)))
	}
	return 0
}
