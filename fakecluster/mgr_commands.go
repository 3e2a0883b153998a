package fakecluster

import (
	"github.com/rbdm/rbdm/rados/errno"
)

// mgrCommands is the manager's command table, beside those of the monitors'
// table that the manager serves as well.
func mgrCommands() []command {
	t := []command{
		{words: "service dump", run: (*call).serviceDump},
		{words: "service status", run: (*call).serviceStatus},
		{words: "pg stat", run: (*call).pgStat},
		{words: "osd pool stats", run: (*call).osdPoolStats},
		{words: "balancer status", run: func(k *call) errno.Errno {
			return k.pyJSON(object{
				{"active", true}, {"last_optimize_duration", "0:00:00.000100"}, {"last_optimize_started", k.c.started.UTC().Format("Mon Jan _2 15:04:05 2006")},
				{"mode", "upmap"}, {"no_optimization_needed", true},
				{"optimize_result", "Unable to find further optimization, or pool(s) pg_num is decreasing, or distribution is already perfect"},
				{"plans", []string{}},
			})
		}},
	}
	t = append(t, command{words: "osd pool autoscale-status", module: "pg_autoscaler", run: (*call).autoscaleStatus})
	t = append(t, mgrReportCommands()...)
	t = append(t, pgCommands()...)
	t = append(t, taskCommands()...)
	t = append(t, perfCommands()...)
	return append(t, scheduleCommands()...)
}
