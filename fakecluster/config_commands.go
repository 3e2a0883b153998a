package fakecluster

import (
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
)

func configCommands() []command {
	return []command{
		{words: "config set", run: (*call).configSet},
		{words: "config rm", run: (*call).configRemove},
		{words: "config log", run: (*call).configLog},
		{words: "config reset", run: (*call).configReset},
		{words: "config help", run: (*call).configHelp},
		{words: "config show", run: (*call).configShow},
		{words: "config show-with-defaults", run: (*call).configShow},
		{words: "config assimilate-conf", run: (*call).assimilate},
		{words: "config get", run: (*call).configGet},
		{words: "config dump", run: (*call).configDump},
		{words: "config ls", run: (*call).configNames},
		{words: "config generate-minimal-conf", run: func(k *call) errno.Errno {
			return k.print("# minimal ceph.conf for %s\n[global]\n\tfsid = %s\n\tmon_host = %s\n", k.c.fsid, k.c.fsid, k.c.MonHost())
		}},
		{words: "config-key get", run: func(k *call) errno.Errno {
			v, ok := k.c.configKeys.keys[k.args.str("key")]
			if !ok {
				return errno.ErrNotFound
			}
			k.out = []byte(v)
			return 0
		}},
		{words: "config-key set", run: (*call).configKeySet},
		{words: "config-key put", run: (*call).configKeySet},
		{words: "config-key rm", run: (*call).configKeyRemove},
		{words: "config-key del", run: (*call).configKeyRemove},
		{words: "config-key exists", run: func(k *call) errno.Errno {
			key := k.args.str("key")
			if _, ok := k.c.configKeys.keys[key]; !ok {
				return k.say(errno.ErrNotFound, "key '%s' doesn't exist", key)
			}
			return k.say(0, "key '%s' exists", key)
		}},
		{words: "config-key ls", run: (*call).configKeyList},
		{words: "config-key list", run: (*call).configKeyList},
		{words: "config-key dump", run: func(k *call) errno.Errno {
			o := object{}
			for _, n := range k.c.configKeys.sorted() {
				if strings.HasPrefix(n, k.args.str("key")) {
					o = append(o, field{n, k.c.configKeys.keys[n]})
				}
			}
			return k.json(o)
		}},
	}
}

// configNames lists the options that there are.
func (k *call) configNames() errno.Errno {
	names := []string{}
	for _, name := range k.c.options().names {
		if o, _ := k.c.findOption(name); o.kind == "subsys" {
			continue
		}
		if k.plain() {
			k.print("%s\n", name)
		}
		names = append(names, name)
	}
	if k.plain() {
		return 0
	}
	return k.json(names)
}

func (k *call) configSet() errno.Errno {
	who := k.args.str("who")
	name, value := normalOption(k.args.str("name")), k.args.str("value")
	if o, known := k.c.findOption(name); known {
		kept, problem := o.normal(value)
		if name == "rbd_default_features" {
			kept, problem = value, ""
			if !rbdFeatures(value) {
				return k.say(errno.ErrInvalid, "error parsing value: ")
			}
		}
		if problem != "" {
			return k.say(errno.ErrInvalid, "error parsing value: %s", k.c.parseProblem(problem, value))
		}
		value = kept
		if name == "fsid" {
			return k.say(errno.ErrInvalid, "fsid is special and cannot be stored by the mon")
		}
	} else if !k.args.flag("force") {
		return k.say(errno.ErrInvalid, "unrecognized config option '%s'", k.args.str("name"))
	}
	if !configTarget(who) {
		return k.say(errno.ErrInvalid, "unrecognized config target '%s'", who)
	}
	k.c.changeConfig(who, name, &value)
	return 0
}

func (k *call) configGet() errno.Errno {
	n, err := entity.ParseAuthName(k.args.str("who"))
	if err != nil {
		t, ok := entity.ParseType(k.args.str("who"))
		if !ok {
			return k.say(errno.ErrInvalid, "unrecognized entity '%s'", k.args.str("who"))
		}
		n = entity.AuthName{Type: t}
	}
	opts := k.c.config.effective(n)
	if !k.args.has("key") {
		if k.plain() {
			t := table{head: []string{"WHO", "MASK", "LEVEL", "OPTION", "VALUE", "RO"}}
			for _, name := range slices.Sorted(maps.Keys(opts)) {
				o, _ := k.c.findOption(name)
				t.rows = append(t.rows, []string{k.c.config.source(n, name), "", o.level(), name, opts[name], o.readOnly()})
			}
			k.out = t.text(2)
			return 0
		}
		all := object{}
		for _, name := range slices.Sorted(maps.Keys(opts)) {
			o, _ := k.c.findOption(name)
			all = append(all, field{name, object{
				{"value", opts[name]}, {"section", k.c.config.source(n, name)}, {"mask", object{}}, {"can_update_at_runtime", o.runtime()},
			}})
		}
		return k.json(all)
	}
	key := normalOption(k.args.str("key"))
	v, ok := opts[key]
	if _, known := k.c.findOption(key); !known {
		return k.say(errno.ErrNotFound, "unrecognized key '%s'", key)
	}
	if !ok {
		if v, ok = k.c.defaultOption(key); !ok {
			return k.say(errno.ErrNotFound, "unrecognized key '%s'", key)
		}
	}
	if !k.plain() {
		o, _ := k.c.findOption(key)
		k.json(o.typed(v))
		return k.print("\n")
	}
	return k.print("%s\n", v)
}

// defaultOption returns the defaults of options that clients ask monitors for.
func (c *Cluster) defaultOption(key string) (string, bool) {
	switch key {
	case "fsid":
		return c.fsid.String(), true
	case "mon_host":
		return c.MonHost(), true
	}
	o, ok := c.findOption(key)
	return o.standard, ok
}

func (k *call) configDump() errno.Errno {
	list := []object{}
	t := table{head: []string{"WHO", "MASK", "LEVEL", "OPTION", "VALUE", "RO"}}
	for _, who := range k.c.config.sections() {
		for _, name := range slices.Sorted(maps.Keys(k.c.config.options[who])) {
			v := k.c.config.options[who][name]
			o, _ := k.c.findOption(name)
			section, mask, _ := strings.Cut(who, "/")
			entry := object{
				{"section", section}, {"name", name}, {"value", v}, {"level", o.level()}, {"can_update_at_runtime", o.runtime()}, {"mask", mask},
			}
			switch kind, value, _ := strings.Cut(mask, ":"); kind {
			case "":
			case "class":
				entry = append(entry, field{"device_class", value})
			default:
				entry = append(entry, field{"location_type", kind}, field{"location_value", value})
			}
			list = append(list, entry)
			t.rows = append(t.rows, []string{k.c.indented(section), mask, o.level(), name, v, o.readOnly()})
		}
	}
	if !k.plain() {
		return k.json(list)
	}
	k.out = t.text(2)
	return 0
}

// configKeySize is mon_config_key_max_entry_size.
const configKeySize = 64 << 10

func (k *call) configKeySet() errno.Errno {
	key, v := k.args.str("key"), k.args.str("val")
	if !k.args.has("val") {
		v = string(k.in)
	}
	if len(v) > configKeySize {
		return k.say(errno.ErrFileTooBig, "error: entry size limited to %d bytes. Use 'mon config key max entry size' to manually adjust", configKeySize)
	}
	k.c.configKeys.keys[key] = v
	k.c.configKeys.version++
	k.c.pushKeys()
	return k.say(0, "set %s", key)
}

func (k *call) configKeyRemove() errno.Errno {
	key := k.args.str("key")
	if _, ok := k.c.configKeys.keys[key]; !ok {
		return k.say(0, "key deleted")
	}
	delete(k.c.configKeys.keys, key)
	k.c.configKeys.version++
	k.c.pushKeys()
	return k.say(0, "key deleted")
}

func (k *call) configKeyList() errno.Errno {
	names := k.c.configKeys.sorted()
	if names == nil {
		names = []string{}
	}
	return k.json(names)
}

// pushKeys tells everybody who follows config-keys.
func (c *Cluster) pushKeys() {
	for s := range c.sessions {
		for _, name := range slices.Sorted(maps.Keys(s.subs)) {
			if strings.HasPrefix(name, "kv:") {
				s.push(name)
			}
		}
	}
}
