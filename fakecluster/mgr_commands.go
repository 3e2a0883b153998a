package fakecluster

// mgrCommands is the manager's command table, beside those of the monitors'
// table that the manager serves as well.
func mgrCommands() []command {
	t := []command{
		{words: "service dump", run: (*call).serviceDump},
		{words: "service status", run: (*call).serviceStatus},
		{words: "pg stat", run: (*call).pgStat},
		{words: "osd pool stats", run: (*call).osdPoolStats},
	}
	t = append(t, command{words: "osd pool autoscale-status", module: "pg_autoscaler", run: (*call).autoscaleStatus})
	t = append(t, mgrReportCommands()...)
	t = append(t, balancerCommands()...)
	t = append(t, absentCommands()...)
	t = append(t, maintenanceCommands()...)
	t = append(t, pgCommands()...)
	t = append(t, taskCommands()...)
	t = append(t, perfCommands()...)
	return append(t, scheduleCommands()...)
}
