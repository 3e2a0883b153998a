// Package rados is a client of Ceph's object store, what librados and its
// Objecter are: it keeps the OSD map, finds the OSD that is responsible for an
// object, sends vectors of operations there and sends them again, with the same
// request id, until they are answered, whatever happens to the connections, the
// OSDs or the map in between. It speaks to releases 16.2 to 20.2.
//
//	 Client ── IoCtx ── Op            what callers see
//	   │         │
//	   │      objecter                targets, resends, throttles, holds back
//	   │       │     │
//	   │   session  session           one connection to each OSD in use
//	   │       │     │
//	monc/mgrc  └─msgr2┘               maps, tickets, commands / messages
package rados
