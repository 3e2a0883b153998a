package wire

import "github.com/rbdm/rbdm/msgr2/denc"

// Types of the messages between a client and a manager. TypeMgrMap comes from
// the monitors. TypeCommand addresses any daemon ("tell").
const (
	TypeCommand         uint16 = 97
	TypeCommandReply    uint16 = 98
	TypeMgrOpen         uint16 = 0x700
	TypeMgrConfigure    uint16 = 0x701
	TypeMgrReport       uint16 = 0x702
	TypeMgrMap          uint16 = 0x704
	TypeMgrClose        uint16 = 0x708
	TypeMgrCommand      uint16 = 0x709
	TypeMgrCommandReply uint16 = 0x70a
)

// MgrMapMessage is MMgrMap.
type MgrMapMessage struct {
	Map MgrMap
}

// Header implements Front.
func (*MgrMapMessage) Header() Header { return Header{TypeMgrMap, 1, 1} }

// Append implements Front.
func (m *MgrMapMessage) Append(b []byte) []byte { return m.Map.Append(b) }

// Decode implements Front.
func (m *MgrMapMessage) Decode(r *denc.Reader) { m.Map.Decode(r) }

// Command is MCommand: a command "told" to one daemon, with the cluster's fsid.
// The id is the message's tid, input goes in its data segment.
type Command struct {
	FSID denc.UUID
	Cmd  []string
}

// Header implements Front.
func (*Command) Header() Header { return Header{TypeCommand, 1, 1} }

// Append implements Front.
func (m *Command) Append(b []byte) []byte {
	return appendStrings(denc.AppendUUID(b, m.FSID), m.Cmd)
}

// Decode implements Front.
func (m *Command) Decode(r *denc.Reader) {
	m.FSID = r.UUID()
	m.Cmd = readStrings(r)
}

// CommandReply is MCommandReply. Output is in the message's data segment.
type CommandReply struct {
	// Result is 0 or a negative errno.
	Result int32
	// Status is the text meant for people.
	Status string
}

// Header implements Front.
func (*CommandReply) Header() Header { return Header{TypeCommandReply, 1, 1} }

// Append implements Front.
func (m *CommandReply) Append(b []byte) []byte {
	return denc.AppendString(denc.AppendS32(b, m.Result), m.Status)
}

// Decode implements Front.
func (m *CommandReply) Decode(r *denc.Reader) {
	m.Result = r.S32()
	m.Status = r.String()
}

// MgrCommand is MMgrCommand, release 15 and later: a command for a module of
// the active manager. Clients leave FSID zero.
type MgrCommand Command

// Header implements Front.
func (*MgrCommand) Header() Header { return Header{TypeMgrCommand, 1, 1} }

// Append implements Front.
func (m *MgrCommand) Append(b []byte) []byte { return (*Command)(m).Append(b) }

// Decode implements Front.
func (m *MgrCommand) Decode(r *denc.Reader) { (*Command)(m).Decode(r) }

// MgrCommandReply is MMgrCommandReply.
type MgrCommandReply CommandReply

// Header implements Front.
func (*MgrCommandReply) Header() Header { return Header{TypeMgrCommandReply, 1, 1} }

// Append implements Front.
func (m *MgrCommandReply) Append(b []byte) []byte { return (*CommandReply)(m).Append(b) }

// Decode implements Front.
func (m *MgrCommandReply) Decode(r *denc.Reader) { (*CommandReply)(m).Decode(r) }

// MgrOpen is MMgrOpen, version 3: a daemon introduces itself to the manager.
type MgrOpen struct {
	DaemonName, ServiceName string
	// ServiceDaemon says that Metadata and Status are present.
	ServiceDaemon    bool
	Metadata, Status map[string]string
	// Config and ConfigDefaults are encoded maps of the options in force; they
	// may be empty.
	Config, ConfigDefaults []byte
}

// Header implements Front.
func (*MgrOpen) Header() Header { return Header{TypeMgrOpen, 3, 1} }

// Append implements Front.
func (m *MgrOpen) Append(b []byte) []byte {
	b = denc.AppendString(denc.AppendString(b, m.DaemonName), m.ServiceName)
	b = denc.AppendBool(b, m.ServiceDaemon)
	if m.ServiceDaemon {
		b = appendStringMap(appendStringMap(b, m.Metadata), m.Status)
	}
	return denc.AppendBytes(denc.AppendBytes(b, m.Config), m.ConfigDefaults)
}

// Decode implements Front.
func (m *MgrOpen) Decode(r *denc.Reader) {
	*m = MgrOpen{DaemonName: r.String()}
	if r.Len() == 0 {
		return
	}
	m.ServiceName = r.String()
	if m.ServiceDaemon = r.Bool(); m.ServiceDaemon {
		m.Metadata, m.Status = readStringMap(r), readStringMap(r)
	}
	if r.Len() > 0 {
		m.Config, m.ConfigDefaults = r.Bytes(), r.Bytes()
	}
}

// MgrClose is MMgrClose: a daemon takes its leave. The manager echoes it.
type MgrClose struct {
	DaemonName, ServiceName string
}

// Header implements Front.
func (*MgrClose) Header() Header { return Header{TypeMgrClose, 1, 1} }

// Append implements Front.
func (m *MgrClose) Append(b []byte) []byte {
	return denc.AppendString(denc.AppendString(b, m.DaemonName), m.ServiceName)
}

// Decode implements Front.
func (m *MgrClose) Decode(r *denc.Reader) {
	m.DaemonName = r.String()
	m.ServiceName = r.String()
}

// MgrConfigure is MMgrConfigure, version 4: how often to send a MgrReport.
type MgrConfigure struct {
	// Period is in seconds; 0 stops the reports.
	Period uint32
	// Threshold is the least priority of the counters wanted.
	Threshold uint32
	// Queries are the queries for OSD and MDS metrics as they are encoded; nil is
	// none, as for all other daemons. They alias the decoded front.
	Queries []byte
}

// noQueries is an empty list and a false.
const noQueries = "\x00\x00\x00\x00\x00"

// Header implements Front.
func (*MgrConfigure) Header() Header { return Header{TypeMgrConfigure, 4, 1} }

// Append implements Front.
func (m *MgrConfigure) Append(b []byte) []byte {
	b = denc.AppendU32(denc.AppendU32(b, m.Period), m.Threshold)
	if m.Queries == nil {
		return append(b, noQueries...)
	}
	return append(b, m.Queries...)
}

// Decode implements Front.
func (m *MgrConfigure) Decode(r *denc.Reader) {
	*m = MgrConfigure{Period: r.U32()}
	if r.Len() > 0 {
		m.Threshold = r.U32()
	}
	if r.Len() > 0 {
		m.Queries = r.Rest()
	}
}
