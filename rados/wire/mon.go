package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// Types of the messages between a client and a monitor (src/include/ceph_fs.h,
// src/msg/Message.h).
const (
	TypeMonMap             uint16 = 4
	TypeMonGetMap          uint16 = 5
	TypeMonSubscribe       uint16 = 15
	TypeMonSubscribeAck    uint16 = 16
	TypeMonGetVersion      uint16 = 19
	TypeMonGetVersionReply uint16 = 20
	TypeMonCommand         uint16 = 50
	TypeMonCommandAck      uint16 = 51
)

// Paxos is the head of every PaxosServiceMessage: the version of the service's
// state that the sender has seen. The two fields behind it are history and are
// always written as -1 and 0.
type Paxos struct {
	Version uint64
}

// Append appends 18 bytes.
func (p Paxos) Append(b []byte) []byte {
	b = denc.AppendU64(b, p.Version)
	b = denc.AppendU16(b, 0xffff)
	return denc.AppendU64(b, 0)
}

// Decode reads 18 bytes.
func (p *Paxos) Decode(r *denc.Reader) {
	p.Version = r.U64()
	r.Skip(10)
}

// MonGetMap is MMonGetMap: asks for the monitor map. It has no payload.
type MonGetMap struct{}

// Header implements Front.
func (*MonGetMap) Header() Header { return Header{TypeMonGetMap, 1, 1} }

// Append implements Front.
func (*MonGetMap) Append(b []byte) []byte { return b }

// Decode implements Front.
func (*MonGetMap) Decode(*denc.Reader) {}

// MonMapMessage is MMonMap: the monitor map, still encoded. Map.Decode reads it.
type MonMapMessage struct {
	Map []byte
}

// Header implements Front.
func (*MonMapMessage) Header() Header { return Header{TypeMonMap, 1, 1} }

// Append implements Front.
func (m *MonMapMessage) Append(b []byte) []byte { return denc.AppendBytes(b, m.Map) }

// Decode implements Front. Map aliases the reader's bytes.
func (m *MonMapMessage) Decode(r *denc.Reader) { m.Map = r.Bytes() }

// SubscribeOnce is the flag of a Subscription that ends with the first answer.
const SubscribeOnce uint8 = 1

// Subscription is one wish in a MonSubscribe (ceph_mon_subscribe_item).
type Subscription struct {
	// Start is the first epoch wanted: 0 is the newest full state, n+1 what
	// came after n.
	Start uint64
	// Flags is 0 or SubscribeOnce.
	Flags uint8
}

// MonSubscribe is MMonSubscribe, version 3. Keys are "monmap", "config",
// "mgrmap", "osdmap", "servicemap" and, from release 17 on, "kv:" and a prefix.
type MonSubscribe struct {
	What     map[string]Subscription
	Hostname string
}

// Header implements Front.
func (*MonSubscribe) Header() Header { return Header{TypeMonSubscribe, 3, 1} }

// Append implements Front.
func (m *MonSubscribe) Append(b []byte) []byte {
	b = denc.AppendMap(b, m.What, denc.AppendString, func(b []byte, s Subscription) []byte {
		return denc.AppendU8(denc.AppendU64(b, s.Start), s.Flags)
	})
	return denc.AppendString(b, m.Hostname)
}

// Decode implements Front. The host name is missing before version 3.
func (m *MonSubscribe) Decode(r *denc.Reader) {
	m.What = denc.Map(r, 13, readString, func(r *denc.Reader) Subscription {
		return Subscription{Start: r.U64(), Flags: r.U8()}
	})
	m.Hostname = ""
	if r.Len() > 0 {
		m.Hostname = r.String()
	}
}

// MonSubscribeAck is MMonSubscribeAck: how long subscriptions last. Monitors
// send it only to clients without the feature MON_STATEFUL_SUB.
type MonSubscribeAck struct {
	// Interval is in seconds.
	Interval uint32
	FSID     denc.UUID
}

// Header implements Front.
func (*MonSubscribeAck) Header() Header { return Header{TypeMonSubscribeAck, 1, 1} }

// Append implements Front.
func (m *MonSubscribeAck) Append(b []byte) []byte {
	return denc.AppendUUID(denc.AppendU32(b, m.Interval), m.FSID)
}

// Decode implements Front.
func (m *MonSubscribeAck) Decode(r *denc.Reader) {
	m.Interval = r.U32()
	m.FSID = r.UUID()
}

// MonGetVersion is MMonGetVersion: asks how new a map is.
type MonGetVersion struct {
	// Handle comes back in the reply.
	Handle uint64
	// What is a subscription's name, such as "osdmap".
	What string
}

// Header implements Front.
func (*MonGetVersion) Header() Header { return Header{TypeMonGetVersion, 1, 1} }

// Append implements Front.
func (m *MonGetVersion) Append(b []byte) []byte {
	return denc.AppendString(denc.AppendU64(b, m.Handle), m.What)
}

// Decode implements Front.
func (m *MonGetVersion) Decode(r *denc.Reader) {
	m.Handle = r.U64()
	m.What = r.String()
}

// MonGetVersionReply is MMonGetVersionReply, version 2.
type MonGetVersionReply struct {
	Handle uint64
	// Version is the newest, Oldest the oldest epoch that the monitor has.
	Version, Oldest uint64
}

// Header implements Front.
func (*MonGetVersionReply) Header() Header { return Header{TypeMonGetVersionReply, 2, 1} }

// Append implements Front.
func (m *MonGetVersionReply) Append(b []byte) []byte {
	b = denc.AppendU64(b, m.Handle)
	b = denc.AppendU64(b, m.Version)
	return denc.AppendU64(b, m.Oldest)
}

// Decode implements Front.
func (m *MonGetVersionReply) Decode(r *denc.Reader) {
	*m = MonGetVersionReply{Handle: r.U64(), Version: r.U64()}
	if r.Len() > 0 {
		m.Oldest = r.U64()
	}
}

// MonCommand is MMonCommand. The id is the message's tid, input goes in its
// data segment.
type MonCommand struct {
	Paxos
	// FSID must be the cluster's: monitors refuse zero.
	FSID denc.UUID
	// Cmd is one JSON object in its first element.
	Cmd []string
}

// Header implements Front.
func (*MonCommand) Header() Header { return Header{TypeMonCommand, 1, 1} }

// Append implements Front.
func (m *MonCommand) Append(b []byte) []byte {
	b = denc.AppendUUID(m.Paxos.Append(b), m.FSID)
	return appendStrings(b, m.Cmd)
}

// Decode implements Front.
func (m *MonCommand) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.FSID = r.UUID()
	m.Cmd = readStrings(r)
}

// MonCommandAck is MMonCommandAck. Output is in the message's data segment.
type MonCommandAck struct {
	Paxos
	// Result is 0 or a negative errno.
	Result int32
	// Status is the text meant for people.
	Status string
	Cmd    []string
}

// Header implements Front.
func (*MonCommandAck) Header() Header { return Header{TypeMonCommandAck, 1, 1} }

// Append implements Front.
func (m *MonCommandAck) Append(b []byte) []byte {
	b = denc.AppendS32(m.Paxos.Append(b), m.Result)
	return appendStrings(denc.AppendString(b, m.Status), m.Cmd)
}

// Decode implements Front.
func (m *MonCommandAck) Decode(r *denc.Reader) {
	m.Paxos.Decode(r)
	m.Result = r.S32()
	m.Status = r.String()
	m.Cmd = readStrings(r)
}
