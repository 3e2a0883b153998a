package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// Types of the messages that renew tickets on a live monitor session.
const (
	TypeAuth      uint16 = 17
	TypeAuthReply uint16 = 18
)

// Auth is MAuth: a request of an authentication protocol.
type Auth struct {
	Paxos
	// Protocol is 1 (none) or 2 (cephx).
	Protocol    uint32
	Payload     []byte
	MonMapEpoch uint32
}

// Header implements Front.
func (*Auth) Header() Header { return Header{TypeAuth, 1, 1} }

// Append implements Front.
func (m *Auth) Append(b []byte) []byte {
	b = denc.AppendU32(m.Paxos.Append(b), m.Protocol)
	return denc.AppendU32(denc.AppendBytes(b, m.Payload), m.MonMapEpoch)
}

// Decode implements Front. Payload aliases the reader's bytes.
func (m *Auth) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.Protocol = r.U32()
	m.Payload = r.Bytes()
	m.MonMapEpoch = 0
	if r.Len() > 0 {
		m.MonMapEpoch = r.U32()
	}
}

// AuthReply is MAuthReply.
type AuthReply struct {
	Protocol uint32
	// Result is 0 or a negative errno.
	Result   int32
	GlobalID uint64
	Payload  []byte
	Message  string
}

// Header implements Front.
func (*AuthReply) Header() Header { return Header{TypeAuthReply, 1, 1} }

// Append implements Front.
func (m *AuthReply) Append(b []byte) []byte {
	b = denc.AppendU32(b, m.Protocol)
	b = denc.AppendS32(b, m.Result)
	b = denc.AppendU64(b, m.GlobalID)
	return denc.AppendString(denc.AppendBytes(b, m.Payload), m.Message)
}

// Decode implements Front. Payload aliases the reader's bytes.
func (m *AuthReply) Decode(r *denc.Reader) {
	m.Protocol = r.U32()
	m.Result = r.S32()
	m.GlobalID = r.U64()
	m.Payload = r.Bytes()
	m.Message = r.String()
}
