package fakecluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
)

// Options of single daemons are kept and told, and nothing depends on them.

// value returns an option as the daemon has it, and where it is from.
func (k *told) value(name string) (value, source string, ok bool) {
	o, ok := k.c.findOption(name)
	if !ok {
		return "", "", false
	}
	if v, set := k.c.told[k.daemon+" "+name]; set {
		return v, "override", true
	}
	if n, err := entity.ParseAuthName(k.daemon); err == nil {
		if v, set := k.c.config.effective(n)[name]; set {
			return v, "mon", true
		}
	}
	if v, set := k.c.inFile(name); set {
		return v, "file", true
	}
	v, _ := k.c.defaultOption(name)
	if v == "" {
		v = o.standard
	}
	return v, "default", true
}

// inFile returns an option that daemons would have from their ceph.conf.
func (c *Cluster) inFile(name string) (string, bool) {
	switch name {
	case "fsid":
		return c.fsid.String(), true
	case "mon_host":
		return c.MonHost(), true
	case "mon_allow_pool_delete", "mon_allow_pool_size_one":
		return "true", true
	case "osd_objectstore":
		return "memstore", true
	}
	return "", false
}

func (k *told) configGet() errno.Errno {
	name := normalOption(k.args.str("var"))
	v, _, ok := k.value(name)
	if !ok {
		return k.say(errno.ErrNotFound, "error getting '%s': (2) No such file or directory", k.args.str("var"))
	}
	return k.json(object{{name, v}})
}

// keep changes an option until it is unset.
func (k *told) keep(name, value string) {
	if k.c.told == nil {
		k.c.told = map[string]string{}
	}
	k.c.told[k.daemon+" "+name] = value
}

func (k *told) configSet() errno.Errno {
	name, given := normalOption(k.args.str("var")), strings.Join(k.args.list("val"), " ")
	o, ok := k.c.findOption(name)
	if !ok {
		return k.say(errno.ErrNotFound, "error setting '%s' to '%s': (2) No such file or directory", k.args.str("var"), given)
	}
	value, problem := o.normal(given)
	if problem != "" {
		return k.say(errno.ErrInvalid, "error setting '%s' to '%s': (22) Invalid argument", k.args.str("var"), given)
	}
	k.keep(name, value)
	if k.c.opt.release >= 18 || o.kind == "subsys" {
		return k.json(object{{"success", ""}})
	}
	return k.json(object{{"success", k.changed(name)}})
}

// changed tells an option's new value, as daemons do. Those of 20.2 leave it out.
func (k *told) changed(name string) string {
	v, _, _ := k.value(name)
	if k.c.opt.release >= 18 {
		v = ""
	}
	return name + " = '" + v + "' "
}

func (k *told) configUnset() errno.Errno {
	name := normalOption(k.args.str("var"))
	o, ok := k.c.findOption(name)
	if !ok {
		return k.say(errno.ErrInvalid, "error unsetting '%s': (22) Invalid argument", k.args.str("var"))
	}
	if _, set := k.c.told[k.daemon+" "+name]; set {
		delete(k.c.told, k.daemon+" "+name)
		if k.c.opt.release < 18 && o.kind != "subsys" {
			k.status = k.changed(name)
		}
	}
	return k.json(object{})
}

func (k *told) configShow() errno.Errno {
	o := object{{"name", k.daemon}, {"cluster", k.c.opt.name}}
	for _, name := range k.c.options().names {
		if strings.HasPrefix(name, "mgr/") {
			continue // which only the modules have
		}
		if v, _, ok := k.value(name); ok {
			o = append(o, field{name, v})
		}
	}
	return k.json(o)
}

func (k *told) configDiff() errno.Errno {
	diff := object{}
	for _, key := range slices.Sorted(maps.Keys(k.c.told)) {
		if name, ok := strings.CutPrefix(key, k.daemon+" "); ok {
			o, _ := k.c.findOption(name)
			diff = append(diff, field{name, object{{"default", o.standard}, {"override", k.c.told[key]}, {"final", k.c.told[key]}}})
		}
	}
	return k.json(object{{"diff", diff}})
}

func (k *told) configHelp() errno.Errno {
	name := k.args.str("var")
	o, ok := k.c.findOption(normalOption(name))
	if !ok {
		return k.say(errno.ErrNotFound, "Setting not found: '%s'", name)
	}
	return k.json(object{{"option", append(object{{"name", normalOption(name)}}, o.describe()...)}})
}

// injectArgs sets options given as for a command line: "--name=value".
func (k *told) injectArgs() errno.Errno {
	words := strings.Fields(strings.Join(k.args.list("injected_args"), " "))
	var said strings.Builder
	for i := 0; i < len(words); i++ {
		name, v, with := strings.Cut(strings.TrimLeft(words[i], "-"), "=")
		name = normalOption(name)
		o, ok := k.c.findOption(name)
		if !ok || !strings.HasPrefix(words[i], "--") {
			return k.say(errno.ErrInvalid, " failed to parse arguments: %s\n", strings.Join(words[i:], ","))
		}
		if !with && i+1 < len(words) {
			i++
			v = words[i]
		}
		kept, problem := o.normal(v)
		if problem != "" {
			return k.say(errno.ErrInvalid, "error setting %s to '%s' : (22) Invalid argument\n", name, v)
		}
		k.keep(name, kept)
		fmt.Fprint(&said, k.changed(name))
	}
	k.json(object{})
	return k.say(0, "%s", said.String())
}
