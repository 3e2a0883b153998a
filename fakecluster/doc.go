// Package fakecluster is a whole Ceph cluster in memory: monitors, a manager
// and OSDs that speak messenger 2 on real sockets or on pipes, so true that
// Ceph's own clients of 16.2 to 20.2 can use it. It starts in milliseconds and
// does faults on demand.
//
//	c := fakecluster.New(t, fakecluster.Pools("rbd"))
//	conf := c.Config() // ceph.conf and client.admin's keyring
//
// # Who owns what
//
// The cluster's maps, users, configuration and services belong to Cluster.mu.
// What OSDs need of them is published as an immutable view, one an epoch of the
// OSD map, which they read without a lock. Objects belong to their placement
// group (package pg), each with a lock of its own; there is one copy of each
// object, executed on by whichever OSD is the primary. Cluster.mu may be held
// while a group is locked, never the other way round. A message is handled on
// its connection's reading goroutine, so requests of one client to one daemon
// keep their order. Close waits for every goroutine.
//
// # Files
//
//	cluster.go  life of a cluster      daemon.go  listeners and sessions
//	maps.go     maps and their history view.go    what OSDs see of them
//	mon*.go     the monitors           mgr*.go    the manager
//	osd.go      the OSDs               caps.go    capabilities
//	faults.go   faults                 net.go     sockets and pipes
//	record.go   what happened          link.go    what connections are like
//	disk.go, full.go, backoff.go, reorder.go   further faults
//	save*.go, load.go                  the state in a file
//	crash.go                           loss of power
//	*_commands.go, status.go, osd_dump.go      what commands answer
package fakecluster
