package fakecluster

import (
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
		{words: "balancer on", run: func(k *call) errno.Errno { return k.moduleOption(balancerActive, "true") }},
		{words: "balancer off", run: func(k *call) errno.Errno { return k.moduleOption(balancerActive, "false") }},
		{words: "balancer mode", run: func(k *call) errno.Errno { return k.moduleOption(balancerMode, k.args.str("mode")) }},
		{words: "balancer ls", run: func(k *call) errno.Errno { return k.print("[]") }},
		{words: "balancer eval", run: func(k *call) errno.Errno {
			if what := k.args.str("option"); what != "" {
				if _, ok := k.c.osdmap.PoolByName(what); !ok {
					return k.say(errno.ErrInvalid, "option \"%s\" not a plan or a pool", what)
				}
				return k.print("pool \"%s\" score 0.000000 (lower is better)", what)
			}
			return k.print("current cluster score 0.000000 (lower is better)")
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

// moduleOption changes an option of the manager's modules, where a real one keeps it.
func (k *call) moduleOption(name, value string) errno.Errno {
	k.c.changeConfig("mgr", name, &value)
	return 0
}

func (k *call) balancerStatus() errno.Errno {
	set := k.c.config.effective(entity.AuthName{Type: entity.TypeMgr, ID: k.c.mgrmap.ActiveName})
	value := func(name string) string {
		if v, ok := set[name]; ok {
			return v
		}
		o, _ := k.c.findOption(name)
		return o.standard
	}
	return k.pyJSON(object{
		{"active", strings.EqualFold(value(balancerActive), "true")}, {"last_optimize_duration", "0:00:00.000100"},
		{"last_optimize_started", k.c.started.UTC().Format("Mon Jan _2 15:04:05 2006")}, {"mode", value(balancerMode)},
		{"no_optimization_needed", true},
		{"optimize_result", "Unable to find further optimization, or pool(s) pg_num is decreasing, or distribution is already perfect"},
		{"plans", []string{}},
	})
}
