// Package cephx is Ceph's own authentication protocol, both halves of it, as it
// runs inside the msgr2 handshake of releases 16.2 to 20.2
// (src/auth/cephx/CephxProtocol.h, src/auth/Crypto.cc).
//
//	keyring ── Key ──┐
//	                 │ challenge, proof            rotating keys
//	Client ── Handshake ──► monitor: KeyServer ──────┐
//	   │  ◄── tickets, session keys, secret          │
//	   └── Authorizer ──► OSD, manager: ServiceAuth ─┘
//
// A client proves to a monitor that it knows its key and gets an AUTH ticket
// with a session key; with that it gets tickets for the services (OSDs,
// managers), which it shows them as authorizers. Client holds the tickets and
// says when they want renewing. KeyServer is the server's half, for tests and
// for servers in memory.
//
// Two kinds of keys exist: type 1 ("aes", AES-128-CBC without a checksum) and,
// from release 20 on, type 2 ("aes256k", RFC 8009). The kind of an entity's key
// decides the kind of all session keys it gets; nothing is negotiated.
//
// Files: key.go keys, seal.go the envelope, rfc8009.go type 2, protocol.go wire
// types, tickets.go wire types of tickets, client.go ticket store, handshake.go
// client towards a monitor, authorizer.go client towards a service, server.go
// and service.go the server half, none.go authentication "none", keyring.go
// keyring files.
package cephx
