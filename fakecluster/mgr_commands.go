package fakecluster

import (
	"github.com/rbdm/rbdm/rados/errno"
)

// mgrCommands is the manager's command table, beside those of the monitors'
// table that the manager serves as well.
func mgrCommands() []command {
	t := []command{
		{sig: "service dump", module: "service", perm: "r", mgr: true, run: (*call).serviceDump},
		{sig: "service status", module: "service", perm: "r", mgr: true, run: (*call).serviceStatus},
		{sig: "pg stat", module: "pg", perm: "r", mgr: true, run: (*call).pgStat},
		{sig: "osd pool stats pool_name:CephPoolname,?", module: "osd", perm: "r", mgr: true, run: (*call).osdPoolStats},
		{sig: "balancer status", module: "mgr", perm: "r", mgr: true, run: func(k *call) errno.Errno {
			return k.json(object{{"active", false}, {"mode", "none"}})
		}},
	}
	t = append(t, mgrReportCommands()...)
	t = append(t, taskCommands()...)
	t = append(t, perfCommands()...)
	return append(t, scheduleCommands()...)
}
