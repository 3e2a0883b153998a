package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
)

// configChange is one command's change of the configuration, for config log.
type configChange struct {
	at   time.Time
	name string
	what []string
}

// configHistory are the changes of this run, oldest first.
type configHistory []configChange

// sections returns those who have options in the order in which Ceph lists them:
// everybody, then by kind of daemon and name.
func (d *configDB) sections() []string {
	rank := func(who string) int {
		if who == "global" {
			return -1
		}
		section, _, _ := strings.Cut(who, "/")
		kind, _, _ := strings.Cut(section, ".")
		return slices.Index([]string{"mon", "mgr", "osd", "mds", "client"}, kind)
	}
	return slices.SortedFunc(maps.Keys(d.options), func(a, b string) int {
		if x, y := rank(a), rank(b); x != y {
			return x - y
		}
		// What is for some of them comes before what is for all.
		section, mask, _ := strings.Cut(a, "/")
		other, otherMask, _ := strings.Cut(b, "/")
		if section == other && (mask == "") != (otherMask == "") {
			return len(otherMask) - len(mask)
		}
		return strings.Compare(a, b)
	})
}

// indented is how a list names who has an option: that of 16.2 is a tree.
func (c *Cluster) indented(who string) string {
	switch {
	case c.opt.release >= 18 || who == "global":
		return who
	case strings.Contains(who, "."):
		return "    " + who
	}
	return "  " + who
}

// configTarget reports whether options can be set for who.
func configTarget(who string) bool {
	who, mask, masked := strings.Cut(who, "/")
	if masked && !strings.Contains(mask, ":") {
		return false
	}
	kind, id, named := strings.Cut(who, ".")
	if kind == "global" {
		return !named
	}
	_, ok := entity.ParseType(kind)
	return ok && kind != "auth" && (!named || id != "")
}

// changeConfig sets an option, or removes it when value is nil, and keeps that
// for config log.
func (c *Cluster) changeConfig(who, name string, value *string) {
	old, had := c.config.options[who][name]
	var what []string
	if had {
		what = append(what, fmt.Sprintf("- %s/%s = %s", who, name, old))
	}
	if value != nil {
		what = append(what, fmt.Sprintf("+ %s/%s = %s", who, name, *value))
		c.config.set(who, name, *value)
	} else if had {
		c.config.remove(who, name)
	} else {
		return
	}
	if !had || value == nil || *value != old {
		c.configChanges = append(c.configChanges, configChange{at: c.clock.Now(), what: what})
	}
	c.loadClasses()
	c.pushAll("config")
}

// loadClasses tells the OSDs' classes of what the configuration says about them.
func (c *Cluster) loadClasses() {
	c.classes.Load(c.config.effective(entity.AuthName{Type: entity.TypeOSD})["osd_class_load_list"])
}

func (k *call) configRemove() errno.Errno {
	who := k.args.str("who")
	if !configTarget(who) {
		return k.say(errno.ErrInvalid, "unrecognized config target '%s'", who)
	}
	k.c.changeConfig(who, normalOption(k.args.str("name")), nil)
	return 0
}

func (k *call) configLog() errno.Errno {
	n := int(k.args.number("num", 10))
	list := []object{}
	for i := len(k.c.configChanges); i >= 0 && len(list) < n; i-- {
		at, changes := "0.000000", []object{}
		if i > 0 {
			at = cephTime(k.c.configChanges[i-1].at)
			for _, w := range k.c.configChanges[i-1].what {
				path, v, _ := strings.Cut(w[2:], " = ")
				key := map[byte]string{'-': "previous_value", '+': "new_value"}[w[0]]
				changes = append(changes, object{{"name", path}, {key, v}})
			}
		}
		if k.plain() {
			title := k.c.configHistoryName(i)
			if title != "" {
				title = " " + title + " ---"
			}
			k.print("--- %d --- %s ---%s\n", i+1, at, title)
			if i > 0 {
				k.print("%s\n", strings.Join(k.c.configChanges[i-1].what, "\n"))
			}
		}
		list = append(list, object{{"version", i + 1}, {"timestamp", at}, {"name", k.c.configHistoryName(i)}, {"changes", changes}})
	}
	if k.plain() {
		return 0
	}
	return k.json(list)
}

// configReset takes back what was changed after a version.
func (k *call) configReset() errno.Errno {
	c := k.c
	version := int(k.args.number("num", -1))
	if version < 0 || version > len(c.configChanges)+1 {
		return k.say(errno.ErrInvalid, "must specify a valid historical version to revert to; see 'ceph config log' for a list of avialable configuration historical versions")
	}
	before := c.config.lines()
	for _, old := range slices.Backward(c.configChanges[max(version, 1)-1:]) {
		for _, line := range slices.Backward(old.what) {
			path, v, _ := strings.Cut(line[2:], " = ")
			i := strings.LastIndex(path, "/")
			if j := strings.Index(path, "/mgr/"); j >= 0 {
				i = j // the options of modules have slashes
			}
			if line[0] == '+' {
				c.config.remove(path[:i], path[i+1:])
			} else {
				c.config.set(path[:i], path[i+1:], v)
			}
		}
	}
	after := c.config.lines()
	var what []string
	for _, line := range before {
		if !slices.Contains(after, line) {
			what = append(what, "- "+line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			what = append(what, "+ "+line)
		}
	}
	c.configChanges = append(c.configChanges, configChange{c.clock.Now(), fmt.Sprintf("reset to %d", version), what})
	c.loadClasses()
	c.pushAll("config")
	return 0
}

// lines are all options as the history has them.
func (d *configDB) lines() []string {
	var all []string
	for _, who := range slices.Sorted(maps.Keys(d.options)) {
		for _, name := range slices.Sorted(maps.Keys(d.options[who])) {
			all = append(all, fmt.Sprintf("%s/%s = %s", who, name, d.options[who][name]))
		}
	}
	return all
}

// configHistoryName is what a version was made by, if it has a name.
func (c *Cluster) configHistoryName(i int) string {
	if i == 0 {
		return ""
	}
	return c.configChanges[i-1].name
}

// configHelp tells what is known of an option. What it is for is told by Ceph only.
func (k *call) configHelp() errno.Errno {
	name := normalOption(k.args.str("key"))
	o, ok := k.c.findOption(name)
	if !ok {
		return errno.ErrNotFound
	}
	if k.plain() {
		k.print("%s - \n  (%s, %s)\n  Default: %s\n  Can update at runtime: %t\n", name, o.kindName(), o.level(), o.standard, o.runtime())
		for _, list := range []field{{"Services", o.services}, {"Tags", o.tags}, {"See also", o.related}} {
			if l := list.Value.([]string); len(l) > 0 {
				k.print("  %s: [%s]\n", list.Key, strings.Join(l, ","))
			}
		}
		return 0
	}
	return k.json(append(object{{"name", name}}, o.describe()...))
}

func (o option) kindName() string {
	if o.kind == "subsys" {
		return "str"
	}
	return o.kind
}

func (o option) level() string {
	if o.kind == "" {
		return "unknown"
	}
	switch strings.TrimSuffix(o.flags, "*") {
	case "b":
		return "basic"
	case "d":
		return "dev"
	case "u":
		return "unknown"
	}
	return "advanced"
}

// readOnly is the mark of options that need a restart.
func (o option) readOnly() string {
	if o.runtime() {
		return " "
	}
	return "*"
}

// source returns for whom an option that is in force for an entity was set.
func (d *configDB) source(n entity.AuthName, name string) string {
	from := "global"
	kind := n.Type.String()
	if _, ok := d.options[kind][name]; ok {
		from = kind
	}
	parts := strings.Split(n.ID, ".")
	for i := range parts {
		who := kind + "." + strings.Join(parts[:i+1], ".")
		if _, ok := d.options[who][name]; ok {
			from = who
		}
	}
	return from
}

// runtime reports whether a change takes effect without a restart.
func (o option) runtime() bool { return o.kind != "" && !strings.HasSuffix(o.flags, "*") }

func (o option) describe() object {
	d := object{
		{"type", o.kindName()}, {"level", o.level()}, {"desc", ""}, {"long_desc", ""}, {"default", o.typed(o.standard)}, {"daemon_default", o.typed(o.ofDaemons)},
		{"tags", o.tags}, {"services", o.services}, {"see_also", o.related},
	}
	if o.kind == "str" {
		d = append(d, field{"enum_values", o.enum})
	}
	return append(d, field{"min", o.typed(o.least)}, field{"max", o.typed(o.most)}, field{"can_update_at_runtime", o.runtime()}, field{"flags", o.said})
}

// configShow tells what options a daemon has that are not the standard ones.
func (k *call) configShow() errno.Errno {
	who := k.args.str("who")
	n, err := entity.ParseAuthName(who)
	if err != nil || !slices.ContainsFunc(k.c.daemons(), func(d *daemon) bool { return d.name == who }) {
		return k.say(errno.ErrNotFound, "no config state for daemon %s", who)
	}
	t := &told{call: *k, daemon: who}
	if key := normalOption(k.args.str("key")); key != "" {
		v, _, ok := t.value(key)
		if !ok {
			return errno.ErrNotFound
		}
		return k.print("%s\n", v)
	}
	names := map[string]bool{}
	for name := range k.c.config.effective(n) {
		names[name] = true
	}
	for key := range k.c.told {
		if name, ok := strings.CutPrefix(key, who+" "); ok {
			names[name] = true
		}
	}
	names["mon_host"], names["fsid"] = true, true
	list := []object{}
	text := table{head: []string{"NAME", "VALUE", "SOURCE", "OVERRIDES", "IGNORES"}}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		v, source, _ := t.value(name)
		if name == "mon_host" || name == "fsid" {
			source = "file"
		}
		list = append(list, object{{"name", name}, {"value", v}, {"source", source}})
		text.rows = append(text.rows, []string{name, v, source, "", ""})
	}
	if k.plain() {
		k.out = text.text(2)
		return 0
	}
	return k.json(list)
}

// assimilate takes over the options of a conf file, and gives back what it cannot.
func (k *call) assimilate() errno.Errno {
	who := "global"
	left := map[string][]string{}
	for line := range strings.Lines(string(k.in)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			who = strings.TrimSuffix(name, "]")
			continue
		}
		name, v, ok := strings.Cut(line, "=")
		o, known := k.c.findOption(normalOption(strings.TrimSpace(name)))
		if !ok || !configTarget(who) || strings.HasPrefix(line, "#") {
			continue
		}
		if !known || slices.Contains(o.said, "no_mon_update") {
			left[who] = append(left[who], fmt.Sprintf("\t%s = %s\n", strings.TrimSpace(name), strings.TrimSpace(v)))
			continue
		}
		if kept, problem := o.normal(strings.TrimSpace(v)); problem == "" {
			k.c.changeConfig(who, normalOption(strings.TrimSpace(name)), &kept)
		}
	}
	for _, who := range slices.Sorted(maps.Keys(left)) {
		k.print("\n[%s]\n%s", who, strings.Join(slices.Sorted(slices.Values(left[who])), ""))
	}
	return 0
}
