package fakecluster

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rbdm/rbdm/rados/errno"
)

// moduleLines lists the options of the manager's modules: module, the releases that have
// it so (nothing: all), 1 or why the module cannot run, option, type, level, flags,
// default, least, most and values. scripts/golden-commands renews it.
//
//go:embed modules.tsv
var moduleLines string

// moduleInfo is what the manager says of one of its modules.
type moduleInfo struct {
	name, problem string
	options       object
}

// modulesOf reads a release's modules, once for all clusters. read-only.
var modulesOf = map[int]func() []moduleInfo{
	16: sync.OnceValue(func() []moduleInfo { return readModules("16") }),
	18: sync.OnceValue(func() []moduleInfo { return readModules("18") }),
	20: sync.OnceValue(func() []moduleInfo { return readModules("20") }),
}

func readModules(release string) []moduleInfo {
	var all []moduleInfo
	for line := range strings.Lines(moduleLines) {
		f := fields(line, release, 11)
		if f == nil {
			continue
		}
		if len(all) == 0 || all[len(all)-1].name != f[0] {
			m := moduleInfo{name: f[0]}
			if f[2] != "1" {
				m.problem = f[2]
			}
			all = append(all, m)
		}
		flags, _ := strconv.Atoi(f[6])
		m := &all[len(all)-1]
		m.options = append(m.options, field{f[3], object{
			{"name", f[3]}, {"type", f[4]}, {"level", f[5]}, {"flags", flags}, {"default_value", f[7]}, {"min", f[8]}, {"max", f[9]},
			{"enum_allowed", commas(f[10])}, {"desc", ""}, {"long_desc", ""}, {"tags", []string{}}, {"see_also", []string{}},
		}})
	}
	return all
}

func (m *moduleInfo) describe() object {
	return object{{"name", m.name}, {"can_run", m.problem == ""}, {"error_string", m.problem}, {"module_options", m.options}}
}

func (c *Cluster) modules() []moduleInfo { return modulesOf[c.opt.release]() }

// firstModules are those that a new cluster enables.
func (c *Cluster) firstModules() []string {
	if c.opt.release >= 20 {
		return []string{"iostat", "nfs", "nvmeof"}
	}
	return []string{"iostat", "nfs", "restful"}
}

// alwaysOn returns the modules that managers of the releases that a map tells of
// cannot do without, by release.
func (c *Cluster) alwaysOn() map[uint32][]string {
	now := []string{
		"balancer", "crash", "devicehealth", "orchestrator", "pg_autoscaler", "progress", "rbd_support", "status", "telemetry", "volumes",
	}
	on := map[uint32][]string{}
	for release := uint32(15); release <= uint32(c.release().number); release++ {
		on[release] = now
	}
	if c.opt.release < 18 {
		on[14] = []string{"balancer", "crash", "devicehealth", "orchestrator_cli", "progress", "rbd_support", "status", "volumes"}
	}
	return on
}

// alwaysOnNow returns the modules that are always on.
func (c *Cluster) alwaysOnNow() []string { return c.mgrmap.AlwaysOn[uint32(c.release().number)] }

// moduleList is mgr module ls.
func (k *call) moduleList() errno.Errno {
	always, enabled := k.c.alwaysOnNow(), k.c.mgrmap.Modules
	off := []object{}
	t := table{head: []string{"MODULE", ""}}
	for _, name := range always {
		t.rows = append(t.rows, []string{name, "on (always on)"})
	}
	for _, name := range enabled {
		t.rows = append(t.rows, []string{name, "on"})
	}
	for _, m := range k.c.modules() {
		if !slices.Contains(always, m.name) && !slices.Contains(enabled, m.name) {
			off = append(off, m.describe())
			t.rows = append(t.rows, []string{m.name, "-"})
		}
	}
	if k.plain() && k.c.opt.release >= 18 {
		k.out = t.text(2)
		return 0
	}
	o := object{{"always_on_modules", always}}
	if k.c.opt.release >= 20 {
		o = append(o, field{"force_disabled_modules", []string{}})
	}
	return k.json(append(o, field{"enabled_modules", enabled}, field{"disabled_modules", off}))
}

// moduleOf returns the module of the manager that takes a command, if it is one of
// those that are not enabled in a new cluster.
func moduleOf(prefix string) string {
	for words, name := range map[string]string{
		"alerts": "alerts", "healthcheck": "prometheus", "prometheus": "prometheus", "influx": "influx", "insights": "insights", "telegraf": "telegraf",
		"zabbix": "zabbix", "mgr self-test": "selftest", "fs snap-schedule": "snap_schedule", "fs snapshot mirror": "mirroring", "fs perf": "stats",
		"osd perf query": "osd_perf_query", "smb": "smb", "test_orchestrator": "test_orchestrator",
	} {
		if strings.HasPrefix(prefix, words+" ") || prefix == words {
			return name
		}
	}
	return ""
}

// setModules publishes which modules are enabled.
func (c *Cluster) setModules(names []string) {
	slices.Sort(names)
	c.mgrmap.Modules = names
	c.mgrmap.Epoch++
	c.pushAll("mgrmap")
}

func (k *call) moduleEnable() errno.Errno {
	name := k.args.str("module")
	if slices.Contains(k.c.mgrmap.Modules, name) {
		return k.say(0, "module '%s' is already enabled", name)
	}
	if slices.Contains(k.c.alwaysOnNow(), name) {
		return k.say(0, "module '%s' is already enabled (always-on)", name)
	}
	force := k.args.flag("force")
	at := slices.IndexFunc(k.c.modules(), func(m moduleInfo) bool { return m.name == name })
	if at < 0 && !force {
		return k.say(errno.ErrNotFound, "all mgr daemons do not support module '%s', pass --force to force enablement", name)
	}
	if at >= 0 && !force && k.c.modules()[at].problem != "" {
		return k.say(errno.ErrNotFound, "module '%s' reports that it cannot run on the active manager daemon: %s (pass --force to force enablement)", name, k.c.modules()[at].problem)
	}
	k.c.setModules(append(slices.Clone(k.c.mgrmap.Modules), name))
	return 0
}

func (k *call) moduleDisable() errno.Errno {
	name := k.args.str("module")
	if slices.Contains(k.c.alwaysOnNow(), name) {
		if k.c.opt.release >= 20 {
			return k.say(errno.ErrPermission, "module '%s' cannot be disabled (always-on), use 'ceph mgr module force disable' command to disable an always-on module", name)
		}
		return k.say(errno.ErrInvalid, "module '%s' cannot be disabled (always-on)", name)
	}
	if !slices.Contains(k.c.mgrmap.Modules, name) {
		return k.say(0, "module '%s' is already disabled", name)
	}
	k.c.setModules(slices.DeleteFunc(slices.Clone(k.c.mgrmap.Modules), func(m string) bool { return m == name }))
	return 0
}
