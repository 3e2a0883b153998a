package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// Types of the messages that ask for the fill of the cluster or of a pool.
const (
	TypeStatfs      uint16 = 13
	TypeStatfsReply uint16 = 14
)

// Statfs is MStatfs, version 2.
type Statfs struct {
	Paxos
	FSID denc.UUID
	// Pool restricts the question to one pool; nil is the whole cluster.
	Pool *int64
}

// Header implements Front.
func (*Statfs) Header() Header { return Header{TypeStatfs, 2, 1} }

// Append implements Front.
func (m *Statfs) Append(b []byte) []byte {
	b = denc.AppendUUID(m.Paxos.Append(b), m.FSID)
	b = denc.AppendBool(b, m.Pool != nil)
	if m.Pool != nil {
		b = denc.AppendS64(b, *m.Pool)
	}
	return b
}

// Decode implements Front.
func (m *Statfs) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.FSID = r.UUID()
	m.Pool = nil
	if r.Len() > 0 && r.Bool() {
		p := r.S64()
		m.Pool = &p
	}
}

// StatfsReply is MStatfsReply.
type StatfsReply struct {
	FSID    denc.UUID
	Version uint64
	// KB, KBUsed and KBAvail are in units of 1024 bytes.
	KB, KBUsed, KBAvail uint64
	Objects             uint64
}

// Header implements Front.
func (*StatfsReply) Header() Header { return Header{TypeStatfsReply, 1, 1} }

// Append implements Front.
func (m *StatfsReply) Append(b []byte) []byte {
	b = denc.AppendUUID(b, m.FSID)
	for _, v := range []uint64{m.Version, m.KB, m.KBUsed, m.KBAvail, m.Objects} {
		b = denc.AppendU64(b, v)
	}
	return b
}

// Decode implements Front.
func (m *StatfsReply) Decode(r *denc.Reader) {
	m.FSID = r.UUID()
	for _, v := range []*uint64{&m.Version, &m.KB, &m.KBUsed, &m.KBAvail, &m.Objects} {
		*v = r.U64()
	}
}
