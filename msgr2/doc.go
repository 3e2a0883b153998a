// Package msgr2 speaks Ceph's messenger protocol, revisions 2.0 and 2.1
// (src/msg/async/ProtocolV2.cc, frames_v2.cc; releases 16.2 to 20.2): both sides
// of the handshake, crc and secure mode, compression, keepalives and the
// exchange of messages. It knows no authentication method: ClientAuth and
// ServerAuth carry one, such as those of package cephx.
//
//	callers     Dial, Accept, Conn, Message, Data, Handler
//	            conn.go pump.go message.go data.go config.go
//	handshake   dial.go accept.go handshake.go payload.go auth.go
//	frames      frame.go frame_crc.go frame_secure.go frame_compress.go compress.go
//	bytes       out.go (gathered writes)  buffer.go (pooled reads)
//
// The frames are pure: they turn structures into bytes and back and start no
// goroutine. A Conn adds two: one reads, one writes.
//
// Every connection is lossy in Ceph's sense: what is under way when it dies is
// lost, and a dead connection is replaced, never resumed. That is the policy of
// every client towards every daemon.
package msgr2
