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
			return k.json(object{{"active", false}, {"mode", "none"}})
		}},
	}
	t = append(t, mgrReportCommands()...)
	t = append(t, taskCommands()...)
	t = append(t, perfCommands()...)
	return append(t, scheduleCommands()...)
}
