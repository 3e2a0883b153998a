package fakecluster

import (
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/errno"
)

// Options in which the manager's balancer keeps what it was told.
const (
	balancerActive = "mgr/balancer/active"
	balancerMode   = "mgr/balancer/mode"
)

// balancerCommands are those of the manager's balancer, which has nothing to do here.
func balancerCommands() []command {
	t := []command{
		{words: "balancer status", run: (*call).balancerStatus},
		{words: "balancer on", run: func(k *call) errno.Errno { return k.balancerSwitch(true) }},
		{words: "balancer off", run: func(k *call) errno.Errno { return k.balancerSwitch(false) }},
		{words: "balancer mode", run: func(k *call) errno.Errno { return k.moduleOption(balancerMode, k.args.str("mode")) }},
		{words: "balancer ls", run: func(k *call) errno.Errno { return k.print("[]") }},
		{words: "balancer eval", run: func(k *call) errno.Errno {
			if what := k.args.str("option"); what != "" {
				if _, ok := k.c.osdmap.PoolByName(what); !ok {
					return k.say(errno.ErrInvalid, "option \"%s\" not a plan or a pool", what)
				}
				return k.balancerScore("pool \"" + what + "\"")
			}
			return k.balancerScore("current cluster")
		}},
		{words: "balancer show", run: func(k *call) errno.Errno { return k.say(errno.ErrNotFound, "plan %s not found", k.args.str("plan")) }},
		{words: "balancer rm", run: func(*call) errno.Errno { return 0 }},
		{words: "balancer reset", run: func(*call) errno.Errno { return 0 }},
		{words: "balancer pool ls", run: func(*call) errno.Errno { return 0 }},
	}
	for i := range t {
		t[i].module = "balancer"
	}
	return t
}

// balancerScore tells how unevenly groups are spread: over one OSD they always are evenly.
func (k *call) balancerScore(what string) errno.Errno {
	if len(k.c.osds) > 1 {
		return k.cannot()
	}
	return k.print("%s score 0.000000 (lower is better)", what)
}

// moduleOption changes an option of the manager's modules, where a real one keeps it.
func (k *call) moduleOption(name, value string) errno.Errno {
	k.c.changeConfig("mgr", name, &value)
	return 0
}

// moduleValue returns an option of the manager's modules.
func (c *Cluster) moduleValue(name string) string {
	if v, ok := c.config.effective(entity.AuthName{Type: entity.TypeMgr, ID: c.mgrmap.ActiveName})[name]; ok {
		return v
	}
	o, _ := c.findOption(name)
	return o.standard
}

func (c *Cluster) balancerOn() bool { return strings.EqualFold(c.moduleValue(balancerActive), "true") }

// balancerSwitch changes the option only if that changes something.
func (k *call) balancerSwitch(on bool) errno.Errno {
	if k.c.balancerOn() == on {
		return 0
	}
	return k.moduleOption(balancerActive, strconv.FormatBool(on))
}

func (k *call) balancerStatus() errno.Errno {
	none, found := len(k.c.osdmap.Pools) == 0, "Unable to find further optimization, or pool(s) pg_num is decreasing, or distribution is already perfect"
	if none {
		found = "No pools available"
	}
	return k.pyJSON(object{
		{"active", k.c.balancerOn()}, {"last_optimize_duration", "0:00:00.000100"},
		{"last_optimize_started", k.c.started.UTC().Format("Mon Jan _2 15:04:05 2006")}, {"mode", k.c.moduleValue(balancerMode)},
		{"no_optimization_needed", !none}, {"optimize_result", found},
		{"plans", []string{}},
	})
}
