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
//
// Of the files, client and cluster are what concerns the cluster as a whole, op,
// op_attr, ioctx, operate, result and list what concerns objects, watch and
// notify what the names say. Below them objecter starts, moves and ends
// requests (request), target says where one goes, session keeps one OSD's,
// maps follows the OSD map, linger binds watches to connections, throttle
// bounds what is under way.
//
// What may be relied on: operations on one object that one goroutine starts are
// executed in that order. A write is applied once, however often it had to be
// sent. While an OSD, a placement group or the cluster cannot serve it an
// operation waits, as long as its context lets it; a caller that gave up is told
// whether a write may have happened (MaybeApplied).
package rados
