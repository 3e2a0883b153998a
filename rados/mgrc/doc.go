// Package mgrc is the client of Ceph's manager: MgrClient in Ceph's sources. It
// follows the manager map, connects to the active manager when there is
// something to say, sends commands to its modules, and keeps a service daemon
// registered so that it shows in "ceph -s" and "ceph service dump". Calls and
// the registration outlive a failover. Behaviour of releases 16.2 to 20.2
// (src/mgr/MgrClient.cc).
//
// Files: client.go the Client and its session, command.go commands, service.go
// the service daemon, metadata.go what a daemon tells of its host.
package mgrc
