package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// TypeOSDBackoff is MOSDBackoff's message type.
const TypeOSDBackoff uint16 = 61

// BackoffOp is what an OSDBackoff asks for or confirms.
type BackoffOp uint8

// Kinds of OSDBackoff.
const (
	BackoffBlock    BackoffOp = 1 // OSD: send nothing for these objects
	BackoffAckBlock BackoffOp = 2 // client: understood
	BackoffUnblock  BackoffOp = 3 // OSD: send again
)

// OSDBackoff is MOSDBackoff: an OSD holds a client's requests for a range of
// objects back while it could only queue them.
type OSDBackoff struct {
	PG    SPG
	Epoch uint32
	Op    BackoffOp
	ID    uint64
	// Begin and End bound the objects: from Begin up to but without End, or
	// exactly Begin when both are equal.
	Begin, End HObject
}

// Header is (61, version 1, compat 1).
func (*OSDBackoff) Header() Header { return Header{TypeOSDBackoff, 1, 1} }

// Append appends the front.
func (m *OSDBackoff) Append(b []byte) []byte {
	b = m.PG.Append(b)
	b = denc.AppendU32(b, m.Epoch)
	b = append(b, uint8(m.Op))
	b = denc.AppendU64(b, m.ID)
	b = m.Begin.Append(b)
	return m.End.Append(b)
}

// Decode reads what Append wrote.
func (m *OSDBackoff) Decode(r *denc.Reader) {
	m.PG.Decode(r)
	m.Epoch = r.U32()
	m.Op = BackoffOp(r.U8())
	m.ID = r.U64()
	m.Begin.Decode(r)
	m.End.Decode(r)
}

// Covers reports whether the backoff holds h back.
func (m *OSDBackoff) Covers(h HObject) bool {
	if m.Begin.Compare(m.End) == 0 {
		return m.Begin.Compare(h) == 0
	}
	return m.Begin.Compare(h) <= 0 && h.Compare(m.End) < 0
}
