package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// TypeOSDMap is MOSDMap's message type.
const TypeOSDMap uint16 = 41

// OSDMapMessage is MOSDMap: a run of OSD maps, each whole or as the change from
// the one before, as package osdmap reads them.
type OSDMapMessage struct {
	FSID         denc.UUID
	Incrementals map[uint32][]byte // by the epoch that they lead to
	Full         map[uint32][]byte
	// Oldest and Newest are the epochs that the monitors have.
	Oldest, Newest uint32
}

// Header is (41, version 4, compat 3).
func (*OSDMapMessage) Header() Header { return Header{TypeOSDMap, 4, 3} }

// Append appends the front.
func (m *OSDMapMessage) Append(b []byte) []byte {
	b = denc.AppendUUID(b, m.FSID)
	b = denc.AppendMap(b, m.Incrementals, denc.AppendU32, denc.AppendBytes)
	b = denc.AppendMap(b, m.Full, denc.AppendU32, denc.AppendBytes)
	b = denc.AppendU32(b, m.Oldest)
	b = denc.AppendU32(b, m.Newest)
	return denc.AppendU32(b, 0) // gap_removed_snaps, empty
}

// Decode reads a front of version 4; the maps alias it.
func (m *OSDMapMessage) Decode(r *denc.Reader) {
	m.FSID = r.UUID()
	m.Incrementals = denc.Map(r, 8, (*denc.Reader).U32, (*denc.Reader).Bytes)
	m.Full = denc.Map(r, 8, (*denc.Reader).U32, (*denc.Reader).Bytes)
	m.Oldest = r.U32()
	m.Newest = r.U32()
	r.U32() // gap_removed_snaps, never filled in
}

// Range returns the lowest and the highest epoch in the message, 0 and 0 when
// it is empty.
func (m *OSDMapMessage) Range() (first, last uint32) {
	for _, maps := range []map[uint32][]byte{m.Incrementals, m.Full} {
		for e := range maps {
			if first == 0 || e < first {
				first = e
			}
			last = max(last, e)
		}
	}
	return first, last
}
