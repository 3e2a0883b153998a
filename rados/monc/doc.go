// Package monc is the client of Ceph's monitors: MonClient in Ceph's sources.
// It finds a monitor that answers, stays with it, goes over to another when it
// dies, and hides all that from its callers: subscriptions are renewed and
// unanswered calls sent again. It renews the tickets for services and offers
// them to connections to OSDs and managers. Behaviour of releases 16.2 to 20.2
// (src/mon/MonClient.cc).
//
//	Start ─► hunt ─► session ──┐ dies, or is refused
//	          ▲                │
//	          └────────────────┘
//
// Files: client.go the Client and its life, hunt.go finding a monitor,
// session.go one session, call.go commands and other calls, tickets.go
// renewal and tickets for services, subs.go subscriptions.
package monc
