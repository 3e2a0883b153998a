package wire

import (
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// Types of the messages that write to the cluster log.
const (
	TypeLog    uint16 = 52
	TypeLogAck uint16 = 53
)

// Priorities of a LogEntry.
const (
	LogDebug    uint16 = 0
	LogInfo     uint16 = 1
	LogSecurity uint16 = 2
	LogWarn     uint16 = 3
	LogError    uint16 = 4
)

// LogEntry is one line for the cluster log: version 5 (compat 5).
type LogEntry struct {
	Name    entity.AuthName
	Rank    entity.Name
	Addrs   entity.AddrVec
	Stamp   denc.Time
	Seq     uint64
	Prio    uint16
	Message string
	// Channel is "cluster" or "audit".
	Channel string
}

const logEntryVersion = 5

// Append appends e.
func (e *LogEntry) Append(b []byte) []byte {
	b, at := denc.Begin(b, logEntryVersion, logEntryVersion)
	b = e.Name.Append(b)
	b = e.Rank.Append(b)
	b = e.Addrs.Append(b)
	b = denc.AppendTime(b, e.Stamp)
	b = denc.AppendU64(b, e.Seq)
	b = denc.AppendU16(b, e.Prio)
	b = denc.AppendString(b, e.Message)
	b = denc.AppendString(b, e.Channel)
	return denc.End(b, at)
}

// Decode reads e. Entries older than 14.2 are refused.
func (e *LogEntry) Decode(r *denc.Reader) {
	s := r.Enter("LogEntry", logEntryVersion)
	if r.Err() == nil && s.V < logEntryVersion {
		r.Failf("LogEntry version %d is older than Ceph 14.2", s.V)
	}
	e.Name.Decode(r)
	e.Rank.Decode(r)
	e.Addrs.Decode(r)
	e.Stamp = r.Time()
	e.Seq = r.U64()
	e.Prio = r.U16()
	e.Message = r.String()
	e.Channel = r.String()
	r.Leave(s)
}

// Log is MLog.
type Log struct {
	Paxos
	FSID    denc.UUID
	Entries []LogEntry
}

// Header implements Front.
func (*Log) Header() Header { return Header{TypeLog, 1, 1} }

// Append implements Front.
func (m *Log) Append(b []byte) []byte {
	b = denc.AppendUUID(m.Paxos.Append(b), m.FSID)
	return denc.AppendSlice(b, m.Entries, func(b []byte, e LogEntry) []byte { return e.Append(b) })
}

// Decode implements Front.
func (m *Log) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.FSID = r.UUID()
	m.Entries = denc.Slice(r, 6, func(r *denc.Reader) (e LogEntry) {
		e.Decode(r)
		return e
	})
}

// LogAck is MLogAck: entries up to Last were taken.
type LogAck struct {
	FSID denc.UUID
	Last uint64
	// Channel is the channel of the entries; empty from monitors before 0.90.
	Channel string
}

// Header implements Front.
func (*LogAck) Header() Header { return Header{TypeLogAck, 1, 1} }

// Append implements Front.
func (m *LogAck) Append(b []byte) []byte {
	b = denc.AppendU64(denc.AppendUUID(b, m.FSID), m.Last)
	return denc.AppendString(b, m.Channel)
}

// Decode implements Front.
func (m *LogAck) Decode(r *denc.Reader) {
	m.FSID = r.UUID()
	m.Last = r.U64()
	m.Channel = ""
	if r.Len() > 0 {
		m.Channel = r.String()
	}
}
