package msgr2

import "github.com/rbdm/rbdm/msgr2/denc"

// Message is one MESSAGE frame (ceph_msg_header2 and its segments, src/include/
// msgr.h): what the layers above exchange.
//
// A received Message aliases buffers of a pool. Whoever keeps Front, Middle or
// Data may do so for ever; whoever has finished with all of them may call
// Release, so that the buffers are used again.
//
// The bytes of a Message given to Conn.Send are read until it was written or
// Close returned, and must not change before that.
type Message struct {
	// Type is the message's number, as in MOSDOp 42.
	Type uint16
	// Priority is 64 (low), 127 (default) or 196 (high); librados sends OSD
	// operations at 63. Zero means 127.
	Priority uint16
	// Version and Compat are the version of the payload and the oldest one
	// whose readers can read it.
	Version, Compat uint16
	// TID is the sender's number of a request; replies repeat it.
	TID uint64
	// Seq and AckSeq are set by the connection.
	Seq, AckSeq uint64
	Flags       uint8

	Front, Middle []byte
	Data          Data

	bufs [2]*buffer
}

// Release gives the receive buffers back. Front, Middle and Data must not be
// used any more. It does nothing for a Message that was not received.
func (m *Message) Release() {
	for i, b := range m.bufs {
		b.free()
		m.bufs[i] = nil
	}
}

const (
	headerSize      = 41
	flagComplete    = 1
	flagNoCRC       = 2
	defaultPriority = 127
)

// appendHeader appends ceph_msg_header2.
func (m *Message) appendHeader(b []byte) []byte {
	b = denc.AppendU64(b, m.Seq)
	b = denc.AppendU64(b, m.TID)
	b = denc.AppendU16(b, m.Type)
	b = denc.AppendU16(b, m.Priority)
	b = denc.AppendU16(b, m.Version)
	b = denc.AppendU32(b, 0) // padding before the data
	b = denc.AppendU16(b, 0) // offset of the data
	b = denc.AppendU64(b, m.AckSeq)
	b = denc.AppendU8(b, m.Flags)
	b = denc.AppendU16(b, m.Compat)
	return denc.AppendU16(b, 0)
}

func (m *Message) decodeHeader(p []byte) error {
	r := denc.NewReader(p)
	m.Seq = r.U64()
	m.TID = r.U64()
	m.Type = r.U16()
	m.Priority = r.U16()
	m.Version = r.U16()
	r.U32()
	r.U16()
	m.AckSeq = r.U64()
	m.Flags = r.U8()
	m.Compat = r.U16()
	r.U16()
	return r.Err()
}
